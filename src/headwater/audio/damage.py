"""What may happen to a whole recording: noise, a room, clipping, a lost band, a function of the user's.

The prior hears up to its own band. Each kind of damage says how its measurement looks there (`pose`), and how the
restored low band goes back into the recording at its own rate (`finish`), where the high band has no prior: it is
kept, filtered, or explained without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from torch import Tensor

from headwater.audio.io.files import Samples
from headwater.audio.io.resample import FILTER, interpolated, lifted, resampled
from headwater.audio.io.tracks import Track
from headwater.audio.operators import Clip, Identity, Lowpass, Reverb, UserOperator
from headwater.audio.restore import FRESH, RESOLUTION
from headwater.audio.signal.deconvolution import regularised, undone
from headwater.audio.signal.slope import restrained
from headwater.audio.signal.sparse import declipped
from headwater.audio.signal.suppression import attenuated, filtered
from headwater.errors import Misuse
from headwater.problem.operator import Operator

KEPT = 0.95
"""The share of its band that a recording of a low rate has: its low-pass falls above."""
LOWEST = 100.0
"""The least cutoff, Hz: who gives less means kHz."""
MEAN = 1.0
"""The share of new noise for an estimate that is to be near the mean of what is likely: under noise a draw only adds
to the error (docs/audio-notes.md).
"""
ENOUGH = 2.0
"""The misfit that suffices, in units of the noise, where the estimate is finished without the flow: what gradients
then still change is lost there (docs/audio-notes.md).
"""


class Posed(NamedTuple):
    """A measurement at the prior's rate: what made it, what it is, its noise, and a rough guess of what was there.

    `good`: the flow does not improve the guess, and the preset `default` keeps it; `rough`: the guess at the
    recording's own rate, if `finish` needs it; `fresh`: the share of new noise in the estimate; `tau`: the
    discrepancy level, if not the usual one.
    """

    operator: Operator
    y: Track
    sigma: float
    guess: Track
    good: bool = False
    rough: Track | None = None
    fresh: float = FRESH
    tau: float | None = None


class Damage(Protocol):
    """What happened to a recording."""

    @property
    def reach(self) -> float:
        """Seconds of the past that a sample of the recording depends on."""

    @property
    def stereo(self) -> bool:
        """Whether two channels may be taken as mid and side."""

    def of(self, track: int, begins: bool) -> Damage:
        """What happened to a track; `begins`: the stretch is the first one, with silence before it."""

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed | None:
        """The problem of a track, whose samples are divided by `scale`, at the rate `low`; None without damage."""

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The restored track from the measured one and the estimate at the rate `low`."""


class Alike:
    """Damage that is the same in every track and at every time, for the channels as they are."""

    reach: ClassVar[float] = 0.0
    stereo: ClassVar[bool] = False

    def of(self, track: int, begins: bool) -> Self:
        """Itself."""
        return self


@dataclass(frozen=True)
class Noise(Alike):
    """White noise of standard deviation `std` (full scale 1)."""

    std: float

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The identity; noise that is finer than what the flow resolves is left to the filter."""
        rough, sigma = attenuated(x, self.std, rate), in_band(self.std, rate, low) / scale
        y, guess = (resampled(z - x.mean(), rate, low) for z in (x, rough))
        return Posed(Identity(), y, sigma, guess, sigma < RESOLUTION, rough, MEAN, ENOUGH)

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """Wiener's filter; the pilot is the mean of spectral subtraction, and of it after the estimate."""
        assert posed.rough is not None
        e = lifted(estimate, low, rate, len(x))
        return filtered(x, (posed.rough + e + attenuated(x - e, self.std, rate)) / 2, self.std, rate)


