"""A recording without its room: y = (h * x) up to noise, as long as x, for a known impulse response h.

Two ways without a model: `regularised`, one division in the spectrum, and `consistent`, least squares from a start.
For the division the sound after the end of a recording is silence, where its reverberation was cut off; least squares
know no more than what was recorded.
"""

from __future__ import annotations

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.sparse.linalg import LinearOperator, lsqr

from headwater.audio.tracks import Track

FLOOR = 0.05
"""How far a division is held back, relative to the strongest bin."""
ITERATIONS = 100
"""The most that least squares take."""


def regularised(y: Track, h: Track, floor: float = FLOOR) -> Track:
    """X = conj(H) Y / (|H|^2 + floor max |H|^2).

    >>> regularised(np.array([1.0, 0.5, 0.0, 0.0]), np.array([1.0, 0.5]), 1e-9).round(6) + 0.0
    array([1., 0., 0., 0.])
    """
    size = next_fast_len(len(y) + len(h) - 1, real=True)
    s = rfft(h, size)
    power = np.abs(s) ** 2
    return np.asarray(irfft(s.conj() * rfft(y, size) / (power + floor * power.max()), size)[: len(y)])


def consistent(y: Track, h: Track, start: Track, std: float, iterations: int = ITERATIONS) -> Track:
    """The least-squares solution that LSQR reaches from `start` as soon as the residual is white noise of that std.

    Ending early regularises (the discrepancy principle): what h lets through comes first, what it swallows stays as
    it is in the start. Sources: Paige and Saunders, ACM Trans. Math. Software 8 (1982); Engl, Hanke and Neubauer 7.3.

    >>> x = np.sin(np.arange(100.0))
    >>> h = np.array([1.0, 0.8, 0.4])
    >>> y = np.convolve(x, h)[:100]
    >>> bool(np.abs(consistent(y, h, np.zeros(100), 1e-6) - x).max() < 1e-4)
    True
    """
    n = len(y)
    size = next_fast_len(n + len(h) - 1, real=True)
    s = rfft(h, size)
    convolve = LinearOperator(
        (n, n),
        matvec=lambda x: irfft(s * rfft(x.ravel(), size), size)[:n],
        rmatvec=lambda r: irfft(s.conj() * rfft(r.ravel(), size), size)[:n],
        dtype=np.float64,
    )
    rest = y - convolve.matvec(start)
    left = float(np.linalg.norm(rest))
    enough = std * np.sqrt(n)
    if left <= enough:
        return start
    found = lsqr(convolve, rest, atol=0.0, btol=enough / left, conlim=0.0, iter_lim=iterations)
    return np.asarray(start + found[0])
