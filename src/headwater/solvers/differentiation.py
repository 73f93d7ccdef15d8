"""How the solve is differentiated: each strategy with its memory and time law.

With n evaluations of the network per solve, A bytes of activations per evaluation, s bytes per state, and
F, V seconds for a forward and a vector-Jacobian product:

| strategy     | memory                  | seconds            |
|--------------|-------------------------|--------------------|
| `Direct`     | n A                     | n (F + V)          |
| `Checkpoint` | A + min(n, `states`) s  | n (2 F + V) .. n (3 F + V) |
| `Auto`       | the fastest that fits   |                    |

Both differentiate the discrete solve exactly. The adjoint ODE is not offered: its gradient belongs to another
discretisation than the x1 that is returned.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.recompute import recompute
from headwater.problem.batch import CannotRestrict

if TYPE_CHECKING:
    from headwater.problem.cost import Cost
    from headwater.solvers.method import Field, Method


class Strategy(Protocol):
    """A way to run the solve so that x1 carries gradients to x0; a protocol with one method."""

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid from x0 at its start, both `[batch, *event]`."""


@dataclass(frozen=True)
class Direct:
    """Keep the graph of the whole solve: the fastest way; memory grows with the number of evaluations.

    With n evaluations per solve, A bytes of activations per evaluation, and F and V seconds for a forward and a
    vector-Jacobian product: n A bytes and n (F + V) seconds.

    References
    ----------
    Griewank & Walther, Evaluating Derivatives (2008), chapter 3.

    Examples
    --------
    The gradient of x1 = x0 + x0 / 2 + x0 / 8, one midpoint step of 1/2 along v = x, is exact.

    >>> from headwater import Flow, solve
    >>> x0 = torch.ones(1, 1, requires_grad=True)
    >>> x1 = solve(Flow(lambda x, t: x, (1,)), x0, steps=[0.0, 0.5], gradient=Direct())
    >>> torch.autograd.grad(x1.sum(), x0)[0].item()
    1.625
    """

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid, `[batch, *event]`."""
        return march(flow, flow, method, x0, grid)


@dataclass(frozen=True)
class Checkpoint:
    """Keep states and recompute: exact, with the activations of one network evaluation at a time.

    At most about `states` states are held. If the solve has no more evaluations than that, each evaluation is
    recomputed once in the backward pass. Otherwise the grid is cut into segments: their starts are held, and each
    segment is solved once more (without activations) in the backward pass. With n evaluations per solve, A bytes of
    activations per evaluation, s bytes per state, and F and V seconds for a forward and a vector-Jacobian product:
    A + min(n, `states`) s bytes, and n (2 F + V) to n (3 F + V) seconds.

    Parameters
    ----------
    states
        The states `[batch, *event]` held, at least 2.

    Raises
    ------
    Misuse
        If `states` is below 2; in the backward pass, if the velocity gives another answer than before.

    References
    ----------
    Griewank & Walther, Evaluating Derivatives (2008), chapter 12.

    Examples
    --------
    The gradient is that of `Direct`:

    >>> from headwater import Direct, Flow, solve
    >>> flow, x0 = Flow(lambda x, t: -(x**3), (1,)), torch.ones(1, 1, dtype=torch.float64, requires_grad=True)
    >>> ways = [solve(flow, x0, gradient=way) for way in (Direct(), Checkpoint(states=2))]
    >>> a, b = [torch.autograd.grad(x1.sum(), x0)[0].item() for x1 in ways]
    >>> abs(a - b) < 1e-12
    True

    6 and 50 midpoint steps: every state is held, or segments of 5 steps.

    >>> Checkpoint(states=24).stride(steps=6, evaluations=2), Checkpoint(states=24).stride(steps=50, evaluations=2)
    (1, 5)
    """

    states: int = 24

    def __post_init__(self) -> None:
        if self.states < 2:
            raise Misuse(f"Checkpoint cannot work with {self.states} states.", "Give states >= 2.")

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid, `[batch, *event]`."""
        if not (x0.requires_grad and torch.is_grad_enabled()):
            return march(flow, flow, method, x0, grid)

        def evaluate(x: Tensor, t: Tensor) -> Tensor:
            return recompute(lambda z: flow(z, t), x)

        stride = self.stride(len(grid) - 1, method.evaluations)
        if stride == 1:
            return march(evaluate, flow, method, x0, grid)
        x = x0
        for i in range(0, len(grid) - 1, stride):
            part = grid[i : i + stride + 1]
            x = recompute(functools.partial(_segment, evaluate, flow, method, part), x)
        return x

    def stride(self, steps: int, evaluations: int) -> int:
        """Steps per segment: 1 if all states fit, else the number that holds the fewest states `[batch, *event]`."""
        if steps * evaluations <= self.states:
            return 1
        # steps / k starts and the k * evaluations stages of one segment: about 2 sqrt(steps * evaluations) at best.
        return min(range(1, steps + 1), key=lambda k: math.ceil(steps / k) + k * evaluations)