@dataclass(frozen=True)
class Band(Alike):
    """A low-pass at `cutoff` Hz: the band below is as it was, the one above is lost."""

    cutoff: float
    stereo: ClassVar[bool] = True

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The low-pass at the prior's rate."""
        self.check(low)
        y = resampled(x - x.mean(), rate, low)
        lowpass = self.lowpass(low)
        return Posed(lowpass, lowpass(torch.from_numpy(y)[None])[0].numpy(), 0.0, y)

    def check(self, low: int) -> None:
        """Refuse a cutoff that leaves nothing to go by, or is beyond the band of a prior at the rate `low`."""
        if 0 < self.cutoff < LOWEST:
            raise Misuse(
                f"A cutoff of {self.cutoff:g} Hz leaves nothing to go by.",
                f"Give one from {LOWEST:g} Hz on, as in 4000 or 4kHz.",
            )
        if not 0 < self.cutoff < low / 2:
            raise Misuse(
                f"A cutoff of {self.cutoff:g} Hz leaves the model nothing to add.",
                f"Give one between {LOWEST:g} and {low // 2} Hz, the end of the model's band.",
            )

    def lowpass(self, low: int) -> Lowpass:
        """The operator."""
        return Lowpass.at(2 * self.cutoff / low)

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The recording and, above the cutoff, what the estimate has there, as the spectrum falls below."""
        lowpass = self.lowpass(low)
        reach = min(lowpass.local, len(estimate) - 1)
        e = torch.from_numpy(np.pad(estimate, reach, mode="reflect"))[None]
        above = (e - lowpass(e))[0].numpy()[reach : reach + len(estimate)]
        return x + lifted(restrained(above, posed.y, self.cutoff, low), low, rate, len(x))


@dataclass(frozen=True, eq=False)
class Room:
    """A known impulse response `[1 or channels, taps]` at the rate of the recording; `noise`: the std of the rest.

    `begins`: there is silence before the stretch; else its first samples have reverberation from before.
    """

    impulse: Samples
    rate: int
    noise: float = 0.0
    begins: bool = True

    @property
    def reach(self) -> float:
        """The length of the response."""
        return float(self.impulse.shape[1] / self.rate)

    @property
    def stereo(self) -> bool:
        """Mid and side have one response if the channels have; noise is of each channel."""
        return len(self.impulse) == 1 and not self.noise

    def of(self, track: int, begins: bool) -> Room:
        """The room of one channel."""
        impulse = self.impulse if len(self.impulse) == 1 else self.impulse[track : track + 1]
        return replace(self, impulse=impulse, begins=begins)

    @property
    def gain(self) -> float:
        """The norm of the response: what was heard without the room is that much softer than the recording."""
        return float(np.linalg.norm(self.impulse[0]))

    @property
    def response(self) -> Track:
        """The response with a gain of 1, so that what is looked for is as loud as the recording."""
        return np.asarray(self.impulse[0] / self.gain)

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The convolution at the prior's rate."""
        x = x - x.mean()
        y, guess = (resampled(z, rate, low) for z in (x, regularised(x, self.response)))
        sigma = in_band(self.noise, rate, low) / scale
        return Posed(self.reverb(low), y, sigma, guess, tau=ENOUGH)

    def reverb(self, low: int) -> Reverb:
        """The response at the rate `low`; its low-pass needs some taps before the direct sound."""
        common = math.gcd(self.rate, low)
        up, down = low // common, self.rate // common
        before = -(-FILTER * max(up, down) // (up * down)) if self.rate != low else 0
        padded = np.pad(self.response, (before * down, before * down))
        h = resampled(padded, self.rate, low) * self.rate / low
        return Reverb.of(torch.from_numpy(h), before * up)

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The mean of least squares begun with the estimate and with silence, whose errors differ, less noise.

        The estimate has the regularised deconvolution of what it leaves, less noise, added.
        """
        h = self.response
        past = 0 if self.begins else min(len(h) - 1, len(x) // 2)
        e = lifted(estimate, low, rate, len(x))
        e += regularised(attenuated(x - fftconvolve(e, h)[: len(x)], self.noise, rate), h)
        both = [undone(x, h, start, self.noise, rate, past) for start in (e, np.zeros_like(e))]
        return np.asarray(np.mean(both, axis=0) / self.gain)


@dataclass(frozen=True)
class Clipping:
    """Hard clipping: what comes as near to a rail (full scale 1) as `slack`, relative, was at least there.

    `rails`: how far below and above zero it lies, the same in all channels or of each; infinite where nothing is
    clipped. The flow of today does not improve what sparsity finds (`benchmarks/decisions/audio_declip.py`).
    """

    rails: tuple[tuple[float, float], ...]
    slack: float = 1e-4
    reach: ClassVar[float] = 0.0
    stereo: ClassVar[bool] = False

    @classmethod
    def at(cls, level: float, slack: float = 1e-4) -> Clipping:
        """The same level on both sides of zero, in every channel."""
        return cls(((level, level),), slack)

    def of(self, track: int, begins: bool) -> Clipping:
        """That of one channel."""
        return self if len(self.rails) == 1 else replace(self, rails=self.rails[track : track + 1])

    def clipped(self, x: Track) -> NDArray[np.bool_]:
        """The clipped samples of a channel."""
        low, high = self.rails[0]
        return np.asarray((x >= high * (1 - self.slack)) | (x <= -low * (1 - self.slack)))

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed | None:
        """The clipping at the recording's own rate, of the low band and the high band of the rough estimate."""
        if not self.clipped(x).any():
            return None
        rough = declipped(x, self.clipped(x), rate)
        guess = resampled(rough, rate, low)
        below, above = (rail / scale for rail in self.rails[0])
        clip = Clip(above, self.slack * min(below, above), below)
        if rate == low:
            return Posed(clip, x, 0.0, guess, True, rough)
        low_band = interpolated(torch.from_numpy(guess)[None], low, rate, len(x))
        high = torch.from_numpy(rough)[None] - low_band
        at_rate = AtRate(clip, low, rate, len(x), high / scale)
        return Posed(at_rate, x, 0.0, guess, True, rough)

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """Only clipped samples change, and none to below what it was: the guess, and what the estimate changed."""
        assert posed.rough is not None
        found = posed.rough + lifted(estimate - posed.guess, low, rate, len(x))
        sign = np.sign(x)
        return np.where(self.clipped(x), sign * np.maximum(sign * found, np.abs(x)), x)


@dataclass(frozen=True)
class Own(Alike):
    """A user's own operator, at the prior's rate; what lies above the prior's band stays as it is."""

    function: Callable[[Tensor], Tensor]
    noise: float = 0.0

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The function of the recording in its own units."""
        y = resampled(x, rate, low)
        return Posed(UserOperator(lambda z: self.function(z * scale) / scale), y, self.noise / scale, y)

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The estimate, and the high band as it came."""
        high = x - lifted(resampled(x, rate, low), low, rate, len(x)) if rate > low else 0.0
        return lifted(estimate, low, rate, len(x)) + high


@dataclass(frozen=True, eq=False)
class AtRate(Operator):
    """An operator on the recording at its own rate, of the state's low band and a known high band `[1, samples]`."""

    operator: Operator
    low: int
    rate: int
    samples: int
    high: Tensor
    kind = "at rate"

    def _lifted(self, x: Tensor) -> Tensor:
        return interpolated(x, self.low, self.rate, self.samples) + self.high.to(x)

    def __call__(self, x: Tensor) -> Tensor:
        """The operator of both bands."""
        return self.operator(self._lifted(x))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.residual(self._lifted(x), y)


def in_band(std: float, rate: int, low: int) -> float:
    """What a low-pass to the rate `low` leaves of the std of white noise."""
    return std * math.sqrt(min(1.0, low / rate))
