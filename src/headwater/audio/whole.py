"""Damage all over a recording: noise, clipping, a room, a lost band. Stretch by stretch, so any length fits.

The prior hears up to its own band. Each kind of damage says how its measurement looks there (`pose`), and how the
restored low band goes back into the recording at its own rate (`finish`), where the high band has no prior and is
kept, attenuated where noise rules it, or deconvolved with a floor.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from torch import Tensor

from headwater.audio.files import Patch, Samples, Source
from headwater.audio.operators import Clip, Identity, Lowpass, Reverb, UserOperator
from headwater.audio.resample import FILTER, interpolated, lifted, resampled
from headwater.audio.restore import How, Prior, Restoration, restore
from headwater.audio.slope import restrained
from headwater.audio.sparse import declipped
from headwater.audio.spectrum import TINY, Spectrum, Track
from headwater.audio.tracks import SILENCE, from_tracks, seeds_of, to_tracks
from headwater.errors import Misuse
from headwater.operator import Operator

STRETCH = 8.0
"""Seconds that are restored at once."""
MARGIN = 0.5
"""Seconds more on both sides, whose result is thrown away but for the fade."""
SAME = 1e-12
"""Samples that differ by less are as they were, but for rounding."""
FADE = 0.02
"""Seconds over which a stretch fades into the next; both agree with the recording there."""
KEPT = 0.95
"""The share of its band that a recording of a low rate has: its low-pass falls above."""
OVER = 3.0
"""How many times the noise is subtracted."""


class Posed(NamedTuple):
    """A measurement at the prior's rate: what made it, what it is, its noise, and a rough guess of what was there.

    `good`: the flow does not improve the guess, and the preset `default` keeps it; `rest`: what the estimate leaves
    of the recording, at its own rate.
    """

    operator: Operator
    y: Track
    sigma: float
    guess: Track
    good: bool = False
    rest: Track | None = None


class Damage(Protocol):
    """What happened to a recording."""

    @property
    def reach(self) -> float:
        """Seconds of the past that a sample of the recording depends on."""

    @property
    def stereo(self) -> bool:
        """Whether two channels may be taken as mid and side."""

    def of(self, track: int) -> Damage:
        """What happened to a track."""

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed | None:
        """The problem of a track, whose samples are divided by `scale`, at the rate `low`; None without damage."""

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The restored track from the measured one and the estimate at the rate `low`."""


class Alike:
    """Damage that is the same in every track."""

    def of(self, track: int) -> Self:
        """Itself."""
        return self


@dataclass(frozen=True)
class Noise(Alike):
    """White noise of standard deviation `std` (full scale 1)."""

    std: float
    reach: float = 0.0
    stereo: bool = False

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The identity; a low-pass leaves as much of the noise as of the band."""
        y = resampled(x - x.mean(), rate, low)
        return Posed(Identity(), y, self.std * math.sqrt(min(1.0, low / rate)) / scale, y)

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The estimate, and what of the rest of the recording stands out of the noise: all above the prior's band."""
        e = lifted(estimate, low, rate, len(x))
        return e + attenuated(x - e, self.std, rate)


