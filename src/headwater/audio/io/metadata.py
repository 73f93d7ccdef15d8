"""What a file of sound says besides its samples: kept where the container stays, else told.

WAV and AIFF files keep their chunks (`chunks`), FLAC files their blocks (`flac`). Between containers libsndfile
carries a few tags over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headwater.audio.io.chunks import (
    STALE,
    TIMED,
    WRITTEN,
    byte_order,
    copy_chunks,
    list_chunks,
    read_extension,
    write_extension,
)
from headwater.audio.io.decode import Decoder
from headwater.audio.io.encode import Encoder
from headwater.audio.io.flac import CUESHEET, PICTURE, copy_blocks, list_blocks

FAMILIES = {"WAV": "wave", "WAVEX": "wave", "RF64": "wave", "AIFF": "aiff", "FLAC": "flac"}
"""The containers, by libsndfile's name, whose metadata are copied as bytes."""
CARRIED = {
    "title",
    "copyright",
    "artist",
    "comment",
    "date",
    "album",
    "license",
    "tracknumber",
    "genre",
    "encoder",
}
"""The tags that libsndfile carries from one container to another."""
CARRIED_ID3 = {"TIT2", "TCOP", "TPE1", "COMM", "TDRC", "TYER", "TALB", "TRCK", "TCON", "TSSE", "TENC"}
"""The same as frames of an ID3v2 tag."""
HEAD = 1 << 20
"""Bytes at the beginning of an Ogg or MP3 file in which its tags are looked for."""


def stays(source: str, target: str) -> bool:
    """Whether two formats, as libsndfile names them, keep their metadata in the same way."""
    return FAMILIES.get(source, source) == FAMILIES.get(target, "")


def carry_tags(before: Decoder, after: Encoder) -> None:
    """Title, artist and so on, as far as libsndfile has them in both containers."""
    for key, value in before.file.copy_metadata().items():
        after.tag(key, value)


def carry_bytes(source: Path, target: Path, *, other_rate: bool = False) -> None:
    """The chunks or blocks of a file into another of its family; at another rate without what counts in samples."""
    copy_chunks(source, target, TIMED if other_rate else ())
    copy_blocks(source, target, (CUESHEET,) if other_rate else ())
    extension, there = read_extension(source), read_extension(target)
    if extension is not None and there is not None:
        bits = extension.bits if _container_bits(source) == _container_bits(target) else there.bits
        write_extension(target, replace(extension, bits=bits))


def _container_bits(path: Path) -> bytes:
    """The tag of the samples' kind and the bits of their container, as the header of a WAV file has them."""
    for chunk in list_chunks(path):
        if chunk.name == b"fmt ":
            with path.open("rb") as file:
                file.seek(chunk.start)
                header = file.read(40)
            return header[14:16] + header[24:26]
    return b""


def list_lost(path: Path, source: str, target: str, *, other_rate: bool = False) -> list[str]:
    """The names of what a file says that is not carried to another format, or to another rate."""
    kept = stays(source, target)
    if byte_order(path):
        names = [c.name for c in list_chunks(path)]
        lost = (
            TIMED
            if kept
            else set(names) - WRITTEN - STALE - {b"LIST:INFO", b"NAME", b"AUTH", b"(c) ", b"ANNO"}
        )
        found = [n.decode("latin-1").strip() for n in names if n in lost] if other_rate or not kept else []
        return found + ([] if kept or read_extension(path) is None else ["speakers"])
    if kept and source == "FLAC":
        return ["cue sheet"] if other_rate and any(b.kind == CUESHEET for b in list_blocks(path)) else []
    return list(dict.fromkeys(_list_foreign(path)))


def _list_foreign(path: Path) -> Iterator[str]:
    """The tags of a FLAC, Ogg or MP3 file that libsndfile does not carry."""
    blocks = list_blocks(path)
    if any(b.kind == PICTURE for b in blocks):
        yield "cover"
    if any(b.kind == CUESHEET for b in blocks):
        yield "cue sheet"
    with path.open("rb") as file:
        head = file.read(HEAD)
        for b in blocks:
            if b.kind == 4:
                file.seek(b.start)
                head = b"OpusTags" + file.read(min(b.size, HEAD))
    if head[:3] == b"ID3":
        frames = re.findall(rb"([A-Z]{3}[A-Z0-9])[\0-\x7f]{4}[\0-\xff]\0", head)
        yield from (name for f in frames if (name := f.decode()) not in CARRIED_ID3 and name[0] in "TAWUCP")
        return
    yield from (key for key in list_comments(head) if key not in CARRIED)


def list_comments(head: bytes) -> list[str]:
    r"""The names of the Vorbis comments (RFC 7845, section 5.2) at the beginning of an Ogg file, in small letters.

    >>> list_comments(b"..OpusTags" + b"\1\0\0\0v" + b"\1\0\0\0" + b"\7\0\0\0ISRC=17")
    ['isrc']
    """
    found = list[str]()
    place = next((head.find(m) + len(m) for m in (b"OpusTags", b"\x03vorbis") if m in head), -1)
    if place < 0:
        return found

    def number(at: int) -> int:
        return int.from_bytes(head[at : at + 4], "little")

    place += 4 + number(place)
    count, place = number(place), place + 4
    for _ in range(min(count, 1000)):
        size, place = number(place), place + 4
        key, sign, _ = head[place : place + min(size, 100)].partition(b"=")
        if not sign or not key.isascii() or not key.decode().isprintable():
            break
        found.append(key.decode().lower())
        place += size
    return found
