"""Hard clipping: a clipped sample says that the sound was at least there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.audio.operators.base import require_signals
from headwater.errors import Misuse
from headwater.problem.operator import Operator, difference


@dataclass(frozen=True, eq=False)
class Clip(Operator):
    """Hard clipping, y = clamp(x, -low, level).

    A clipped sample says only that x is at or beyond the level, so `residual` is
        min(x - max(level, y), 0)    where y >= level - slack,
        max(x + max(low, -y), 0)     where y <= slack - low,
        x - y                        elsewhere:
    zero exactly where A(x) = y (slack = 0), with a gradient wherever it is not.

    Parameters
    ----------
    level, low
        How far a sample may lie above and below zero; `low` is the level if None, and one of them may be infinite.
    slack
        Samples that noise or dither brought below the level by at most this much count as clipped.

    Raises
    ------
    Misuse
        Both levels are infinite, one is not positive, or the slack is not below them.

    Examples
    --------
    >>> A = Clip(0.5)
    >>> x = torch.tensor([[0.25, 0.75]])
    >>> A(x).tolist(), A.residual(torch.tensor([[0.25, 0.9]]), A(x)).tolist()
    ([[0.25, 0.5]], [[0.0, 0.0]])
    """

    level: float = 1.0
    slack: float = 0.0
    low: float | None = None
    kind: ClassVar[str] = "declip"

    def __post_init__(self) -> None:
        if not (0 < min(self.rails) < math.inf and 0 <= self.slack < min(self.rails)):
            raise Misuse(
                f"Clipping at {self.level} with slack {self.slack} is not a measurement.",
                "Give a positive level and a slack below it.",
            )

    @property
    def rails(self) -> tuple[float, float]:
        """How far a sample may lie below and above zero."""
        return self.level if self.low is None else self.low, self.level

    @property
    def local(self) -> int:
        """0: a sample sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The clipped recording."""
        require_signals(x, self)
        low, high = self.rails
        return x.clamp(-low, high)

    def clipped(self, y: Tensor) -> Tensor:
        """Which samples of a measurement are clipped, bool in its shape."""
        low, high = self.rails
        return (y >= high - self.slack) | (y <= self.slack - low)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """One-sided at clipped samples: only an x on the wrong side of the level is penalised."""
        require_signals(x, self)
        low, high = self.rails
        above, below = (x - y.clamp(min=high)).clamp(max=0), (x - y.clamp(max=-low)).clamp(min=0)
        beyond = torch.where(y > 0, above, below)
        return torch.where(self.clipped(y), beyond, difference(x, y))
