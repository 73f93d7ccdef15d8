"""Two fillings of a gap made one: linear prediction where it knows, the flow where it does not.

Prediction continues tones in phase for as long as they are coherent, and lets everything else die away; so what it
does not know shows as missing power. In the short-time spectrum, with P the power of the prediction and S that of
what is around the gap, both smoothed,

    u = max(0, 1 - 4 P / S)        what prediction leaves unexplained: nothing down to a quarter of the power
    X = G + u^2 (F - G)            G the prediction, F the flow

which is G itself wherever samples are known.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

Track = NDArray[np.float64]
WINDOW = 0.064
"""Seconds of a window of the short-time spectrum, a quarter of it apart."""
SMOOTH = (5, 3)
"""Bins and frames over which power is averaged."""
AROUND = 0.2
"""Seconds on each side of a gap whose power is expected in it."""
MISSING = 4.0
"""By how much power may fall below what is expected and still count as known."""


def joined(flow: Track, guess: Track, known: NDArray[np.bool_], rate: int) -> Track:
    """The track: `guess` (prediction) and, in the gaps, what it lacks from `flow`; all `[samples]`.

    >>> known = np.ones(8000, dtype=bool)
    >>> known[3000:5000] = False
    >>> tone = np.sin(0.3 * np.arange(8000))
    >>> bool(np.abs(joined(-tone, tone, known, 16_000) - tone).max() < 0.01)  # prediction knows
    True
    """
    size = 1 << round(np.log2(WINDOW * rate))
    stft = ShortTimeFFT(hann(size, sym=False), size // 4, rate)
    pad = max(size - len(flow), 0)
    f, g = (stft.stft(np.pad(z, (0, pad))) for z in (flow, guess))
    whole = np.asarray(stft.stft(np.pad((~known).astype(np.float64), (0, pad)))[0].real) < 1e-9
    u = unexplained(np.abs(g) ** 2, whole, max(round(AROUND * rate / (size // 4)), 1))
    mixed = stft.istft(g + u**2 * (f - g), 0, len(flow) + pad)[: len(flow)]
    return np.where(known, guess, mixed)


def unexplained(power: Track, whole: NDArray[np.bool_], reach: int) -> Track:
    """u for the power `[bins, frames]` of a prediction; `whole` frames see no gap, `reach` is how many tell S."""
    p = np.asarray(uniform_filter(power, SMOOTH, mode="nearest"))
    u = np.zeros_like(p)
    edges = np.flatnonzero(np.diff(np.concatenate([[True], whole, [True]])))
    for start, stop in itertools.pairwise(edges):
        if whole[start]:
            continue
        sides = [p[:, max(start - reach, 0) : start][:, whole[max(start - reach, 0) : start]]]
        sides.append(p[:, stop : stop + reach][:, whole[stop : stop + reach]])
        levels = [side.mean(1) for side in sides if side.shape[1]]
        if not levels:
            continue
        weight = (np.arange(stop - start) + 1) / (stop - start + 1)
        expected = np.outer(levels[0], 1 - weight) + np.outer(levels[-1], weight)
        u[:, start:stop] = np.clip(1 - MISSING * p[:, start:stop] / np.maximum(expected, 1e-300), 0, 1)
    return u
