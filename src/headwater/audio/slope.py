"""How loud a drawn band may be: the spectrum falls on as it falls below the cutoff.

A dark recording has next to nothing above a cutoff, and whatever a prior draws there is a hiss. With L_1 the mean
power of a frame of the short-time spectrum in the octave below the cutoff f_c, L_2 in the octave below that, both in
dB and smoothed over 80 ms, what is drawn at a frequency f is attenuated to at most

    L_1 + max(-18, min(0, L_1 - L_2)) log2(sqrt(2) f / f_c)   dB,

a line through the middle of the upper octave. What is softer stays as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from headwater.audio.join import SMOOTH, TINY, WINDOW

Track = NDArray[np.float64]
STEEPEST = 18.0
"""Decibels an octave by which the spectrum is taken to fall at most."""
BELOW = 0.9
"""The share of the cutoff up to which a low-pass leaves a band as it was."""
FRAMES = 5
"""Frames, a quarter of a window apart, over which an octave's power is averaged."""


def restrained(above: Track, track: Track, cutoff: float, rate: int) -> Track:
    """The band `above` a cutoff in Hz, no louder than `track` lets expect from below the cutoff; both `[samples]`.

    >>> rng = np.random.default_rng(0)
    >>> dark, hiss = np.sin(0.1 * np.arange(8000)), 0.1 * rng.normal(size=8000)
    >>> bool(restrained(hiss, dark, 4000.0, 16_000).std() < 0.01)
    True
    """
    size = 1 << round(np.log2(WINDOW * rate))
    stft = ShortTimeFFT(hann(size, sym=False), size // 4, rate)
    pad = max(size - len(track), 0)
    drawn, below = (stft.stft(np.pad(z, (0, pad))) for z in (above, track))
    middle = BELOW * cutoff / np.sqrt(2)
    octaves = [(stft.f >= middle * k) & (stft.f < 2 * middle * k) for k in (0.5**0.5, 0.5**1.5)]
    if not all(o.any() for o in octaves):
        return above
    upper, lower = (level(below[o]) for o in octaves)
    slope = np.clip(upper - lower, -STEEPEST, 0)
    limit = 10 ** ((upper + slope * np.log2(np.maximum(stft.f, middle) / middle)[:, None]) / 10)
    power = np.maximum(uniform_filter(np.abs(drawn) ** 2, SMOOTH, mode="nearest"), TINY)
    drawn = drawn * np.sqrt(np.minimum(1, limit / power))
    return np.asarray(stft.istft(drawn, 0, len(track) + pad)[: len(track)])


def level(octave: NDArray[np.complex128]) -> Track:
    """The mean power of the bins `[bins, frames]` in dB, smoothed over time, `[frames]`."""
    return np.asarray(
        uniform_filter(10 * np.log10(np.mean(np.abs(octave) ** 2, axis=0) + TINY), FRAMES, mode="nearest")
    )
