"""The preconditioned Crank-Nicolson walk, which needs no gradient (Cotter et al., 2013)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from headwater.problem.batch import per_problem
from headwater.recipes.posterior.chains import (
    Calls,
    acceptance_probability,
    check_settings,
    count,
    initial_fields,
    metropolis,
)
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.potential import Potential
from headwater.recipes.posterior.step_length import TunedState, step_fields, step_length, tune


@dataclass(frozen=True)
class PCN:
    """x0' = cos(s) x0 + sin(s) z with z ~ N(0, I), accepted with the probability min(1, exp(Phi(x0) - Phi(x0'))).

    The proposal leaves the prior as it is, so the acceptance does not fall with the dimension. The paper's beta is
    sin(s). It takes one solve a step, and no gradient: for costs without one, and where the measurement says little.

    Parameters
    ----------
    burn_in
        Steps that are not kept, during which every chain adapts its s.
    thin
        Steps from one kept draw to the next.
    step
        The first s, in radians, up to pi / 2, which draws from the prior.
    acceptance
        The mean acceptance that s is adapted to.

    Raises
    ------
    Misuse
        If a setting is out of range.

    References
    ----------
    Cotter, Roberts, Stuart & White, "MCMC methods for functions: modifying old algorithms to make them faster",
    Statistical Science 28 (2013), section 4.2; Roberts & Rosenthal, Statistical Science 16 (2001), for 0.234.

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 1: it is 8 / 5 on average.

    >>> from headwater import EULER, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
    >>> found = posterior(flow, misfit, [0], method=PCN(200, thin=5), draws=100, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 1.6) < 0.2
    True
    """

    state: ClassVar[type[Any]] = TunedState
    needs_start: ClassVar[bool] = True
    caveat: ClassVar[str] = ""
    burn_in: int = 500
    thin: int = 50
    step: float = 0.2
    acceptance: float = 0.234

    def __post_init__(self) -> None:
        check_settings(self.burn_in, self.thin, self.step, self.acceptance)

    def calls_per_step(self) -> Calls:
        """One solve, no gradient."""
        return Calls(1, 0)

    def calls_to_begin(self) -> Calls:
        """One solve, no gradient."""
        return Calls(1, 0)

    def init(self, x0: Tensor, potential: Potential) -> TunedState:
        """The state at the start x0 `[chains, *event]`."""
        e = potential.value(x0)
        return TunedState(**initial_fields(e, potential.nfe, 0), **step_fields(self.step, e.cost))

    def advance(self, state: TunedState, potential: Potential, noise: Noise, adapt: bool) -> TunedState:
        """The state one step later; `adapt` during burn-in."""
        s = per_problem(step_length(state, adapt), state.x0)
        proposal = potential.value(s.cos() * state.x0 + s.sin() * noise.source())
        log_ratio = state.potential - proposal.cost
        state = count(metropolis(state, proposal, log_ratio, noise, adapt), potential.nfe, 0)
        if not adapt:
            return state
        return tune(state, acceptance_probability(log_ratio), self.acceptance, self.step, math.pi / 2)
