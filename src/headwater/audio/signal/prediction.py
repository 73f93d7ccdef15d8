"""Linear prediction of all the gaps of a track: both sides together in short ones, each fading out in longer ones.

`textured` adds what prediction cannot know in the band that the flow does not hear: noise with the right spectrum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from headwater.audio.io.times import frames_within
from headwater.audio.io.tracks import Track, gaps_of
from headwater.audio.signal.autoregression import bridge, drawn, interpolate
from headwater.audio.signal.join import underlaid

MEMORY = 0.2
"""Seconds on each side of a gap from which linear prediction learns."""
MEMORIES = (MEMORY, 0.12, 0.08)
"""The same for short gaps, which are filled by the mean of three predictions: what lasts is learned from more of it,
what changes from less (`benchmarks/decisions/results/audio_prediction.md`).
"""
LAGS, SHARE, MOST = 0.0375, 0.3125, 2000
"""How far back a prediction of a short gap looks: seconds, the share of its memory, and samples, at most."""
ORDER = 1000
"""The most samples that it looks back to continue one side of a longer gap."""
SHORT = 0.1
"""Seconds of a gap up to which both sides predict it together; in a longer one each fades out."""
FEW = 16
"""The least samples on the shorter side with which both sides predict a gap together."""
FADE = 0.001
"""Seconds after which a filling no longer differs by what it has to at its joint."""
DENSE = 1000
"""The most samples of a gap near an end that are solved for together: memory grows with their square."""


def bridged(x: Track, lost: NDArray[np.bool_], inside: NDArray[np.bool_], rate: int) -> Track:
    """The track with linear prediction in its gaps, from first to last, and zero beyond the recording."""
    x, there = np.where(inside, x, 0.0), inside.copy()
    for start, stop in gaps_of(lost):
        tried = [
            from_both_sides(x, there, (start, stop), m, rate)
            for m in MEMORIES
            if stop - start <= frames_within(SHORT, rate)
        ]
        found = [z for z in tried if z is not None]
        if found:
            x[start:stop] = np.mean(found, axis=0)
        else:
            memory = round(MEMORY * rate)
            order = min(ORDER, memory // 6)  # far from the sides a long model rings
            x[start:stop] = bridge(*_sides(x, there, (start, stop), memory), stop - start, order)
        there[start:stop] = True
    return x


def from_both_sides(
    x: Track, there: NDArray[np.bool_], gap: tuple[int, int], memory: float, rate: int
) -> Track | None:
    """A short gap as the model of so many seconds on both sides has it; None if one side has too little."""
    count = gap[1] - gap[0]
    left, right = _sides(x, there, gap, round(memory * rate))
    lags = round(min(LAGS, SHARE * memory) * rate)
    most = min(lags, MOST, (len(left) + count + len(right)) // 3)  # a prediction needs three times its order
    shorter, longer = sorted((len(left), len(right)))
    if shorter < most and (longer < most or shorter < FEW or count > DENSE):
        return None
    way = slice(None, None, 1 if len(left) >= len(right) else -1)  # predicted from the longer side
    lost = np.repeat([False, True, False], [len(left), count, len(right)])
    near = np.concatenate([left, np.zeros(count), right])
    return np.asarray(interpolate(near[way], lost[way], most, iterations=2)[way][lost])


def _sides(x: Track, there: NDArray[np.bool_], gap: tuple[int, int], memory: int) -> tuple[Track, Track]:
    """What is there next to a gap, at most so many samples before it and after it."""
    start, stop = gap
    left = _run(there[max(start - memory, 0) : start][::-1])
    return x[start - left : start], x[stop : stop + _run(there[stop : stop + memory])]


def carried(x: Track, lost: NDArray[np.bool_], inside: NDArray[np.bool_], rate: int, unsure: int) -> Track:
    """The track with linear prediction in its gaps from so many samples away, and no jump at the joints.

    What is `unsure`, next to a gap, may not continue what is before it, and prediction would make a burst of that; by
    what it differs there, the filling differs at the joint, and less and less for a millisecond.
    """
    wide = binary_dilation(lost, iterations=unsure) if unsure else lost
    y = bridged(x, wide, inside & ~wide, rate)
    off, reach = x - y, max(round(FADE * rate), 1)
    for start, stop in gaps_of(lost):
        count = min(reach, stop - start)  # of a shorter gap all, so that it ends where the other side begins
        fade = np.cos(0.5 * np.pi * np.arange(count) / count) ** 2
        if start > 0 and inside[start - 1]:
            y[start : start + len(fade)] += off[start - 1] * fade
        if stop < len(x) and inside[stop]:
            y[stop - len(fade) : stop] += off[stop] * fade[::-1]
    return np.where(lost, y, x)


def textured(
    x: Track,
    filled: Track,
    lost: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    rate: int,
    *,
    above: float,
    seed: int,
) -> Track:
    """A `filled` track with noise above so many Hz, where it is softer in the gaps than around them (`join`).

    The noise is a draw of the autoregressive process of each side of x. Predicted, or drawn by a flow of a lower
    rate, a gap would be dull.
    """
    noisy, rng, memory = filled.copy(), np.random.default_rng(seed), round(MEMORY * rate)
    for start, stop in gaps_of(lost):
        sides = _sides(x, inside, (start, stop), memory)
        noisy[start:stop] = drawn(*sides, stop - start, min(ORDER, memory // 6), rng)
    return np.where(lost, underlaid(noisy, filled, ~lost, rate, above), filled)


def _run(known: NDArray[np.bool_]) -> int:
    """How many samples from the start are known."""
    return int(np.argmin(known)) if not known.all() else len(known)
