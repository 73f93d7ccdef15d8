"""Operators of single problems as the operator of a batch: pictures with other masks, recordings with other rooms.

Operators of one kind become one with a row for each problem; others are evaluated side by side.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from headwater.problem.compose import Composition
from headwater.problem.operator import LinearOperator, Operator


def contents(thing: Any, *, shapes: bool = False) -> Iterator[bytes]:
    """What a thing is made of, in bytes; a function or a network is only ever equal to itself.

    With `shapes` a tensor counts by its type and the shape of a row and not by its values: such things can be joined.
    """
    if isinstance(thing, Tensor):
        yield f"{thing.dtype} {list(thing.shape[1:] if shapes else thing.shape)}".encode()
        if not shapes:
            yield thing.detach().cpu().contiguous().numpy().tobytes()
    elif isinstance(thing, str | int | float | bool | None):
        yield repr(thing).encode()
    elif isinstance(thing, tuple | list):
        for one in thing:
            yield from contents(one, shapes=shapes)
    elif isinstance(thing, Mapping):
        for name in sorted(thing):
            yield from contents((name, thing[name]), shapes=shapes)
    elif isinstance(thing, Operator):
        yield type(thing).__qualname__.encode()
        for name, value in sorted(vars(thing).items()):
            yield name.encode()
            joined = name in thing.per_problem or isinstance(value, Operator)
            yield from contents(value, shapes=shapes and joined)
    elif is_dataclass(thing) and not isinstance(thing, type):
        yield type(thing).__qualname__.encode()
        for field in fields(thing):
            yield from contents(getattr(thing, field.name), shapes=shapes)
    else:
        yield str(id(thing)).encode()


def are_alike(things: Sequence[Any], *, shapes: bool = False) -> bool:
    """Whether things are made of the same, see `contents`."""
    return len({tuple(contents(thing, shapes=shapes)) for thing in things}) == 1


def join_operators(parts: Sequence[Operator], shapes: Sequence[Sequence[int]]) -> Operator:
    """The operator of a batch whose i-th problem is measured by the i-th part.

    Equal parts are one operator; parts that differ in the tensors that an operator holds for each problem, as masks,
    become one that holds those of all; any others are put side by side.

    Parameters
    ----------
    parts
        An operator for each problem, each of one problem.
    shapes
        Of the measurement of each, without the axis of problems.

    Examples
    --------
    >>> from headwater.image.operators import Inpaint
    >>> parts = [Inpaint(torch.tensor([[True, False]])), Inpaint(torch.tensor([[False, True]]))]
    >>> join_operators(parts, [(1, 1, 2), (1, 1, 2)]).mask.shape
    torch.Size([2, 1, 1, 2])
    """
    alike = len({tuple(shape) for shape in shapes}) == 1 and are_alike(parts, shapes=True)
    return stack_operators(parts) if alike else put_side_by_side(parts, shapes)


def stack_operators(parts: Sequence[Any]) -> Any:
    """One operator with the per-problem tensors of all parts; one of the parts if they are equal."""
    first = parts[0]
    if are_alike(parts):
        return first
    if isinstance(first, Composition):
        outer, inner = ([getattr(part, name) for part in parts] for name in ("outer", "inner"))
        return replace(first, outer=stack_operators(outer), inner=stack_operators(inner))
    joined = copy.copy(first)
    for name in first.per_problem:
        object.__setattr__(joined, name, torch.cat([getattr(part, name) for part in parts]))
    return joined


def put_side_by_side(parts: Sequence[Operator], shapes: Sequence[Sequence[int]]) -> SideBySide:
    """The operator of a batch whose i-th problem is measured by the i-th part.

    Measurements may have different shapes: each is flattened, and followed by zeros up to the longest.

    Parameters
    ----------
    parts
        An operator for each problem, each of one problem.
    shapes
        Of the measurement of each, without the axis of problems.

    Returns
    -------
    operator
        A `LinearOperator` if all parts are linear; y is `[batch, entries]`, see `SideBySide.join`.

    Examples
    --------
    >>> from headwater.audio.operators import Gaps
    >>> parts = [Gaps(torch.tensor([[True, False]])), Gaps(torch.tensor([[False, True]]))]
    >>> both = put_side_by_side(parts, [(2,), (2,)])
    >>> both(torch.ones(2, 2)).tolist(), both.select([1]).adjoint(torch.ones(1, 2)).tolist()
    ([[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0]])
    """
    kind = LinearSideBySide if all(isinstance(part, LinearOperator) for part in parts) else SideBySide
    return kind(tuple(parts), tuple(torch.Size(shape) for shape in shapes))


@dataclass(frozen=True, eq=False)
class SideBySide(Operator):
    """y_i = A_i(x_i) for x `[batch, ...]`, an operator A_i for each problem."""

    parts: tuple[Any, ...]
    shapes: tuple[torch.Size, ...]
    kind: ClassVar[str] = "side by side"

    @property
    def entries(self) -> int:
        """Of the longest measurement."""
        return max(shape.numel() for shape in self.shapes)

    def join(self, rows: Sequence[Tensor]) -> Tensor:
        """The measurements of all problems, each `[1, *shape]`, as one `[batch, entries]`."""
        flat = [row.reshape(1, -1) for row in rows]
        return torch.cat([pad(row, (0, self.entries - row.shape[1])) for row in flat])

    def split(self, y: Tensor) -> list[Tensor]:
        """The measurement of each problem, `[1, *shape]`, of y `[batch, entries]`."""
        return [row[: shape.numel()].reshape(1, *shape) for row, shape in zip(y, self.shapes, strict=True)]

    @property
    def name(self) -> str:
        """The name of the first part."""
        return str(self.parts[0].name)

    def __call__(self, x: Tensor) -> Tensor:
        return self.join([part(x[i : i + 1]) for i, part in enumerate(self.parts)])

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """Each part's residual, in the shape of y."""
        rows = zip(self.parts, self.split(y), strict=True)
        return self.join([part.residual(x[i : i + 1], row) for i, (part, row) in enumerate(rows)])

    def count(self, y: Tensor) -> Tensor:
        """How many entries of y are measurements, by each part, int64 `[batch]`."""
        return torch.cat([part.count(row) for part, row in zip(self.parts, self.split(y), strict=True)])

    def select(self, index: Any) -> Any:
        """The parts of the problems in `index`, int64 `[k]` or a bool mask `[batch]`."""
        index = torch.as_tensor(index)
        chosen = (index.nonzero().flatten() if index.dtype == torch.bool else index.long()).tolist()
        return type(self)(tuple(self.parts[i] for i in chosen), tuple(self.shapes[i] for i in chosen))

    def to(self, device: torch.device | str) -> Any:
        """The parts with their tensors on `device`."""
        return type(self)(tuple(part.to(device) for part in self.parts), self.shapes)


@dataclass(frozen=True, eq=False)
class LinearSideBySide(SideBySide, LinearOperator):
    """The same of linear operators."""

    linear: ClassVar[bool] = True

    def adjoint(self, y: Tensor) -> Tensor:
        """Each part's A' y, `[batch, ...]`."""
        return torch.cat([part.adjoint(row) for part, row in zip(self.parts, self.split(y), strict=True)])

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """Each part's pseudo-inverse of y, `[batch, ...]`."""
        rows = zip(self.parts, self.split(y), strict=True)
        return torch.cat([part.pinv(row, ridge=ridge) for part, row in rows])

    def norm(self, shape: Sequence[int]) -> Tensor:
        """Each part's largest singular value, float64 `[batch]`."""
        return torch.cat([part.norm((1, *shape[1:])) for part in self.parts])
