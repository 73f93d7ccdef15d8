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
ITERATIONS = 200
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


def consistent(y: Track, h: Track, start: Track, std: float, past: int = 0) -> Track:
    """The first iterate of LSQR on min_x |h * x - y|^2, begun at `start`, whose residual has an rms of `std`.

    All are `[samples]` in one unit, x as long as y; the first `past` samples of y do not count, as they have the
    reverberation of what came before. It is the last of `ITERATIONS` if none is so near, and `start` if that is.
    Ending early regularises (the discrepancy principle): what h lets through comes first, what it swallows stays as
    it is in the start. Sources: Paige and Saunders, ACM Trans. Math. Software 8 (1982); Engl, Hanke and Neubauer 7.3.

    >>> x = np.sin(np.arange(100.0))
    >>> h = np.array([1.0, 0.8, 0.4])
    >>> y = np.convolve(x, h)[:100]
    >>> bool(np.abs(consistent(y, h, np.zeros(100), 1e-6) - x).max() < 1e-4)
    True
    """
    n, known = len(y), len(y) - min(past, len(y) // 2)
    size = next_fast_len(n + len(h) - 1, real=True)
    s = rfft(h, size)

    def adjoint(r: Track) -> Track:
        return np.asarray(irfft(s.conj() * rfft(np.pad(r.ravel(), (n - known, 0)), size), size)[:n])

    convolve = LinearOperator(
        (known, n),
        matvec=lambda x: irfft(s * rfft(x.ravel(), size), size)[n - known : n],
        rmatvec=adjoint,
        dtype=np.float64,
    )
    rest = y[n - known :] - convolve.matvec(start)
    left, enough = float(np.linalg.norm(rest)), std * np.sqrt(known)
    if left <= enough:
        return start
    found = lsqr(convolve, rest, atol=0.0, btol=enough / left, conlim=0.0, iter_lim=ITERATIONS)
    return np.asarray(start + found[0])
