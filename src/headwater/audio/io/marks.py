"""Where the gaps of a recording are, in frames: from times, from a label track, from a mask."""

from __future__ import annotations

import codecs
import contextlib
import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.atomic import write_atomically
from headwater.audio.io.files import Recording, check_file, examine
from headwater.audio.io.times import Span
from headwater.errors import Misuse

DECIMALS = 6
"""Of the seconds in a label track, as Audacity writes them."""
LARGEST = 16 << 20
"""Bytes of a label track that is read."""


@dataclass(frozen=True)
class Labels:
    """A label track.

    Parameters
    ----------
    spans, texts
        Start and end of each region in seconds, and what stands beside it.
    points
        How many labels mark a point in time; they are left out.
    """

    spans: tuple[Span, ...]
    texts: tuple[str, ...]
    points: int = 0

    def select(self, wanted: Callable[[str], bool]) -> Labels:
        """The regions whose text is wanted."""
        kept = [(s, t) for s, t in zip(self.spans, self.texts, strict=True) if wanted(t)]
        return Labels(tuple(s for s, _ in kept), tuple(t for _, t in kept), self.points)


def to_frames(spans: Iterable[Span], recording: Recording) -> list[tuple[int, int]]:
    """Spans in seconds as frames of the recording: every sample that they touch, at least one.

    Times are exact to half of the last of six decimals: a region that ends with a sample, and was written so, does
    not touch the next one.

    Raises
    ------
    Misuse
        A span lies beyond the recording.
    """
    found, rate = [], recording.rate
    slack = min(0.51 * 10**-DECIMALS * rate, 0.4)
    for start, stop in spans:
        if stop > recording.seconds + 0.5 / rate + slack / rate:
            raise Misuse(
                f"The gap {start:g}-{stop:g} s lies beyond the recording of {recording.seconds:.3f} s.",
                "Give times within the recording; 'headwater audio extend' continues it.",
            )
        first = min(math.floor(start * rate + slack), recording.frames - 1)
        found.append((first, min(max(math.ceil(stop * rate - slack), first + 1), recording.frames)))
    return found


def read_labels(path: Path) -> Labels:
    """A label track as Audacity exports it: a line each, start, end (seconds) and text between tabs.

    A byte order mark, commas for decimal points, and texts in any encoding are understood. Labels that mark a point
    are left out and counted, and so are the frequencies of spectral selections.

    Raises
    ------
    Misuse
        The file cannot be read, a line is no label, or no label marks a region.
    """
    found, points = [], 0
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip() or line.startswith("\\"):  # Audacity writes frequency ranges so
            continue
        times = parse_label(line)
        if times is None:
            raise Misuse(
                f"Line {number} of {path} has no start and end.", "Write seconds, separated by a tab."
            )
        start, stop = times
        if not 0 <= start <= stop < math.inf:
            raise Misuse(
                f"Line {number} of {path} is not a gap.", "Write the start, then the end, in seconds."
            )
        points += start == stop
        if start < stop:
            found.append((times, line.split("\t", 2)[2].strip() if line.count("\t") > 1 else ""))
    if not found:
        what = "no labels" if not points else "labels of points only"
        raise Misuse(f"The file {path} has {what}.", "Export a label track with a region for each gap.")
    return Labels(tuple(s for s, _ in found), tuple(t for _, t in found), points)


def _read_text(path: Path) -> str:
    """The text of a file, whose encoding its byte order mark may name; what is no text is replaced."""
    check_file(path, "a label track")
    if path.stat().st_size > LARGEST:
        raise Misuse(f"The file {path} is too large for a label track.", "Give a text file or a mask.")
    data = path.read_bytes()
    if b"\0" in data and not data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise Misuse(f"The file {path} cannot be read as labels.", "Give a text file or a mask.")
    utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if utf16 else "utf-8-sig", errors="replace")


def write_labels(path: Path, labels: Iterable[tuple[Span, str]], *, overwrite: bool = False) -> None:
    """Write a label track for Audacity."""
    lines = [f"{a:.{DECIMALS}f}\t{b:.{DECIMALS}f}\t{text}\n" for (a, b), text in labels]
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


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


def is_unnamed(text: str) -> bool:
    """Whether nothing stands beside a region."""
    return not text


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
    for start, raw in marked.blocks():
        lost = np.concatenate([[before], (raw != 0).any(1)])
        edges += (start + np.flatnonzero(lost[1:] != lost[:-1])).tolist()
        before = bool(lost[-1])
    edges += [recording.frames] if before else []
    if not edges:
        raise Misuse(f"The mask {path} marks nothing.", "Make it non-zero where the recording is lost.")
    return list(zip(edges[::2], edges[1::2], strict=True))
