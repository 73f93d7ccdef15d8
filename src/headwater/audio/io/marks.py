"""Where the gaps of a recording are, in frames: from times, from a label track, from a mask."""

from __future__ import annotations

import contextlib
import math
import re
from pathlib import Path

import numpy as np

from headwater.audio.io.files import Recording, examine, read_blocks
from headwater.audio.io.times import Span
from headwater.errors import Misuse
from headwater.extras import import_optional


def to_frames(spans: list[Span], recording: Recording) -> list[tuple[int, int]]:
    """Spans in seconds as frames of the recording: every sample that they touch.

    Raises
    ------
    Misuse
        A span lies beyond the recording.
    """
    found = []
    for start, stop in spans:
        if stop > recording.seconds + 0.5 / recording.rate:
            raise Misuse(
                f"The gap {start:g}-{stop:g} s lies beyond the recording of {recording.seconds:.3f} s.",
                "Give times within the recording; 'headwater audio extend' continues it.",
            )
        first = math.floor(start * recording.rate + 1e-6)
        found.append((first, min(math.ceil(stop * recording.rate - 1e-6), recording.frames)))
    return found


def read_labels(path: Path) -> list[Span]:
    """The spans of a label track as Audacity exports it: a line each, start, end (seconds) and text between tabs."""
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Misuse(f"The file {path} cannot be read as labels.", "Give a text file or a mask.") from error
    found = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("\\"):  # Audacity writes frequency ranges so
            continue
        times = parse_label(line)
        if times is None:
            raise Misuse(
                f"Line {number} of {path} has no start and end.", "Write seconds, separated by a tab."
            )
        start, stop = times
        if not 0 <= start < stop:
            raise Misuse(
                f"Line {number} of {path} is not a gap.", "Write the start, then the end, in seconds."
            )
        found.append((start, stop))
    if not found:
        raise Misuse(f"The file {path} has no labels.", "Export a label track with a region for each gap.")
    return found


def parse_label(line: str) -> Span | None:
    r"""The first two numbers of a line, between tabs, semicolons or commas.

    >>> parse_label("0,5\t0,6\tclick"), parse_label("0.5,0.6\tclick")
    ((0.5, 0.6), (0.5, 0.6))
    """
    for between in "\t;,":
        start, *rest = line.split(between)
        with contextlib.suppress(ValueError, IndexError):
            return float(start.replace(",", ".")), float(re.split("[\t;]", rest[0])[0].replace(",", "."))
    return None


def read_mask(path: Path, recording: Recording) -> list[tuple[int, int]]:
    """The gaps that a mask marks: a file of sound of the same rate and length, not zero where something is lost."""
    marked = examine(path)
    if (marked.rate, marked.frames) != (recording.rate, recording.frames):
        raise Misuse(
            f"The mask has {marked.frames} frames at {marked.rate} Hz, "
            f"the recording {recording.frames} at {recording.rate} Hz.",
            "Give a mask of the recording's rate and length.",
        )
    edges: list[int] = []
    before = False
    with import_optional("soundfile", "audio").SoundFile(path) as file:
        for start, raw in read_blocks(file, marked):
            lost = np.concatenate([[before], (raw != 0).any(1)])
            edges += (start + np.flatnonzero(lost[1:] != lost[:-1])).tolist()
            before = bool(lost[-1])
    edges += [recording.frames] if before else []
    if not edges:
        raise Misuse(f"The mask {path} marks nothing.", "Make it non-zero where the recording is lost.")
    return list(zip(edges[::2], edges[1::2], strict=True))
