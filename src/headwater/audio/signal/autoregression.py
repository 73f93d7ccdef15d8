"""Linear prediction: a gap filled by what its neighbourhood predicts from both sides.

The model of a stretch of sound is x[n] = -sum_k a_k x[n - k] + e[n] of order p. Its coefficients are Burg's, from the
samples on one side; the gap is extrapolated from each side and the two are cross-faded (Kauppinen and Roth, AES
2002), or solved for at once from the model of both (Janssen, Veldhuis and Vries, IEEE Trans. ASSP 34, 1986).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve, solve_toeplitz
from scipy.signal import fftconvolve, lfilter, lfiltic
from scipy.sparse import diags

from headwater.audio.io.channels import Signal

RIDGE = 1e-12
"""Relative to its diagonal, what keeps a matrix of normal equations positive definite in float64."""


def burg(x: Signal, order: int, *, dither: float = 3e-5) -> Signal:
    """The prediction error filter 1, a_1 ... a_p of a signal `[samples]`; stable.

    It is stable by construction, but for rounding: at order 1000 that of a recording which ends at 16 kHz grew by 48
    orders of magnitude in half a second. So it is fitted to the signal and white noise of `dither` times its rms, by
    default at -90 dB.

    References
    ----------
    Burg, Maximum entropy spectral analysis, 1975.

    Examples
    --------
    >>> a = burg(np.cos(0.3 * np.arange(400)), 2)
    >>> bool(np.allclose(a, [1, -2 * np.cos(0.3), 1], atol=1e-3))
    True
    """
    a = np.ones(1)
    x = x + dither * np.sqrt(np.mean(np.square(x))) * np.random.default_rng(0).standard_normal(len(x))
    forward, backward = x[1:].astype(np.float64), x[:-1].astype(np.float64)
    for _ in range(min(order, len(x) - 2)):
        power = forward @ forward + backward @ backward
        if power <= 1e-300:
            break
        k = -2 * (forward @ backward) / power
        a = np.concatenate([a, [0.0]])
        a = a + k * a[::-1]
        forward, backward = (forward + k * backward)[1:], (backward + k * forward)[:-1]
    return a


def extrapolate(x: Signal, count: int, order: int) -> Signal:
    """The `count` samples with which linear prediction continues x `[samples]`; they die away."""
    order = min(order, len(x) // 3)
    a = burg(x, order) if len(x) > 3 else np.ones(1)
    if len(a) < 2:
        return np.zeros(count)
    state = lfiltic([1.0], a, x[::-1][: len(a) - 1])
    return np.asarray(lfilter([1.0], a, np.zeros(count), zi=state)[0])


def bridge_gap(before: Signal, after: Signal, count: int, order: int = 1000) -> Signal:
    """The `count` samples between two stretches, extrapolated from each and cross-faded with sin^2.

    An empty stretch predicts nothing: at the beginning and end of a recording the other side fades out.
    """
    fade = np.sin(0.5 * np.pi * (np.arange(count) + 0.5) / count) ** 2
    left, right = (extrapolate(x, count, order) for x in (before, after[::-1]))
    return np.asarray((1 - fade) * left + fade * right[::-1])


def interpolate(x: Signal, lost: NDArray[np.bool_], order: int = 1000, iterations: int = 3) -> Signal:
    """The signal whose lost samples make the prediction error least, model and samples in turn (Janssen).

    The error is e = A x, a row of A the prediction error filter at each place where all of it lies in the signal;
    with u the lost and k the known samples, (A_u' A_u) x_u = -A_u' A_k x_k.
    """
    x = np.where(lost, 0.0, x)
    places = np.flatnonzero(lost)
    for _ in range(iterations if len(places) else 0):
        a = burg(x, min(order, len(x) // 3))
        x[places] = 0.0
        x[places] = solve_for_lost(a, x, places)
    return x


def solve_for_lost(a: Signal, known: Signal, places: NDArray[np.intp]) -> Signal:
    """The lost samples that make the prediction error least; a single gap is a Toeplitz system."""
    inner = len(a) <= places[0] and places[-1] < len(known) - len(a)
    if inner and places[-1] - places[0] == len(places) - 1:
        lags, right = _autocorrelation(a, len(places)), _right_side(a, known, places)
        lags[0] *= 1 + RIDGE
        return np.asarray(solve_toeplitz(lags, right))
    gram, right = (_equations_inside if inner else _equations_anywhere)(a, known, places)
    gram[np.diag_indices(len(places))] += RIDGE * (a @ a)
    return np.asarray(solve(gram, right, assume_a="pos"))


def _equations_inside(a: Signal, known: Signal, places: NDArray[np.intp]) -> tuple[Signal, Signal]:
    """A_u' A_u and -A_u' A_k x_k where all lost samples are further from the ends than the filter is long."""
    apart = np.abs(places[:, None] - places[None, :])
    return _autocorrelation(a, len(known))[apart], _right_side(a, known, places)


def _autocorrelation(a: Signal, count: int) -> Signal:
    """The autocorrelation of the filter at 0, 1, ..."""
    found = np.zeros(max(count, len(a)))
    found[: len(a)] = fftconvolve(a, a[::-1])[len(a) - 1 :]
    return found[:count]


def _right_side(a: Signal, known: Signal, places: NDArray[np.intp]) -> Signal:
    """The right side of the normal equations, -A_u' A_k x_k."""
    return np.asarray(-fftconvolve(known, fftconvolve(a, a[::-1]), "same")[places])


def _equations_anywhere(a: Signal, known: Signal, places: NDArray[np.intp]) -> tuple[Signal, Signal]:
    """As `_equations_inside` for lost samples anywhere; errors that see none of them do not count."""
    first = max(int(places[0]) - len(a) + 1, 0)
    known, places = known[first : int(places[-1]) + len(a)], places - first
    rows = len(known) - len(a) + 1
    error = diags(a[::-1].tolist(), range(len(a)), shape=(rows, len(known)), format="csc")
    unknown = error[:, places]
    return (unknown.T @ unknown).toarray(), np.asarray(-(unknown.T @ (error @ known)))
