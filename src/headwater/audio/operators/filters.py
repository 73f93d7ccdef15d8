"""Convolutions: a low-pass, a lower rate, a room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor

from headwater.audio.operators.base import require_signals
from headwater.errors import Misuse
from headwater.problem.operator import LinearOperator, require_problems


@dataclass(frozen=True, eq=False)
class Convolution(LinearOperator):
    """y[i] = sum_k h[k] x[every i + delay - k], x being zero beyond its ends.

    Parameters
    ----------
    kernel
        The taps h, floating, `[1 or batch, taps]`.
    delay
        The number of the tap that delays nothing.
    every
        One sample of y per `every` samples of x; with 1, y is as long as x.

    Raises
    ------
    Misuse
        The taps are not floating, not finite, or all zero.
    """

    kernel: Tensor
    delay: int = 0
    every: int = 1
    kind: ClassVar[str] = "filter"
    per_problem: ClassVar[tuple[str, ...]] = ("kernel",)

    def __post_init__(self) -> None:
        h = self.kernel
        if h.ndim != 2 or not h.is_floating_point() or h.numel() == 0:
            raise Misuse(
                f"The filter is {str(h.dtype).removeprefix('torch.')} {list(h.shape)}.",
                "Give floating taps [1 or batch, taps].",
            )
        if not bool(torch.isfinite(h).all()) or not bool((h != 0).any(1).all()):
            raise Misuse("The filter is not finite, or all zero.", "Give another impulse response.")

    @property
    def local(self) -> int:
        """The taps on the longer side."""
        return max(self.delay, self.kernel.shape[1] - 1 - self.delay)

    @property
    def stride(self) -> int:
        """Samples of x per sample of y."""
        return self.every

    def _product(self, x: Tensor, conjugate: bool, shift: int) -> Tensor:
        """x filtered by h or by its reversal, moved by `shift`, as long as x."""
        n = x.shape[1] + self.kernel.shape[1] + abs(shift)
        n = 1 << (n - 1).bit_length()
        h = torch.fft.rfft(self.kernel.to(x), n)
        full: Tensor = torch.fft.irfft(torch.fft.rfft(x, n) * (h.conj() if conjugate else h), n)
        return full.roll(-shift, 1)[:, : x.shape[1]]

    def __call__(self, x: Tensor) -> Tensor:
        """The filtered recording."""
        require_signals(x, self)
        require_problems(len(self.kernel), x, "filter")
        if x.shape[1] % self.every:
            raise Misuse(
                f"The number of samples, {x.shape[1]}, is not a multiple of {self.every}.",
                "Pad the recording to a multiple.",
            )
        return self._product(x, False, self.delay)[:, :: self.every]

    def adjoint(self, y: Tensor) -> Tensor:
        """The reversed filter after zeros between the samples."""
        apart = y.new_zeros(len(y), y.shape[1], self.every)
        apart[..., 0] = y
        return self._product(apart.flatten(1), True, -self.delay)


class Lowpass(Convolution):
    """Band-limiting alone: the rate stays, what lies above the cutoff is lost."""

    kind: ClassVar[str] = "band-limit"

    @classmethod
    def with_cutoff(cls, cutoff: float, taps: int = 255) -> Self:
        """The linear-phase low-pass with half its gain at `cutoff`, a share of the Nyquist frequency.

        Raises
        ------
        Misuse
            The cutoff is not between 0 and 1.
        """
        if not 0 < cutoff < 1:
            raise Misuse(f"The cutoff {cutoff} is not a share of the Nyquist frequency.", "Give 0 to 1.")
        return cls(lowpass_taps(cutoff, taps)[None], taps // 2)


class Decimate(Convolution):
    """Band-limiting, then every n-th sample: what a lower sampling rate leaves."""

    kind: ClassVar[str] = "upsample"

    @classmethod
    def by_factor(cls, factor: int) -> Self:
        """Decimation with the low-pass of `lowpass_taps` at 1 / factor, 20 taps per kept sample.

        Raises
        ------
        Misuse
            The factor is below 2.
        """
        if factor < 2:
            raise Misuse(f"Decimation by {factor} does nothing.", "Give at least 2.")
        taps = 20 * factor + 1
        return cls(lowpass_taps(1 / factor, taps)[None], taps // 2, factor)


class Reverb(Convolution):
    """A room or a device with a known impulse response, `[taps]`; the tap number `delay` is that of no delay."""

    kind: ClassVar[str] = "dereverb"

    @classmethod
    def from_impulse(cls, impulse: Tensor, delay: int = 0) -> Self:
        """The reverberation with this impulse response, as it is (its level is kept)."""
        return cls(impulse.reshape(1, -1), delay)


def lowpass_taps(cutoff: float, taps: int) -> Tensor:
    """A windowed sinc `[taps]`, float64, gain 1 at zero: sinc(cutoff n) Kaiser(5.0), `cutoff` in Nyquist frequencies.

    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, sec. 7.5.

    >>> lowpass_taps(0.5, 11).sum().item()
    1.0
    """
    n = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    h = torch.sinc(cutoff * n) * torch.kaiser_window(taps, periodic=False, beta=5.0, dtype=torch.float64)
    return h / h.sum()


class Whiten(Convolution):
    """A filter under which noise of a known spectrum becomes white: its misfit is then that of white noise."""

    kind: ClassVar[str] = "whiten"

    @classmethod
    def from_profile(cls, power: Tensor, *, taps: int = 255, range_: float = 1e3) -> Self:
        """The filter with the gain 1 / sqrt(power), of linear phase.

        Parameters
        ----------
        power
            The power of the noise at frequencies evenly spaced from 0 to half the rate, `[bins]`, of mean 1.
        taps
            The length of the filter, odd.
        range_
            Powers below the greatest by more than this count as that: a filter cannot raise them without end.

        Raises
        ------
        Misuse
            The powers are negative, or all zero.

        Examples
        --------
        >>> Whiten.from_profile(torch.ones(129)).kernel.abs().argmax().item()
        127
        """
        if not bool((power >= 0).all()) or not bool((power > 0).any()):
            raise Misuse("The noise has no power.", "Give powers of at least 0, some of them above.")
        gain = power.clamp(min=float(power.max()) / range_).rsqrt()
        grid = torch.nn.functional.interpolate(
            gain[None, None], 2 * taps + 1, mode="linear", align_corners=True
        )[0, 0]
        response = torch.fft.irfft(grid.to(torch.complex128), 4 * taps)
        half = taps // 2
        kernel = (
            response.roll(half)[:taps]
            * torch.hann_window(taps + 2, periodic=False, dtype=torch.float64)[1:-1]
        )
        return cls(kernel.to(power.dtype)[None], half)
