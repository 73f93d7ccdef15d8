"""A gap filled by what was there the last time: loops and samples repeat themselves to the sample.

With s a side of the gap and s_d what lies d samples from it, both differenced (so that the bass does not outvote all
else) and all tracks taken together,

    rho(d) = <s, s_d> / (|s| |s_d|)

If there is a lag d with rho >= 0.9 on both sides, what lies d from the gap stands in it: the error is then about
1 - rho^2 of the power. What the sides still differ by, prediction carries into the gap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from headwater.audio.files import Patch, Samples, Source
from headwater.audio.prediction import bridged
from headwater.audio.regions import Gap, Region
from headwater.audio.tracks import SILENCE, from_tracks, to_tracks

SIDE = 0.25
"""Seconds of the recording on each side of a gap that must be alike; twice as many where there is one side."""
SEARCH = 15.0
"""Seconds before and after the gaps that are searched."""
ALIKE = 0.9
"""The least correlation of both sides."""
EQUAL = 0.001
"""Correlations that differ by less are equal."""


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
        d = lag(x, known, (gap[0] - wide.start, gap[1] - wide.start), side)
        if d is None:
            return None
        lost, places = region.mask([gap]), np.clip(near + d, 0, len(known) - 1)
        both = known[near] & known[places]
        for i, track in enumerate(x):
            rest = bridged(track[near] - track[places], lost, both, source.rate)
            found[i, lost] = (track[places] + rest)[lost]
    changed = np.repeat((region.wanted & (here[near] >= 0))[:, None], source.channels, axis=1)
    return Patch(region.start, from_tracks(found), changed)


def lag(x: Samples, known: NDArray[np.bool_], gap: Gap, side: int) -> int | None:
    """The d at which the sides of the gap are alike in the tracks `[n, frames]`, the nearest of equals; or None.

    >>> loop = np.random.default_rng(0).standard_normal(300)
    >>> lost = np.arange(1200) // 50 == 10
    >>> lag(np.where(lost, 0.0, np.tile(loop, 4))[None], ~lost, (500, 550), 50)
    -300
    """
    (start, stop), frames = gap, len(known)
    left, right = bool(start > 0 and known[start - 1]), bool(stop < frames and known[stop])
    side = side if left and right else 2 * side
    first, last = start - left * side, stop + right * side
    spans = [(first, start)] * left + [(stop, last)] * right
    count = frames - (last - first) + 1
    if first < 0 or count < 1 or not spans or not all(known[a:b].all() for a, b in spans):
        return None
    change = np.diff(
        x, axis=1, prepend=0.0
    )  # a side from its second sample on: the first sees what is before it
    sides = [slice(a + 1, b) for a, b in spans]
    # at k: the stretch from `first` to `last` against that from k on
    alike = np.minimum.reduce([correlation(change, s)[s.start - first :][:count] for s in sides])
    lost = np.concatenate([[0], np.cumsum(~known)])
    alike[lost[last - first :][:count] > lost[:count]] = -1.0
    best = np.flatnonzero(alike >= max(alike.max() - EQUAL, ALIKE))
    return int(best[np.abs(best - first).argmin()]) - first if len(best) else None


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
