"""The one composition: what is asked of inner(x) is asked of x.

It serves wherever something lies between the state of a flow and what is measured: a decoder of latents, a crop of a
larger canvas, a change of rate, another operator. The composition is of the kind that `outer` is: an operator with
its residual, count and adjoint, a misfit, or any cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.problem.batch import rows, select
from headwater.problem.cost import Misfit
from headwater.problem.operator import LinearOperator, Operator

Map = Callable[[Tensor], Tensor]


def compose(outer: Any, inner: Map) -> Any:
    """x -> outer(inner(x)), of the kind that `outer` is.

    Parameters
    ----------
    outer
        An operator, a misfit, or any cost of inner(x).
    inner
        A map of x `[batch, ...]`; linear if it has a method `adjoint(y)`, and per problem if it has `select(index)`.

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
    """
    if isinstance(outer, Misfit):
        return replace(outer, operator=compose(outer.operator, inner))
    if isinstance(outer, Operator):
        linear = isinstance(outer, LinearOperator) and hasattr(inner, "adjoint")
        return LinearComposition(outer, inner) if linear else Composition(outer, inner)
    return Composed(outer, inner)


class Composed:
    """outer(inner(x)) of any two callables, restricted to some problems as they are."""

    def __init__(self, outer: Map, inner: Map) -> None:
        self.outer, self.inner = outer, inner
        self.__name__ = getattr(outer, "__name__", type(outer).__name__)

    def select(self, index: Tensor) -> Composed:
        """The composition of the problems in `index`."""
        return Composed(select(self.outer, index), select(self.inner, index))

    def __call__(self, x: Tensor) -> Tensor:
        return self.outer(self.inner(x))


@dataclass(frozen=True, eq=False)
class Composition(Operator):
    """The operator outer(inner(x))."""

    outer: Operator
    inner: Map
    kind: ClassVar[str] = "composition"

    @property
    def name(self) -> str:
        """The name of the operator, and of what lies before it if that is an operator, too."""
        before = getattr(self.inner, "name", None)
        return self.outer.name if before is None else f"{before}, {self.outer.name}"

    @property
    def local(self) -> int | None:
        """How far an entry of y looks, if both parts say so; a map that says nothing looks everywhere."""
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
        """As the outer operator's."""
        return self.outer.residual(self.inner(x), y)

    def damaged(self, shape: Sequence[int]) -> Tensor | None:
        """What either part misses, if both are pointwise; else None."""
        if self.local != 0:
            return None
        parts = [part for part in (self.inner, self.outer) if isinstance(part, Operator)]
        masks = [mask for part in parts if (mask := part.damaged(shape)) is not None]
        return reduce(torch.logical_or, masks) if masks else None

    def count(self, y: Tensor) -> Tensor:
        """As the outer operator's."""
        return self.outer.count(y)

    def select(self, index: Any) -> Any:
        """The composition of the problems in `index`."""
        return replace(self, outer=self.outer.select(index), inner=rows(self.inner, index))

    def to(self, device: Any) -> Any:
        """The composition with its tensors on `device`."""
        move = getattr(self.inner, "to", None)
        return replace(self, outer=self.outer.to(device), inner=self.inner if move is None else move(device))


@dataclass(frozen=True, eq=False)
class LinearComposition(Composition, LinearOperator):
    """The same of two linear parts: (A B)' = B' A'."""

    def adjoint(self, y: Tensor) -> Tensor:
        """inner'(outer'(y))."""
        assert isinstance(self.outer, LinearOperator)
        return self.inner.adjoint(self.outer.adjoint(y))  # type: ignore[attr-defined,no-any-return]
