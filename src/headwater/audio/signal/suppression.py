"""White noise of a known level taken out of a track's short-time spectrum.

Two steps, as in image denoising: a rough result, the pilot, says how strong the recording is in every bin, and
Wiener's filter with these powers is applied to the recording itself. Nothing is drawn: what comes out has the phases
of what came. Sources: Ghael, Sayeed and Baraniuk, SPIE 1997 (the pilot); Dabov et al., IEEE Trans. Image Processing
16 (2007).
"""

from __future__ import annotations

import numpy as np

from headwater.audio.io.tracks import Track
from headwater.audio.signal.spectrum import TINY, Spectrum

OVER = 3.0
"""How many times the noise is subtracted."""
LEAST = 0.02
"""The least gain: noise that stays 34 dB below what it was hides the tones into which a filter cuts it."""


def attenuated(x: Track, std: float, rate: int, louder: Track | None = None) -> Track:
    """Spectral subtraction: a track less white noise of that std, or noise that much `louder`, in power.

    Each bin X of the short-time spectrum becomes max(1 - OVER sigma^2 |w|^2 g / |X|^2, 0) X, w the window and g what
    `louder`, at frequencies evenly spaced from 0 to half the rate, is around the bin; of noise alone e^-OVER of the
    bins remain. Source: Berouti, Schwartz and Makhoul, ICASSP 1979.

    >>> x = np.random.default_rng(0).standard_normal(16_000)
    >>> bool(np.std(attenuated(x, 1.0, 16_000)) < 0.2)
    True
    """
    spectrum = Spectrum(len(x), rate)
    s = spectrum(x)
    power = np.maximum(np.abs(s) ** 2, TINY)
    noise = std**2 * spectrum.noise * (1.0 if louder is None else spectrum.around(louder))
    return spectrum.back(np.maximum(1 - OVER * noise / power, 0.0) * s)


def filtered(x: Track, pilot: Track, std: float, rate: int) -> Track:
    """Wiener's filter of a track with white noise of that std, its powers those of the `pilot` `[samples]`.

    Each bin X of the short-time spectrum becomes max(P / (P + sigma^2 |w|^2), LEAST) X, P the pilot's power there and
    w the window. Source: Ghael, Sayeed and Baraniuk, SPIE 1997.

    >>> t = np.arange(16_000)
    >>> tone, noise = np.sin(0.3 * t), np.random.default_rng(0).standard_normal(16_000)
    >>> found = filtered(tone + 0.1 * noise, tone, 0.1, 16_000)
    >>> bool(np.std(found - tone) < 0.02)
    True
    """
    spectrum = Spectrum(len(x), rate)
    power = np.maximum(np.abs(spectrum(pilot)) ** 2, TINY)
    return spectrum.back(np.maximum(power / (power + std**2 * spectrum.noise), LEAST) * spectrum(x))
