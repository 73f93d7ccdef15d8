"""D-Flow: control the generated sample from the source point (Ben-Hamu et al., ICML 2024, Algorithm 1).

    Require: flow v, cost C, source prior R
    x0 <- a start in the source
    repeat
        x1 <- solve dx/dt = v(x, t) from x(0) = x0 to t = 1
        x0 <- optimize_step(x0, grad_x0 [C(x1) + R(x0)])
    until the stop holds, or the optimiser ends
    return the best x0 and its x1

Problems are independent: each has its own line search, memory, stop and status, and one that has ended is
left out of all further evaluations.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.optimizers import LBFGS, STATUS, Optimizer, OptimizerState, put, take
from headwater.optimizers.status import Status
from headwater.problem.batch import select
from headwater.problem.cost import Cost, Stop, check_values
from headwater.solvers.differentiation import Auto, Strategy
from headwater.solvers.fixed import as_grid, solve
from headwater.solvers.method import MIDPOINT, Method

Map = Callable[[Tensor], Tensor]


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
    """A callback that ends a run with `Status.SECONDS` once so many seconds have passed since this call.

    >>> deadline(0.0)(None).name
    'SECONDS'
    """
    end = time.perf_counter() + seconds
    return lambda event: Status.SECONDS if time.perf_counter() >= end else None


@dataclass(frozen=True)
class Result:
    """What `control` returns; the first axis of every tensor is the problem.

    `x0` and `x1` are the best point and its sample, from one and the same evaluation, as are `cost` (float64,
    C + R) and `measure` (of the stop, NaN without one). `gradients` counts gradient evaluations, each of
    `nfe_per_gradient` network evaluations; `preparation` counts those that made the start; `trace` has cost and
    measure of every round, NaN where a problem was not evaluated. `control(..., state=result)` goes on with the
    run; `state` is the optimiser's alone.
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
    preparation: int = 0

    @property
    def evaluations(self) -> Tensor:
        """Network evaluations (NFE) per problem, those of the start included."""
        return self.preparation + self.gradients * self.nfe_per_gradient


@dataclass(frozen=True)
class _Problem:
    """One line of Algorithm 1: from source points to samples, costs and gradients."""

    flow: Flow
    cost: Cost
    prior: Cost | None
    constraint: Map | None
    options: dict[str, Any]

    def evaluate_some(self, index: Tensor, z: Tensor) -> _Evaluation:
        """The evaluation of the problems in `index`.

        If the flow cannot be restricted to them, because labels of all problems are bound in a plain function, all
        are evaluated; what is really wrong is raised there.
        """
        if len(index) < len(z):
            try:
                return self.select(index).evaluate(z[index])
            except Exception:
                e = self.evaluate(z)
                return _Evaluation(e.x0[index], e.x1[index], e.cost[index], e.gradient[index])
        return self.evaluate(z)

    def select(self, index: Tensor) -> _Problem:
        prior = None if self.prior is None else select(self.prior, index)
        constraint = None if self.constraint is None else select(self.constraint, index)
        return _Problem(self.flow.select(index), select(self.cost, index), prior, constraint, self.options)

    def evaluate(self, z: Tensor) -> _Evaluation:
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            x0 = self.flow.project(z if self.constraint is None else self.constraint(z))
            x1 = solve(self.flow, x0, **self.options)
            value = check_values(self.cost, self.cost(x1), len(z), x1)
            if self.prior is not None:
                value = value + check_values(self.prior, self.prior(x0), len(z), x0)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return _Evaluation(x0.detach(), x1.detach(), value.detach().to(torch.float64), gradient)


@dataclass(frozen=True)
class _Evaluation:
    x0: Tensor
    x1: Tensor
    cost: Tensor
    gradient: Tensor


