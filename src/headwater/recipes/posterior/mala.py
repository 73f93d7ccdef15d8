"""The Langevin walk that is well defined on function spaces (Beskos et al., 2008; Cotter et al., 2013)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from headwater.recipes.posterior.chains import (
    Calls,
    acceptance_probability,
    check_settings,
    count,
    initial_fields,
    metropolis,
)
from headwater.recipes.posterior.hamiltonian import leapfrog
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.potential import Potential
from headwater.recipes.posterior.step_length import TunedState, step_fields, step_length, tune


@dataclass(frozen=True)
class InfinityMALA:
    """x0' = cos(s) x0 + sin(s) (z - tan(s / 2) grad Phi(x0)), z ~ N(0, I), with a Metropolis step.

    A semi-implicit step of length h = 4 tan(s / 2)^2 along the Langevin equation. Like pCN it does not slow down with
    the dimension; the gradient lets it take longer steps. It takes one gradient a step, and is a single leap of
    `InfinityHMC`.

    Parameters
    ----------
    burn_in
        Steps that are not kept, during which every chain adapts its s.
    thin
        Steps from one kept draw to the next.
    step
        The first s, in radians, up to pi / 2.
    acceptance
        The mean acceptance that s is adapted to.

    Raises
    ------
    Misuse
        If a setting is out of range.

    References
    ----------
    Beskos, Roberts, Stuart & Voss, "MCMC methods for diffusion bridges", Stochastics and Dynamics 8 (2008); Beskos,
    Girolami, Lan, Farrell & Stuart, "Geometric MCMC for infinite-dimensional inverse problems", J. Comput. Phys. 335
    (2017); Roberts & Rosenthal, J. R. Stat. Soc. B 60 (1998), for 0.574.

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 1: it is 8 / 5 on average.

    >>> from headwater import EULER, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
    >>> found = posterior(flow, misfit, [0], method=InfinityMALA(100, thin=2), draws=100, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 1.6) < 0.2
    True
    """

    state: ClassVar[type[Any]] = TunedState
    needs_start: ClassVar[bool] = True
    caveat: ClassVar[str] = ""
    burn_in: int = 300
    thin: int = 20
    step: float = 0.2
    acceptance: float = 0.574

    def __post_init__(self) -> None:
        check_settings(self.burn_in, self.thin, self.step, self.acceptance)

    def calls_per_step(self) -> Calls:
        """No solve alone, one gradient."""
        return Calls(0, 1)

    def calls_to_begin(self) -> Calls:
        """No solve alone, one gradient."""
        return Calls(0, 1)

    def init(self, x0: Tensor, potential: Potential) -> TunedState:
        """The state at the start x0 `[chains, *event]`."""
        e = potential.with_gradient(x0)
        return TunedState(**initial_fields(e, potential.nfe, 1), **step_fields(self.step, e.cost))

    def advance(self, state: TunedState, potential: Potential, noise: Noise, adapt: bool) -> TunedState:
        """The state one step later; `adapt` during burn-in."""
        s = step_length(state, adapt)
        proposal, log_ratio = leapfrog(state, noise.source(), s, (s / 2).tan(), 1, potential)
        state = count(metropolis(state, proposal, log_ratio, noise, adapt), potential.nfe, 1)
        if not adapt:
            return state
        return tune(state, acceptance_probability(log_ratio), self.acceptance, self.step, math.pi / 2)
