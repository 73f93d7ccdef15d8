"""D-Flow: control of the generated sample from the source point (Ben-Hamu et al., ICML 2024, Algorithm 1).

    Require: flow v, cost C, source prior R
    x0 <- a start in the source
    repeat
        x1 <- solve dx/dt = v(x, t) from x(0) = x0 to t = 1
        x0 <- optimize_step(x0, grad_x0 [C(x1) + R(x0)])
    until the stop holds, or the optimiser ends
    return the best x0 and its x1

Problems are independent: each has its own line search, memory, stop and status, and one that has ended is
left out of all further evaluations.

    evaluation.py   x0 -> x1, cost, gradient, for the problems that still run
    promises.py     the check at the start: is the velocity a function, are the problems independent?
    record.py       the best point, status and trace of every problem
    result.py       the event that a callback sees, and the result
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from headwater.dflow.evaluation import Evaluation, Map, Objective
from headwater.dflow.promises import check_promises, check_resumed
from headwater.dflow.record import Record
from headwater.dflow.result import Callback, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS, Optimizer, OptimizerState, put_rows, take_rows
from headwater.problem.cost import Cost, Stop
from headwater.solvers.differentiation import Auto, Strategy
from headwater.solvers.fixed import rising_grid
from headwater.solvers.method import MIDPOINT, Method


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
    """Minimise C(x1(x0)) + R(x0) over the source point x0, each problem by itself.

    x1(x0) is the solution at t = 1 of dx/dt = v(x, t) from x(0) = x0, differentiated through its solver.

    Parameters
    ----------
    flow
        The velocity field v, pre-trained and frozen; its events have the shape `[*event]`.
    cost
        C(x1) `[batch, *event]` -> `[batch]`, differentiable.
    x0
        The start `[batch, *flow.shape]` in float32 or float64, for instance `flow.noise(seeds)`.
    stop
        When a problem has reached its aim, for instance `discrepancy(misfit)`. One that converges above it is
        `Status.MISSED`.
    prior
        R(x0) `[batch, *event]` -> `[batch]`, added to the cost; None means C alone.
    method
        The rule for one step of the solver.
    steps
        A number of uniform steps, or the times themselves, rising within [0, 1], such as those of `logit_grid`.
    gradients
        The most gradient evaluations per problem, at least 1.
    optimizer
        None means `LBFGS()`.
    gradient
        How the solve is differentiated; None means `Auto()`, the fastest way that fits into memory.
    constraint
        A differentiable map from the optimised variable to x0, both `[batch, *event]`, such as `shell`.
    callback
        `callback(event)` after every round; it ends the run by returning a `Status`, as `deadline(seconds)` does.
    state
        An earlier result to resume, with the same flow, cost, steps and method; x0 is then ignored. Its best points,
        counts and trace are kept, `gradients` limits the sum of both runs, and a problem that its stop or its
        optimiser ended stays ended, also under a tighter stop. The optimiser's state alone, `result.state`, goes on
        with a new record.

    Returns
    -------
    result
        Best points and samples `[batch, *event]`, costs `[batch]`, and how each problem ended. A failure of the
        numerics is a status: a start with a non-finite cost is `Status.DIVERGED`.

    Raises
    ------
    Ended
        A watched flow (`watch_flow`) ended the run before its first evaluation was complete. Later it ends the
        problems that still run, with its status, and the best so far is returned.
    Misuse
        If x0 is not a batch of the flow's events in float32 or float64; if the times do not rise within [0, 1]; if
        `gradients` is below 1; if the cost does not return one differentiable value per problem; if a network is in
        training mode, or the velocity gives two answers for one input; if a problem gives other values alone than in
        its batch; if `state` is of another optimiser or batch, or of a result with `on_flow` False. Exceptions of
        user code pass through, with a note that names the part and the problems.

    References
    ----------
    Ben-Hamu et al., "D-Flow: Differentiating through Flows for Controlled Generation", ICML 2024, Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, control
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 3.0])).flow
    >>> target, x0 = torch.tensor([[1.0, -1.0]]), flow.noise([0], dtype=torch.float64)
    >>> result = control(flow, lambda x1: (x1 - target).square().sum(1), x0, steps=24)
    >>> bool((result.x1 - target).abs().max() < 1e-3), result.status[0].name
    (True, 'CONVERGED')
    """
    check_start(flow, x0, gradients)
    grid, optimizer = rising_grid(steps), optimizer or LBFGS()
    solver = {"method": method, "steps": grid, "gradient": gradient or Auto()}
    objective = Objective.from_parts(flow, cost, prior, stop, constraint, solver)
    current: Any = optimizer.init(x0) if state is None else resume_state(state, optimizer, x0)
    check_promises(objective, current.trial)
    objective = leave_room(objective, current.trial)
    record, nfe = Record(x0, current.code), (len(grid) - 1) * method.evaluations
    if isinstance(state, Result):
        check_resumed(objective, state, nfe)
        record.resume(state)
    while len(active := record.select_active(gradients)):
        # Algorithm 1: x1 <- solve, then C(x1) + R(x0) and its gradient in x0.
        try:
            evaluation = objective.evaluate_problems(active, current.trial)
        except Ended as ended:
            if not record.trace:
                raise
            record.end_running(ended.status)
            break
        current = optimize_step(optimizer, current, active, evaluation)  # x0 <- optimize_step
        event = record.update(active, evaluation, current, stop.level if stop else -float("inf"))
        if callback is not None and (end := callback(event)) is not None:
            record.end_running(end)
    return record.build_result(current, nfe)


def leave_room(objective: Objective, z: Tensor) -> Objective:
    """The objective with memory left for its cost at z `[batch, *event]`, where `Auto` chooses a strategy."""
    strategy, method = objective.solver["gradient"], objective.solver["method"]
    if not isinstance(strategy, Auto):
        return objective
    with objective.annotate("cost"):
        found = strategy.leave_room(
            objective.flow, objective.cost, method, z, len(objective.solver["steps"]) - 1
        )
    return replace(objective, solver={**objective.solver, "gradient": found})


def resume_state(state: Result | OptimizerState, optimizer: Optimizer[Any], x0: Tensor) -> OptimizerState:
    """The optimiser's state of an earlier run, if this run can go on from it.

    Raises
    ------
    Misuse
        If x1 was corrected after the solve, the optimiser is another one, or there are other problems.
    """
    if isinstance(state, Result) and not state.on_flow:
        raise Misuse(
            "The result to resume has samples that were corrected after the solve, which control cannot go on with.",
            "Resume the recipe that made it, or start from its x0.",
        )
    found: Any = state.state if isinstance(state, Result) else state
    if type(found) is not type(optimizer.init(x0[:1])):
        raise Misuse(
            f"The state is {type(found).__name__}, of another optimiser than {type(optimizer).__name__}.",
            "Give the optimizer that the earlier run had.",
        )
    if found.x.shape != x0.shape:
        raise Misuse(
            f"The state has the points {list(found.x.shape)} and x0 is {list(x0.shape)}.",
            "Give the x0 of the earlier run; its place is taken by the state.",
        )
    return found  # type: ignore[no-any-return]


def optimize_step(optimizer: Optimizer[Any], state: Any, active: Tensor, e: Evaluation) -> Any:
    """One optimiser step of the problems `active` `[k]`, given their evaluation; the others keep their state."""
    # Rows are taken and put back only once a problem has ended: L-BFGS would copy its whole memory.
    if len(active) == len(state.value):
        return optimizer.step(state, e.cost, e.gradient)
    return put_rows(state, active, optimizer.step(take_rows(state, active), e.cost, e.gradient))


def check_start(flow: Flow, x0: Tensor, gradients: int) -> None:
    """Refuse an x0 that is not a batch `[batch, *flow.shape]`, and a limit below one evaluation."""
    if x0.ndim != len(flow.shape) + 1 or tuple(x0.shape[1:]) != flow.shape or len(x0) == 0:
        raise Misuse(
            f"x0 has shape {tuple(x0.shape)} but the flow's events have shape {flow.shape}.",
            "Give a non-empty batch [batch, *flow.shape], for instance flow.noise(seeds).",
        )
    require_full_precision(x0)
    if gradients < 1:
        raise Misuse(f"A limit of {gradients} gradients allows no evaluation.", "Give at least 1.")
