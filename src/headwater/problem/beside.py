"""Operators of single problems, side by side as the operator of a batch: recordings with other gaps, say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from headwater.problem.operator import LinearOperator, Operator


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
