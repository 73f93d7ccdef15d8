"""A recording without its room: y = (h * x) up to noise, as long as x, for a known impulse response h.

Without a model: `deconvolve`, one division in the spectrum; `solve_least_squares`; and `remove_room`, least squares
from a start, less the noise that they explain. For the division the sound after the end of a recording is silence,
where in truth its reverberation was cut off; least squares use only what was recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve
from scipy.sparse.linalg import LinearOperator, lsqr

from headwater.audio.io.channels import Signal
from headwater.audio.signal.suppression import subtract_noise


@dataclass(frozen=True)
class LeastSquares:
    """When least squares end; each number was chosen on rooms of real and rendered music (docs/notes/audio.md).

    Parameters
    ----------
    iterations
        The most that are done. With noise at -30 dB rooms end after 10 to 50, at -60 dB after 100 to 200.
    share
        They go on to this share of a known noise. What they then explain of the noise is subtracted in the spectrum,
        which keeps more of the music than ending at the noise does.
    quiet
        Where they end if no noise is known, relative to the recording: 40 dB below it.
    """

    iterations: int = 200
    share: float = 0.2
    quiet: float = 0.01


LEAST_SQUARES = LeastSquares()


def deconvolve(y: Signal, h: Signal, floor: float = 0.05) -> Signal:
    """Regularised division in the spectrum, X = conj(H) Y / (|H|^2 + floor max |H|^2); `[samples]`.

    >>> deconvolve(np.array([1.0, 0.5, 0.0, 0.0]), np.array([1.0, 0.5]), 1e-9).round(6) + 0.0
    array([1., 0., 0., 0.])
    """
    size = next_fast_len(len(y) + len(h) - 1, real=True)
    s = rfft(h, size)
    power = np.abs(s) ** 2
    return np.asarray(irfft(s.conj() * rfft(y, size) / (power + floor * power.max()), size)[: len(y)])


def solve_least_squares(
    y: Signal, h: Signal, std: float, past: int = 0, *, iterations: int = LEAST_SQUARES.iterations
) -> Signal:
    """The first iterate of LSQR on min_x |h * x - y|^2, begun at silence, whose residual has an rms of `std`.

    Ending early regularises (the discrepancy principle): what h lets through comes first, what it swallows stays
    silent. It is the last iterate if none is so near, and silence if silence is.

    Parameters
    ----------
    y, h
        The recording `[samples]` and the impulse response `[taps]`; x is as long as y.
    std
        The wanted rms of the residual, in the units of y.
    past
        So many samples of y do not count at its beginning: they have the reverberation of what came before.
    iterations
        The most that are done.

    References
    ----------
    Paige and Saunders, ACM Trans. Math. Software 8 (1982); Engl, Hanke and Neubauer, 7.3.

    Examples
    --------
    >>> x = np.sin(np.arange(100.0))
    >>> h = np.array([1.0, 0.8, 0.4])
    >>> y = np.convolve(x, h)[:100]
    >>> bool(np.abs(solve_least_squares(y, h, 1e-6) - x).max() < 1e-4)
    True
    """
    n = len(y)
    size = next_fast_len(n + len(h) - 1, real=True)
    s = rfft(h, size)
    convolve = LinearOperator(
        (n - past, n),
        matvec=lambda x: irfft(s * rfft(x.ravel(), size), size)[past:n],
        rmatvec=lambda r: irfft(s.conj() * rfft(np.pad(r.ravel(), (past, 0)), size), size)[:n],
        dtype=np.float64,
    )
    left, enough = float(np.linalg.norm(y[past:])), std * np.sqrt(n - past)
    if left <= enough:
        return np.zeros(n)
    found = lsqr(convolve, y[past:], atol=0.0, btol=enough / left, conlim=0.0, iter_lim=iterations)
    return np.asarray(found[0])


def noise_gain(rest: Signal, h: Signal, std: float) -> Signal:
    """How much louder, in power, least squares that leave `std` of `rest` `[samples]` make white noise.

    Iterates of LSQR are much as Tikhonov's solutions of the same residual. So it is |H|^2 / (|H|^2 + mu)^2 with the
    mu at which mu / (|H|^2 + mu) of the rest is as strong as `std`; if it never is, 1 / |H|^2. Frequencies are evenly
    spaced from 0 to half the rate.

    References
    ----------
    Hansen, Rank-Deficient and Discrete Ill-Posed Problems, SIAM 1998, 6.4.

    Examples
    --------
    >>> white = np.random.default_rng(0).standard_normal(1000)
    >>> gain = noise_gain(white, np.array([1.0, 0.5]), 0.1)
    >>> bool(gain[0] < 1.0 < gain[-1] < 4.0)
    True
    """
    size = next_fast_len(len(rest) + len(h) - 1, real=True)
    power, left = (np.abs(rfft(z, size)) ** 2 for z in (h, rest))
    enough, strongest = (
        std**2 * len(rest) * size / 2,
        float(power.max()),
    )  # Parseval, one half of the spectrum
    low, high = -10.0, 5.0  # log10 of mu, in units of the strongest bin
    for _ in range(40):
        middle = (low + high) / 2
        mu = strongest * 10**middle
        low, high = (low, middle) if np.sum(left * (mu / (power + mu)) ** 2) > enough else (middle, high)
    mu = strongest * 10**low
    return np.asarray(power / (power + mu) ** 2)


def remove_room(
    y: Signal,
    h: Signal,
    start: Signal,
    noise: float,
    rate: int,
    past: int = 0,
    *,
    settings: LeastSquares = LEAST_SQUARES,
) -> Signal:
    """Least squares from a start, less the noise that they explain; what h swallows stays as it is in the start.

    Parameters
    ----------
    y, h, start
        The recording `[samples]`, the impulse response `[taps]` and a first estimate `[samples]`.
    noise
        The std of white noise in y. If 0, it is not known: least squares end at `settings.quiet`, and nothing is
        subtracted.
    rate, past
        The rate in Hz; `past` as for `solve_least_squares`.

    Examples
    --------
    >>> r, t, h = np.random.default_rng(0), np.arange(16_000), np.array([1.0, 0.8, 0.4])
    >>> x = np.sin(0.3 * t)
    >>> y = np.convolve(x, h)[:16_000] + 0.1 * r.standard_normal(16_000)
    >>> bool(np.std(remove_room(y, h, np.zeros(16_000), 0.1, 16_000) - x) < 0.1)
    True
    """
    rest = y - fftconvolve(start, h)[: len(y)]
    std = settings.share * noise if noise else settings.quiet * float(y.std())
    change = solve_least_squares(rest, h, std, past, iterations=settings.iterations)
    if noise:
        change = subtract_noise(change, noise, rate, noise_gain(rest[past:], h, std))
    return start + change
