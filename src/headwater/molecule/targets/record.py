"""The best point of every molecule over all draws, rounds and attempts; and what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from headwater.dflow.result import Callback, Event, Result
from headwater.molecule.targets.deviation import Grade, Verdict
from headwater.optimizers.status import Status


class Draws(NamedTuple):
    """Draws of the source and what they lead to: x0 and x1 `[b, 29, 9]`, `cost` `[b]`, and the verdict on x1."""

    x0: Tensor
    x1: Tensor
    cost: Tensor
    verdict: Verdict

    def select(self, index: Tensor) -> Draws:
        """The draws of the molecules in `index`."""
        return Draws(self.x0[index], self.x1[index], self.cost[index], self.verdict.select(index))


class SearchRecord:
    """The best point of every molecule, by its verdict, and what was spent on it.

    Attributes
    ----------
    x0, x1
        The best point and its sample, `[b, 29, 9]`.
    cost, verdict
        Of the best point, `[b]`.
    lowest
        The lowest cost that was seen, which the callback is told, `[b]`.
    by_gradient
        Whether the best point is one of a control, and not a draw, `[b]`.
    status
        How each search ended.
    gradients, evaluations
        Summed over draws and attempts, `[b]`.
    """

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        self.x0, self.x1 = torch.zeros(count, *shape), torch.zeros(count, *shape)
        self.cost, self.lowest = torch.full((2, count), torch.inf, dtype=torch.float64)
        self.verdict = Verdict.worst(count)
        self.by_gradient = torch.zeros(count, dtype=torch.bool)
        self.status = [Status.RUNNING] * count
        self.gradients, self.evaluations = torch.zeros(2, count, dtype=torch.long)

    @property
    def hit(self) -> Tensor:
        """Which molecules have hit, `[b]`."""
        return self.verdict.grade == Grade.HIT

    @property
    def unseen(self) -> Tensor:
        """Of which molecules no point was finite, `[b]`."""
        return self.verdict.grade == Grade.UNSEEN

    def keep_better(self, index: Tensor, found: Draws, *, by_gradient: bool) -> None:
        """Keep what is better of the molecules in `index`; a point that is not finite never is."""
        self.lowest[index] = torch.fmin(self.lowest[index], found.cost)
        finite = torch.isfinite(found.x1).flatten(1).all(1)
        better = found.verdict.is_better(self.verdict.select(index)) & finite
        rows = index[better]
        self.x0[rows], self.x1[rows] = found.x0[better], found.x1[better]
        self.cost[rows], self.by_gradient[rows] = found.cost[better], by_gradient
        self.verdict.put(rows, found.verdict.select(better))

    def add_attempt(self, index: Tensor, result: Result) -> None:
        """Add the evaluations of a control, and note how it ended."""
        self.gradients[index] += result.gradients
        self.evaluations[index] += result.evaluations
        for i, status in zip(index.tolist(), result.status, strict=True):
            # a molecule that has a finite point did not diverge, whatever the last control did
            lost = status is Status.DIVERGED and int(self.verdict.grade[i]) < Grade.UNSEEN
            self.status[i] = Status.STALLED if lost else status

    def set_status(self, which: Tensor, status: Status) -> None:
        """Note how the molecules `which`, indices or a mask `[b]`, ended."""
        index = torch.nonzero(which).flatten() if which.dtype is torch.bool else which
        for i in index.tolist():
            self.status[i] = status


@dataclass(frozen=True)
class SearchResult:
    """The molecules of a search as states; the first axis of every tensor is the molecule.

    Attributes
    ----------
    x0, x1
        The best point and its sample `[b, 29, 9]`, from one and the same evaluation.
    cost, measure
        Of that point `[b]`: its cost, and the largest deviation of the rounded molecule, in tolerances.
    by_gradient
        Whether that point is one of a control, and not a draw, `[b]`.
    status
        How the search for each molecule ended; REACHED for a hit.
    gradients, evaluations
        Gradient evaluations and forward calls of the network `[b]`, over all draws and attempts.
    """

    x0: Tensor
    x1: Tensor
    cost: Tensor
    measure: Tensor
    by_gradient: Tensor
    status: tuple[Status, ...]
    gradients: Tensor
    evaluations: Tensor


def join_records(records: Sequence[SearchRecord]) -> SearchResult:
    """Batches end to end."""

    def join(name: str) -> Tensor:
        return torch.cat([getattr(r, name) for r in records])

    return SearchResult(
        x0=join("x0"),
        x1=join("x1"),
        cost=join("cost"),
        measure=torch.cat([r.verdict.deviation for r in records]),
        by_gradient=join("by_gradient"),
        status=tuple(s for r in records for s in r.status),
        gradients=join("gradients"),
        evaluations=join("evaluations"),
    )


class RunCallback:
    """The user's callback over the batches of a run: molecules are counted through, and its first status ends all."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback, self.first = callback, 0
        self.status: Status | None = None

    def __call__(self, event: Event) -> Status | None:
        if self.status is None and self.callback is not None:
            self.status = self.callback(replace(event, active=event.active + self.first))
        return self.status