@dataclass(frozen=True)
class Band(Alike):
    """A low-pass at `cutoff` Hz: the band below is as it was, the one above is lost."""

    cutoff: float
    reach: float = 0.0
    stereo: bool = True

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The low-pass at the prior's rate."""
        self.check(low)
        y = resampled(x - x.mean(), rate, low)
        lowpass = self.lowpass(low)
        return Posed(lowpass, lowpass(torch.from_numpy(y)[None])[0].numpy(), 0.0, y)

    def check(self, low: int) -> None:
        """Refuse a cutoff beyond the band of a prior at the rate `low`."""
        if not 0 < self.cutoff < low / 2:
            raise Misuse(
                f"A cutoff of {self.cutoff:g} Hz leaves the model nothing to add.",
                f"Give one between 0 and {low // 2} Hz, the end of the model's band.",
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
    """A known impulse response `[1 or channels, taps]` at the rate of the recording; `noise`: the std of the rest."""

    impulse: Samples
    rate: int
    noise: float = 0.0

    @property
    def reach(self) -> float:
        """The length of the response."""
        return float(self.impulse.shape[1] / self.rate)

    @property
    def stereo(self) -> bool:
        """Mid and side have one response if the channels have."""
        return len(self.impulse) == 1

    def of(self, track: int) -> Room:
        """The room of one channel."""
        return self if self.stereo else replace(self, impulse=self.impulse[track : track + 1])

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed:
        """The convolution at the prior's rate."""
        y, guess = (resampled(z, rate, low) for z in (x - x.mean(), self.inverse(x - x.mean())))
        return Posed(self.reverb(low), y, self.noise / scale, guess)

    def reverb(self, low: int) -> Reverb:
        """The response at the rate `low`; its low-pass needs some taps before the direct sound."""
        common = math.gcd(self.rate, low)
        up, down = low // common, self.rate // common
        before = -(-FILTER * max(up, down) // (up * down)) if self.rate != low else 0
        padded = np.pad(self.impulse[0], (before * down, before * down))
        h = resampled(padded, self.rate, low) * self.rate / low
        return Reverb.of(torch.from_numpy(h), before * up)

    def inverse(self, x: Track, floor: float = 0.05) -> Track:
        """Regularised deconvolution: X = conj(H) Y / (|H|^2 + floor max |H|^2)."""
        n = 1 << (len(x) + self.impulse.shape[1] - 1).bit_length()
        h = np.fft.rfft(self.impulse[0], n)
        power = np.abs(h) ** 2
        return np.asarray(
            np.fft.irfft(h.conj() * np.fft.rfft(x, n) / (power + floor * power.max()), n)[: len(x)]
        )

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """The estimate, and the regularised deconvolution of what it leaves, which is all above its band."""
        e = lifted(estimate, low, rate, len(x))
        rest = x - fftconvolve(e, self.impulse[0])[: len(x)]
        return e + self.inverse(attenuated(rest, self.noise, rate) if self.noise else rest)


@dataclass(frozen=True)
class Clipping(Alike):
    """Hard clipping at `level` (full scale 1): what comes as near to it as `slack`, relative, was at least there.

    The flow of today does not improve what sparsity finds (`benchmarks/audio_declip.py`).
    """

    level: float
    slack: float = 1e-4
    reach: float = 0.0
    stereo: bool = False

    def clipped(self, x: Track) -> NDArray[np.bool_]:
        """The clipped samples."""
        return np.abs(x) >= self.level * (1 - self.slack)

    def pose(self, x: Track, rate: int, low: int, scale: float) -> Posed | None:
        """The clipping at the recording's own rate, of the low band and the high band of the rough estimate."""
        if not self.clipped(x).any():
            return None
        rough = declipped(x, self.clipped(x), rate)
        guess = resampled(rough, rate, low)
        clip = Clip(self.level / scale, self.slack * self.level / scale)
        if rate == low:
            return Posed(clip, x, 0.0, guess, good=True)
        low_band = interpolated(torch.from_numpy(guess)[None], low, rate, len(x))
        high = torch.from_numpy(rough)[None] - low_band
        at_rate = AtRate(clip, low, rate, len(x), high / scale)
        return Posed(at_rate, x, 0.0, guess, True, rough - lifted(guess, low, rate, len(x)))

    def finish(self, posed: Posed, x: Track, estimate: Track, rate: int, low: int) -> Track:
        """Only clipped samples change, and none to below what it was: the estimate, and the rough one's high band."""
        found = lifted(estimate, low, rate, len(x)) + (0.0 if posed.rest is None else posed.rest)
        sign, least = np.sign(x), np.maximum(self.level, np.abs(x))
        return np.where(self.clipped(x), sign * np.maximum(sign * found, least), x)


@dataclass(frozen=True)
class Own(Alike):
    """A user's own operator, at the prior's rate; what lies above the prior's band stays as it is."""

    function: Callable[[Tensor], Tensor]
    noise: float = 0.0
    reach: float = 0.0
    stereo: bool = False

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


def attenuated(x: Track, std: float, rate: int) -> Track:
    """A track with white noise of that std attenuated in its short-time spectrum, 20 ms windows.

    The gain is max(1 - over sigma^2 / P, 0), P the power of a bin; of noise alone e^-over of the bins remain. Source:
    Berouti, Schwartz and Makhoul, ICASSP 1979.
    """
    spectrum = Spectrum(len(x), rate, 0.02)
    s = spectrum(x)
    power = np.maximum(np.abs(s) ** 2, TINY)
    return spectrum.back(np.maximum(1 - OVER * std**2 * spectrum.noise / power, 0.0) * s)


def spans(frames: int, size: int) -> list[tuple[int, int]]:
    """The stretches of a recording: equal parts of at most `size` frames.

    >>> spans(10, 4)
    [(0, 3), (3, 6), (6, 10)]
    """
    count = max(-(-frames // size), 1)
    edges = [i * frames // count for i in range(count + 1)]
    return list(itertools.pairwise(edges))


Told = Callable[[int, int, list[Restoration]], bool]


def restored(
    prior: Prior,
    source: Source,
    damage: Damage,
    how: How | None = None,
    told: Told = lambda k, n, done: False,
) -> Iterator[Patch]:
    """The restored recording as patches, in order, made when they are asked for.

    `told(k, n, done)` hears that the k-th of n stretches is done, and may end the run; the rest then stays as it is.
    """
    how = how or How()
    fade = max(round(FADE * source.rate), 1)
    margin = round(max(MARGIN, 2 * damage.reach + 2 * FADE) * source.rate)
    todo = spans(source.frames, round(STRETCH * source.rate))
    tail: Samples | None = None
    for k, (start, stop) in enumerate(todo):
        first, last = max(start - margin, 0), min(stop + margin, source.frames)
        done: list[Restoration] = []
        x = source.read(first, last)
        whole = _stretch(
            prior, x, source.rate, damage, how, seeds_of(how.seed, start, range(source.channels)), done
        )
        begin = start if tail is None else start - fade
        x, y = x[begin - first : stop - first], whole[begin - first : stop - first]
        if tail is not None:
            ramp = np.linspace(0, 1, fade, endpoint=False)[:, None]
            y[:fade] = (1 - ramp) * tail + ramp * y[:fade]
        ended = told(k + 1, len(todo), done) and stop < source.frames
        if ended:  # the rest stays as it is: fade into it
            ramp = np.linspace(0, 1, min(fade, len(y)))[:, None]
            y[len(y) - len(ramp) :] += ramp * (x - y)[len(y) - len(ramp) :]
        last_one = ended or stop == source.frames
        kept = len(y) if last_one else len(y) - fade
        tail = y[kept:]
        yield Patch(begin, y[:kept], np.abs(y - x)[:kept] > SAME)
        if last_one:
            return


def _stretch(
    prior: Prior,
    x: Samples,
    rate: int,
    damage: Damage,
    how: How,
    seeds: Sequence[int],
    done: list[Restoration],
) -> Samples:
    """One stretch `[frames, channels]`, restored, every track for itself; what is whole or silent stays as it is."""
    found = []
    for i, track in enumerate(to_tracks(x) if damage.stereo else x.T):
        scale, this = float(track.std()), damage.of(i)
        posed = this.pose(track, rate, prior.rate, scale) if scale > SILENCE else None
        if posed is not None:
            estimate = posed.guess
            if not posed.good or how.preset != "default":
                y, guess = (torch.from_numpy(z / scale).float()[None] for z in (posed.y, posed.guess))
                options: dict[str, Any] = {"seeds": [seeds[i]], "preset": how.preset, "limits": how.limits}
                done.append(restore(prior, posed.operator, y, posed.sigma, guess=guess, **options))
                estimate = done[-1].waveforms[0].double().numpy() * scale
            track = this.finish(posed, track, estimate, rate, prior.rate)
        found.append(track)
    together = np.stack(found)
    return from_tracks(together) if damage.stereo else together.T.copy()
