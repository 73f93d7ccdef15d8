"""Two fillings of a gap made one: linear prediction where it knows, the flow where it does not.

Prediction continues tones in phase for as long as they are coherent, and lets everything else die away; so what it
does not know shows as missing power. In the short-time spectrum, with P the power of the prediction and S that of
what is around the gap, both smoothed,

    u = max(0, 1 - 4 P / S)        the share of the power that is missing: nothing down to a quarter of it
    X = G + sqrt(u) F              G the prediction, F the flow, at most 4 times the power S

and G itself wherever samples are known. As the powers of what is independent add up, X has S - 3 P where F has S: a
quarter of S at least, since what prediction has of tones is not to be covered by haze. In the gap S goes from the
power before it to that after it on a straight line in dB, as sounds die away. Tones die away in prediction, too, if
more slowly: `hold_level` holds them up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter

from headwater.audio.io.channels import Signal, find_runs
from headwater.audio.signal.spectrum import TINY, Power, Spectrum


@dataclass(frozen=True)
class Join:
    """How prediction and flow are joined; the numbers are those of the benchmark audio_join.

    Parameters
    ----------
    smooth
        Bins and frames over which power is averaged.
    around
        Seconds on each side of a gap whose power is expected in it.
    known
        The share of the expected power from which on nothing is missing.
    loudest
        How many times that power the flow may have: a recording that ends at 6 kHz gets nothing above.
    held
        By how much the amplitude of a prediction that dies away may be raised.
    fade
        Seconds from the edges of a gap within which raising begins.
    floor
        Where one side of a gap is silent, its power is taken to be this share of the other's.
    """

    smooth: tuple[int, int] = (5, 3)
    around: float = 0.2
    known: float = 0.25
    loudest: float = 4.0
    held: float = 3.0
    fade: float = 0.02
    floor: float = 1e-6


JOIN = Join()


def join_flow(
    flow: Signal,
    prediction: Signal,
    known: NDArray[np.bool_],
    rate: int,
    *,
    error: Signal | None = None,
    settings: Join = JOIN,
) -> Signal:
    """The prediction and, in the gaps, what it lacks from the flow.

    Parameters
    ----------
    flow, prediction
        Two signals with filled gaps, `[samples]`.
    known
        Which samples lie in no gap, `[samples]`; there the result is the prediction.
    rate
        In Hz.
    error
        A draw of what the prediction misses, `[samples]`, zero where samples are known; None for none.

    Examples
    --------
    >>> known = np.ones(8000, dtype=bool)
    >>> known[3000:5000] = False
    >>> tone = np.sin(0.3 * np.arange(8000))
    >>> bool(np.abs(join_flow(-tone, tone, known, 16_000) - tone).max() < 0.01)  # prediction knows
    True
    """
    s = PredictedSpectrum.from_signal(prediction, known, rate, settings)
    expected = s.expect()
    share = s.missing_share(settings.known * expected)
    joined = s.add(flow, share, settings.loudest * expected)
    if error is not None:
        joined = joined + s.spectrum.inverse(np.sqrt(1 - share) * s.spectrum(error))
    return np.where(known, prediction, joined)


def hold_level(prediction: Signal, known: NDArray[np.bool_], rate: int, *, settings: Join = JOIN) -> Signal:
    """The prediction, made louder in the gaps where it is softer than expected there; arguments as for `join_flow`.

    Burg's poles lie inside the unit circle, so that what is predicted dies away: tones slowly, noise at once. The
    gain min(held, sqrt(S / P)) lets tones sound on, as loud as the two sides are; it begins within `fade` seconds.

    >>> known = np.ones(8000, dtype=bool)
    >>> known[3000:5000] = False
    >>> tone = np.sin(0.3 * np.arange(8000))
    >>> found = hold_level(np.where(known, tone, 0.5 * tone), known, 16_000)
    >>> print(f"{np.std(found[3500:4500]) / np.std(tone[3500:4500]):.1f}")
    0.9
    """
    s = PredictedSpectrum.from_signal(prediction, known, rate, settings)
    gain = np.clip(np.sqrt(s.expect() / np.maximum(s.smooth(s.g), TINY)), 1, settings.held)
    inside = np.clip(distance_transform_edt(~known) / (settings.fade * rate), 0, 1)
    louder = s.spectrum.inverse(gain * s.g)
    return np.asarray(prediction + np.sin(np.pi / 2 * inside) ** 2 * (louder - prediction))


@dataclass(frozen=True)
class PredictedSpectrum:
    """The spectrum G `[bins, frames]` of a prediction; `complete`: which of its frames see no gap."""

    spectrum: Spectrum
    g: NDArray[np.complex128]
    complete: NDArray[np.bool_]
    settings: Join

    @classmethod
    def from_signal(
        cls, prediction: Signal, known: NDArray[np.bool_], rate: int, settings: Join
    ) -> PredictedSpectrum:
        """That of a signal."""
        spectrum = Spectrum(len(prediction), rate)
        complete = spectrum((~known).astype(np.float64))[0].real < 1e-9
        return cls(spectrum, spectrum(prediction), complete, settings)

    def smooth(self, z: NDArray[np.complex128]) -> Power:
        """The averaged power of a spectrum."""
        power = uniform_filter(np.abs(z) ** 2, self.settings.smooth, mode="nearest")
        return np.asarray(np.maximum(power, 0))

    def expect(self) -> Power:
        """S, what the power in the gaps is expected to be: from the mean of the frames before to that of those after.

        In frames that see no gap it is their own power.
        """
        reach = max(round(self.settings.around * self.spectrum.rate / self.spectrum.hop), 1)
        power, found = self.smooth(self.g), self.smooth(self.g)
        for start, stop in find_runs(~self.complete).tolist():
            sides = (slice(max(start - reach, 0), start), slice(stop, stop + reach))
            levels = [
                power[:, side][:, self.complete[side]].mean(1) for side in sides if self.complete[side].any()
            ]
            if levels:
                count = stop - start
                found[:, start:stop] = interpolate_in_db(levels[0], levels[-1], count, self.settings.floor)
        return found

    def missing_share(self, enough: Power) -> Power:
        """The share of the power that G lacks, 0 to 1: none where it has `enough`."""
        return np.asarray(np.clip(1 - self.smooth(self.g) / np.maximum(enough, TINY), 0, 1))

    def add(self, filling: Signal, share: Power, most: Power) -> Signal:
        """The signal of G + sqrt(share) F, with F the spectrum of the filling, of at most the power `most`."""
        f = self.spectrum(filling)
        limited = f * np.sqrt(np.minimum(1, most / np.maximum(self.smooth(f), TINY)))
        return self.spectrum.inverse(self.g + np.sqrt(share) * limited)


def interpolate_in_db(before: Power, after: Power, count: int, floor: float = JOIN.floor) -> Power:
    """Powers `[bins, count]` between two `[bins]`, on a straight line in dB; neither is below `floor` of the other.

    >>> interpolate_in_db(np.array([1.0]), np.array([1e-4]), 3).round(4).tolist()
    [[0.1, 0.01, 0.001]]
    """
    least = np.maximum(floor * np.maximum(before, after), TINY)
    weight = (np.arange(count) + 1) / (count + 1)
    first, last = np.log(np.maximum(before, least)), np.log(np.maximum(after, least))
    return np.asarray(np.exp(np.outer(first, 1 - weight) + np.outer(last, weight)))
