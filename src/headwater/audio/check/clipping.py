"""Clipping: plateaus at one level, the rail, which nothing beside them exceeds but clicks.

The level is that of the plateaus, not that of the loudest sample: a click lies above the rail, and so may the sound
before and after a clipped part. What exceeds the rail for longer than a click ends the region.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.audio.check.flats import Runs, as_runs, find_flats, find_plateaus, join_runs
from headwater.audio.io.channels import Signal, find_runs


@dataclass(frozen=True)
class ClipSettings:
    """What counts as clipping; times in seconds.

    Parameters
    ----------
    several, alone
        So many plateaus at one level, or one of so many samples, make a region.
    near
        Plateaus whose levels differ by no more than this share are at one level.
    together
        Plateaus that are not further apart make one region.
    passes
        What exceeds the rail for longer ends the region; what does so for less is a click.
    apart
        Samples beyond the rail that are no further apart belong together: louder sound exceeds it in every period.
    share
        A side of zero counts for the end of a region if it has at least this share of the plateaus.
    """

    several: int = 3
    alone: int = 6
    near: float = 2e-3
    together: float = 0.5
    passes: float = 0.006
    apart: float = 0.02
    share: float = 0.1


CLIP = ClipSettings()


@dataclass(frozen=True)
class Region:
    """A clipped part of one channel.

    Parameters
    ----------
    start, stop
        The first frame and the one after the last.
    level
        How far the rail lies from zero, full scale being 1.
    rails
        How far below and above zero the rails lie: both about at the level, infinite where nothing is clipped.
    plateaus
        Where samples lie at the rail, `[runs, 2]`.
    beyond
        What exceeds the rail for no longer than a click, `[runs, 2]`.
    """

    start: int
    stop: int
    level: float
    rails: tuple[float, float]
    plateaus: Runs
    beyond: Runs


def find_regions(x: Signal, rate: int, step: float, settings: ClipSettings = CLIP) -> list[Region]:
    """The clipped regions of a signal, those of the most frequent rail first.

    Parameters
    ----------
    x, rate
        The signal `[frames]`, full scale 1, and its rate in Hz.
    step
        The step of its quantisation.
    """
    runs = find_flats(x, step)
    seeds = find_plateaus(x, runs, rate, step)
    found: list[Region] = []
    while len(seeds):
        level = most_frequent_level(x, seeds, step, settings)
        reach = tolerance(level, step, settings)
        at = np.abs(levels_of(x, seeds) - level) <= reach
        flat = runs[np.abs(levels_of(x, runs) - level) <= reach]
        new = list(_at_one_level(x, rate, level, reach, flat, seeds[at], settings))
        found += new
        seeds = seeds[~at]
        for region in new:
            seeds = seeds[
                (seeds[:, 0] < region.start) | (seeds[:, 1] > region.stop) | _other(x, seeds, region)
            ]
    return found


def _other(x: Signal, seeds: Runs, region: Region) -> NDArray[np.bool_]:
    """Which plateaus lie on a side of zero that a region is not clipped on."""
    below, above = region.rails
    return np.asarray(np.where(x[seeds[:, 0]] > 0, math.isinf(above), math.isinf(below)))


def levels_of(x: Signal, runs: Runs) -> Signal:
    """How far flat runs lie from zero, `[runs]`."""
    return np.asarray(np.abs(x[(runs[:, 0] + runs[:, 1]) // 2]))


def tolerance(level: float, step: float, settings: ClipSettings = CLIP) -> float:
    """What lies nearer to a level than this is at it."""
    return max(settings.near * level, 3 * step)


def most_frequent_level(x: Signal, runs: Runs, step: float, settings: ClipSettings = CLIP) -> float:
    """The level at which most samples of flat runs lie.

    >>> x = np.array([0.0, 0.9, 0.9, 0.9, 0.0, 0.5, 0.5, 0.5, 0.5, 0.0])
    >>> most_frequent_level(x, np.array([[1, 4], [5, 9]]), 2.0**-15)
    0.5
    """
    levels, weights = levels_of(x, runs), runs[:, 1] - runs[:, 0]
    order = np.argsort(levels)
    levels, total = levels[order], np.r_[0, np.cumsum(weights[order])]
    reach = np.maximum(settings.near * levels, 3 * step)
    first = np.searchsorted(levels, levels - reach)
    last = np.searchsorted(levels, levels + reach, side="right")
    best = int(np.argmax(total[last] - total[first]))
    return float(np.median(np.repeat(levels, weights[order])[total[first[best]] : total[last[best]]]))


def _at_one_level(
    x: Signal, rate: int, level: float, reach: float, flat: Runs, seeds: Runs, settings: ClipSettings
) -> Iterator[Region]:
    """The regions of flat runs at one level, of which the `seeds` are certain."""
    signs = np.sign(x[seeds[:, 0]])
    share = [np.mean(signs == side) >= settings.share for side in (-1, 1)]
    beyond = [find_runs(side * x > level + reach) for side in (-1, 1)]
    louder = [_last_long(runs, rate, settings) for runs in beyond]
    ends = merge_runs([runs for runs, counts in zip(louder, share, strict=True) if counts])
    together = round(settings.together * rate)
    for group in split(flat, ends, together):
        inside = seeds[(seeds[:, 0] >= group[0, 0]) & (seeds[:, 1] <= group[-1, 1])]
        length = (inside[:, 1] - inside[:, 0]).max(initial=0)
        if len(inside) < settings.several and length < settings.alone:
            continue
        a, b = widen(x, group[0, 0], group[-1, 1], level, reach, together)
        rails = [math.inf, math.inf]
        at, outside = np.zeros((2, b - a), dtype=bool)
        for i, (side, long) in enumerate(zip((-1, 1), louder, strict=True)):
            y = side * x[a:b]
            near = np.abs(y - level) <= reach
            if near.any() and not ((long[:, 0] < b) & (long[:, 1] > a)).any():
                rails[i] = float(np.median(y[near]))  # full scale is a step further below than above
                at |= near
                outside |= y > 1.02 * level + reach
        clicks = join_runs(find_runs(outside) + a, round(0.001 * rate))
        yield Region(a, b, level, (rails[0], rails[1]), find_runs(at) + a, clicks)


def _last_long(runs: Runs, rate: int, settings: ClipSettings) -> Runs:
    """Of the runs beyond a rail those that last: louder sound, no clicks."""
    joined = join_runs(runs, round(settings.apart * rate))
    return joined[joined[:, 1] - joined[:, 0] > settings.passes * rate]


def merge_runs(several: list[Runs]) -> Runs:
    """Runs of several lists in order, those that overlap as one.

    >>> merge_runs([np.array([[0, 3], [8, 9]]), np.array([[2, 5]])]).tolist()
    [[0, 5], [8, 9]]
    """
    merged: list[list[int]] = []
    for a, b in sorted(run for runs in several for run in runs.tolist()):
        if merged and a <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], b)
        else:
            merged.append([a, b])
    return as_runs(np.array(run) for run in merged)


def split(runs: Runs, ends: Runs, apart: int) -> Iterator[Runs]:
    """Groups of runs that are near each other, without one of the `ends` between."""
    if not len(runs):
        return
    before, after = runs[:-1, 1], runs[1:, 0]
    breaks = after - before > apart
    if len(ends):
        next_end = np.searchsorted(ends[:, 1], before, side="right")
        there = next_end < len(ends)
        breaks |= there & (ends[np.minimum(next_end, len(ends) - 1), 0] < after)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(runs)]
    yield from (runs[i:j] for i, j in itertools.pairwise(edges))


def widen(x: Signal, start: int, stop: int, level: float, reach: float, by: int) -> tuple[int, int]:
    """A region with the samples at its rail before and after: one or two in a row are no plateau, but clipped."""
    before, after = np.abs(x[max(start - by, 0) : start]), np.abs(x[stop : stop + by])
    louder = np.flatnonzero(before > level + reach)
    first = int(louder[-1]) + 1 if len(louder) else 0
    at = np.flatnonzero(before[first:] >= level * (1 - 1e-4))
    start -= len(before) - first - int(at[0]) if len(at) else 0
    louder = np.flatnonzero(after > level + reach)
    at = np.flatnonzero(after[: louder[0] if len(louder) else len(after)] >= level * (1 - 1e-4))
    return int(start), int(stop) + (int(at[-1]) + 1 if len(at) else 0)
