"""How the solve is differentiated: each strategy with its memory and time law.

With n evaluations of the network per solve, A bytes of activations per evaluation, s bytes per state, and
F, V seconds for a forward and a vector-Jacobian product:

| strategy     | memory                  | seconds            |
|--------------|-------------------------|--------------------|
| `Direct`     | n A                     | n (F + V)          |
| `Checkpoint` | A + min(n, `states`) s  | n (2 F + V) .. n (3 F + V) |
| `Auto`       | the fastest that fits   |                    |

Both differentiate the discrete solve exactly; the adjoint ODE, whose gradient belongs to another
discretisation, is not offered.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

from headwater.errors import Misuse

if TYPE_CHECKING:
    from headwater.flows.flow import Flow
    from headwater.solvers.method import Field, Method

Map = Callable[[Tensor], Tensor]


class Strategy(Protocol):
    """A way to run the solve so that x1 carries gradients to x0."""

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid."""


@dataclass(frozen=True)
class Direct:
    """Keep the graph of the whole solve: fastest, memory grows with the number of evaluations."""

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid."""
        return march(flow, flow, method, x0, grid)


@dataclass(frozen=True)
class Checkpoint:
    """Keep states and recompute: the activations of one network evaluation at a time, exact.

    At most about `states` states are held. If the solve has no more evaluations than that, each evaluation
    is recomputed once in the backward pass; else the grid is cut into segments, whose starts are held and
    which are solved once more (without activations) in the backward pass.
    """

    states: int = 24

    def __post_init__(self) -> None:
        if self.states < 2:
            raise Misuse(f"Checkpoint cannot work with {self.states} states.", "Give states >= 2.")

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid."""
        if not (x0.requires_grad and torch.is_grad_enabled()):
            return march(flow, flow, method, x0, grid)

        def evaluate(x: Tensor, t: Tensor) -> Tensor:
            return recomputed(lambda z: flow(z, t), x)

        stride = self.stride(len(grid) - 1, method.evaluations)
        if stride == 1:
            return march(evaluate, flow, method, x0, grid)
        x = x0
        for i in range(0, len(grid) - 1, stride):
            part = grid[i : i + stride + 1]
            x = recomputed(functools.partial(_segment, evaluate, flow, method, part), x)
        return x

    def stride(self, steps: int, evaluations: int) -> int:
        """Steps per segment: 1 if all states fit, else the one that holds the fewest states."""
        if steps * evaluations <= self.states:
            return 1
        return min(range(1, steps + 1), key=lambda k: math.ceil(steps / k) + k * evaluations)


@dataclass(frozen=True)
class Auto:
    """`Direct` if its forecast fits into `memory` bytes, else `Checkpoint`.

    By default 60 % of what is free on the device. The forecast counts what autograd keeps of one evaluation
    (`memory.activation_bytes`), once per network, event shape and dtype.
    """

    memory: float | None = None

    def integrate(self, flow: Flow, method: Method, x0: Tensor, grid: Sequence[float]) -> Tensor:
        """x at the end of the grid."""
        if not (x0.requires_grad and torch.is_grad_enabled()):
            return march(flow, flow, method, x0, grid)
        return self.choose(flow, method, x0, len(grid) - 1).integrate(flow, method, x0, grid)

    def choose(self, flow: Flow, method: Method, x0: Tensor, steps: int) -> Direct | Checkpoint:
        """The fastest strategy that fits; `Checkpoint` if none does."""
        from headwater.solvers.memory import available_memory

        budget = 0.6 * available_memory(x0.device) if self.memory is None else self.memory
        need = steps * method.evaluations * len(x0) * _activations(flow, x0)
        return Direct() if need <= budget else Checkpoint()


def _activations(flow: Flow, x: Tensor) -> float:
    """`activation_bytes` per problem, measured once per flow, event shape and dtype.

    On one problem; on all of them if the flow cannot be restricted, because labels of all are bound in it.
    """
    from headwater.solvers.memory import activation_bytes

    key = (x.shape[1:], x.dtype, x.device)
    known = flow.activations
    if key not in known:
        first = torch.zeros(1, dtype=torch.long, device=x.device)
        try:
            known[key] = activation_bytes(flow.select(first), x[:1])
        except Exception:  # what is wrong at the full batch as well is raised there
            known[key] = activation_bytes(flow, x) / len(x)
    return known[key]


def _segment(field: Field, flow: Flow, method: Method, grid: Sequence[float], x: Tensor) -> Tensor:
    return march(field, flow, method, x, grid)


def march(field: Field, flow: Flow, method: Method, x: Tensor, grid: Sequence[float]) -> Tensor:
    """Step through the grid."""
    times = [torch.tensor(t, dtype=torch.float64) for t in grid]
    for t, t_next in itertools.pairwise(times):
        x = method.step(field, flow.path, x, t, t_next)
    return x


def recomputed(function: Map, x: Tensor) -> Tensor:
    """function(x), keeping x alone and computing the function again in the backward pass."""
    if not (x.requires_grad and torch.is_grad_enabled()):
        return function(x)
    return _Recomputed.apply(function, x)  # type: ignore[no-untyped-call,no-any-return]


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, function: Map, x: Tensor) -> Tensor:
        ctx.function = function
        ctx.save_for_backward(x)
        return function(x.detach())

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        x = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad():
            out = ctx.function(x)
        return None, torch.autograd.grad(out, x, gradient)[0]
