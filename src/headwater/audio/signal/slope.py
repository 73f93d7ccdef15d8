"""How loud a drawn band may be: the spectrum falls on as it falls below the cutoff.

A dark recording has next to nothing above a cutoff, and whatever a prior draws there is a hiss. In each frame of the
short-time spectrum, with L_1 the mean power of the recording, in dB, in the octave that ends at 0.9 f_c, where a
low-pass has not begun to fall, and L_2 in the octave below that, what is drawn around a frequency f has at most

    L_1 + max(-12, min(0, L_1 - L_2)) log2(f / f_1)   dB,   f_1 = 0.9 f_c / sqrt(2),

a line through the middle of the upper octave. It is held against the mean power of what is drawn within a quarter of
an octave on both sides of f, as a partial may stand out of its surroundings. What is softer stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.audio.io.channels import Signal
from headwater.audio.signal.spectrum import TINY, Power, Spectrum


@dataclass(frozen=True)
class SlopeLimit:
    """The line that a drawn band is held to, chosen on real recordings and rendered clips (docs/notes/audio.md).

    Parameters
    ----------
    steepest
        Decibels an octave by which the spectrum is taken to fall at most. At 18 real recordings are nearer and
        super-resolution by 8 is worse.
    passband
        The share of the cutoff up to which a low-pass leaves a band as it was.
    beside
        The ratio of frequencies over which, on both sides, the power of what is drawn is averaged.
    """

    steepest: float = 12.0
    passband: float = 0.9
    beside: float = 2**0.25


SLOPE = SlopeLimit()


def limit_slope(
    drawn: Signal, recording: Signal, cutoff: float, rate: int, *, settings: SlopeLimit = SLOPE
) -> Signal:
    """A band drawn above a cutoff, made no louder than the recording below lets expect.

    Parameters
    ----------
    drawn, recording
        What lies above the cutoff and what lies below it, `[samples]`.
    cutoff, rate
        In Hz. Where the octaves below the cutoff have no bin of the spectrum, below 35 Hz, the band is returned as it
        is.

    Examples
    --------
    >>> soft = 0.001 * np.random.default_rng(0).normal(size=8000)
    >>> whistle = np.cos(0.9 * np.pi * np.arange(8000))
    >>> bool(limit_slope(whistle, soft, 4000.0, 16_000).std() < 0.001)
    True
    """
    spectrum = Spectrum(len(drawn), rate)
    above, below, f = spectrum(drawn), spectrum(recording), spectrum.frequencies
    middle = settings.passband * cutoff / np.sqrt(2)  # f_1
    octaves = [(f >= middle * k) & (f < 2 * middle * k) for k in (0.5**0.5, 0.5**1.5)]
    if not all(o.any() for o in octaves):
        return drawn
    upper, lower = (10 * np.log10(np.mean(np.abs(below[o]) ** 2, axis=0) + TINY) for o in octaves)  # L_1, L_2
    slope = np.clip(upper - lower, -settings.steepest, 0)
    limit = 10 ** ((upper + slope * np.log2(np.maximum(f, middle) / middle)[:, None]) / 10)
    power = average_in_octaves(np.abs(above) ** 2, f, settings.passband * cutoff, settings.beside)
    return spectrum.inverse(above * np.sqrt(limit / np.maximum(np.maximum(power, limit), TINY)))


def average_in_octaves(power: Power, frequencies: Signal, least: float, ratio: float = SLOPE.beside) -> Power:
    """The mean of a power `[bins, frames]` over the bins within a `ratio` of each frequency, from `least` Hz on."""
    total = np.concatenate([np.zeros((1, power.shape[1])), np.cumsum(power, axis=0)])
    first = np.searchsorted(frequencies, np.maximum(frequencies / ratio, least)).clip(max=len(power) - 1)
    last = np.maximum(np.searchsorted(frequencies, frequencies * ratio, side="right"), first + 1)
    return np.asarray((total[last] - total[first]) / (last - first)[:, None])
