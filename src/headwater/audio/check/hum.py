"""Hum of the mains: lines at 50 or 60 Hz and their multiples that are there all the time, also between the notes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.channels import Signal


@dataclass(frozen=True)
class HumSettings:
    """How hum is found.

    Parameters
    ----------
    mains
        Frequencies of the mains, Hz; a grid and a recorder are within `drift` of them, relatively.
    harmonics
        How many are looked at.
    window
        Seconds of a spectrum, for lines narrower than those of notes.
    quantile
        The share of the time in which a line may be weaker than it is counted: notes come and go.
    above
        How many dB a line exceeds what is beside it, from `near` to `far` Hz, to be one; so much more with the
        fewest spectra, as their scatter falls with the square root of their number.
    several
        How many lines are a hum; a single one at the mains' own frequency or its double if it is `alone` dB above.
    faintest
        The least level of a line, dB of full scale: below, rounding to 16 bits makes lines of its own.
    fewest
        Spectra, half a window apart, below which nothing is said: a note can be as long.
    """

    mains: tuple[float, ...] = (50.0, 60.0)
    drift: float = 0.004
    harmonics: int = 10
    window: float = 2.0
    quantile: float = 0.25
    above: float = 5.0
    alone: float = 20.0
    near: float = 3.0
    far: float = 10.0
    several: int = 3
    faintest: float = -90.0
    fewest: int = 4


HUM = HumSettings()


class HumMeter:
    """Listens to a recording part by part, and says at the end whether it hums.

    Parameters
    ----------
    rate
        Of the recording, Hz.
    settings
        How hum is found.

    Examples
    --------
    >>> t = np.arange(80_000) / 8000
    >>> meter = HumMeter(8000)
    >>> meter.listen(0.01 * sum(np.sin(2 * np.pi * 50 * k * t) for k in (1, 2, 3)) + 0.001 * np.random.randn(80_000))
    >>> [round(f) for f, first, last in meter.find()]
    [50]
    """

    def __init__(self, rate: int, settings: HumSettings = HUM) -> None:
        self.rate, self.settings = rate, settings
        highest = min(max(settings.mains) * settings.harmonics + 2 * settings.far, rate / 2)
        self.factor = max(int(rate // (4 * highest)), 1)
        self.size = round(settings.window * rate / self.factor)
        self.bins = int(highest * self.size * 2 * self.factor / rate)
        self._left = np.zeros(0)
        self._sum = np.zeros(0)
        self.frames: list[NDArray[np.float32]] = []

    def listen(self, x: Signal) -> None:
        """The next part, `[frames]`."""
        x = np.concatenate([self._sum, x])
        whole = len(x) // self.factor * self.factor
        self._sum = x[whole:]
        # the mean of neighbours is a low-pass that is flat enough below a quarter of the new rate
        self._left = np.concatenate([self._left, x[:whole].reshape(-1, self.factor).mean(1)])
        window = np.hanning(self.size)
        while len(self._left) >= self.size:
            spectrum = np.fft.rfft(window * self._left[: self.size], 2 * self.size)[: self.bins]
            self.frames.append((np.abs(spectrum) ** 2 / np.sum(window) ** 2).astype(np.float32))
            self._left = self._left[self.size // 2 :]

    def find(self) -> list[tuple[float, float, float]]:
        """The hums: frequency in Hz, and from when to when in seconds."""
        if len(self.frames) < self.settings.fewest:
            return []
        power = 10 * np.log10(np.stack(self.frames) + 1e-16)
        steady = np.quantile(power, self.settings.quantile, axis=0)
        found = []
        for mains in self.settings.mains:
            frequency, heights = self._lines(steady, mains)
            strong = heights >= self.settings.above * (1 + (self.settings.fewest / len(power)) ** 0.5)
            strong[[k - 1 for k in range(1, len(strong) + 1) if k * round(mains) % 300 == 0]] = (
                False  # 50 Hz's and 60 Hz's
            )
            if (
                strong.sum() >= self.settings.several
                or (strong[:2] & (heights[:2] >= self.settings.alone)).any()
            ):
                found.append((frequency, *self._when(power, frequency, strong)))
        return found

    def _lines(self, power: Signal, mains: float) -> tuple[float, Signal]:
        """The frequency near the mains' at which the lines are highest, and their heights in dB, `[harmonics]`."""
        drifts = mains * np.linspace(1 - self.settings.drift, 1 + self.settings.drift, 17)
        heights = np.stack([self._heights(power, f) for f in drifts])
        best = int(np.argmax(np.maximum(heights, 0).sum(1)))
        return float(drifts[best]), heights[best]

    def _heights(self, power: Signal, frequency: float) -> Signal:
        s, scale = self.settings, 2 * self.size * self.factor / self.rate
        mains = min(s.mains, key=lambda f: abs(f - frequency))  # all drifts of one have as many lines
        count = min(s.harmonics, int((self.bins - 1) / scale / (mains * (1 + s.drift))))
        near, far = round(s.near * scale), round(s.far * scale)
        heights = np.zeros(max(count, 2))
        for k in range(1, count + 1):
            place = round(k * frequency * scale)
            beside = np.concatenate(
                [power[max(place - far, 0) : place - near], power[place + near : place + far]]
            )
            if power[max(place - 1, 0) : place + 2].max() < s.faintest:
                continue
            heights[k - 1] = power[max(place - 1, 0) : place + 2].max() - np.quantile(beside, 0.75)
        return heights

    def _when(
        self, power: NDArray[np.float64], frequency: float, strong: NDArray[np.bool_]
    ) -> tuple[float, float]:
        """From when to when its lines are there."""
        heights = np.stack([self._heights(row, frequency)[strong[: len(strong)]].mean() for row in power])
        there = np.flatnonzero(heights >= self.settings.above / 2)
        there = there if len(there) else np.arange(len(power))
        step = self.settings.window / 2
        return float(there[0] * step), float((there[-1] + 2) * step)
