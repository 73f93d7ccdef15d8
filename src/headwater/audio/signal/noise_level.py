"""How loud noise is, from a recording alone: the floor of its short-time spectrum, or a part where nothing else is.

White noise has the same power at all frequencies and times, and sound only adds to it. In each band the quiet moments
say how loud the noise can be at most; over the bands, so does the quietest (after minimum statistics: Martin, IEEE
Trans. Speech and Audio Processing 9, 2001; here with a quantile of the whole time instead of a minimum of some
seconds, as in Stahl, Fischer and Bippus, ICASSP 2000, for the noise of a recording does not change).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter, uniform_filter1d

from headwater.audio.io.channels import SILENCE, Signal
from headwater.audio.signal.spectrum import TINY, Spectrum


@dataclass(frozen=True)
class FloorSettings:
    """How the floor is read.

    Parameters
    ----------
    quiet
        The share of the time that counts as quiet; noise alone has -ln(1 - quiet) of its mean power there.
    band
        Bands of so many bins are averaged.
    lowest
        The share of the bands below the one that is taken for the noise.
    """

    quiet: float = 0.1
    band: int = 8
    lowest: float = 0.1


FLOOR = FloorSettings()


def estimate_std(parts: Iterable[Signal], rate: int, settings: FloorSettings = FLOOR) -> tuple[float, float]:
    """The standard deviation of white noise in a recording, and how far the floor is from white.

    Parameters
    ----------
    parts
        Pieces of one channel, `[samples]`, from all over it.
    rate
        In Hz.

    Returns
    -------
    std, spread
        In units of the samples, 0 if all is silent; and by how many dB the floor of the loudest tenth of the bands
        lies above that of the middle, which is about 0 for white noise and more for coloured noise or steady tones.

    Examples
    --------
    >>> x = 0.1 * np.random.default_rng(0).standard_normal((4, 16_000))
    >>> std, spread = estimate_std(x, 16_000)
    >>> bool(0.09 < std < 0.11 and spread < 1)
    True
    """
    powers = [power for x in parts if (power := frame_powers(x, rate)).size]
    if not powers:
        return 0.0, 0.0
    floor = np.quantile(np.concatenate(powers, axis=1), settings.quiet, axis=1) / -np.log(1 - settings.quiet)
    count = max(len(floor) // settings.band, 1)
    bands = np.array([band.mean() for band in np.array_split(floor[1:-1], count)])
    std = float(np.sqrt(np.quantile(bands, settings.lowest)))
    spread = float(10 * np.log10(np.quantile(bands, 0.9) / max(np.median(bands), TINY) + TINY))
    return std, spread


def estimate_profile(x: Signal, rate: int) -> NDArray[np.float64]:
    """The power of noise at frequencies evenly spaced from 0 to half the rate, from a part with nothing else.

    Scaled so that white noise of variance 1 has the power 1 at every frequency, `[bins]`: the mean over the windows,
    and of neighbouring bins where no line of hum stands out of them.

    Examples
    --------
    >>> profile = estimate_profile(0.1 * np.random.default_rng(0).standard_normal(16_000), 16_000)
    >>> bool(abs(profile.mean() - 0.01) < 0.001)
    True
    """
    power = frame_powers(x, rate).mean(1)
    smooth = uniform_filter1d(power, 5, mode="nearest")
    middle = median_filter(power, 9, mode="nearest")
    return np.asarray(np.where(power > 4 * middle, power, np.minimum(smooth, 4 * middle)))


def frame_powers(x: Signal, rate: int) -> NDArray[np.float64]:
    """The powers of the windows that are not silent, `[bins, windows]`; that of white noise of variance 1 is 1."""
    spectrum = Spectrum(len(x), rate)
    x = x - x.mean()
    inner = (
        np.abs(spectrum(x)[:, 2:-2] if len(x) > 2 * spectrum.size else spectrum(x)) ** 2
        / spectrum.noise_power
    )
    return np.asarray(inner[:, inner.mean(0) > SILENCE**2])
