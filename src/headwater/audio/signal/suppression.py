"""Noise of a known level, and spectrum, taken out of the short-time spectrum of a signal.

Two steps, as in image denoising: a rough result, the pilot, says how strong the recording is in every bin. Wiener's
filter with these powers is then applied to the recording itself. Nothing is drawn: the result has the phases of the
recording. Sources: Ghael, Sayeed and Baraniuk, SPIE 1997 (the pilot); Dabov et al., IEEE Trans. Image Processing 16
(2007).
"""

from __future__ import annotations

import numpy as np

from headwater.audio.io.channels import Signal
from headwater.audio.signal.spectrum import TINY, Spectrum


def subtract_noise(
    x: Signal, std: float, rate: int, gain: Signal | None = None, *, times: float = 3.0
) -> Signal:
    """Spectral subtraction: a signal less white noise.

    Each bin X of the short-time spectrum becomes max(1 - times sigma^2 |w|^2 g / |X|^2, 0) X with the window w; of
    noise alone e^-times of the bins remain.

    Parameters
    ----------
    x, rate
        A signal `[samples]` and its rate in Hz.
    std
        Standard deviation sigma of the noise, in the units of x.
    gain
        By how much the noise is louder, in power, at frequencies evenly spaced from 0 to half the rate; g is its mean
        around the bin. 1 by default.
    times
        How many times the power of the noise is subtracted.

    References
    ----------
    Berouti, Schwartz and Makhoul, ICASSP 1979.

    Examples
    --------
    >>> x = np.random.default_rng(0).standard_normal(16_000)
    >>> bool(np.std(subtract_noise(x, 1.0, 16_000)) < 0.2)
    True
    """
    spectrum = Spectrum(len(x), rate)
    s = spectrum(x)
    power = np.maximum(np.abs(s) ** 2, TINY)
    noise = std**2 * spectrum.noise_power * (1.0 if gain is None else spectrum.average_to_bins(gain))
    return spectrum.inverse(np.maximum(1 - times * noise / power, 0.0) * s)


def wiener_filter(
    x: Signal, pilot: Signal, std: float, rate: int, gain: Signal | None = None, *, floor: float = 0.02
) -> Signal:
    """Wiener's filter of a signal with noise, its powers those of a pilot.

    Each bin X of the short-time spectrum becomes max(P / (P + sigma^2 |w|^2 g), floor) X with the pilot's power P
    there, the window w, and g as in `subtract_noise`.

    Parameters
    ----------
    x, pilot, rate
        The signal and a rough estimate of it without noise, `[samples]`, and their rate in Hz.
    std
        Standard deviation sigma of the noise, in the units of x.
    gain
        As in `subtract_noise`.
    floor
        The least gain. Noise that stays 34 dB below what it was hides the tones into which a filter cuts it
        (docs/notes/audio.md).

    References
    ----------
    Ghael, Sayeed and Baraniuk, SPIE 1997.

    Examples
    --------
    >>> t = np.arange(16_000)
    >>> tone, noise = np.sin(0.3 * t), np.random.default_rng(0).standard_normal(16_000)
    >>> found = wiener_filter(tone + 0.1 * noise, tone, 0.1, 16_000)
    >>> bool(np.std(found - tone) < 0.02)
    True
    """
    spectrum = Spectrum(len(x), rate)
    power = np.maximum(np.abs(spectrum(pilot)) ** 2, TINY)
    noise = std**2 * spectrum.noise_power * (1.0 if gain is None else spectrum.average_to_bins(gain))
    return spectrum.inverse(np.maximum(power / (power + noise), floor) * spectrum(x))
