"""Velocity networks of other flow-matching libraries as a `Flow`: torchcfm, Meta's flow_matching, and their like.

Both train v on t from noise (0) to data (1), as here. They differ in the order of the arguments: torchcfm calls
v(t, x, y=labels), flow_matching calls v(x, t, **extras). A network in which x and t happen to have shapes that fit
runs in the wrong order without a word, so the order is read from the names of the arguments, or has to be said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from headwater.adapters.arguments import find_order, positional_names
from headwater.errors import Misuse
from headwater.flows.conditioned import Guided
from headwater.flows.flow import Flow
from headwater.flows.path import CondOT, Path
from headwater.problem.batch import select

Order = Literal["xt", "tx"]


class Coefficients(Protocol):
    """alpha, sigma and their derivatives at a time, `[]` or `[batch]`: flow_matching's `SchedulerOutput`."""

    alpha_t: Tensor
    sigma_t: Tensor
    d_alpha_t: Tensor
    d_sigma_t: Tensor


@dataclass(frozen=True)
class SchedulerPath(Path):
    """The path of a scheduler of flow_matching, x_t = alpha_t x1 + sigma_t x0. All methods are those of `Path`.

    Parameters
    ----------
    scheduler
        Called with t, `[]` or `[batch]`; its answer has `alpha_t`, `sigma_t`, `d_alpha_t` and `d_sigma_t`.
    last
        The last time at which the velocity is evaluated; below 1 where sigma' is infinite at t = 1.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> square = lambda t: SimpleNamespace(alpha_t=t**2, sigma_t=1 - t**2, d_alpha_t=2 * t, d_sigma_t=-2 * t)
    >>> SchedulerPath(square).alpha(torch.tensor(0.5)).item()
    0.25
    """

    scheduler: Callable[[Tensor], Coefficients]
    last: float = 1.0

    @property
    def span(self) -> tuple[float, float]:
        """From 0 to `last`."""
        return (0.0, self.last)

    def alpha(self, t: Tensor) -> Tensor:
        return self.scheduler(t).alpha_t

    def sigma(self, t: Tensor) -> Tensor:
        return self.scheduler(t).sigma_t

    def dalpha(self, t: Tensor) -> Tensor:
        return self.scheduler(t).d_alpha_t

    def dsigma(self, t: Tensor) -> Tensor:
        return self.scheduler(t).d_sigma_t


@dataclass(frozen=True)
class _Ordered:
    """A network with its arguments in the order of this library."""

    network: Callable[..., Tensor]
    time_first: bool
    expand: bool

    def __call__(self, x: Tensor, t: Tensor, **condition: Any) -> Tensor:
        t = t.expand(len(x)) if self.expand else t
        first, second = (t, x) if self.time_first else (x, t)
        return self.network(first, second, **condition)

    def select(self, index: Tensor) -> _Ordered:
        return _Ordered(select(self.network, index), self.time_first, self.expand)


def load(
    network: Callable[..., Tensor],
    shape: Sequence[int],
    *,
    order: Order | None = None,
    condition: Mapping[str, Tensor] | None = None,
    null: Mapping[str, Tensor] | None = None,
    guidance: float = 1.0,
    path: Path | Callable[[Tensor], Coefficients] | None = None,
    expand_time: bool = False,
    **options: Any,
) -> Flow:
    """The flow of a velocity network v(t, x) or v(x, t), such as one trained by torchcfm or flow_matching.

    Parameters
    ----------
    network
        `v(t, x, **condition)` or `v(x, t, **condition)` of x `[batch, *shape]`, which returns a tensor like x.
    shape
        The shape of one event.
    order
        `"tx"` or `"xt"`; None reads it from the names of the network's arguments.
    condition
        Tensors by the name of their argument, one row per problem, such as `{"y": labels}`; see `headwater.Guided`,
        also for `null` and `guidance`.
    null
        The tensors of no condition.
    guidance
        The weight of classifier-free guidance; 1 is none.
    path
        A `headwater.Path`, or a path or a scheduler of flow_matching; None means `CondOT()`, the default of both
        libraries. torchcfm's `VariancePreservingConditionalFlowMatcher` belongs to `headwater.Cosine()`. With the
        mini-batch couplings of optimal transport x0 and x1 depend on each other: denoising stays right, the score
        does not.
    expand_time
        Whether the network gets t as `[batch]` in a solve, too, where it is otherwise a scalar `[]`, as the samplers
        of both libraries give it.
    options
        Those of `headwater.Flow`: range, support, dtype, modules.

    Returns
    -------
    flow
        With events `[*shape]`.

    Raises
    ------
    Misuse
        If the names of the arguments do not tell their order and `order` is None; if they contradict it; if there is
        guidance without a condition.

    References
    ----------
    Tong et al., "Improving and generalizing flow-based generative models with minibatch optimal transport", TMLR
    2024; Lipman et al., "Flow Matching Guide and Code", 2024.

    Examples
    --------
    >>> from headwater import solve
    >>> flow = load(lambda t, x: t * x, (1,))
    >>> round(solve(flow, torch.ones(1, 1), steps=50).item(), 3)  # exp(1/2)
    1.649
    >>> load(lambda a, b: a * b, (1,))
    Traceback (most recent call last):
    headwater.errors.Misuse: The network's arguments (a, b) do not say which of them is the time. Say order="tx" for \
network(t, x), or order="xt" for network(x, t).
    """
    velocity: Any = _Ordered(network, choose_order(network, order) == "tx", expand_time)
    if condition is not None:
        velocity = Guided(velocity, condition, null, guidance=guidance)
    elif null is not None or guidance != 1.0:
        raise Misuse("There is guidance, and no condition.", "Give `condition`, one row per problem.")
    if path is not None and not isinstance(path, Path):
        path = getattr(path, "scheduler", path)  # a path of flow_matching holds its scheduler
        late = float(torch.as_tensor(path(torch.ones((), dtype=torch.float64)).d_sigma_t))
        path = SchedulerPath(path, 1.0 if abs(late) < float("inf") else 0.999)
    return Flow(velocity, tuple(shape), path or CondOT(), **options)


def choose_order(network: Callable[..., Tensor], order: Order | None) -> str:
    """The order of a network's arguments, `"tx"` or `"xt"`.

    Raises
    ------
    Misuse
        If it is another word, contradicts the names of the arguments, or is None and they do not tell.
    """
    if order not in (None, "tx", "xt"):
        raise Misuse(
            f"The order {order!r} is none.", 'Say "tx" for network(t, x), or "xt" for network(x, t).'
        )
    found, names = find_order(network), ", ".join(positional_names(network)[:2]) or "*args"
    if found is None and order is None:
        raise Misuse(
            f"The network's arguments ({names}) do not say which of them is the time.",
            'Say order="tx" for network(t, x), or order="xt" for network(x, t).',
        )
    if order is not None and found is not None and order != found:
        raise Misuse(
            f"The network takes ({names}), and order={order!r} says the opposite.",
            "Leave `order` out, or rename the arguments if their names are wrong.",
        )
    return order or found or ""
