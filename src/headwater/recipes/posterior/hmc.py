"""Hamiltonian Monte Carlo that is well defined on function spaces (Beskos et al., 2011)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from headwater.errors import Misuse
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
class InfinityHMC:
    """Some leaps with one velocity v ~ N(0, I): kick by s / 2, rotate (x0, v) by s, kick by s / 2; then Metropolis.

    The rotation solves the Gaussian part exactly, so where the measurement says nothing the proposal is a draw of the
    prior once the leaps come to a quarter turn. Each step multiplies s by a draw from 0.8 to 1.2, without which a
    direction could come back to where it was.

    Parameters
    ----------
    burn_in
        Steps that are not kept, during which every chain adapts its s.
    thin
        Steps from one kept draw to the next.
    leaps
        Leaps, each with one gradient, of a step.
    step
        The first s, in radians; all leaps together turn by a quarter at most.
    acceptance
        The mean acceptance that s is adapted to.

    Raises
    ------
    Misuse
        If a setting is out of range.

    References
    ----------
    Beskos, Pinski, Sanz-Serna & Stuart, "Hybrid Monte Carlo on Hilbert spaces", Stoch. Process. Appl. 121 (2011);
    Beskos, Pillai, Roberts, Sanz-Serna & Stuart, Bernoulli 19 (2013), for 0.651; Neal, "MCMC using Hamiltonian
    dynamics" (2011), section 3.2, for random step lengths.

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 1: it is 8 / 5 on average.

    >>> from headwater import EULER, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
    >>> found = posterior(flow, misfit, [0], method=InfinityHMC(20, thin=1), draws=50, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 1.6) < 0.2
    True
    """

    state: ClassVar[type[Any]] = TunedState
    needs_start: ClassVar[bool] = True
    caveat: ClassVar[str] = ""
    burn_in: int = 50
    thin: int = 3
    leaps: int = 10
    step: float = 0.1
    acceptance: float = 0.651

    def __post_init__(self) -> None:
        check_settings(self.burn_in, self.thin, self.step, self.acceptance)
        if self.leaps < 1:
            raise Misuse(f"{self.leaps} leaps lead nowhere.", "Give at least 1.")

    def calls_per_step(self) -> Calls:
        """No solve alone, one gradient for every leap."""
        return Calls(0, self.leaps)

    def calls_to_begin(self) -> Calls:
        """No solve alone, one gradient."""
        return Calls(0, 1)

    def init(self, x0: Tensor, potential: Potential) -> TunedState:
        """The state at the start x0 `[chains, *event]`."""
        e = potential.with_gradient(x0)
        return TunedState(**initial_fields(e, potential.nfe, 1), **step_fields(self.step, e.cost))

    def advance(self, state: TunedState, potential: Potential, noise: Noise, adapt: bool) -> TunedState:
        """The state one step later; `adapt` during burn-in."""
        longest = math.pi / 2 / self.leaps
        s = (step_length(state, adapt) * (0.8 + 0.4 * noise.uniform())).clamp(max=longest)
        proposal, log_ratio = leapfrog(state, noise.source(), s, s / 2, self.leaps, potential)
        state = metropolis(state, proposal, log_ratio, noise, adapt)
        state = count(state, self.leaps * potential.nfe, self.leaps)
        if not adapt:
            return state
        return tune(state, acceptance_probability(log_ratio), self.acceptance, self.step, longest)
