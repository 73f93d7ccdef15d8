"""`Flow`: a pre-trained velocity field with its path, event shape and data range."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flows.path import BetaTable, CondOT, Path
from headwater.problem.batch import select

Velocity = Callable[[Tensor, Tensor], Tensor]


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

    `velocity(x, t)` takes x of shape `[batch, *shape]` and t, a scalar tensor or one per problem, within
    `path.span`, and returns a tensor like x. Labels, text or masks are bound before. `range` is the data range
    (low, high) the model was trained on, or None if unbounded. `support` is a subspace per problem: the source, the
    velocity and with them the whole solve stay in it. Parameters of the network are never differentiated: the modules
    that `velocity` refers to are found and frozen during each call.

    >>> flow = Flow(lambda x, t: -x, shape=(2,))
    >>> flow(torch.ones(3, 2), torch.tensor(0.5)).shape
    torch.Size([3, 2])
    """

    velocity: Velocity
    shape: tuple[int, ...]
    path: Path = field(default_factory=CondOT)
    range: tuple[float, float] | None = None
    support: Support | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "_modules", _modules_of(self.velocity))
        object.__setattr__(self, "_activations", {})

    @property
    def d(self) -> int:
        """The number of entries of one event."""
        return math.prod(self.shape)

    @property
    def dimension(self) -> int | Tensor:
        """The dimension of the source: `d`, or that of the support, one per problem."""
        return self.d if self.support is None else self.support.dimension

    def project(self, x: Tensor) -> Tensor:
        """x in the support, by orthogonal projection; x itself if there is none."""
        return x if self.support is None else self.support.project(x)

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The networks behind the velocity, as far as they can be found."""
        return self._modules  # type: ignore[attr-defined,no-any-return]

    @property
    def activations(self) -> dict[object, float]:
        """What `gradient.Auto` has measured of this velocity, by shape and dtype; kept by `select`."""
        return self._activations  # type: ignore[attr-defined,no-any-return]

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """v(x, t); it requires a gradient exactly if x does.

        Raises
        ------
        Misuse
            If the velocity is not a tensor of x's shape, or does not depend on x differentiably.
        """
        with _frozen(self.modules):
            v = self.velocity(x, t.clamp(*self.path.span).to(x))
        if not isinstance(v, Tensor) or v.shape != x.shape:
            got = f"shape {tuple(v.shape)}" if isinstance(v, Tensor) else type(v).__name__
            raise Misuse(
                f"The velocity returned {got} for x of shape {tuple(x.shape)}.",
                "Return a tensor of x's shape; wrap the network to select or reshape its output.",
            )
        wants_gradient = x.requires_grad and torch.is_grad_enabled()
        if wants_gradient and not v.requires_grad:
            raise Misuse(
                "The velocity does not carry gradients to x.",
                "Remove no_grad, inference_mode or detach from the network's forward pass.",
            )
        return self.project(v if wants_gradient else v.detach())

    def denoise(self, x: Tensor, t: Tensor) -> Tensor:
        """The denoiser xhat = E[x1 | x_t = x], shape as x."""
        return self.path.xhat_from_v(x, self(x, t), t)

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
        if len(seeds) == 0:
            raise Misuse("There is no seed.", "Give one per problem, e.g. range(4).")
        draws = [torch.randn(self.shape, generator=torch.Generator().manual_seed(int(s))) for s in seeds]
        return self.project(torch.stack(draws).to(device=device, dtype=dtype))

    @classmethod
    def from_noise_prediction(
        cls, network: Velocity, shape: Sequence[int], path: Path, range: tuple[float, float] | None = None
    ) -> Flow:
        """A flow from a network eps(x, t); with a `BetaTable` path the network gets the table's index."""
        return _converted(network, shape, path, range, path.v_from_eps)

    @classmethod
    def from_denoiser(
        cls, network: Velocity, shape: Sequence[int], path: Path, range: tuple[float, float] | None = None
    ) -> Flow:
        """A flow from a network xhat(x, t); with a `BetaTable` path the network gets the table's index."""
        return _converted(network, shape, path, range, path.v_from_xhat)

    @classmethod
    def from_v_prediction(
        cls, network: Velocity, shape: Sequence[int], path: Path, range: tuple[float, float] | None = None
    ) -> Flow:
        """A flow from a network that predicts u = alpha eps - sigma x1 (Salimans & Ho 2022)."""
        return _converted(network, shape, path, range, path.v_from_vprediction)


EDGE = 1e-3
"""How near to t = 0 an eps network, and to t = 1 an xhat network, is asked on paths where its velocity ends there."""


def _converted(
    network: Velocity,
    shape: Sequence[int],
    path: Path,
    range: tuple[float, float] | None,
    convert: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Flow:
    return Flow(_Converted(network, path, convert), tuple(shape), path, range)


class _Converted:
    """The velocity of a network that predicts something else."""

    def __init__(
        self, network: Velocity, path: Path, convert: Callable[[Tensor, Tensor, Tensor], Tensor]
    ) -> None:
        self.network, self.path, self.convert = network, path, convert
        low, high = (torch.tensor(t, dtype=torch.float64) for t in path.span)
        early = EDGE if convert == path.v_from_eps and float(path.alpha(low)) == 0 else float(low)
        late = 1 - EDGE if convert == path.v_from_xhat and float(path.sigma(high)) == 0 else float(high)
        self.within = (early, late)

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.clamp(*self.within)
        clock = self.path.index(t) if isinstance(self.path, BetaTable) else t
        return self.convert(x, self.network(x, clock), t)

    def select(self, index: Tensor) -> _Converted:
        """The velocity of the problems in `index`."""
        return _Converted(select(self.network, index), self.path, self.convert)


def _modules_of(function: object, depth: int = 4) -> tuple[nn.Module, ...]:
    """The networks a velocity refers to: itself, its owner, partial arguments, closure and globals."""
    if isinstance(function, nn.Module):
        return (function,)
    if depth == 0:
        return ()
    inner: list[object] = []
    if isinstance(function, functools.partial):
        inner = [function.func, *function.args, *function.keywords.values()]
    elif inspect.ismethod(function):
        owner = function.__self__
        inner = [owner, function.__func__]
        if not isinstance(owner, nn.Module):
            inner += getattr(owner, "__dict__", {}).values()
    elif isinstance(function, dict):
        inner = [*function.values()] if len(function) <= 64 else []
    elif isinstance(function, list | tuple):
        inner = [*function] if len(function) <= 64 else []  # a list of networks, not a data set
    elif inspect.isfunction(function):
        names = inspect.getclosurevars(function)
        inner = [*names.nonlocals.values(), *names.globals.values()]
    elif hasattr(function, "__call__") and not inspect.isclass(function):  # noqa: B004 (want the dict)
        inner = [type(function).__call__, *getattr(function, "__dict__", {}).values()]
    found = [m for thing in inner for m in _modules_of(thing, depth - 1)]
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
