"""A recording without its room: y = (h * x) up to noise, as long as x, for a known impulse response h.

Without a model: `regularised`, one division in the spectrum; `consistent`, least squares; `undone`, least squares
from a start, less the noise that they explain. For the division the sound after the end of a recording is silence,
where its reverberation was cut off; least squares know no more than what was recorded.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.signal import fftconvolve
from scipy.sparse.linalg import LinearOperator, lsqr

from headwater.audio.io.tracks import Track
from headwater.audio.signal.suppression import attenuated

FLOOR = 0.05
"""How far a division is held back, relative to the strongest bin."""
ITERATIONS = 200
"""The most that least squares take: noise at -30 dB lets rooms end after 10 to 50, at -60 dB after 100 to 200."""
DEPTH = 0.2
"""To which share of a known noise least squares explain a recording. What they then explain of the noise is
subtracted in the spectrum, which keeps more of the music than ending at the noise does (docs/audio-notes.md).
"""
QUIET = 0.01
"""Where least squares end, relative to the recording, if no noise is known: 40 dB below it."""


def regularised(y: Track, h: Track, floor: float = FLOOR) -> Track:
    """X = conj(H) Y / (|H|^2 + floor max |H|^2).

    >>> regularised(np.array([1.0, 0.5, 0.0, 0.0]), np.array([1.0, 0.5]), 1e-9).round(6) + 0.0
    array([1., 0., 0., 0.])
    """
    size = next_fast_len(len(y) + len(h) - 1, real=True)
    s = rfft(h, size)
    power = np.abs(s) ** 2
    return np.asarray(irfft(s.conj() * rfft(y, size) / (power + floor * power.max()), size)[: len(y)])


def consistent(y: Track, h: Track, std: float, past: int = 0) -> Track:
    """The first iterate of LSQR on min_x |h * x - y|^2, begun at silence, whose residual has an rms of `std`.

    All are `[samples]` in one unit, x as long as y; the first `past` samples of y do not count, as they have the
    reverberation of what came before. It is the last of `ITERATIONS` if none is so near, and silence if that is.
    Ending early regularises (the discrepancy principle): what h lets through comes first, what it swallows stays
    silent. Sources: Paige and Saunders, ACM Trans. Math. Software 8 (1982); Engl, Hanke and Neubauer 7.3.

    >>> x = np.sin(np.arange(100.0))
    >>> h = np.array([1.0, 0.8, 0.4])
    >>> y = np.convolve(x, h)[:100]
    >>> bool(np.abs(consistent(y, h, 1e-6) - x).max() < 1e-4)
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
    found = lsqr(convolve, y[past:], atol=0.0, btol=enough / left, conlim=0.0, iter_lim=ITERATIONS)
    return np.asarray(found[0])


def louder(rest: Track, h: Track, std: float) -> Track:
    """How much louder, in power, least squares that leave `std` of `rest` `[samples]` make white noise.

    Frequencies are evenly spaced from 0 to half the rate. Iterates of LSQR are much as Tikhonov's solutions of the
    same residual, so it is |H|^2 / (|H|^2 + mu)^2 with the mu at which mu / (|H|^2 + mu) of the rest is as strong as
    `std`; if it never is, 1 / |H|^2. Source: Hansen, Rank-Deficient and Discrete Ill-Posed Problems, SIAM 1998, 6.4.

    >>> white = np.random.default_rng(0).standard_normal(1000)
    >>> gain = louder(white, np.array([1.0, 0.5]), 0.1)
    >>> bool(gain[0] < 1.0 < gain[-1] < 4.0)
    True
    """
    size = next_fast_len(len(rest) + len(h) - 1, real=True)
    power, left = (np.abs(rfft(z, size)) ** 2 for z in (h, rest))
    enough, strongest = std**2 * len(rest) * size / 2, float(power.max())
    low, high = -10.0, 5.0
    for _ in range(40):
        middle = (low + high) / 2
        mu = strongest * 10**middle
        low, high = (low, middle) if np.sum(left * (mu / (power + mu)) ** 2) > enough else (middle, high)
    mu = strongest * 10**low
    return np.asarray(power / (power + mu) ** 2)


def undone(y: Track, h: Track, start: Track, noise: float, rate: int, past: int = 0) -> Track:
    """Least squares from `start` down to DEPTH of the noise, less the noise that they explain; all `[samples]`.

    What h swallows stays as it is in the start.
    `noise`: the std of white noise in y; if 0, it is not known: least squares end 40 dB below y, and nothing is
    subtracted. `past`: as for `consistent`.

    >>> r, t, h = np.random.default_rng(0), np.arange(16_000), np.array([1.0, 0.8, 0.4])
    >>> x = np.sin(0.3 * t)
    >>> y = np.convolve(x, h)[:16_000] + 0.1 * r.standard_normal(16_000)
    >>> bool(np.std(undone(y, h, np.zeros(16_000), 0.1, 16_000) - x) < 0.1)
    True
    """
    rest = y - fftconvolve(start, h)[: len(y)]
    std = DEPTH * noise if noise else QUIET * float(y.std())
    change = consistent(rest, h, std, past)
    if noise:
        change = attenuated(change, noise, rate, louder(rest[past:], h, std))
    return start + change
