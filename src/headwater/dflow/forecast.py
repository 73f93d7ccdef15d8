"""What a run will cost, before it runs: peak memory and seconds per gradient evaluation.

One network evaluation with its vector-Jacobian product is carried out and counted; the laws of
`solvers.differentiation` give the rest. With A the bytes that its graph keeps, P >= A its peak (the backward pass
included), C the peak of the cost alone, which may hold a decoder, s the bytes of a state, n network evaluations per
solve and O the bytes of the optimiser's state:

    Direct        max((n - 1) A + P, n A + C) + O      n (F + V)
    Checkpoint    max(P, C) + (states held) s + O      n (2 F + V), n (3 F + V) if the grid is cut into segments

The cost's own evaluation and product come on top of the seconds. The optimiser's own step, which needs no graph, is
the peak if it needs more than that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.networks import device_of
from headwater.optimizers import LBFGS, Optimizer
from headwater.problem.cost import Cost
from headwater.solvers.differentiation import Auto, Checkpoint, Direct
from headwater.solvers.fixed import as_grid
from headwater.solvers.memory import PeakMemory, cost_bytes
from headwater.solvers.method import MIDPOINT, Method

BOOKKEEPING = 8
"""States `[batch, *event]` that `control` holds at most beside the optimiser's: counted in its code, not tuned.

