"""Where a recording is damaged: its gaps, and the stretches around them that are repaired at once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse

CONTEXT = 0.75
"""Seconds of the recording on each side of a gap that the flow sees, at least."""

Gap = tuple[int, int]


@dataclass(frozen=True)
class Region:
    """A stretch of the recording from frame `start` to `stop`, and its gaps: (first frame, frame after the last).

    `lost`: all gaps of the recording, in order. Those of other regions are lost here as well, but not filled.
    """

    start: int
    stop: int
    gaps: tuple[Gap, ...]
    lost: tuple[Gap, ...] = ()

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """Which frames of the stretch lie in its gaps."""
        return self.mask(self.gaps)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which frames of the stretch lie in any gap."""
        return self.wanted | self.mask(self.lost)

    def wider(self, by: int) -> Region:
        """The stretch with so many frames more on both sides."""
        return Region(self.start - by, self.stop + by, self.gaps, self.lost)

    def mask(self, gaps: Sequence[Gap]) -> NDArray[np.bool_]:
        """Which frames of the stretch lie in these gaps, which are in order and apart."""
        found = np.zeros(self.stop - self.start, dtype=bool)
        first = bisect_right(gaps, self.start, key=lambda gap: gap[1])
        last = bisect_left(gaps, self.stop, key=lambda gap: gap[0])
        for start, stop in gaps[first:last]:
            found[max(start - self.start, 0) : stop - self.start] = True
        return found


def merged(gaps: Iterable[Gap], frames: int) -> list[Gap]:
    """The gaps in order, those that touch or overlap as one.

    >>> merged([(5, 9), (20, 30), (8, 12)], 100)
    [(5, 12), (20, 30)]

    Raises
    ------
    Misuse
        A gap is empty or beyond the recording, or nothing is left of it.
    """
    found: list[Gap] = []
    for start, stop in sorted(gaps):
        if not 0 <= start < stop <= frames:
            raise Misuse(
                f"The gap from frame {start} to {stop} is empty or beyond the recording of {frames} frames.",
                "Give a start before its end, both in the recording.",
            )
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    if found == [(0, frames)]:
        raise Misuse("The gap is the whole recording.", "Leave something to continue.")
    return found


def regions(gaps: Sequence[Gap], context: int, longest: int | None = None) -> list[Region]:
    """Stretches with `context` frames around the gaps; gaps nearer than that share one. They may begin before 0.

    A stretch of several gaps is not longer than `longest`, by default 8 contexts; then each sees the other's gaps.
    """
    longest = 8 * context if longest is None else longest
    groups: list[list[Gap]] = []
    for gap in gaps:
        near = bool(groups) and gap[0] - groups[-1][-1][1] < context
        if near and gap[1] - groups[-1][0][0] <= longest:
            groups[-1].append(gap)
        else:
            groups.append([gap])
    lost, found = tuple(gaps), []
    for group in groups:
        found.append(Region(group[0][0] - context, group[-1][1] + context, tuple(group), lost))
    return found
