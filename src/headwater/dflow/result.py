"""What `control` tells while it runs and returns at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from headwater.optimizers import OptimizerState
from headwater.optimizers.status import Status


@dataclass(frozen=True)
class Event:
    """What the callback sees after each round of evaluations.

    `active` are the problems just evaluated; `cost`, `measure` (of the stop; NaN without one), `x1` and
    `x0` (None before the control itself) belong to them in this order. `best` is the lowest cost so far of every
    problem.
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
        The best source point `[batch, *event]` and its sample, from one and the same evaluation.
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
        The optimiser's. `control(..., state=result)` resumes the run with its record; `state` alone does not.
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
    state: OptimizerState
    preparation: int | Tensor = 0
    on_flow: bool = True

    @property
    def evaluations(self) -> Tensor:
        """Network evaluations (NFE) per problem `[batch]`, those of the start included."""
        return self.preparation + self.gradients * self.nfe_per_gradient
