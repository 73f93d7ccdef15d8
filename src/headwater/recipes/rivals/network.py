"""The network as the rivals use it: evaluations are counted as ours are, and answers become a result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.dflow.result import Event, Result
from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.problem.batch import per_problem
from headwater.problem.cost import Cost, Misfit
from headwater.recipes.recipe import RecipeOptions, judge_answer
from headwater.recipes.warm_start import WarmStart
from headwater.solvers.differentiation import Auto, Strategy
from headwater.solvers.fixed import solve, uniform_grid
from headwater.solvers.method import DDIM, Method

Pullback = Callable[[Tensor], Tensor]


@dataclass
class Network:
    """A flow whose evaluations are counted.

    Attributes
    ----------
    flow
        The prior.
    evaluations, gradients
        So far per problem: forward calls, and gradients, each of `per_gradient` calls with vector-Jacobian products.
    per_gradient
        1, or the evaluations of a solve for a method that differentiates through the solve.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian
    >>> network = Network(Gaussian(torch.zeros(1), torch.tensor([1.0])).flow)
    >>> x, t = torch.ones(1, 1), torch.tensor(0.5)  # xhat = t x / (t^2 + (1 - t)^2)
    >>> xhat, pull = network.linearise(x, t)
    >>> xhat.item(), pull(torch.ones(1, 1)).item(), network.evaluations, network.gradients
    (1.0, 1.0, 0, 1)
    """

    flow: Flow
    evaluations: int = 0
    gradients: int = 0
    per_gradient: int = 1

    def velocity(self, x: Tensor, t: Tensor) -> Tensor:
        """v(x, t) `[batch, *event]`, without a gradient."""
        with torch.no_grad():
            v = self.flow(x, t)
        self.evaluations += 1  # after it: a watched flow may have ended the run in its place
        return v

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """xhat(x, t) `[batch, *event]`, without a gradient."""
        with torch.no_grad():
            xhat = self.flow.denoise(x, t)
        self.evaluations += 1
        return xhat

    def linearise(self, x: Tensor, t: Tensor) -> tuple[Tensor, Pullback]:
        """xhat(x, t) `[batch, *event]` and w -> (d xhat / d x)' w, to be called once."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            xhat = self.flow.denoise(x, t)
        self.gradients += 1

        def pull(w: Tensor) -> Tensor:
            return torch.autograd.grad(xhat, x, w.to(xhat))[0]

        return xhat.detach(), pull

    def solve_with_gradient(
        self,
        x0: Tensor,
        cost: Cost,
        *,
        steps: int,
        method: Method = DDIM,
        gradient: Strategy | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """x1 = solve(x0) `[batch, *event]`, its cost `[batch]`, and the gradient of the cost in x0."""
        self.per_gradient = steps * method.evaluations
        x0 = x0.detach().requires_grad_()
        with torch.enable_grad():
            x1 = solve(self.flow, x0, method=method, steps=uniform_grid(steps), gradient=gradient or Auto())
            value = cost(x1)
            (slope,) = torch.autograd.grad(value.sum(), x0)
        self.gradients += 1
        return x1.detach(), value.detach(), self.flow.project(slope)


def noise_level(misfit: Misfit, like: Tensor) -> Tensor:
    """sigma_y, shaped to multiply x `[batch, *event]`."""
    return per_problem(torch.as_tensor(misfit.sigma_y).to(like), like)


def draw_noise(flow: Flow, generators: Sequence[torch.Generator], like: Tensor) -> Tensor:
    """N(0, I) on the flow's support, one draw per generator `[batch, *event]`, on the device of `like`."""
    return flow.project(draw_normal(flow.shape, generators).to(like))


def misfit_gradient(misfit: Cost, x: Tensor) -> tuple[Tensor, Tensor]:
    """The misfit `[batch]` at x `[batch, *event]`, and its gradient: A'(A x - y) / sigma_y^2 for a linear A."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = misfit(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
    return value.detach(), gradient


def follow_answers(
    network: Network, answers: Iterator[Tensor], misfit: Misfit, first: Tensor, options: RecipeOptions
) -> Result:
    """The last of some answers `[batch, *event]` as a result, with what it cost.

    Parameters
    ----------
    network
        Counts what the answers cost.
    answers
        x1 as it comes, one or more a step of the method.
    misfit
        What was measured. An answer within `options.tau` (by default 1.05) of the noise is REACHED, else MISSED.
    first
        The answer if the run ends before there is one, `[batch, *event]`.
    options
        Its callback sees every answer as round 0 and may end the run.
    """
    x1, ended = first, None
    try:
        for answer in answers:
            x1 = answer.detach()
            if options.callback is not None and (ended := show(x1, misfit, options)) is not None:
                break
    except Ended as stopped:
        ended = stopped.status
    tau = WarmStart.tau if options.tau is None else options.tau
    result = judge_answer(misfit, x1, tau, ended, network.evaluations)
    return replace(
        result,
        gradients=torch.full_like(result.gradients, network.gradients),
        nfe_per_gradient=network.per_gradient,
    )


def follow_sources(
    network: Network,
    pairs: Iterator[tuple[Tensor, Tensor]],
    misfit: Misfit,
    first: Tensor,
    options: RecipeOptions,
) -> Result:
    """As `follow_answers`, for pairs of x0 and x1 = solve(x0); the result has the x0 of its x1."""
    latest: list[Tensor] = []

    def answers() -> Iterator[Tensor]:
        for x0, x1 in pairs:
            latest[:] = [x0.detach()]
            yield x1

    result = follow_answers(network, answers(), misfit, first, options)
    return replace(result, x0=latest[0], on_flow=True) if latest else result


def show(x1: Tensor, misfit: Misfit, options: RecipeOptions) -> Status | None:
    """Show the callback an answer as round 0; what ends the run, if it says so."""
    assert options.callback is not None
    with torch.no_grad():
        cost, rms = misfit(x1).to(torch.float64), misfit.rms(x1).to(torch.float64)
    event = Event(round=0, active=torch.arange(len(x1)), cost=cost, measure=rms, x1=x1, best=cost)
    return options.callback(event)
