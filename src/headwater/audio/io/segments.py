"""The gaps of a recording, and the segments around them that are repaired at once."""

from __future__ import annotations

import operator
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse
from headwater.text import counted

Gap = tuple[int, int]
"""The first lost frame, and the one after the last."""


@dataclass(frozen=True)
class Segment:
    """A part of a recording, and the gaps to fill in it.

    Parameters
    ----------
    start, stop
        The first frame, and the one after the last; they may lie beyond the ends of the recording.
    gaps
        The gaps to fill, in order.
    lost
        All gaps of the recording, in order. Those of other segments are lost here as well, but not filled.
    """

    start: int
    stop: int
    gaps: tuple[Gap, ...]
    lost: tuple[Gap, ...] = ()

    @property
    def to_fill(self) -> NDArray[np.bool_]:
        """Which frames of the segment lie in its gaps, `[frames]`."""
        return self.mask(self.gaps)

    @property
    def unknown(self) -> NDArray[np.bool_]:
        """Which frames of the segment lie in any gap, `[frames]`."""
        return self.to_fill | self.mask(self.lost)

    def widen(self, by: int) -> Segment:
        """The segment with `by` more frames on both sides."""
        return Segment(self.start - by, self.stop + by, self.gaps, self.lost)

    def mask(self, gaps: Sequence[Gap]) -> NDArray[np.bool_]:
        """Which frames of the segment lie in these gaps, which are in order and apart, `[frames]`."""
        found = np.zeros(self.stop - self.start, dtype=bool)
        first = bisect_right(gaps, self.start, key=lambda gap: gap[1])
        last = bisect_left(gaps, self.stop, key=lambda gap: gap[0])
        for start, stop in gaps[first:last]:
            found[max(start - self.start, 0) : stop - self.start] = True
        return found


def merge_gaps(gaps: Iterable[Gap], frames: int) -> list[Gap]:
    """The gaps of a recording in order; those that touch or overlap become one.

    >>> merge_gaps([(5, 9), (20, 30), (8, 12)], 100)
    [(5, 12), (20, 30)]

    Raises
    ------
    Misuse
        A gap is no pair of frames, is empty or beyond the recording, or nothing is left of it.
    """
    found: list[Gap] = []
    for start, stop in sorted(map(check_gap, gaps)):
        if not 0 <= start < stop <= frames:
            raise Misuse(
                f"The gap from frame {start} to {stop} is empty or beyond the recording of "
                f"{counted(frames, 'frame')}.",
                "Give a start before its end, both in the recording.",
            )
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(stop, found[-1][1]))
        else:
            found.append((start, stop))
    if found == [(0, frames)]:
        raise Misuse("The gap is the whole recording.", "Leave something to continue.")
    return found


def check_gap(gap: Gap) -> Gap:
    """The gap as two whole numbers.

    Raises
    ------
    Misuse
        It is something else.

    Examples
    --------
    >>> check_gap((0.5, 0.7))
    Traceback (most recent call last):
    headwater.errors.Misuse: The gap (0.5, 0.7) is not a pair of whole frames. Give the first lost frame and the one \
after the last; a time in seconds times the rate is a frame.
    """
    try:
        start, stop = map(operator.index, gap)
    except (TypeError, ValueError):
        raise Misuse(
            f"The gap {gap!r} is not a pair of whole frames.",
            "Give the first lost frame and the one after the last; a time in seconds times the rate is a frame.",
        ) from None
    return start, stop


def segments_around(gaps: Sequence[Gap], context: int, longest: int | None = None) -> list[Segment]:
    """Segments with `context` frames on both sides of the gaps; gaps nearer than that share one.

    A segment of several gaps is not longer than `longest`, by default 8 contexts: attention and memory grow with it.
    """
    longest = 8 * context if longest is None else longest
    groups: list[list[Gap]] = []
    for gap in gaps:
        near = bool(groups) and gap[0] - groups[-1][-1][1] < context
        if near and gap[1] - groups[-1][0][0] <= longest:
            groups[-1].append(gap)
        else:
            groups.append([gap])
    lost = tuple(gaps)
    return [Segment(g[0][0] - context, g[-1][1] + context, tuple(g), lost) for g in groups]
