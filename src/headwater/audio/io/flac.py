"""The metadata blocks of FLAC files (RFC 9639, section 8): tags, cue sheets, covers, and what programs keep there.

libsndfile copies a few tags only, so a repaired file gets all blocks of its source.
"""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import NamedTuple

STREAMINFO, PADDING, SEEKTABLE, CUESHEET, PICTURE = 0, 1, 3, 5, 6
MARKER = b"fLaC"


class Block(NamedTuple):
    """A block: its kind, where its content begins, and how many bytes that has."""

    kind: int
    start: int
    size: int


def list_blocks(path: Path) -> list[Block]:
    """The metadata blocks of a FLAC file, also behind an ID3v2 tag; an empty list for other or damaged files."""
    found, end = list[Block](), path.stat().st_size
    with path.open("rb") as file:
        head = file.read(10)
        place = 0
        if head[:3] == b"ID3" and len(head) == 10:  # its size has 7 bits in a byte
            place = 10 + sum((b & 127) << 7 * (3 - i) for i, b in enumerate(head[6:]))
        file.seek(place)
        if file.read(4) != MARKER:
            return []
        last = False
        while not last and len(head := file.read(4)) == 4:
            last, kind, size = head[0] >= 128, head[0] & 127, int.from_bytes(head[1:])
            found.append(Block(kind, file.tell(), size))
            file.seek(size, 1)
            if file.tell() > end:
                return []
    return found if last else []


def copy_blocks(source: Path, target: Path, without: tuple[int, ...] = ()) -> None:
    """Give a FLAC file the blocks of another, but for STREAMINFO, seek points and padding, and those named.

    The blocks stand before the sound, so the file is written again.
    """
    there = list_blocks(target)
    wanted = [b for b in list_blocks(source) if b.kind not in (STREAMINFO, PADDING, SEEKTABLE, *without)]
    if not there or not wanted:
        return
    own = [b for b in there if b.kind == STREAMINFO]
    new = target.with_name(f".headwater-{secrets.token_hex(6)}{target.suffix}")
    try:
        with source.open("rb") as before, target.open("rb") as old, new.open("wb") as after:
            after.write(MARKER)
            parts = [(old, b) for b in own] + [(before, b) for b in wanted]
            for i, (file, b) in enumerate(parts):
                file.seek(b.start)
                after.write(bytes([b.kind + 128 * (i == len(parts) - 1)]) + b.size.to_bytes(3))
                after.write(file.read(b.size))
            old.seek(there[-1].start + there[-1].size)
            shutil.copyfileobj(old, after, 1 << 20)
        os.replace(new, target)
    finally:
        new.unlink(missing_ok=True)
