"""`Flow`: a pre-trained velocity field with its path, event shape and data range."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flows.path import BetaTable, CondOT, Path
from headwater.flows.seeds import generators, normal
from headwater.problem.batch import select

Velocity = Callable[[Tensor, Tensor], Tensor]
LEFT_AT_SOURCE = 0.1
"""A path with a larger alpha(0) starts from noise mixed with data, of which N(0, I) is no draw."""


class Support(Protocol):
    """The linear subspace that each problem's states live in: atoms that exist, a centre of mass at zero.

    `project(x)` is the orthogonal projection P of `[batch, *event]`, `dimension` its rank per problem `[batch]`,
    `select(index)` the support of some problems. The source is then N(0, P).
    """

    @property
    def dimension(self) -> Tensor: ...

    def project(self, x: Tensor) -> Tensor: ...

    def select(self, index: Tensor) -> Support: ...


@dataclass(frozen=True)
class Flow:
    """A velocity field v(x, t) that carries the source N(0, I) at t = 0 to data at t = 1.

    Parameters
    ----------
    velocity
        v(x, t) with x `[batch, *shape]` and t a scalar tensor or one per problem, within `path.span`; returns a
        tensor like x. Labels, text or masks per problem are declared with `Each` (see `problem.batch`).
    shape
        The shape of one event, without the axis of the problem.
    path
        The affine Gaussian path that the network was trained on.
    range
        The data range (low, high) that the network was trained on, None if unbounded.
    support
        A subspace per problem: the source, the velocity and with them the whole solve stay in it.
    dtype
        What the network computes in, if not in the dtype of the state: x is cast to it before the network, v back
        after it. t is cast only to float64.
    modules
        The networks behind the velocity. Those that are attributes of `velocity`, or of what it holds, are found;
        those in closures or globals of a plain function are not, and have to be named here.

    Notes
    -----
    Parameters of the network are never differentiated. While a call is differentiated, `requires_grad` of those of
    `modules` is switched off, which other threads can see; freeze the network yourself with
    `network.requires_grad_(False)` and nothing is switched. A network that works in place gets a copy of x.

    Examples
    --------
    >>> flow = Flow(lambda x, t: -x, shape=(2,))
    >>> flow(torch.ones(3, 2), torch.tensor(0.5)).shape
    torch.Size([3, 2])
    """

    velocity: Velocity
    shape: tuple[int, ...]
    path: Path = field(default_factory=CondOT)
    range: tuple[float, float] | None = None
    support: Support | None = None
    dtype: torch.dtype | None = None
    modules: tuple[nn.Module, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(
            self, "modules", tuple(dict.fromkeys([*self.modules, *_modules_of(self.velocity)]))
        )
        object.__setattr__(self, "_activations", {})

    @property
    def event_size(self) -> int:
        """The number of entries of one event."""
        return math.prod(self.shape)

    @property
    def source_dimension(self) -> int | Tensor:
        """The dimension of the source: `event_size`, or that of the support, one per problem."""
        return self.event_size if self.support is None else self.support.dimension

    def project(self, x: Tensor) -> Tensor:
        """x in the support, by orthogonal projection; x itself if there is none."""
        return x if self.support is None else self.support.project(x)

    @property
    def activations(self) -> dict[object, float]:
        """What `differentiation.Auto` has measured of this velocity, by shape and dtype; kept by `select`."""
        return self._activations  # type: ignore[attr-defined,no-any-return]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """v(x, t), shape and dtype of x; it requires a gradient exactly if x does.

        Raises
        ------
        Misuse
            If x is in half precision, or the velocity is not a tensor of x's shape, does not depend on x
            differentiably, or its network computes in another dtype than x has.
        """
        return self._evaluate(x, self.time(x, t))

    def time(self, x: Tensor, t: Tensor) -> Tensor:
        """The time as the velocity sees it, cast once: within the path's span, dtype and device of x."""
        require_state(x)
        return t.clamp(*self.path.span).to(x)

    def _evaluate(self, x: Tensor, t: Tensor) -> Tensor:
        v = self._network(x, t)
        if not isinstance(v, Tensor) or v.shape != x.shape:
            got = f"shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
            raise Misuse(
                f"The velocity returned {got} for x of shape {tuple(x.shape)}.",
                "Return a tensor of x's shape from velocity(x, t), x first; wrap a network that takes (t, x) or "
                "returns more than one tensor.",
            )
        wants_gradient = x.requires_grad and torch.is_grad_enabled()
        if wants_gradient and not v.requires_grad:
            raise Misuse(
                "The velocity does not carry gradients to x.",
                "Remove no_grad, inference_mode or detach from the network's forward pass.",
            )
        return self.project((v if wants_gradient else v.detach()).to(x.dtype))

    def _network(self, x: Tensor, t: Tensor) -> Tensor:
        """The velocity on a copy of x, which an in-place network may change, in the network's dtype."""
        state = x.clone() if self.dtype in (None, x.dtype) else x.to(self.dtype)
        try:
            with _frozen(self.modules):
                return self.velocity(state, t.to(torch.float64) if self.dtype is torch.float64 else t)
        except RuntimeError as error:
            weights = {p.dtype for m in self.modules for p in m.parameters() if p.is_floating_point()}
            if not weights or state.dtype in weights or "type" not in str(error):
                raise
            names = ", ".join(sorted(str(w) for w in weights))
            raise Misuse(
                f"The network's weights are {names} but it was given {state.dtype}.",
                f"Say Flow(..., dtype={names.split(',')[0]}), or cast x and t around the network.",
            ) from error

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """The denoiser xhat = E[x1 | x_t = x], shape as x."""
        t = self.time(x, t)
        return self.path.xhat_from_v(x, self._evaluate(x, t), t)

    def select(self, index: Tensor) -> Flow:
        """The flow of the problems in `index`, if the velocity or the support holds something per problem."""
        if self.support is None and not hasattr(self.velocity, "select"):
            return self
        support = None if self.support is None else self.support.select(index)
        part = replace(self, velocity=select(self.velocity, index), support=support)
        object.__setattr__(part, "_activations", self.activations)
        return part

    def noise(
        self, seeds: Sequence[int], dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Source points x0 ~ N(0, I), projected on the support, one generator per problem: `[len(seeds), *shape]`.

        A problem's noise depends on its own seed only; it is drawn on the CPU, so devices agree.

        >>> flow = Flow(lambda x, t: -x, shape=(4,))
        >>> bool((flow.noise([3, 5])[1] == flow.noise([5])[0]).all())
        True
        """
        alpha = float(self.path.alpha(torch.tensor(self.path.span[0], dtype=torch.float64, device="cpu")))
        if alpha > LEFT_AT_SOURCE:
            raise Misuse(
                f"At t = 0 this path still has {alpha:.2f} of the data, so noise N(0, I) is no source of it.",
                "Give the whole noise schedule of the checkpoint, down to its noisiest level.",
            )
        require_state(torch.empty(0, dtype=dtype, device="cpu"))
        return self.project(normal(self.shape, generators(seeds)).to(device=device, dtype=dtype))

    @classmethod
    def from_noise_prediction(
        cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any
    ) -> Flow:
        """A flow from a network eps(x, t); with a `BetaTable` path the network gets the table's index.

        `options` are those of `Flow`: range, support, dtype, modules.
        """
        return _convert(network, shape, path, path.v_from_eps, options)

    @classmethod
    def from_denoiser(cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any) -> Flow:
        """A flow from a network xhat(x, t); with a `BetaTable` path the network gets the table's index."""
        return _convert(network, shape, path, path.v_from_xhat, options)

    @classmethod
    def from_v_prediction(cls, network: Velocity, shape: Sequence[int], path: Path, **options: Any) -> Flow:
        """A flow from a network that predicts u = alpha eps - sigma x1 (Salimans & Ho 2022)."""
        return _convert(network, shape, path, path.v_from_vprediction, options)


EDGE = 1e-3
"""How near to t = 0 an eps network, and to t = 1 an xhat network, is asked on paths where its velocity ends there."""


def _convert(
    network: Velocity,
    shape: Sequence[int],
    path: Path,
    formula: Callable[[Tensor, Tensor, Tensor], Tensor],
    options: dict[str, Any],
) -> Flow:
    velocity = _Converted(network, path, formula, options.pop("dtype", None))
    return Flow(velocity, tuple(shape), path, **options)


class _Converted:
    """The velocity of a network that predicts something else; conversions are made in the dtype of the state."""

    def __init__(
        self,
        network: Velocity,
        path: Path,
        formula: Callable[[Tensor, Tensor, Tensor], Tensor],
        dtype: torch.dtype | None,
    ) -> None:
        self.network, self.path, self.formula, self.dtype = network, path, formula, dtype
        low, high = (torch.tensor(t, dtype=torch.float64) for t in path.span)
        early = EDGE if formula == path.v_from_eps and float(path.alpha(low)) == 0 else float(low)
        late = 1 - EDGE if formula == path.v_from_xhat and float(path.sigma(high)) == 0 else float(high)
        self.within = (early, late)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.clamp(*self.within)
        clock = self.path.index(t).to(t) if isinstance(self.path, BetaTable) else t
        prediction = self.network(x if self.dtype is None else x.to(self.dtype), clock)
        return self.formula(x, prediction.to(x.dtype), t)

    def select(self, index: Tensor) -> _Converted:
        """The velocity of the problems in `index`."""
        return _Converted(select(self.network, index), self.path, self.formula, self.dtype)


def require_state(x: Tensor) -> None:
    """Refuse a state in half precision: sums over it overflow, and times near 1 round to 1."""
    if x.dtype not in (torch.float32, torch.float64):
        raise Misuse(
            f"The state is {x.dtype}, in which a solve and its sums are not accurate.",
            "Give it in float32, x.float(), and Flow(..., dtype=torch.float16) for a network in half precision.",
        )


def _modules_of(thing: object, depth: int = 5) -> tuple[nn.Module, ...]:
    """The networks among the attributes of a velocity and of what it holds."""
    if isinstance(thing, nn.Module):
        return (thing,)
    if depth == 0 or inspect.isclass(thing) or inspect.isfunction(thing) or isinstance(thing, Tensor):
        return ()
    if inspect.ismethod(thing):
        inner: Sequence[object] = [thing.__self__]
    elif isinstance(thing, functools.partial):
        inner = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, dict | list | tuple):
        parts = list(thing.values() if isinstance(thing, dict) else thing)
        inner = parts if len(parts) <= 64 else []  # a few networks, not a data set
    else:
        inner = list(getattr(thing, "__dict__", {}).values())
    found = [m for part in inner for m in _modules_of(part, depth - 1)]
    return tuple(dict.fromkeys(found))


@contextmanager
def _frozen(modules: tuple[nn.Module, ...]) -> Iterator[None]:
    """Switch off `requires_grad` of the modules' parameters for the length of a call that is differentiated."""
    differentiated = torch.is_grad_enabled()
    free = [p for m in modules for p in m.parameters() if p.requires_grad] if differentiated else []
    for p in free:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in free:
            p.requires_grad_(True)
