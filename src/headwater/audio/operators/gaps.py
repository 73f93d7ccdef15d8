"""Lost samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.audio.operators.base import require_signals
from headwater.errors import Misuse
from headwater.problem.operator import LinearOperator, require_problems
from headwater.text import counted


@dataclass(frozen=True, eq=False)
class Gaps(LinearOperator):
    """Lost samples, y = known * x.

    Parameters
    ----------
    known
        Bool `[1 or batch, samples]`, True where a sample is known.

    Raises
    ------
    Misuse
        The mask has another type or number of axes.

    Examples
    --------
    >>> A = Gaps(torch.tensor([[True, False, True]]))
    >>> A(torch.tensor([[0.5, 0.6, 0.7]])).tolist()
    [[0.5, 0.0, 0.699999988079071]]
    """

    known: Tensor
    kind: ClassVar[str] = "inpaint"
    per_problem: ClassVar[tuple[str, ...]] = ("known",)

    def __post_init__(self) -> None:
        if self.known.ndim != 2 or self.known.dtype != torch.bool:
            raise Misuse(
                f"The mask is {str(self.known.dtype).removeprefix('torch.')} {list(self.known.shape)}.",
                "Give a bool mask [1 or batch, samples], True where a sample is known.",
            )

    @property
    def local(self) -> int:
        """0: a sample sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The known samples, zero elsewhere."""
        require_signals(x, self)
        require_problems(len(self.known), x, "mask")
        if self.known.shape[1] != x.shape[1]:
            raise Misuse(
                f"The mask has {counted(self.known.shape[1], 'sample')} and the recording {x.shape[1]}.",
                "Give a mask of the recording.",
            )
        return torch.where(self.known, x, 0.0)

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = known * y."""
        return self(y)

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """The known samples, / (1 + ridge)."""
        return self(y) / (1 + ridge)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """1, or 0 where nothing is known."""
        return self.known.any(1).double().expand(shape[0])

    def damaged(self, shape: Sequence[int]) -> Tensor:
        """The lost samples."""
        return ~self.known

    def count(self, y: Tensor) -> Tensor:
        """The number of known samples."""
        return self.known.sum(1).expand(len(y))
