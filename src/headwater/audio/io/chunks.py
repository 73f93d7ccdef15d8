"""The chunks of a WAV file beside its samples: timecode (bext), markers (cue), loops (smpl), iXML and others.

libsndfile copies tags only, so what it does not write itself is appended to the repaired file as it was.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

WRITTEN = {b"fmt ", b"fact", b"data", b"PEAK"}
"""What is written with the samples."""
STALE = {b"JUNK", b"PAD ", b"FLLR", b"ds64", b"levl"}
"""Padding, and what is about the samples themselves."""
BLOCK = 1 << 20
"""Bytes that are copied at a time."""


class Chunk(NamedTuple):
    """A chunk: its four letters (of a list also its kind), where its content begins, and how many bytes that has."""

    name: bytes
    start: int
    size: int


def list_chunks(path: Path) -> list[Chunk]:
    """The chunks of a RIFF WAV file but for those that are cut off; an empty list for other files (RF64, RIFX)."""
    found: list[Chunk] = []
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return []
        claimed = 8 + struct.unpack("<I", head[4:8])[0]
        end = min(path.stat().st_size, claimed if claimed > 12 else 2**32)
        while file.tell() + 8 <= end and len(head := file.read(8)) == 8:
            name, size, start = head[:4], struct.unpack("<I", head[4:])[0], file.tell()
            if start + size > end or not (name.isascii() and name.decode().isprintable()):
                break
            if name == b"LIST":
                name += b":" + file.read(4)
            found.append(Chunk(name, start, size))
            file.seek(start + size + size % 2)
    return found


def copy_chunks(source: Path, target: Path) -> None:
    """Append the chunks of one WAV file that another lacks; do nothing if either is not a WAV file."""
    there = {c.name for c in list_chunks(target)}
    missing = [c for c in list_chunks(source) if c.name not in there | WRITTEN | STALE]
    if not there or not missing:
        return
    with source.open("rb") as before, target.open("r+b") as after:
        after.seek(0, 2)
        after.write(b"\0" * (after.tell() % 2))
        for c in missing:
            before.seek(c.start)
            after.write(c.name[:4] + struct.pack("<I", c.size))
            for done in range(0, c.size, BLOCK):
                after.write(before.read(min(BLOCK, c.size - done)))
            after.write(b"\0" * (c.size % 2))
        size = after.tell() - 8
        if size < 2**32:
            after.seek(4)
            after.write(struct.pack("<I", size))
