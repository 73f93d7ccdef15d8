"""A gap filled by what was there the last time: loops and samples repeat themselves to the sample.

With s a side of the gap and s_d what lies d samples from it, both differenced (so that the bass does not outvote all
else) and all signals taken together,

    rho(d) = <s, s_d> / (|s| |s_d|)

If there is a lag d with rho >= 0.9 on both sides, what lies d from the gap stands in it, as loud as the sides are:
times |s| / |s_d|, from the one side's to the other's. The error is then about 2 (1 - rho) of the power. What the
sides still differ by, prediction carries into the gap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from headwater.audio.io.channels import SILENCE, from_mid_side, to_mid_side
from headwater.audio.io.files import Patch, Recording, Samples
from headwater.audio.io.segments import Gap, Segment
from headwater.audio.signal.prediction import predict_gaps


@dataclass(frozen=True)
class Repetition:
    """What counts as a repetition; the bound was set on six recordings of the benchmark audio_loops.

    Parameters
    ----------
    side
        Seconds of the recording on each side of a gap that must be alike; twice as many where there is one side.
    search
        Seconds before and after the gaps that are searched.
    alike
        The least correlation of both sides.
    equal
        Correlations that differ by less are equal.
    loudest
        By how much at most a repetition is made louder or softer.
    """

    side: float = 0.25
    search: float = 15.0
    alike: float = 0.9
    equal: float = 0.001
    loudest: float = 4.0


REPETITION = Repetition()


def repeat_gaps(recording: Recording, segment: Segment, *, settings: Repetition = REPETITION) -> Patch | None:
    """The patch that repeats what was there another time; None unless that is found for all gaps of the segment."""
    reach, side = (round(seconds * recording.rate) for seconds in (settings.search, settings.side))
    wide = segment.widen(reach)
    frames = np.arange(wide.start, wide.stop)
    known = (frames >= 0) & (frames < recording.frames) & ~wide.unknown
    x = to_mid_side(recording.read(wide.start, wide.stop))
    near = np.arange(reach, reach + segment.stop - segment.start)
    found = x[:, near]
    for gap in segment.gaps:
        inside = gap[0] - wide.start, gap[1] - wide.start
        d = find_lag(x, known, inside, side, settings=settings)
        if d is None:
            return None
        ends = side_gains(x, known, inside, side, d)
        if not all(1 / settings.loudest <= g <= settings.loudest for g in ends):
            return None
        lost, there = segment.mask([gap]), np.clip(near + d, 0, len(known) - 1)
        both = known[near] & known[there]
        gain = np.interp(near, inside, ends)
        for i, signal in enumerate(x):
            rest = predict_gaps(signal[near] - gain * signal[there], lost, both, recording.rate)
            found[i, lost] = (gain * signal[there] + rest)[lost]
    changed = np.repeat((segment.to_fill & (frames[near] >= 0))[:, None], recording.channels, axis=1)
    return Patch(segment.start, from_mid_side(found), changed)


def find_lag(
    x: Samples, known: NDArray[np.bool_], gap: Gap, side: int, *, settings: Repetition = REPETITION
) -> int | None:
    """The lag d at which the sides of a gap are alike, the nearest of equals; None if there is none.

    Parameters
    ----------
    x, known
        The signals `[signals, frames]` and which frames are known, `[frames]`.
    gap, side
        The gap, and the length of its sides, in frames.

    Examples
    --------
    >>> loop = np.random.default_rng(0).standard_normal(300)
    >>> lost = np.arange(1200) // 50 == 10
    >>> find_lag(np.where(lost, 0.0, np.tile(loop, 4))[None], ~lost, (500, 550), 50)
    -300
    """
    spans = sides_of(known, gap, side)
    if not spans:
        return None
    first, last = min(gap[0], spans[0][0]), max(gap[1], spans[-1][1])
    count = len(known) - (last - first) + 1
    if first < 0 or count < 1 or not all(known[a:b].all() for a, b in spans):
        return None
    change = np.diff(x, axis=1, prepend=0.0)
    sides = [slice(a + 1, b) for a, b in spans]  # the first difference sees what is before the side
    # at k: what lies from `first` to `last` against what lies from k on
    alike = np.minimum.reduce([correlate(change, s)[s.start - first :][:count] for s in sides])
    lost = np.concatenate([[0], np.cumsum(~known)])
    alike[lost[last - first :][:count] > lost[:count]] = -1.0
    best = np.flatnonzero(alike >= max(alike.max() - settings.equal, settings.alike))
    return int(best[np.abs(best - first).argmin()]) - first if len(best) else None


def sides_of(known: NDArray[np.bool_], gap: Gap, side: int) -> list[Gap]:
    """The sides of a gap that are there: `side` frames before it and after it, or twice as many on one side."""
    (start, stop), frames = gap, len(known)
    left, right = bool(start > 0 and known[start - 1]), bool(stop < frames and known[stop])
    side = side if left and right else 2 * side
    return [(start - side, start)] * left + [(stop, stop + side)] * right


def side_gains(x: Samples, known: NDArray[np.bool_], gap: Gap, side: int, d: int) -> tuple[float, float]:
    """By how much what lies before the gap, and after it, is louder than what lies d from there."""
    change = np.diff(x, axis=1)
    found = [
        float(np.linalg.norm(change[:, a : b - 1]) / np.linalg.norm(change[:, a + d : b - 1 + d]))
        for a, b in sides_of(known, gap, side)
    ]
    return found[0], found[-1]


def correlate(x: Samples, side: slice) -> Samples:
    """rho of a side with the signals from every frame on, `[frames - length + 1]`; 0 where there is silence."""
    s = x[:, side]
    length = s.shape[1]
    product = sum(fftconvolve(signal, part[::-1], "valid") for signal, part in zip(x, s, strict=True))
    energy = np.concatenate([[0.0], np.cumsum(np.square(x).sum(0))])
    power = energy[length:] - energy[:-length]
    own = float(np.square(s).sum())
    audible = np.minimum(power, own) > SILENCE**2 * length
    return np.where(audible, product / np.sqrt(np.maximum(power * own, 1e-300)), 0.0)
