"""The one composition: an operator, a misfit or a cost of inner(x) becomes one of x.

It serves wherever something lies between the state of a flow and the measurement: a decoder of latents, a crop of a
larger canvas, a change of rate, another operator. The composition is of the same kind as `outer`: an operator with
its residual, count and adjoint, a misfit, or any cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.problem.batch import select, select_rows
from headwater.problem.cost import Misfit
from headwater.problem.operator import LinearOperator, Operator

Map = Callable[[Tensor], Tensor]


def compose(outer: Any, inner: Map) -> Any:
    """x -> outer(inner(x)), of the same kind as `outer`.

    Parameters
    ----------
    outer
        An operator, a misfit, or any cost `[batch, ...]` -> `[batch]` of inner(x).
    inner
        A map of x `[batch, *event]` to `[batch, ...]`; linear if it has a method `adjoint(y)`, and per problem if it
        has `select(index)`.

    Returns
    -------
    composition
        A `Misfit` of the composed operator if `outer` is a misfit, so that `discrepancy` works through a decoder; a
        `LinearOperator` if both parts are linear; an `Operator` if `outer` is one; else a cost.

    Examples
    --------
    >>> import torch
    >>> cost = compose(lambda x: x.sum(1), lambda z: 2 * z)
    >>> cost(torch.ones(1, 3)).item()
    6.0

    The misfit of latents z, through a decoder that doubles them:

    >>> from headwater import Misfit
    >>> misfit = compose(Misfit(lambda x: x, torch.zeros(1, 3), 0.5), lambda z: 2 * z)
    >>> type(misfit).__name__, misfit.rms(torch.ones(1, 3)).item()
    ('Misfit', 4.0)
    """
    if isinstance(outer, Misfit):
        return replace(outer, operator=compose(outer.operator, inner))
    if isinstance(outer, Operator):
        linear = isinstance(outer, LinearOperator) and hasattr(inner, "adjoint")
        return LinearComposition(outer, inner) if linear else Composition(outer, inner)
    return Composed(outer, inner)


class Composed:
    """outer(inner(x)) of any two callables; `select` selects both of them."""

    def __init__(self, outer: Any, inner: Map) -> None:
        self.outer, self.inner = outer, inner
        self.__name__ = getattr(outer, "__name__", type(outer).__name__)
        if hasattr(outer, "residual"):  # an operator of the user's own, with methods that `Misfit` asks for
            self.residual = lambda x, y: outer.residual(inner(x), y)
        if hasattr(outer, "count"):
            self.count = outer.count

    def select(self, index: Tensor) -> Composed:
        """The composition for the problems in `index` `[k]`."""
        return Composed(select(self.outer, index), select(self.inner, index))

    def __call__(self, x: Tensor) -> Any:
        return self.outer(self.inner(x))


@dataclass(frozen=True, eq=False)
class Composition(Operator):
    """The operator y = outer(inner(x)) on x `[batch, ...]`."""

    outer: Operator
    inner: Map
    kind: ClassVar[str] = "composition"

    @property
    def name(self) -> str:
        """The name of the outer operator, after that of the inner one if it has a name, too."""
        before = getattr(self.inner, "name", None)
        return self.outer.name if before is None else f"{before}, {self.outer.name}"

    @property
    def local(self) -> int | None:
        """How far an entry of y looks, in entries of x; None if one part looks everywhere or does not say."""
        reach = getattr(self.inner, "local", None)
        if reach is None or self.outer.local is None:
            return None
        return int(reach + getattr(self.inner, "stride", 1) * self.outer.local)

    @property
    def stride(self) -> int:
        """Pixels or samples of x per one of y."""
        return int(self.outer.stride * getattr(self.inner, "stride", 1))

    def __call__(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """The outer operator's residual at inner(x), in the shape of y."""
        return self.outer.residual(self.inner(x), y)

    def damaged(self, shape: Sequence[int]) -> Tensor | None:
        """What either part misses, if both are pointwise; else None."""
        if self.local != 0:  # an entry that one part misses may still be seen through its neighbours
            return None
        parts = [part for part in (self.inner, self.outer) if isinstance(part, Operator)]
        masks = [mask for part in parts if (mask := part.damaged(shape)) is not None]
        return reduce(torch.logical_or, masks) if masks else None

    def count(self, y: Tensor) -> Tensor:
        """How many entries of y are measurements, by the outer operator, int64 `[batch]`."""
        return self.outer.count(y)

    def select(self, index: Any) -> Any:
        """The composition for the problems in `index` `[k]`."""
        return replace(self, outer=self.outer.select(index), inner=select_rows(self.inner, index))

    def to(self, device: Any) -> Any:
        """The composition with its tensors on `device`."""
        move = getattr(self.inner, "to", None)
        return replace(self, outer=self.outer.to(device), inner=self.inner if move is None else move(device))


@dataclass(frozen=True, eq=False)
class LinearComposition(Composition, LinearOperator):
    """The linear operator A B of two linear parts, with the adjoint (A B)' = B' A'."""

    def adjoint(self, y: Tensor) -> Tensor:
        """B' A' y in the shape of x, with A = outer and B = inner."""
        assert isinstance(self.outer, LinearOperator)
        return self.inner.adjoint(self.outer.adjoint(y))  # type: ignore[attr-defined,no-any-return]
