"""The chunks of WAV and AIFF files beside their samples: timecode (bext), markers, loops, tags, iXML and others.

libsndfile copies a few tags only, so what it does not write itself is appended to the repaired file as it was. Of a
WAVE_FORMAT_EXTENSIBLE header it keeps neither the speakers nor how many bits of a sample are valid: both are written
again.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

WRITTEN = {b"fmt ", b"fact", b"data", b"PEAK", b"COMM", b"SSND", b"FVER"}
"""What is written with the samples."""
STALE = {b"JUNK", b"PAD ", b"FLLR", b"ds64", b"levl"}
"""Padding, and what is about the samples themselves."""
TIMED = {b"bext", b"cue ", b"smpl", b"inst", b"plst", b"LIST:adtl", b"MARK", b"INST", b"COMT", b"acid"}
"""What counts in samples, and so is wrong at another rate."""
BLOCK = 1 << 20
"""Bytes that are copied at a time."""
MOST = 10_000
"""Chunks that are looked at; no real file has as many."""
EXTENSIBLE = 0xFFFE
"""The tag of a WAVE_FORMAT_EXTENSIBLE header."""


class Chunk(NamedTuple):
    """A chunk: its four letters (of a list also its kind), where its content begins, and how many bytes that has."""

    name: bytes
    start: int
    size: int


@dataclass(frozen=True)
class Extension:
    """What a WAVE_FORMAT_EXTENSIBLE header adds: the bits of a container that are valid, and the speakers' mask."""

    bits: int
    mask: int


def byte_order(path: Path) -> str:
    """How the sizes of a file of chunks are written, as `struct` names it; empty for other files.

    RIFF and RF64 are little-endian; RIFX and FORM (AIFF) are big-endian.
    """
    with path.open("rb") as file:
        head = file.read(12)
    kind = head[:4], head[8:]
    if kind in ((b"RIFF", b"WAVE"), (b"RF64", b"WAVE")):
        return "<"
    return ">" if kind in ((b"RIFX", b"WAVE"), (b"FORM", b"AIFF"), (b"FORM", b"AIFC")) else ""


def list_chunks(path: Path) -> list[Chunk]:
    """The chunks of a WAV or AIFF file but for those that are cut off; an empty list for other files."""
    order, found = byte_order(path), list[Chunk]()
    if not order:
        return found
    with path.open("rb") as file:
        head = file.read(12)
        claimed = 8 + struct.unpack(order + "I", head[4:8])[0]
        end = min(path.stat().st_size, claimed if 12 < claimed < 2**31 and head[:4] != b"RF64" else 2**62)
        long = None
        while file.tell() + 8 <= end and len(head := file.read(8)) == 8 and len(found) < MOST:
            name, size, start = head[:4], struct.unpack(order + "I", head[4:])[0], file.tell()
            if name == b"ds64":
                long = struct.unpack("<QQ", file.read(16).ljust(16, b"\0"))[1]
            if name == b"data" and size == 2**32 - 1 and long is not None:
                size = long
            if start + size > end or not (name.isascii() and name.decode().isprintable()):
                break
            if name == b"LIST":
                file.seek(start)
                name += b":" + file.read(4)
            found.append(Chunk(name, start, size))
            file.seek(start + size + size % 2)
    return found


def missing_chunks(source: Path, target: Path, without: Collection[bytes] = ()) -> list[Chunk]:
    """The chunks of one file that another of its family lacks; without those named."""
    if not byte_order(source) or _family(source) != _family(target):
        return []
    there = {c.name for c in list_chunks(target)}
    return [c for c in list_chunks(source) if c.name not in there | WRITTEN | STALE | set(without)]


def copy_chunks(source: Path, target: Path, without: Collection[bytes] = ()) -> None:
    """Append the chunks of one file that another lacks, without those named; nothing if the families differ."""
    missing, order = missing_chunks(source, target, without), byte_order(target)
    if not missing:
        return
    with source.open("rb") as before, target.open("r+b") as after:
        after.seek(0, 2)
        after.write(b"\0" * (after.tell() % 2))
        for c in missing:
            before.seek(c.start)
            after.write(c.name[:4] + struct.pack(order + "I", c.size))
            for done in range(0, c.size, BLOCK):
                after.write(before.read(min(BLOCK, c.size - done)))
            after.write(b"\0" * (c.size % 2))
        _write_size(after, order)


def _family(path: Path) -> tuple[str, bool]:
    with path.open("rb") as file:
        return byte_order(path), file.read(4) == b"FORM"


def _write_size(file: Any, order: str) -> None:
    """The size of the whole in its header, which in RF64 is that of ds64."""
    size = file.tell() - 8
    file.seek(0)
    if file.read(4) == b"RF64":
        file.seek(20)
        file.write(struct.pack("<Q", size))
    elif size < 2**32:
        file.seek(4)
        file.write(struct.pack(order + "I", size))


def read_extension(path: Path) -> Extension | None:
    """The extension of a WAV file's header, if it has one (Microsoft, Multiple Channel Audio Data and WAVE Files)."""
    place = _extension_place(path)
    if place is None:
        return None
    with path.open("rb") as file:
        file.seek(place)
        return Extension(*struct.unpack(byte_order(path) + "HI", file.read(6)))


def write_extension(path: Path, extension: Extension) -> bool:
    """Write bits and speakers into the header of a WAV file; whether it has a place for them."""
    place = _extension_place(path)
    if place is None:
        return False
    with path.open("r+b") as file:
        file.seek(place)
        file.write(struct.pack(byte_order(path) + "HI", extension.bits, extension.mask))
    return True


def _extension_place(path: Path) -> int | None:
    for chunk in list_chunks(path):
        if chunk.name == b"fmt " and chunk.size >= 40:
            with path.open("rb") as file:
                file.seek(chunk.start)
                (tag,) = struct.unpack(byte_order(path) + "H", file.read(2))
            return chunk.start + 18 if tag == EXTENSIBLE else None
    return None
