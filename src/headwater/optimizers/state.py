"""What every optimiser's state has in common, and how rows of states are taken and put back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Final, Protocol, TypeVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.optimizers.status import Status

RUNNING: Final = 0
CONVERGED: Final = 1
STALLED: Final = 2
DIVERGED: Final = 3

STATUS: Final = {
    RUNNING: Status.RUNNING,
    CONVERGED: Status.CONVERGED,
    STALLED: Status.STALLED,
    DIVERGED: Status.DIVERGED,
}
"""The `Status`, with its sentence, for each value of `OptimizerState.code`."""


@dataclass(frozen=True, kw_only=True)
class OptimizerState:
    """What an optimiser knows about each problem; the first axis of every field is the problem.

    Attributes
    ----------
    trial
        The next point to evaluate, `[batch, *event]`; equal to `x` once the problem has ended.
    x
        The current iterate, `[batch, *event]`.
    value
        The cost at `x`, float64 `[batch]`; infinite before the first evaluation.
    gradient
        The gradient at `x`, `[batch, *event]`.
    iterations
        Accepted steps, int64 `[batch]`, without the evaluation of the starting point.
    evaluations
        Evaluations so far, int64 `[batch]`.
    accepted
        Whether the point evaluated last became `x`, or confirmed a starting point, bool `[batch]`.
    code
        0 RUNNING, 1 CONVERGED, 2 STALLED or 3 DIVERGED, int8 `[batch]`.
    fresh
        Whether the next evaluation is that of a starting point, bool `[batch]`.

    Examples
    --------
    >>> from headwater import Polyak
    >>> state = Polyak(max_step=1.0).init(torch.zeros(2, 3))
    >>> state.trial.shape, state.value.tolist(), state.code.tolist()
    (torch.Size([2, 3]), [inf, inf], [0, 0])
    """

    trial: Tensor
    x: Tensor
    value: Tensor
    gradient: Tensor
    iterations: Tensor
    evaluations: Tensor
    accepted: Tensor
    code: Tensor
    fresh: Tensor


S = TypeVar("S", bound=OptimizerState)


class Optimizer(Protocol[S]):
    """A state machine: evaluate cost and gradient at `state.trial`, hand them to `step`, and repeat.

    The first axis of every tensor is the problem; problems do not depend on each other. A protocol.

    Examples
    --------
    Two steps of gradient descent on C(x) = x^2 / 2, as `control` would take them:

    >>> from headwater import GradientDescent
    >>> optimizer = GradientDescent(lr=0.5)
    >>> state = optimizer.init(torch.tensor([[8.0]]))
    >>> for _ in range(3):
    ...     state = optimizer.step(state, 0.5 * state.trial[:, 0] ** 2, state.trial)
    >>> state.x.item(), state.value.item(), state.evaluations.item(), state.iterations.item()
    (2.0, 2.0, 3, 2)
    """

    def init(self, x0: Tensor) -> S:
        """The state before any evaluation; `trial` is x0 `[batch, *event]`."""
        ...

    def step(self, state: S, value: Tensor, gradient: Tensor) -> S:
        """The next state, from the cost `value` `[batch]` and its `gradient` `[batch, *event]` at `trial`."""
        ...


def take_rows(state: S, index: Tensor) -> S:
    """The rows `index`, int64 `[k]` or a bool mask `[batch]`, of a state, as a state of k problems.

    Examples
    --------
    >>> from headwater.optimizers import GradientDescent
    >>> state = GradientDescent(lr=0.1).init(torch.eye(3))
    >>> take_rows(state, torch.tensor([2])).x
    tensor([[0., 0., 1.]])
    """
    return type(state)(**{name: tensor[index] for name, tensor in columns(state).items()})


def put_rows(state: S, index: Tensor, part: S) -> S:
    """The state with its rows `index`, as `take_rows` takes them, replaced by those of `part`, in order.

    Examples
    --------
    >>> from headwater.optimizers import GradientDescent
    >>> state = GradientDescent(lr=0.1).init(torch.eye(3))
    >>> last = torch.tensor([2])
    >>> put_rows(state, last, take_rows(state, torch.tensor([0]))).x[2]
    tensor([1., 0., 0.])
    """
    new = columns(part)
    return type(state)(**{n: tensor.index_put((index,), new[n]) for n, tensor in columns(state).items()})


def columns(state: OptimizerState) -> dict[str, Tensor]:
    """The fields of a state by name, without any graph a caller attached to them."""
    return {field.name: getattr(state, field.name).detach() for field in fields(state)}


def initial_fields(x0: Tensor) -> dict[str, Any]:
    """The common fields of the state before any evaluation at x0 `[batch, *event]`, float32 or float64."""
    if x0.ndim == 0 or x0.dtype not in (torch.float32, torch.float64):
        raise Misuse(
            f"x0 has shape {list(x0.shape)} and type {x0.dtype}.",
            "Give points in float32 or float64 whose first axis is the problem.",
        )
    x = x0.detach().clone()
    zero = torch.zeros(x.shape[0], dtype=torch.int64, device=x.device)
    return {
        "trial": x.clone(),  # so that a caller may call requires_grad_() on it
        "x": x,
        "value": torch.full_like(zero, torch.inf, dtype=torch.float64),
        "gradient": torch.zeros_like(x),
        "iterations": zero,
        "evaluations": zero,
        "accepted": zero.bool(),
        "code": zero.to(torch.int8),
        "fresh": ~zero.bool(),
    }


def read_evaluation(state: OptimizerState, value: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """The evaluation, checked and detached: value `[batch]` float64, gradient `[batch, *event]` like x."""
    if value.shape != state.value.shape or gradient.shape != state.x.shape:
        raise Misuse(
            f"The value has shape {list(value.shape)} and the gradient {list(gradient.shape)}.",
            f"Give {list(state.value.shape)} and {list(state.x.shape)}: one evaluation per problem.",
        )
    return value.detach().to(state.value), gradient.detach().to(state.x)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The inner products of the rows of a and b `[batch, ...]`, `[batch]` float64.

    Examples
    --------
    >>> dot(torch.ones(2, 3, 4), torch.ones(2, 3, 4))
    tensor([12., 12.], dtype=torch.float64)
    """
    # A plain sum, not einsum or matmul: their order of addition, and so the rounding, depends on the batch size.
    wide = torch.promote_types(a.dtype, torch.float32)
    return (a.to(wide) * b.to(wide)).reshape(a.shape[0], a[:1].numel() or 1).sum(-1).double()


def largest_modulus(a: Tensor) -> Tensor:
    """The largest modulus in each row of a `[batch, ...]`, `[batch]` float64; NaN if the row has one."""
    return a.abs().reshape(a.shape[0], a[:1].numel() or 1).amax(-1).double()
