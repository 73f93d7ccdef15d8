"""The space that the music flow lives in: rows of coefficients of unit variance, and the way to a waveform and back.

A waveform `[b, samples]` has unit loudness (rms about 1); a state is `[b, frames, bins]`, a frame being `bins`
samples long. Every space here keeps the number of values and is invertible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headwater.audio.mdct import inverse, mdct


class Space(Protocol):
    """A bijection of waveforms and states."""

    @property
    def bins(self) -> int: ...

    def encode(self, x: Tensor) -> Tensor: ...

    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Patches:
    """Samples in rows of `bins`, all divided by one scale."""

    scale: Tensor
    bins: int

    def encode(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (-1, self.bins)) / self.scale

    def decode(self, z: Tensor) -> Tensor:
        return (z * self.scale).flatten(-2)


@dataclass(frozen=True)
class Spectral:
    """MDCT coefficients c in z = sign(c / s)|c / s|^power, with a scale s for each bin; `power` 1 is linear."""

    scale: Tensor
    power: float = 1.0

    @property
    def bins(self) -> int:
        return len(self.scale)

    def encode(self, x: Tensor) -> Tensor:
        z = mdct(x, self.bins) / self.scale.to(x)
        return z if self.power == 1 else z.sign() * z.abs() ** self.power

    def decode(self, z: Tensor) -> Tensor:
        c = z if self.power == 1 else z.sign() * z.abs() ** (1 / self.power)
        return inverse(c * self.scale.to(z))
