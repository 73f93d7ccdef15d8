"""Blind restoration from the source: x0 and the parameters of the operator in one optimisation.

    z <- (x0, phi)
    repeat
        x1 <- solve dx/dt = v(x, t) from x(0) = x0 to t = 1
        z  <- optimize_step(z, grad_z [misfit(A_phi x1) + |x0|^2 / 2 - log p(phi)])

This is D-Flow (Ben-Hamu et al., ICML 2024, Algorithm 1) with the operator among the unknowns. Its minimum is the
joint mode of x0 and phi, not the mode of phi alone; see `alternate`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.prior import GaussianPrior
from headwater.dflow.result import Event
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS, STATUS, Optimizer
from headwater.optimizers.status import Status
from headwater.recipes.blind.result import BlindResult, with_operator
from headwater.recipes.blind.unknown import BlindMisfit
from headwater.recipes.recipe import RecipeOptions, result_without_control
from headwater.solvers.differentiation import Auto, Strategy
from headwater.solvers.fixed import invert, logit_grid, solve
from headwater.solvers.method import MIDPOINT, Method

Split = Callable[[Tensor], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Joint:
    """The most likely source point and operator: min over x0 and phi of misfit + |x0|^2 / 2 - log p(phi).

    Parameters
    ----------
    steps
        Midpoint steps of the solve, on `logit_grid`.
    gradients
        Gradient evaluations per problem, unless the optimiser converges before.
    first_step
        The first step of L-BFGS, rms per coordinate.

    Notes
    -----
    It begins at the inversion of the guess and the family's own start; where that is far off, give the x1 of
    `Alternate` as the guess and its phi as `phi`.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, Algorithm 1, for the control.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian
    >>> from headwater.recipes.blind import BlindMisfit, UnknownGain
    >>> flow = Gaussian(torch.full((8,), 2.0), torch.full((8,), 0.1)).flow
    >>> problem = BlindMisfit(UnknownGain(), torch.full((1, 8), 3.0), 0.05)
    >>> Joint()(flow, problem, [0], guess=torch.full((1, 8), 2.0)).parameters.round(decimals=1).tolist()
    [[1.5]]
    """

    steps: int = 8
    gradients: int = 60
    first_step: float = 0.005

    def __call__(
        self,
        flow: Flow,
        problem: BlindMisfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        phi: Tensor | None = None,
        options: RecipeOptions = RecipeOptions(),  # noqa: B008 (frozen)
    ) -> BlindResult:
        """Solve a batch of blind problems, one per seed, from a `guess` `[batch or 1, *event]` and phi `[batch, p]`.

        Raises
        ------
        Misuse
            If there is neither one measurement nor one for every seed; else as `invert` and `solve` do.
        """
        problem = problem.expand(len(seeds))
        first = guess.expand(len(seeds), *flow.shape)
        start = problem.unknown.start(problem.y) if phi is None else phi
        prior, grid = GaussianPrior(), logit_grid(options.steps or self.steps)

        def loss(x0: Tensor, x1: Tensor, at: Tensor) -> Tensor:
            return problem.at(at)(x1) + prior(x0) + problem.unknown.penalty(at)

        descent = Descent(
            flow,
            loss,
            LBFGS(first_step=self.first_step),
            MIDPOINT,
            tuple(grid),
            options.gradients or self.gradients,
        )
        try:
            x0 = invert(flow, first, steps=grid)
        except Ended as ended:
            done = result_without_control(problem.at(start.to(first)), first, ended.status, 0)
            return with_operator(done, problem, start.to(first), [start.to(first)])
        return descent.run(problem, x0, start.to(x0), first, options, spent=2 * (len(grid) - 1))


@dataclass(frozen=True)
class Descent:
    """A descent on (x0, phi), as one vector per problem.

    Attributes
    ----------
    flow
        The prior.
    loss
        (x0, x1, phi) -> the value `[batch]` to be minimised.
    optimizer
        Of the vector (x0, phi / ratio) `[batch, d + p]`.
    method, steps
        Of the solve.
    gradients
        The most evaluations.
    ratio
        How much faster phi moves than x0 under an optimiser whose step is a length, such as Adam.
    clamp
        The range that x1 is clamped to before it is measured, None for none.
    """

    flow: Flow
    loss: Loss
    optimizer: Optimizer[Any]
    method: Method
    steps: Sequence[float]
    gradients: int
    ratio: float = 1.0
    clamp: tuple[float, float] | None = None

    def run(
        self,
        problem: BlindMisfit,
        x0: Tensor,
        phi: Tensor,
        first: Tensor,
        options: RecipeOptions,
        *,
        spent: int = 0,
    ) -> BlindResult:
        """The result from x0 `[batch, *event]` and phi `[batch, p]`; `first` if nothing was evaluated."""
        best = Best(first, phi)
        status, codes = [Status.EVALUATIONS] * len(x0), [Status.RUNNING] * len(x0)
        counts = torch.zeros(len(x0), dtype=torch.long)
        try:
            for rounds, (state, value, a0, a1, at) in enumerate(self._rounds(x0, phi, options.gradient), 1):
                best.update(value, a0, a1, at)
                codes, counts = [STATUS[int(code)] for code in state.code], state.evaluations
                if options.callback is not None and (end := options.callback(self._event(rounds, value, a1))):
                    status = [end] * len(x0)
                    break
                if all(code is not Status.RUNNING for code in codes):
                    break
            if status[0] is Status.EVALUATIONS:
                status = [Status.EVALUATIONS if c is Status.RUNNING else c for c in codes]
        except Ended as ended:
            status = [ended.status] * len(x0)
        done = result_without_control(problem.at(best.phi), best.x1, status, spent)
        done = replace(
            done,
            x0=torch.full_like(best.x1, torch.nan) if best.x0 is None else best.x0,
            gradients=counts.to(done.gradients),
            nfe_per_gradient=(len(self.steps) - 1) * self.method.evaluations,
            on_flow=best.x0 is not None and self.clamp is None,
        )
        return with_operator(done, problem, best.phi, best.path or [phi])

    def _rounds(
        self, x0: Tensor, phi: Tensor, gradient: Strategy | None
    ) -> Iterator[tuple[Any, Tensor, Tensor, Tensor, Tensor]]:
        """State, value, x0, x1 and phi of every evaluation."""
        d, shape = x0.flatten(1).shape[1], x0.shape
        state = self.optimizer.init(torch.cat([x0.flatten(1), phi / self.ratio], 1))
        for _ in range(self.gradients):
            z = state.trial.detach().requires_grad_()
            with torch.enable_grad():
                a0, at = z[:, :d].reshape(shape), self.ratio * z[:, d:]
                x1 = solve(self.flow, a0, method=self.method, steps=self.steps, gradient=gradient or Auto())
                x1 = x1 if self.clamp is None else x1.clamp(*self.clamp)
                value = self.loss(a0, x1, at)
                (slope,) = torch.autograd.grad(value.sum(), z)
            state = self.optimizer.step(state, value.detach(), slope)
            yield state, value.detach(), a0.detach(), x1.detach(), at.detach()

    def _event(self, rounds: int, value: Tensor, x1: Tensor) -> Event:
        none = torch.full_like(value, torch.nan)
        return Event(rounds, torch.arange(len(x1)), value.double(), none, x1, value.double())


class Best:
    """The evaluation with the least value of every problem.

    Attributes
    ----------
    x0, x1, phi
        Of it; x0 is None before the first.
    path
        phi of every evaluation.
    """

    def __init__(self, x1: Tensor, phi: Tensor) -> None:
        self.x0: Tensor | None = None
        self.x1, self.phi = x1.clone(), phi.clone()
        self.value = torch.full((len(x1),), torch.inf, dtype=torch.float64, device=x1.device)
        self.path: list[Tensor] = []

    def update(self, value: Tensor, x0: Tensor, x1: Tensor, phi: Tensor) -> None:
        """Take note of an evaluation: value `[batch]`, x0 and x1 `[batch, *event]`, phi `[batch, p]`."""
        better = value.double() < self.value
        self.x0 = x0.clone() if self.x0 is None else self.x0
        self.x0[better], self.x1[better], self.phi[better] = x0[better], x1[better], phi[better]
        self.value = torch.where(better, value.double(), self.value)
        self.path.append(phi)
