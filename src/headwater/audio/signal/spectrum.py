"""The short-time spectrum of a signal, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from headwater.audio.io.channels import Signal

Power = NDArray[np.float64]
"""Powers `[bins, frames]`, or of some bins or frames."""
TINY = 1e-300
"""A power that may be divided by."""


class Spectrum:
    """Short-time Fourier transforms in Hann windows that lie a quarter of their length apart.

    Parameters
    ----------
    samples, rate
        Of the signals; those shorter than a window are continued with zeros.
    seconds
        The length of a window, rounded to a power of two of samples. By default it is long enough to resolve tones
        and short enough to resolve notes.

    Examples
    --------
    >>> spectrum = Spectrum(5000, 16_000)
    >>> x = np.sin(0.3 * np.arange(5000))
    >>> len(spectrum(x)) == len(spectrum.frequencies) == 513
    True
    >>> bool(np.abs(spectrum.inverse(spectrum(x)) - x).max() < 1e-12)
    True
    """

    def __init__(self, samples: int, rate: int, seconds: float = 0.064) -> None:
        self.rate, self.samples, self.size = rate, samples, 1 << round(np.log2(seconds * rate))
        self.hop, self.padded = self.size // 4, max(samples, self.size)
        self._stft = ShortTimeFFT(hann(self.size, sym=False), self.hop, rate)

    @property
    def frequencies(self) -> Signal:
        """Those of the bins, Hz, `[bins]`."""
        return np.asarray(self._stft.f)

    @property
    def noise_power(self) -> float:
        """The mean power of a bin for white noise of variance 1: the sum of the squared window."""
        return float(np.sum(np.square(self._stft.win)))

    def average_to_bins(self, power: Signal) -> NDArray[np.float64]:
        """The mean around each bin, `[bins, 1]`, of a power at frequencies evenly spaced from 0 to half the rate.

        >>> Spectrum(16, 16, 0.5).average_to_bins(np.array([0.0, 1.0, 2.0, 3.0, 4.0])).ravel()
        array([0.33333333, 1.        , 2.        , 3.        , 3.66666667])
        """
        bins, n = len(self.frequencies), len(power)
        smooth = uniform_filter1d(power, 2 * round((n - 1) / (bins - 1)) + 1, mode="nearest")
        return np.asarray(np.interp(np.linspace(0, n - 1, bins), np.arange(n), smooth))[:, None]

    def __call__(self, x: Signal) -> NDArray[np.complex128]:
        """The spectrum `[bins, frames]` of a signal `[samples]`."""
        return np.asarray(self._stft.stft(np.pad(x, (0, self.padded - self.samples))))

    def inverse(self, spectrum: NDArray[np.complex128]) -> Signal:
        """The signal `[samples]` of a spectrum `[bins, frames]`."""
        return np.asarray(self._stft.istft(spectrum, 0, self.padded)[: self.samples])
