"""The best evaluation, the status and the trace of every problem of a run."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from headwater.dflow.evaluation import Evaluation
from headwater.dflow.result import Event, Result
from headwater.optimizers import STATUS, OptimizerState
from headwater.optimizers.status import Status


@dataclass
class Record:
    """What `control` has seen so far.

    Attributes
    ----------
    start
        x0 as given `[batch, *event]`.
    codes
        How the optimiser sees each problem at the start `[batch]`, see `optimizers.STATUS`.
    trace
        Cost and measure of every round, `[2, batch]` each.
    """

    start: Tensor
    codes: Tensor
    trace: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        n, like = len(self.start), self.start
        self.x0, self.x1 = like.detach().clone(), torch.full_like(like, float("nan"))
        self.cost = torch.full((n,), float("inf"), dtype=torch.float64, device=like.device)
        self.measure = torch.full_like(self.cost, float("nan"))
        self.gradients = torch.zeros(n, dtype=torch.long, device=like.device)
        self.status = [STATUS[int(c)] for c in self.codes]
        self.preparation: int | Tensor = 0

    def resume(self, before: Result) -> None:
        """Take over the record of an earlier run; problems that a limit or the caller ended run again."""
        cut_short = (Status.EVALUATIONS, Status.SECONDS, Status.CANCELLED)
        self.x0, self.x1, self.cost = before.x0.clone(), before.x1.clone(), before.cost.clone()
        self.measure, self.gradients = before.measure.clone(), before.gradients.clone()
        self.status = [Status.RUNNING if s in cut_short else s for s in before.status]
        self.trace, self.preparation = list(before.trace), before.preparation

    def select_active(self, limit: int) -> Tensor:
        """The indices `[k]` of the problems still running; those at the limit of evaluations end here."""
        for i in torch.nonzero(self.gradients >= limit).flatten().tolist():
            if self.status[i] is Status.RUNNING:
                self.status[i] = Status.EVALUATIONS
        running = [i for i, s in enumerate(self.status) if s is Status.RUNNING]
        return torch.tensor(running, dtype=torch.long, device=self.start.device)

    def update(self, active: Tensor, e: Evaluation, state: OptimizerState, level: float) -> Event:
        """Record the evaluation e of the problems `active` `[k]`, and return the event for the callback.

        Per problem the point of lowest cost is kept. One that reaches the stop, measure <= `level`, is kept even if
        its cost, with the prior, is not the lowest: a problem returned as REACHED has a measure at or below `level`.
        """
        reached = e.measure <= level
        better = (e.cost < self.cost[active]) | reached
        rows = active[better]
        self.x0[rows], self.x1[rows] = e.x0[better], e.x1[better]
        self.cost[rows], self.measure[rows] = e.cost[better], e.measure[better]
        self.gradients[active] += 1
        # The stop comes before the optimiser's own verdict: a problem that converged at the level has reached it.
        for i, hit, code in zip(active.tolist(), reached.tolist(), state.code[active].tolist(), strict=True):
            self.status[i] = Status.REACHED if hit else STATUS[code]
            if self.status[i] is Status.CONVERGED and level > -float("inf"):  # there was a stop
                self.status[i] = Status.MISSED
        line = torch.full((2, len(self.cost)), float("nan"), dtype=torch.float64, device=active.device)
        line[:, active] = torch.stack([e.cost, e.measure])
        self.trace.append(line)
        return Event(
            round=len(self.trace),
            active=active,
            cost=e.cost,
            measure=e.measure,
            x1=e.x1,
            best=self.cost.clone(),
            x0=e.x0,
        )

    def end_running(self, status: Status) -> None:
        """End every problem that still runs, with this status."""
        self.status = [status if s is Status.RUNNING else s for s in self.status]

    def build_result(self, state: OptimizerState, nfe_per_gradient: int) -> Result:
        """The result of the run; `nfe_per_gradient` network evaluations make one gradient evaluation."""
        return Result(
            x0=self.x0,
            x1=self.x1,
            cost=self.cost,
            measure=self.measure,
            status=tuple(self.status),
            gradients=self.gradients,
            nfe_per_gradient=nfe_per_gradient,
            trace=torch.stack(self.trace) if self.trace else torch.zeros(0, 2, len(self.cost)),
            state=state,
            preparation=self.preparation,
        )