def control(
    flow: Flow,
    cost: Cost,
    x0: Tensor,
    *,
    stop: Stop | None = None,
    prior: Cost | None = None,
    method: Method = MIDPOINT,
    steps: int | Sequence[float] = 6,
    gradients: int = 100,
    optimizer: Optimizer[Any] | None = None,
    gradient: Strategy | None = None,
    constraint: Map | None = None,
    callback: Callback | None = None,
    state: Result | OptimizerState | None = None,
) -> Result:
    """Minimise C(x1(x0)) + R(x0) over the source point x0, each problem for itself.

    Main: the `flow`; `cost(x1) -> [batch]`; the start `x0` `[batch, *flow.shape]`, for instance
    `flow.noise(seeds)`; `stop`, for instance `discrepancy(misfit)`; `prior(x0) -> [batch]`; the solver
    `method` and its `steps`; the limit of `gradients` evaluations per problem.

    Other: `optimizer` (default `LBFGS()`), `gradient` (how the solve is differentiated; default `Auto()`),
    `constraint` (a differentiable map from the optimised variable to x0, such as `source.shell`),
    `callback(event)`, which ends the run by returning a `Status` (`deadline(seconds)` is one), and `state`, an
    earlier result to go on from: its best points, counts and trace are kept, `gradients` limits the sum of both
    runs, and what had ended by its stop or optimiser stays ended (x0 is then ignored). An optimiser's state alone
    starts a new record.

    Failure of numerics is a status of the problem; a start with a non-finite cost is `Status.DIVERGED`.

    >>> from headwater import Gaussian, control
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 3.0])).flow
    >>> target, x0 = torch.tensor([[1.0, -1.0]]), flow.noise([0], dtype=torch.float64)
    >>> result = control(flow, lambda x1: (x1 - target).square().sum(1), x0, steps=24)
    >>> bool((result.x1 - target).abs().max() < 1e-3), result.status[0].name
    (True, 'CONVERGED')

    Raises
    ------
    Misuse
        If x0 has another shape than the flow's events, or the cost does not return one differentiable value
        per problem.
    """
    check_start(flow, x0)
    if gradients < 1:
        raise Misuse(f"A limit of {gradients} gradients evaluates nothing.", "Give at least 1.")
    method_options = {"method": method, "steps": as_grid(steps), "gradient": gradient or Auto()}
    problem = _Problem(
        flow,
        _on_full_batch(cost, x0),
        _on_full_batch(prior, x0),
        constraint,
        method_options,
    )
    optimizer = optimizer or LBFGS()
    stop = None if stop is None else replace(stop, measure=_on_full_batch(stop.measure, x0))
    current: Any = state.state if isinstance(state, Result) else state or optimizer.init(x0)
    record = _Record(x0, current.code)
    if isinstance(state, Result):
        record.go_on(state)
    while len(active := record.active(gradients)):
        ends = None if stop is None else stop.select(active)
        evaluation = problem.evaluate_some(active, current.trial)
        current = _advance(optimizer, current, active, evaluation)
        event = record.update(active, evaluation, current, ends)
        if callback is not None and (end := callback(event)) is not None:
            record.end(end)
    return record.result(current, (len(as_grid(steps)) - 1) * method.evaluations)


def _advance(optimizer: Optimizer[Any], state: Any, active: Tensor, e: _Evaluation) -> Any:
    """One step of the active problems; the memory of the others is not copied if there are none."""
    if len(active) == len(state.value):
        return optimizer.step(state, e.cost, e.gradient)
    return put(state, active, optimizer.step(take(state, active), e.cost, e.gradient))


def check_start(flow: Flow, x0: Tensor) -> None:
    """Refuse a start that is no batch of the flow's events."""
    if x0.ndim != len(flow.shape) + 1 or tuple(x0.shape[1:]) != flow.shape or len(x0) == 0:
        raise Misuse(
            f"x0 has shape {tuple(x0.shape)} but the flow's events have shape {flow.shape}.",
            "Give a non-empty batch [batch, *flow.shape], for instance flow.noise(seeds).",
        )


