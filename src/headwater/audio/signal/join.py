"""Two fillings of a gap made one: linear prediction where it knows, the flow where it does not.

Prediction continues tones in phase for as long as they are coherent, and lets everything else die away; so what it
does not know shows as missing power. In the short-time spectrum, with P the power of the prediction and S that of
what is around the gap, both smoothed,

    u = max(0, 1 - 4 P / S)        the share of the power that is missing: nothing down to a quarter of it
    X = G + sqrt(u) F              G the prediction, F the flow, at most 4 times the power S

and G itself wherever samples are known. As the powers of what is independent add up, X has S - 3 P where F has S: a
quarter of S at least, since what prediction has of tones is not to be covered by haze. In the gap S goes from the
power before it to that after it on a straight line in dB, as sounds die away. Tones die away in prediction, too, if
more slowly: `steadied` holds them up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, uniform_filter

from headwater.audio.io.tracks import Track, gaps_of
from headwater.audio.signal.spectrum import TINY, Power, Spectrum

SMOOTH = (5, 3)
"""Bins and frames over which power is averaged."""
AROUND = 0.2
"""Seconds on each side of a gap whose power is expected in it."""
KNOWN = 0.25
"""The share of the power that is expected from which on nothing is missing."""
LOUDEST = 4.0
"""How many times that power the flow may have: a recording that ends at 6 kHz gets nothing above."""
HELD = 3.0
"""By how much the amplitude of a prediction that dies away may be raised."""
FADE = 0.02
"""Seconds from the edges of a gap within which that begins."""
FLOOR = 1e-6
"""Where one side of a gap is silent, its power is taken to be this share of the other's."""


def joined(flow: Track, guess: Track, known: NDArray[np.bool_], rate: int) -> Track:
    """The track: `guess` (prediction) and, in the gaps, what it lacks from `flow`; `[samples]`.

    >>> known = np.ones(8000, dtype=bool)
    >>> known[3000:5000] = False
    >>> tone = np.sin(0.3 * np.arange(8000))
    >>> bool(np.abs(joined(-tone, tone, known, 16_000) - tone).max() < 0.01)  # prediction knows
    True
    """
    s = Guessed.of(guess, known, rate)
    expected = s.expected()
    return np.where(known, guess, s.with_power(flow, s.lacking(KNOWN * expected), LOUDEST * expected))


def steadied(guess: Track, known: NDArray[np.bool_], rate: int) -> Track:
    """The prediction, in the gaps up to `HELD` times louder where it is softer than expected there; `[samples]`.

    Burg's poles lie inside the unit circle, so that what is predicted dies away: tones slowly, noise at once. The
    gain min(HELD, sqrt(S / P)) lets tones sound on, as loud as the two sides are; it begins within `FADE` seconds.

    >>> known = np.ones(8000, dtype=bool)
    >>> known[3000:5000] = False
    >>> tone = np.sin(0.3 * np.arange(8000))
    >>> found = steadied(np.where(known, tone, 0.5 * tone), known, 16_000)
    >>> print(f"{np.std(found[3500:4500]) / np.std(tone[3500:4500]):.1f}")
    0.9
    """
    s = Guessed.of(guess, known, rate)
    gain = np.clip(np.sqrt(s.expected() / np.maximum(smooth(s.g), TINY)), 1, HELD)
    inside = np.clip(distance_transform_edt(~known) / (FADE * rate), 0, 1)
    return np.asarray(guess + np.sin(np.pi / 2 * inside) ** 2 * (s.spectrum.back(gain * s.g) - guess))


def underlaid(noise: Track, guess: Track, known: NDArray[np.bool_], rate: int, above: float) -> Track:
    """The track: `guess` and, in the gaps and above so many Hz, as much of a `noise` as it lacks; `[samples]`.

    X = G + sqrt(max(0, 1 - P / S)) F, as powers of what is independent add up. The noise is to be no louder than what
    is around the gap is between its attacks: S is a geometric mean, and F has at most this power.
    """
    s = Guessed.of(guess, known, rate)
    expected = s.expected(geometric=True)
    share = s.lacking(expected)
    share[s.spectrum.frequencies < above] = 0.0
    return np.where(known, guess, s.with_power(noise, share, expected))


@dataclass(frozen=True)
class Guessed:
    """The spectrum G `[bins, frames]` of a guess, and which of its frames see no gap."""

    spectrum: Spectrum
    g: NDArray[np.complex128]
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, guess: Track, known: NDArray[np.bool_], rate: int) -> Guessed:
        """That of a track."""
        spectrum = Spectrum(len(guess), rate)
        whole = spectrum((~known).astype(np.float64))[0].real < 1e-9
        return cls(spectrum, spectrum(guess), whole)

    def expected(self, *, geometric: bool = False) -> Power:
        """S, what the power in the gaps is expected to be."""
        reach = max(round(AROUND * self.spectrum.rate / self.spectrum.hop), 1)
        return expected_power(smooth(self.g), self.whole, reach, geometric=geometric)

    def lacking(self, enough: Power) -> Power:
        """The share of the power that G lacks, 0 to 1: none where it has `enough`."""
        return np.asarray(np.clip(1 - smooth(self.g) / np.maximum(enough, TINY), 0, 1))

    def with_power(self, filling: Track, share: Power, most: Power) -> Track:
        """The track of G + sqrt(share) F, with F the spectrum of `filling`, of at most so much power."""
        f = self.spectrum(filling)
        limited = f * np.sqrt(np.minimum(1, most / np.maximum(smooth(f), TINY)))
        return self.spectrum.back(self.g + np.sqrt(share) * limited)


def smooth(z: NDArray[np.complex128]) -> Power:
    """The power of a spectrum, averaged over `SMOOTH`."""
    return np.asarray(np.maximum(uniform_filter(np.abs(z) ** 2, SMOOTH, mode="nearest"), 0))


def expected_power(p: Power, whole: NDArray[np.bool_], reach: int, *, geometric: bool = False) -> Power:
    """S for the power p `[bins, frames]`: p itself in the `whole` frames, which see no gap; in the others, from the
    mean of `reach` whole frames before them to that of those after them, which may be geometric means.
    """
    found = p.copy()
    for start, stop in gaps_of(~whole).tolist():
        sides = (slice(max(start - reach, 0), start), slice(stop, stop + reach))
        levels = [
            level(p[:, side][:, whole[side]], geometric=geometric) for side in sides if whole[side].any()
        ]
        if levels:
            found[:, start:stop] = line_in_db(levels[0], levels[-1], stop - start)
    return found


def level(p: Power, *, geometric: bool) -> Power:
    """The mean of a power `[bins, frames]` over frames, or that of its logarithm, as a power."""
    return np.asarray(np.exp(np.log(np.maximum(p, TINY)).mean(1)) if geometric else p.mean(1))


def line_in_db(before: Power, after: Power, count: int) -> Power:
    """The powers `[bins, count]` of frames between two, on a straight line in dB; a silent one counts as `FLOOR`.

    >>> line_in_db(np.array([1.0]), np.array([1e-4]), 3).round(4).tolist()
    [[0.1, 0.01, 0.001]]
    """
    floor = np.maximum(FLOOR * np.maximum(before, after), TINY)
    weight = (np.arange(count) + 1) / (count + 1)
    first, last = np.log(np.maximum(before, floor)), np.log(np.maximum(after, floor))
    return np.asarray(np.exp(np.outer(first, 1 - weight) + np.outer(last, weight)))
