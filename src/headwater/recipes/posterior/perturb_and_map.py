"""Perturb-and-MAP, also known as randomised maximum likelihood: every draw is an optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.dflow.prior import NearDraw
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.optimizers import RUNNING
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.chains import Calls, ChainState, count, initial_fields
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.optimise import draw_measurement, minimise, require_measurement
from headwater.recipes.posterior.potential import Potential
from headwater.solvers.fixed import invert
from headwater.solvers.method import MIDPOINT
from headwater.text import counted

S = TypeVar("S", bound=ChainState)
INVERSION = 12
"""Midpoint steps of the inversion of an estimate."""
SOLVED = 0.1
"""The rms gradient up to which a stopped optimisation counts as converged: the prior alone has the curvature 1, so x0
is then off by at most that rms where the problem is convex."""


@dataclass(frozen=True, kw_only=True)
class OptimisedState(ChainState):
    """Chains of optimisations, of which `unconverged`, int64 `[chains]`, stopped at the limit of gradients."""

    unconverged: Tensor


@dataclass(frozen=True)
class PerturbAndMAP:
    """argmin over x0 of |A x1(x0) - (y + sigma_y n)|^2 / (2 sigma_y^2) + |x0 - z|^2 / 2, with new n and z ~ N(0, I).

    Exact where A x1(x0) is linear in x0, and then every draw is independent of the others. Elsewhere it is biased:
    `RandomiseThenOptimise` has the weights that correct it, a Markov chain needs none. Each optimisation begins at z,
    or, with an `estimate`, at the source point of the estimate of its measurement from the noise z. On a photograph
    of 64 x 64 with a hole of 20 x 20 that leaves a misfit of 0.8 times the noise after 8 gradients, and z one of 5.3
    after 20.

    Parameters
    ----------
    gradients
        The most gradients of a draw; fewer if L-BFGS converges.
    first_step
        The first step of L-BFGS, rms per coordinate of x0.
    estimate
        Where each optimisation begins; with no new noise (`fresh=0`) it stays near z where nothing was measured. None
        begins at z.

    Raises
    ------
    Misuse
        If there is no gradient; when it is called, if the cost is no `Misfit`.

    References
    ----------
    Papandreou & Yuille, "Perturb-and-MAP random fields", ICCV 2011; Oliver, He & Reynolds, "Conditioning permeability
    fields to pressure data", ECMOR V (1996).

    Examples
    --------
    x1 = 2 x0 was measured as 2 with noise 1: it is 8 / 5 on average.

    >>> from headwater import EULER, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (1,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1, torch.tensor([[2.0]]), 1.0)
    >>> found = posterior(flow, misfit, [0], method=PerturbAndMAP(), draws=20, steps=1, solver=EULER)
    >>> abs(found.mean.item() - 1.6) < 0.2
    True
    """

    state: ClassVar[type[Any]] = OptimisedState
    needs_start: ClassVar[bool] = False
    caveat: ClassVar[str] = (
        "Each draw is an optimisation of its own, which is exact only where the measurement is linear in x0."
    )
    burn_in: ClassVar[int] = 0
    thin: ClassVar[int] = 1
    gradients: int = 30
    first_step: float = 0.05
    estimate: Estimate | None = None

    def __post_init__(self) -> None:
        if self.gradients < 1:
            raise Misuse(f"{self.gradients} gradients make no draw.", "Give at least 1.")

    def calls_per_step(self) -> Calls:
        """One solve, for the misfit of the draw, and the gradients; an estimate and its inversion beside them."""
        beside = 0 if self.estimate is None else calls_of_estimate(self.estimate)
        return Calls(1, self.gradients, beside)

    def calls_to_begin(self) -> Calls:
        """One solve, no gradient."""
        return Calls(1, 0)

    def init(self, x0: Tensor, potential: Potential) -> OptimisedState:
        """The state at the start x0 `[chains, *event]`, which no draw depends on."""
        require_measurement(potential.cost)
        fields = initial_fields(potential.value(x0), potential.nfe, 0)
        return OptimisedState(**fields, unconverged=torch.zeros_like(fields["gradients"]))

    def advance(
        self, state: OptimisedState, potential: Potential, noise: Noise, adapt: bool
    ) -> OptimisedState:
        """The next draw of every chain; one that is not finite leaves the chain where it was."""
        if self.estimate is None:
            z = start = noise.source()
            misfit, spent = draw_measurement(require_measurement(potential.cost), len(z), noise), 0
        else:  # whose noise is that of seeds
            seeds = [int(u * 2**53) for u in noise.uniform().tolist()]
            z = potential.flow.noise(seeds, device=state.x0.device).to(state.x0)
            misfit = draw_measurement(require_measurement(potential.cost), len(z), noise)
            start = invert_estimate(self.estimate, potential.flow, misfit, seeds, z)
            spent = calls_of_estimate(self.estimate)
        objective = replace(potential.objective, cost=misfit, prior=NearDraw(z))
        found = minimise(objective.evaluate_problems, start, self.gradients, self.first_step)
        state = keep_draw(state, potential.value(found.x), found.evaluations, potential.nfe)
        rms = found.gradient.flatten(1).double().square().mean(1).sqrt()
        unconverged = (found.code == RUNNING) & (rms > SOLVED)
        state = replace(state, unconverged=state.unconverged + unconverged)
        return count(state, spent, 0)

    def describe_unconverged(self, unconverged: int, all_: int) -> str:
        """A sentence on the optimisations that stopped too early; empty if none did.

        Examples
        --------
        >>> PerturbAndMAP().describe_unconverged(37, 64)[:68]
        '37 of 64 optimisations stopped at 30 gradients, before they converge'
        """
        if not unconverged:
            return ""
        return (
            f"{unconverged:,} of {counted(all_, 'optimisation')} stopped at {counted(self.gradients, 'gradient')}, "
            "before they converged: give more, PerturbAndMAP(gradients=...)."
        )


def invert_estimate(
    estimate: Estimate, flow: Flow, misfit: Misfit, seeds: Sequence[int], like: Tensor
) -> Tensor:
    """The source points of estimates from the noise of the seeds, `[len(seeds), *event]`, of the dtype of `like`."""
    x1 = estimate.sample(flow, misfit, seeds, guess=torch.zeros_like(like))
    return invert(flow, x1, steps=INVERSION)


def calls_of_estimate(estimate: Estimate) -> int:
    """Network evaluations of an estimate and its inversion."""
    return estimate.times + INVERSION * MIDPOINT.evaluations


def keep_draw(state: S, e: Evaluation, gradients: Tensor, nfe: int) -> S:
    """The state with an independent draw e, which took a solve and `gradients` `[chains]`.

    A draw that is not finite has no weight, and the chain stays where it was.
    """
    finite = e.cost.isfinite()
    rows = per_problem(finite, e.x0)
    return replace(
        state,
        x0=torch.where(rows, e.x0, state.x0),
        x1=torch.where(rows, e.x1, state.x1),
        potential=torch.where(finite, e.cost, state.potential),
        log_weight=torch.where(finite, 0.0, -torch.inf).to(state.log_weight),
        accepted=state.accepted + finite.double(),
        evaluations=state.evaluations + nfe * (gradients + 1),
        gradients=state.gradients + gradients,
    )
