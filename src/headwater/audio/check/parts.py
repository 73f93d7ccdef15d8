"""A recording read in long overlapping parts, with what is not finite set to zero."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.files import LOUDEST, Recording, Samples, as_float

FINEST = 2.0**-17
"""The finest step that a sample is thought to be rounded to."""


@dataclass(frozen=True)
class Parts:
    """How a recording is cut for the check; seconds.

    Parameters
    ----------
    part
        What is looked at at once.
    margin
        More on both sides, so that damage at a joint is seen whole; the longest drop-out fits into it.
    """

    part: float = 20.0
    margin: float = 2.5


PARTS = Parts()


def finest_step(recording: Recording) -> float:
    """The step of quantisation, full scale being 1."""
    return max(2.0 ** (1 - recording.depth) if recording.depth else 0.0, FINEST)


def read_parts(
    recording: Recording, parts: Parts
) -> Iterator[tuple[int, int, int, Samples, NDArray[np.bool_]]]:
    """Part by part: its frames from `start` to `end`, the first frame that was read, the samples, which are bad."""
    size, margin = round(parts.part * recording.rate), round(parts.margin * recording.rate)
    with recording.open() as file:
        for start in range(0, recording.frames, size):
            stop = min(start + size, recording.frames)
            first, last = max(start - margin, 0), min(stop + margin, recording.frames)
            file.seek(first)
            raw = file.read(last - first, recording.dtype)
            bad = ~(np.abs(raw) < LOUDEST) if raw.dtype.kind == "f" else np.zeros(raw.shape, dtype=bool)
            yield start, stop, first, as_float(np.where(bad, 0, raw)), bad
