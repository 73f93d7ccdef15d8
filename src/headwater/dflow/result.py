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
    """What the callback sees after each round of evaluations, k problems of the batch.

    Attributes
    ----------
    round
        Rounds so far; 0 while a recipe makes its start.
    active
        The indices `[k]` of the problems just evaluated; `cost`, `measure`, `x1` and `x0` are in this order.
    cost, measure
        C + R and the measure of the stop (NaN without one), `[k]`.
    x1
        The samples `[k, *event]`.
    best
        The lowest cost so far of every problem `[batch]`.
    x0
        The source points `[k, *event]`; None while a recipe makes its start.
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

    Examples
    --------
    >>> deadline(0.0)(None).name
    'SECONDS'
    """
    end = time.perf_counter() + seconds
    return lambda event: Status.SECONDS if time.perf_counter() >= end else None


@dataclass(frozen=True)
class Result:
    """What `control` returns; the first axis of every tensor is the problem.

    Attributes
    ----------
    x0, x1
        The best source point `[batch, *event]` and its sample, from one and the same evaluation. x0 is NaN if a
        recipe sought no source point.
    cost, measure
        C + R (float64) and the measure of the stop (NaN without one) of that evaluation, `[batch]`.
    status
        How each problem ended.
    gradients
        Gradient evaluations `[batch]`, each of `nfe_per_gradient` network evaluations.
    preparation
        Network evaluations that made the start, per problem, or `[batch]` where they differ.
    trace
        Cost and measure of every round `[rounds, 2, batch]`, NaN where a problem was not evaluated.
    state
        The optimiser's state. `control(..., state=result)` resumes the run with its record; this state alone
        starts a new record. None if there was no control.
    on_flow
        Whether x1 = solve(x0); False if a recipe has corrected x1 after the solve.
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
        """Network evaluations (NFE) per problem `[batch]`, those of the start included."""
        return self.preparation + self.gradients * self.nfe_per_gradient