The start; the best x0 and x1 of the `Record`; x0, x1 and gradient of the last `Evaluation`; z and x0 of the next one.
"""


@dataclass(frozen=True)
class Forecast:
    """What a run will need.

    Attributes
    ----------
    bytes
        Tensors at the peak, in bytes, on top of the network's weights.
    seconds_per_gradient
        Seconds of one gradient evaluation of the whole batch.
    strategy
        The strategy that was forecast: the one given, or the choice of `Auto`.

    Examples
    --------
    >>> from headwater import Flow, forecast
    >>> need = forecast(Flow(lambda x, t: -x, shape=(1000,)), lambda x1: x1.sum(1), batch=2)
    >>> need.strategy, need.bytes > 0, need.seconds_per_gradient > 0
    (Direct(), True, True)
    """

    bytes: int
    seconds_per_gradient: float
    strategy: Direct | Checkpoint


def forecast(
    flow: Flow,
    cost: Cost,
    batch: int,
    *,
    method: Method = MIDPOINT,
    steps: int | Sequence[float] = 6,
    gradient: Direct | Checkpoint | Auto | None = None,
    optimizer: Optimizer[Any] | None = None,
) -> Forecast:
    """Predict peak memory and time of `control(flow, cost, x0)` with these settings and `batch` problems.

    It evaluates the network three times on the whole batch, fewer than any run does. Memory is what `PeakMemory`
    counts; an allocator may take more.

    Parameters
    ----------
    flow
        The velocity field.
    cost
        C(x1) `[batch, *event]` -> `[batch]`, differentiable.
    batch
        The number of problems.
    method
        The rule for one step of the solver.
    steps
        The number of steps, or their times.
    gradient
        How the solve is differentiated: `Direct()`, `Checkpoint()`, or `Auto()`, which chooses one; None means
        `Auto()`.
    optimizer
        Whose state is counted; None means `LBFGS()`.

    Returns
    -------
    forecast
        Bytes at the peak, seconds per gradient evaluation, and the strategy.

    Raises
    ------
    Misuse
        If the batch is empty, or the cost does not return one differentiable value per problem.

    Examples
    --------
    >>> from headwater import Direct, Flow
    >>> flow = Flow(lambda x, t: -x, shape=(1000,))
    >>> few, many = (forecast(flow, lambda x1: x1.sum(1), 1, steps=n, gradient=Direct()) for n in (6, 48))
    >>> few.bytes <= many.bytes
    True
    """
    count = steps if isinstance(steps, int) else len(as_grid(steps)) - 1
    if batch < 1 or count < 1:
        raise Misuse(f"A run of {batch} problems and {count} steps does nothing.", "Give at least 1 of each.")
    x = flow.noise(range(batch), device=device_of(flow.modules))
    strategy = gradient or Auto()
    if isinstance(strategy, Auto):
        strategy = strategy.leave_room(flow, cost, method, x, count).choose(flow, method, x, count)
    peak = peak_bytes(flow, cost, x, strategy, count, method, optimizer)
    return Forecast(peak, _seconds(flow, cost, x, strategy, count, method), strategy)


def peak_bytes(
    flow: Flow,
    cost: Cost,
    x: Tensor,
    strategy: Direct | Checkpoint,
    steps: int,
    method: Method,
    optimizer: Optimizer[Any] | None = None,
) -> int:
    """Bytes at the peak of a run from x `[batch, *event]`; the network and the cost are evaluated once."""
    graph, evaluation = _evaluation_bytes(flow, x)
    judging = cost_bytes(cost, x)
    held, working = _optimizer_bytes(optimizer or LBFGS(), x)
    state = x.numel() * x.element_size()
    n = steps * method.evaluations
    if isinstance(strategy, Direct):
        solving = max((n - 1) * graph + evaluation, n * graph + judging)
    else:
        solving = max(evaluation, judging) + _states(strategy, steps, method) * state
    return max(solving + held, working) + BOOKKEEPING * state


def _evaluation_bytes(flow: Flow, x: Tensor) -> tuple[int, int]:
    """Bytes that the graph of one network evaluation keeps (A), and at the peak of it and its backward pass (P)."""
    with PeakMemory() as memory:
        z = x.detach().clone().requires_grad_()
        before = memory.live
        v = flow(z, torch.tensor(0.5))
        graph = memory.live - before
        torch.autograd.grad((z + v).square().sum(), z)
    return graph, memory.peak


def _optimizer_bytes(optimizer: Optimizer[Any], x: Tensor) -> tuple[int, int]:
    """Bytes that the optimiser holds between evaluations (O), and at the peak of its step."""
    weight = torch.linspace(1, 2, x[0].numel(), device=x.device).reshape(x.shape[1:])
    with PeakMemory() as memory:
        current, held = optimizer.init(x), 0
        for _ in range(6):  # on a quadratic, so that steps are accepted and pairs kept
            held = max(held, memory.live)
            gradient = current.trial * weight
            value = 0.5 * (current.trial * gradient).flatten(1).sum(1).double()
            current = optimizer.step(current, value, gradient)
    return held, memory.peak


def _states(strategy: Checkpoint, steps: int, method: Method) -> int:
    """The states that `Checkpoint` holds: all stages, or the starts of segments and the stages of one."""
    stride = strategy.stride(steps, method.evaluations)
    return (
        steps * method.evaluations if stride == 1 else math.ceil(steps / stride) + stride * method.evaluations
    )


def _seconds(
    flow: Flow, cost: Cost, x: Tensor, strategy: Direct | Checkpoint, steps: int, method: Method
) -> float:
    """Seconds of a gradient evaluation: a forward (F) and a vector-Jacobian product (V) are timed, then counted."""
    z = x.detach().clone().requires_grad_()
    start = _now(x.device)
    v = flow(z, torch.tensor(0.5))
    middle = _now(x.device)
    torch.autograd.grad(v, z, torch.ones_like(v))
    forward, product = middle - start, _now(x.device) - middle
    judging = time_once(lambda: torch.autograd.grad(cost(z).sum(), z), x.device)
    forwards = 1
    if isinstance(strategy, Checkpoint):
        forwards = 2 if strategy.stride(steps, method.evaluations) == 1 else 3
    return steps * method.evaluations * (forwards * forward + product) + judging


def time_once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work on a device takes."""
    start = _now(device)
    work()
    return _now(device) - start


def time_least(work: Callable[[], object], device: torch.device, enough: float = 0.2, most: int = 5) -> float:
    """The least seconds of some work on a device, which is done again while all of it took less than `enough`.

    A single timing of quick work may be ten times too long on a busy machine.
    """
    seconds = [time_once(work, device)]
    while sum(seconds) < enough and len(seconds) < most:
        seconds.append(time_once(work, device))
    return min(seconds)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
