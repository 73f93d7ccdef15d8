"""Noise and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.audio.operators.base import require_signals
from headwater.problem.operator import LinearOperator


@dataclass(frozen=True, eq=False)
class Identity(LinearOperator):
    """y = x: all the damage is the noise."""

    kind: ClassVar[str] = "denoise"

    @property
    def local(self) -> int:
        """0: a sample sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The recording itself."""
        require_signals(x, self)
        return x

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = y."""
        return y

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """y / (1 + ridge)."""
        return y / (1 + ridge)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """Always 1."""
        return torch.ones(shape[0], dtype=torch.float64)