@dataclass(frozen=True)
class Auto:
    """`Direct` if its forecast fits into `memory` bytes, else `Checkpoint`.

    The forecast is n A for each problem, with n evaluations per solve and A the bytes that autograd keeps of one
    evaluation (`activation_bytes`), measured once per network, event shape and dtype.

    Parameters
    ----------
    memory
        Bytes; None means 60 % of what is free on the device. The rest is left to the optimiser and the allocator;
        `control` leaves room for the peak of the cost and its gradient, too, such as a decoder's activations.

    References
    ----------
    Griewank & Walther, Evaluating Derivatives (2008), chapter 12.

    Examples
    --------
    x^2 keeps x, 4 bytes per entry. Six midpoint steps of a batch `[10, 1000]` need 12 * 10 * 4000 = 480000 bytes.

    >>> from headwater import MIDPOINT, Flow
    >>> flow, x0 = Flow(lambda x, t: x**2, shape=(1000,)), torch.ones(10, 1000)
    >>> Auto(memory=480_000).choose(flow, MIDPOINT, x0, steps=6)
    Direct()
    >>> Auto(memory=479_999).choose(flow, MIDPOINT, x0, steps=6)
    Checkpoint(states=24)
    """

    memory: float | None = None

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid, `[batch, *event]`."""
        if not (x0.requires_grad and torch.is_grad_enabled()):
            return march(flow, flow, method, x0, grid)
        return self.choose(flow, method, x0, len(grid) - 1).integrate(flow, method, x0, grid)

    def choose(self, flow: Flow, method: Method, x0: Tensor, steps: int) -> Direct | Checkpoint:
        """The fastest strategy that fits for x0 `[batch, *event]`; `Checkpoint` if none does."""
        need = steps * method.evaluations * len(x0) * activations_of_one(flow, x0)
        return Direct() if need <= self.budget(x0.device) else Checkpoint()

    def leave_room(self, flow: Flow, cost: Cost, method: Method, x0: Tensor, steps: int) -> Auto:
        """The strategy with the peak of a cost and its gradient taken from the memory.

        A decoder in the cost has a large one, and the graph of the solve lives beside it. The cost is evaluated once,
        at x0 `[batch, *event]`, and only where the solve takes so much memory that this can matter.
        """
        budget = self.budget(x0.device)
        need = steps * method.evaluations * len(x0) * activations_of_one(flow, x0)
        if not 0.1 * budget < need <= budget:
            return self
        from headwater.solvers.memory import cost_bytes

        return Auto(max(budget - cost_bytes(cost, x0), 0.0))

    def budget(self, device: torch.device) -> float:
        """The bytes on a device that may be used."""
        from headwater.solvers.memory import usable_memory

        return usable_memory(device) if self.memory is None else self.memory


def activations_of_one(flow: Flow, x: Tensor) -> float:
    """`activation_bytes` per problem, measured once per flow, event shape and dtype.

    It is measured on one problem, or on all of them if the velocity was declared `WholeBatch`.
    """
    from headwater.solvers.memory import activation_bytes

    key = (x.shape[1:], x.dtype, x.device)
    known = flow.activations
    if key not in known:
        last = torch.tensor([len(x) - 1], device=x.device)
        try:
            known[key] = activation_bytes(flow.select(last), x[-1:])
        except CannotRestrict:
            known[key] = activation_bytes(flow, x) / len(x)
    return known[key]


def _segment(field: Field, flow: Flow, method: Method, grid: Sequence[float], x: Tensor) -> Tensor:
    return march(field, flow, method, x, grid)


def march(field: Field, flow: Flow, method: Method, x: Tensor, grid: Sequence[float]) -> Tensor:
    """x at the end of the grid from x `[batch, *event]` at its start, one step of the method after another."""
    times = [torch.tensor(t, dtype=torch.float64) for t in grid]
    for t, t_next in itertools.pairwise(times):
        x = method.step(field, flow.path, x, t, t_next)
    return x
