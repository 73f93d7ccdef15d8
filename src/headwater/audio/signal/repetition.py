"""A gap filled by what was there the last time: loops and samples repeat themselves to the sample.

With s a side of the gap and s_d what lies d samples from it, both differenced (so that the bass does not outvote all
else) and all tracks taken together,

    rho(d) = <s, s_d> / (|s| |s_d|)

If there is a lag d with rho >= 0.9 on both sides, what lies d from the gap stands in it, as loud as the sides are:
times |s| / |s_d|, from the one side's to the other's. The error is then about 2 (1 - rho) of the power. What the
sides still differ by, prediction carries into the gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from headwater.audio.io.files import Patch, Samples, Source
from headwater.audio.io.regions import Gap, Region
from headwater.audio.io.tracks import SILENCE, from_tracks, to_tracks
from headwater.audio.signal.prediction import bridged

SIDE = 0.25
"""Seconds of the recording on each side of a gap that must be alike; twice as many where there is one side."""
SEARCH = 15.0
"""Seconds before and after the gaps that are searched."""
ALIKE = 0.9
"""The least correlation of both sides."""
EQUAL = 0.001
"""Correlations that differ by less are equal."""
LOUDER = 4.0
"""By how much at most a repetition is made louder or softer."""


def repetition(source: Source, region: Region) -> Patch | None:
    """The patch that repeats what was there another time, or None unless that is found for all gaps of the region."""
    reach, side = (round(seconds * source.rate) for seconds in (SEARCH, SIDE))
    wide = region.wider(reach)
    here = np.arange(wide.start, wide.stop)
    known = (here >= 0) & (here < source.frames) & ~wide.missing
    x = to_tracks(source.read(wide.start, wide.stop))
    near = np.arange(reach, reach + region.stop - region.start)
    found = x[:, near]
    for gap in region.gaps:
        inside = gap[0] - wide.start, gap[1] - wide.start
        d = lag(x, known, inside, side)
        if d is None:
            return None
        ends = gains(x, known, inside, side, d)
        if not all(1 / LOUDER <= g <= LOUDER for g in ends):
            return None
        lost, places = region.mask([gap]), np.clip(near + d, 0, len(known) - 1)
        both = known[near] & known[places]
        gain = np.interp(near, inside, ends)
        for i, track in enumerate(x):
            rest = bridged(track[near] - gain * track[places], lost, both, source.rate)
            found[i, lost] = (gain * track[places] + rest)[lost]
    changed = np.repeat((region.wanted & (here[near] >= 0))[:, None], source.channels, axis=1)
    return Patch(region.start, from_tracks(found), changed)


def lag(x: Samples, known: NDArray[np.bool_], gap: Gap, side: int) -> int | None:
    """The d at which the sides of the gap are alike in the tracks `[n, frames]`, the nearest of equals; or None.

    >>> loop = np.random.default_rng(0).standard_normal(300)
    >>> lost = np.arange(1200) // 50 == 10
    >>> lag(np.where(lost, 0.0, np.tile(loop, 4))[None], ~lost, (500, 550), 50)
    -300
    """
    spans = spans_of(known, gap, side)
    if not spans:
        return None
    first, last = min(gap[0], spans[0][0]), max(gap[1], spans[-1][1])
    count = len(known) - (last - first) + 1
    if first < 0 or count < 1 or not all(known[a:b].all() for a, b in spans):
        return None
    change = np.diff(x, axis=1, prepend=0.0)
    sides = [slice(a + 1, b) for a, b in spans]  # the first difference sees what is before the side
    # at k: the stretch from `first` to `last` against that from k on
    alike = np.minimum.reduce([correlation(change, s)[s.start - first :][:count] for s in sides])
    lost = np.concatenate([[0], np.cumsum(~known)])
    alike[lost[last - first :][:count] > lost[:count]] = -1.0
    best = np.flatnonzero(alike >= max(alike.max() - EQUAL, ALIKE))
    return int(best[np.abs(best - first).argmin()]) - first if len(best) else None


def spans_of(known: NDArray[np.bool_], gap: Gap, side: int) -> list[Gap]:
    """The sides of a gap that are there: so many frames before it and after it, or twice as many on one side."""
    (start, stop), frames = gap, len(known)
    left, right = bool(start > 0 and known[start - 1]), bool(stop < frames and known[stop])
    side = side if left and right else 2 * side
    return [(start - side, start)] * left + [(stop, stop + side)] * right


def gains(x: Samples, known: NDArray[np.bool_], gap: Gap, side: int, d: int) -> tuple[float, float]:
    """By how much what lies before the gap, and after it, is louder than what lies d from there."""
    change = np.diff(x, axis=1)
    found = [
        float(np.linalg.norm(change[:, a : b - 1]) / np.linalg.norm(change[:, a + d : b - 1 + d]))
        for a, b in spans_of(known, gap, side)
    ]
    return found[0], found[-1]


def correlation(x: Samples, side: slice) -> Samples:
    """rho of a side with the tracks from every frame on, `[frames - length + 1]`; 0 where there is silence."""
    s = x[:, side]
    length = s.shape[1]
    product = sum(fftconvolve(track, part[::-1], "valid") for track, part in zip(x, s, strict=True))
    energy = np.concatenate([[0.0], np.cumsum(np.square(x).sum(0))])
    power = energy[length:] - energy[:-length]
    own = float(np.square(s).sum())
    heard = np.minimum(power, own) > SILENCE**2 * length
    return np.where(heard, product / np.sqrt(np.maximum(power * own, 1e-300)), 0.0)