@dataclass
class _Record:
    """The best evaluation, the status and the trace of every problem."""

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

    def go_on(self, before: Result) -> None:
        """Take over the record of an earlier run; problems that a limit or the caller had ended run again."""
        cut_short = (Status.EVALUATIONS, Status.SECONDS, Status.CANCELLED)
        self.x0, self.x1, self.cost = before.x0.clone(), before.x1.clone(), before.cost.clone()
        self.measure, self.gradients = before.measure.clone(), before.gradients.clone()
        self.status = [Status.RUNNING if s in cut_short else s for s in before.status]
        self.trace = list(before.trace)

    def active(self, limit: int) -> Tensor:
        """The problems still running; those at the limit of evaluations end here."""
        for i in torch.nonzero(self.gradients >= limit).flatten().tolist():
            if self.status[i] is Status.RUNNING:
                self.status[i] = Status.EVALUATIONS
        running = [i for i, s in enumerate(self.status) if s is Status.RUNNING]
        return torch.tensor(running, dtype=torch.long, device=self.start.device)

    def update(self, active: Tensor, e: _Evaluation, state: OptimizerState, stop: Stop | None) -> Event:
        """Keep what is better, end what has ended, and tell the callback."""
        nothing = torch.full_like(e.cost, float("nan"))
        with torch.no_grad():
            measure = nothing if stop is None else stop.measure(e.x1).to(torch.float64)
        reached = measure <= (stop.level if stop else -float("inf"))
        better = (e.cost < self.cost[active]) | reached
        rows = active[better]
        self.x0[rows], self.x1[rows] = e.x0[better], e.x1[better]
        self.cost[rows], self.measure[rows] = e.cost[better], measure[better]
        self.gradients[active] += 1
        for i, hit, code in zip(active.tolist(), reached.tolist(), state.code[active].tolist(), strict=True):
            self.status[i] = Status.REACHED if hit else STATUS[code]
        line = torch.full((2, len(self.cost)), float("nan"), dtype=torch.float64, device=active.device)
        line[:, active] = torch.stack([e.cost, measure])
        self.trace.append(line)
        return Event(len(self.trace), active, e.cost, measure, e.x1, self.cost.clone(), e.x0)

    def end(self, status: Status) -> None:
        """End all that is still running."""
        self.status = [status if s is Status.RUNNING else s for s in self.status]

    def result(self, state: OptimizerState, nfe: int) -> Result:
        trace = torch.stack(self.trace) if self.trace else torch.zeros(0, 2, len(self.cost))
        return Result(
            self.x0, self.x1, self.cost, self.measure, tuple(self.status), self.gradients, nfe, trace, state
        )


def _on_full_batch(cost: Any, x0: Tensor) -> Any:
    """A cost that can follow the active problems, whatever is bound in it."""
    return None if cost is None else _FullBatch(cost, torch.zeros_like(x0))


class _FullBatch:
    """A cost of some problems: its own `select` if that works, else the cost of the full batch.

    Then finished problems keep their last x1. `select` does not work if per-problem data is bound in a plain
    function, for instance a mask in an operator.
    """

    def __init__(self, cost: Cost, last: Tensor, index: Tensor | None = None) -> None:
        self.cost, self.last, self.index = cost, last, index
        self.__name__ = getattr(cost, "__name__", type(cost).__name__)

    def select(self, index: Tensor) -> _FullBatch:
        return _FullBatch(self.cost, self.last, index)

    def __call__(self, x: Tensor) -> Tensor:
        if self.index is None or len(self.index) == len(self.last):
            value = check_values(self.cost, self.cost(x), len(x), x)
        else:
            value = self._of_some(x, self.index)
        self.last[slice(None) if self.index is None else self.index] = x.detach()
        return value

    def _of_some(self, x: Tensor, index: Tensor) -> Tensor:
        if hasattr(self.cost, "select"):
            try:
                return check_values(self.cost, select(self.cost, index)(x), len(x), x)
            except Exception:  # what is really wrong is raised by the full batch
                pass
        everyone = self.last.index_copy(0, index, x)
        return check_values(self.cost, self.cost(everyone), len(everyone), everyone)[index]
