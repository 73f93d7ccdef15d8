"""The space that the music flow lives in: rows of coefficients of unit variance, and the way there and back.

A waveform `[b, samples]` has unit loudness (rms about 1); a state is `[b, frames, bins]`, a frame being `bins`
samples long. Every space here keeps the number of values and is invertible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headwater.audio.signal.mdct import inverse_mdct, mdct


class Space(Protocol):
    """A bijection of waveforms and states."""

    @property
    def name(self) -> str:
        """What a model card calls it."""

    @property
    def scale(self) -> Tensor:
        """What the coefficients are divided by, one number or one for each bin."""

    @property
    def bins(self) -> int:
        """Samples of a frame, and numbers of a row."""

    @property
    def linear(self) -> bool:
        """Whether `decode` is linear; then `adjoint` is there."""

    def encode(self, x: Tensor) -> Tensor:
        """The state of a waveform."""

    def decode(self, z: Tensor) -> Tensor:
        """The waveform of a state."""

    def adjoint(self, x: Tensor) -> Tensor:
        """The adjoint of `decode`: <decode(z), x> = <z, adjoint(x)>."""


@dataclass(frozen=True)
class Patches:
    """Samples in rows of `bins`, all divided by one scale."""

    scale: Tensor
    bins: int
    linear = True
    name = "patches"

    def encode(self, x: Tensor) -> Tensor:
        """Rows of samples."""
        return x.reshape(len(x), -1, self.bins) / self.scale.to(x)

    def decode(self, z: Tensor) -> Tensor:
        """The samples in a row."""
        return (z * self.scale.to(z)).flatten(1)

    def adjoint(self, x: Tensor) -> Tensor:
        """The transpose of `decode`."""
        return x.reshape(len(x), -1, self.bins) * self.scale.to(x)


@dataclass(frozen=True)
class Spectral:
    """MDCT coefficients c in z = sign(c / s)|c / s|^power, with a scale s for each bin; `power` 1 is linear."""

    scale: Tensor
    power: float = 1.0

    @property
    def name(self) -> str:
        """mdct, or companded."""
        return "mdct" if self.linear else "companded"

    @property
    def bins(self) -> int:
        """Samples of a frame."""
        return len(self.scale)

    @property
    def linear(self) -> bool:
        """Whether there is no companding."""
        return self.power == 1

    def encode(self, x: Tensor) -> Tensor:
        """The scaled, companded coefficients."""
        z = mdct(x, self.bins) / self.scale.to(x)
        return z if self.linear else z.sign() * z.abs() ** self.power

    def decode(self, z: Tensor) -> Tensor:
        """The waveform."""
        c = z if self.linear else z.sign() * z.abs() ** (1 / self.power)
        return inverse_mdct(c * self.scale.to(z))

    def adjoint(self, x: Tensor) -> Tensor:
        """The transpose of `decode`, for the linear map: the transform is orthogonal."""
        return mdct(x, self.bins) * self.scale.to(x)
