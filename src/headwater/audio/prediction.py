"""Linear prediction of all the gaps of a track: both sides together in short ones, each fading out in longer ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.audio.autoregression import bridge, interpolate
from headwater.audio.files import Samples

MEMORY = 0.2
"""Seconds on each side of a gap from which linear prediction learns."""
ORDER = 1000
"""Order of the linear prediction that fills."""
SHORT = 0.1
"""Seconds of a gap up to which both sides predict it together; in a longer one each fades out."""
FEW = 16
"""The least samples on the shorter side with which both sides predict a gap together."""
DENSE = 1000
"""The most samples of a gap near an end that are solved for together: memory grows with their square."""


def bridged(x: Samples, lost: NDArray[np.bool_], inside: NDArray[np.bool_], rate: int) -> Samples:
    """The track with linear prediction in its gaps, from first to last, and zero beyond the recording."""
    x, there = np.where(inside, x, 0.0), inside.copy()
    memory = round(MEMORY * rate)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    for start, stop in edges.reshape(-1, 2):
        left = _run(there[max(start - memory, 0) : start][::-1])
        right = _run(there[stop : stop + memory])
        near, count = slice(start - left, stop + right), stop - start
        most = min(ORDER, (left + count + right) // 3)  # the order: samples that a prediction needs
        shorter, longer = sorted((left, right))
        bounded = shorter >= most or (longer >= most and shorter >= FEW and count <= DENSE)
        if bounded and count <= SHORT * rate:
            this = np.zeros(len(x), dtype=bool)
            this[start:stop] = True
            way = slice(None, None, 1 if left >= right else -1)  # predicted from the longer side
            x[near] = interpolate(x[near][way], this[near][way], most, iterations=2)[way]
        else:
            order = min(ORDER, memory // 6)  # far from the sides a long model rings
            x[start:stop] = bridge(x[near][:left], x[near][left + stop - start :], stop - start, order)
        there[start:stop] = True
    return x


def _run(known: NDArray[np.bool_]) -> int:
    """How many samples from the start are known."""
    return int(np.argmin(known)) if not known.all() else len(known)
