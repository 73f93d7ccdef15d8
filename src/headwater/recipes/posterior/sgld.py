"""D-Flow SGLD: preconditioned Langevin steps in the source, without a Metropolis step (Parikh et al., 2026)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem
from headwater.recipes.posterior.chains import Calls, ChainState, check_settings, count, initial_fields
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.potential import Potential


@dataclass(frozen=True, kw_only=True)
class SGLDState(ChainState):
    """Chains with the running mean of the squared gradient, `square` `[chains, *event]`."""

    square: Tensor


@dataclass(frozen=True)
class SGLD:
    """x0 <- x0 - (h / 2) M g + sqrt(h M) z with g = grad Phi(x0) + x0, z ~ N(0, I), M = 1 / (e + sqrt(V)).

    V <- decay V + (1 - decay) g^2, coordinate by coordinate (RMSProp). It is biased: nothing corrects the length of
    the steps, and M changes with x0 without the term that would make up for it. `benchmarks/calibration.py` measures
    by how much. Burn-in, decay, number of steps and the solver of six midpoint steps are the paper's; h is ours.

    Parameters
    ----------
    burn_in
        Steps that are not kept.
    thin
        Steps from one kept draw to the next: 16 draws end after 500 steps, where the paper takes 300 to 600.
    step
        h, above 0.
    decay
        Of the running mean of squares.
    floor
        e, what bounds M.

    Raises
    ------
    Misuse
        If a setting is out of range.

    References
    ----------
    Parikh, Chen & Wang, "D-Flow SGLD: source-space posterior sampling for scientific inverse problems with flow
    matching", arXiv:2602.21469 (2026); Li, Chen, Carlson & Carin, "Preconditioned stochastic gradient Langevin
    dynamics for deep neural networks", AAAI 2016, Algorithm 1.

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 1: it is 8 / 5 on average.

    >>> from headwater import EULER, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
    >>> found = posterior(flow, misfit, [0], method=SGLD(thin=4), draws=100, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 1.6) < 0.4
    True
    """

    state: ClassVar[type[Any]] = SGLDState
    needs_start: ClassVar[bool] = True
    caveat: ClassVar[str] = "SGLD has no Metropolis step, so its draws are biased."
    burn_in: int = 100
    thin: int = 25
    step: float = 0.1
    decay: float = 0.99
    floor: float = 1e-5

    def __post_init__(self) -> None:
        check_settings(self.burn_in, self.thin)
        if not (self.step > 0 and 0 < self.decay < 1 and self.floor > 0):
            raise Misuse(
                f"A step of {self.step:g}, a decay of {self.decay:g} or a floor of {self.floor:g} is out of range.",
                "Give a step and a floor above 0, and a decay between 0 and 1.",
            )

    def calls_per_step(self) -> Calls:
        """No solve alone, one gradient."""
        return Calls(0, 1)

    def calls_to_begin(self) -> Calls:
        """No solve alone, one gradient."""
        return Calls(0, 1)

    def init(self, x0: Tensor, potential: Potential) -> SGLDState:
        """The state at the start x0 `[chains, *event]`."""
        e = potential.with_gradient(x0)
        return SGLDState(**initial_fields(e, potential.nfe, 1), square=(e.gradient + e.x0).square())

    def advance(self, state: SGLDState, potential: Potential, noise: Noise, adapt: bool) -> SGLDState:
        """The state one step later. A point whose potential is not finite is not entered."""
        g = state.gradient + state.x0
        square = self.decay * state.square + (1 - self.decay) * g.square()
        m = 1 / (self.floor + square.sqrt())
        new = potential.with_gradient(
            state.x0 - 0.5 * self.step * m * g + (self.step * m).sqrt() * noise.source()
        )
        finite = new.cost.isfinite() & new.gradient.flatten(1).isfinite().all(1)
        rows = per_problem(finite, state.x0)
        return replace(
            count(state, potential.nfe, 1),
            x0=torch.where(rows, new.x0, state.x0),
            x1=torch.where(rows, new.x1, state.x1),
            gradient=torch.where(rows, new.gradient, state.gradient),
            potential=torch.where(finite, new.cost, state.potential),
            square=square,
            accepted=state.accepted if adapt else state.accepted + finite.double(),
        )
