"""What `control` reports while it runs, and what it returns."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headwater.optimizers import OptimizerState
from headwater.optimizers.status import Status


@dataclass(frozen=True)
class Event:
    """What the callback of `control` and of recipes sees after each round of evaluations, k problems of the batch.

    Attributes
    ----------
    round
        Rounds so far; 0 while a recipe makes its start.
    active
        The indices of the problems just evaluated, int64 `[k]`; `cost`, `measure`, `x1` and `x0` are in this order.
    cost, measure
        C + R and the measure of the stop (NaN without one), float64 `[k]`.
    x1
        The samples `[k, *event]`, in data units.
    best
        The lowest cost so far of every problem, float64 `[batch]`.
    x0
        The source points `[k, *event]`; None while a recipe makes its start.

    Examples
    --------
    A callback that keeps the cost of every round. x0 = 4 lies at distance 3 from the target, and C = 9 / 2.

    >>> from headwater import Gaussian, control
    >>> flow, costs = Gaussian(torch.zeros(1), torch.ones(1)).flow, []
    >>> def note(event):
    ...     costs.append(round(event.cost[0].item(), 2))
    >>> x0 = torch.tensor([[4.0]], dtype=torch.float64)
    >>> result = control(flow, lambda x1: 0.5 * (x1 - 1).square().sum(1), x0, steps=24, callback=note)
    >>> costs[0], costs[-1]
    (4.5, 0.0)
    """

    round: int
    active: Tensor
    cost: Tensor
    measure: Tensor
    x1: Tensor
    best: Tensor
    x0: Tensor | None = None


Callback = Callable[[Event], Status | None]


def deadline(seconds: float) -> Callback:
    """A callback that ends a run with `Status.SECONDS` once `seconds` have passed since this call.

    It is heard once a round, so a run ends up to one gradient evaluation later. The best point so far is kept.

    Parameters
    ----------
    seconds
        Wall-clock seconds; 0 ends the run after its first round.

    Returns
    -------
    callback
        For `control(..., callback=)` and `RecipeOptions(callback=)`: an `Event` in, a `Status` or None out.

    Examples
    --------
    >>> from headwater import Gaussian, control
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> result = control(flow, lambda x1: (x1 - 3).abs().sum(1), flow.noise([0]), callback=deadline(0.0))
    >>> result.status[0].name, result.gradients.tolist()
    ('SECONDS', [1])
    """
    end = time.perf_counter() + seconds
    return lambda event: Status.SECONDS if time.perf_counter() >= end else None


@dataclass(frozen=True)
class Result:
    """What `control` and every recipe return; the first axis of every tensor is the problem.

    Attributes
    ----------
    x0, x1
        The best source point `[batch, *event]` and its sample in data units `[batch, *event]`, from one and the same
        evaluation. x0 is NaN if a recipe sought no source point.
    cost, measure
        C + R and the measure of the stop (NaN without one) of that evaluation, float64 `[batch]`.
    status
        How each problem ended, one `Status` per problem.
    gradients
        Gradient evaluations, int64 `[batch]`, each of `nfe_per_gradient` network evaluations.
    nfe_per_gradient
        Network evaluations of one solve.
    preparation
        Network evaluations that made the start, per problem, or `[batch]` where they differ.
    trace
        Cost and measure of every round, float64 `[rounds, 2, batch]`, NaN where a problem was not evaluated.
    state
        The optimiser's state. `control(..., state=result)` resumes the run with its record; this state alone
        starts a new record. None if there was no control.
    on_flow
        Whether x1 = solve(x0); False if a recipe has corrected x1 after the solve, or sought no x0.

    Examples
    --------
    >>> from headwater import RK4, Gaussian, control
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 2.0])).flow
    >>> cost = lambda x1: (x1 - 1).square().sum(1)
    >>> result = control(flow, cost, flow.noise([0, 1], dtype=torch.float64), method=RK4, steps=8)
    >>> [[round(x, 4) for x in row] for row in result.x1.tolist()]
    [[1.0, 1.0], [1.0, 1.0]]
    >>> bool((result.evaluations == 32 * result.gradients).all()), result.trace.shape[1:]  # 8 steps of 4 evaluations
    (True, torch.Size([2, 2]))

    It goes on from where it ended, here with a problem that a limit of gradients had stopped:

    >>> first = control(flow, cost, flow.noise([0]), gradients=3)
    >>> last = control(flow, cost, flow.noise([0]), state=first)
    >>> first.status[0].name, last.status[0].name, bool(last.cost < first.cost)
    ('EVALUATIONS', 'CONVERGED', True)
    """

    x0: Tensor
    x1: Tensor
    cost: Tensor
    measure: Tensor
    status: tuple[Status, ...]
    gradients: Tensor
    nfe_per_gradient: int
    trace: Tensor
    state: OptimizerState | None
    preparation: int | Tensor = 0
    on_flow: bool = True

    @property
    def evaluations(self) -> Tensor:
        """Network evaluations (NFE) of each problem, int64 `[batch]`, for the start and for all gradients."""
        return self.preparation + self.gradients * self.nfe_per_gradient
