"""Two fillings of a gap made one: linear prediction where it knows, the flow where it does not.

Prediction continues tones in phase for as long as they are coherent, and lets everything else die away; so what it
does not know shows as missing power. In the short-time spectrum, with P the power of the prediction and S that of
what is around the gap, both smoothed,

    u = max(0, 1 - 4 P / S)        what prediction leaves unexplained: nothing down to a quarter of the power
    X = G + u^2 (F - G)            G the prediction, F the flow, at most 4 times the power S

which is G itself wherever samples are known.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from headwater.audio.spectrum import TINY, Spectrum, Track

SMOOTH = (5, 3)
"""Bins and frames over which power is averaged."""
AROUND = 0.2
"""Seconds on each side of a gap whose power is expected in it."""
RANGE = 4.0
"""By how much power may fall below what is expected and still count as known, and by how much the flow may exceed it:
a recording that ends at 6 kHz gets nothing above.
"""


def joined(flow: Track, guess: Track, known: NDArray[np.bool_], rate: int) -> Track:
    """The track: `guess` (prediction) and, in the gaps, what it lacks from `flow`; `[samples]`.

    >>> known = np.ones(8000, dtype=bool)
    >>> known[3000:5000] = False
    >>> tone = np.sin(0.3 * np.arange(8000))
    >>> bool(np.abs(joined(-tone, tone, known, 16_000) - tone).max() < 0.01)  # prediction knows
    True
    """
    s = Spectra.of(flow, guess, known, rate)
    expected = s.around()
    u = np.clip(1 - RANGE * smooth(s.g) / np.maximum(expected, TINY), 0, 1)
    return np.where(known, guess, s.spectrum.back(s.g + u**2 * (s.limited(RANGE * expected) - s.g)))


def underlaid(noise: Track, guess: Track, known: NDArray[np.bool_], rate: int, above: float) -> Track:
    """The track: `guess` and, in the gaps and above so many Hz, as much of a `noise` as it lacks; `[samples]`.

    X = G + sqrt(max(0, 1 - P / S)) F, as powers of what is independent add up. The noise is to be no louder than what
    is around the gap is between its attacks: S is a geometric mean, and F has at most this power.
    """
    s = Spectra.of(noise, guess, known, rate)
    expected = s.around(geometric=True)
    share = np.clip(1 - smooth(s.g) / np.maximum(expected, TINY), 0, 1)
    share[s.spectrum.frequencies < above] = 0.0
    return np.where(known, guess, s.spectrum.back(s.g + np.sqrt(share) * s.limited(expected)))


@dataclass(frozen=True)
class Spectra:
    """The spectra F and G `[bins, frames]` of a filling and a guess, their smoothed powers, and what sees no gap."""

    spectrum: Spectrum
    f: NDArray[np.complex128]
    g: NDArray[np.complex128]
    whole: NDArray[np.bool_]

    @classmethod
    def of(cls, filling: Track, guess: Track, known: NDArray[np.bool_], rate: int) -> Spectra:
        """Those of two tracks."""
        spectrum = Spectrum(len(filling), rate)
        whole = spectrum((~known).astype(np.float64))[0].real < 1e-9
        return cls(spectrum, spectrum(filling), spectrum(guess), whole)

    def around(self, *, geometric: bool = False) -> Track:
        """S, what the power in the gaps is expected to be."""
        reach = max(round(AROUND * self.spectrum.rate / self.spectrum.hop), 1)
        return around(smooth(self.g), self.whole, reach, geometric=geometric)

    def limited(self, most: Track) -> NDArray[np.complex128]:
        """F with at most so much power."""
        return np.asarray(self.f * np.sqrt(np.minimum(1, most / np.maximum(smooth(self.f), TINY))))


def smooth(z: NDArray[np.complex128]) -> Track:
    """The power of a spectrum, averaged over `SMOOTH`."""
    return np.asarray(np.maximum(uniform_filter(np.abs(z) ** 2, SMOOTH, mode="nearest"), 0))


def around(p: Track, whole: NDArray[np.bool_], reach: int, *, geometric: bool = False) -> Track:
    """S for the power p `[bins, frames]`: p itself in the `whole` frames, which see no gap; in the others the mean of
    `reach` whole frames on each side, from the one to the other.
    """
    if geometric:
        return np.asarray(np.exp(around(np.log(np.maximum(p, TINY)), whole, reach)))
    found = p.copy()
    edges = np.flatnonzero(np.diff(np.concatenate([[True], whole, [True]])))
    for start, stop in itertools.pairwise(edges):
        if whole[start]:
            continue
        sides = (slice(max(start - reach, 0), start), slice(stop, stop + reach))
        levels = [p[:, side][:, whole[side]].mean(1) for side in sides if whole[side].any()]
        if levels:
            weight = (np.arange(stop - start) + 1) / (stop - start + 1)
            found[:, start:stop] = np.outer(levels[0], 1 - weight) + np.outer(levels[-1], weight)
    return found
