"""The chunks of a PNG file: what goes along with the pixels, and where it stands.

Source: PNG specification (W3C, third edition), sections 5 (chunks) and 11 (their meaning).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by colour type: grey, RGB, palette, grey + alpha, RGBA
TEXT = (b"tEXt", b"zTXt", b"iTXt")
COLOUR = (b"gAMA", b"cHRM", b"sRGB", b"cICP")

Chunk = tuple[bytes, bytes]


def iterate_chunks(data: bytes) -> Iterator[Chunk]:
    """Kind and content of every chunk up to IEND.

    Raises
    ------
    ValueError, struct.error
        A checksum is wrong, or the file ends early.
    """
    at, kind = len(SIGNATURE), b""
    while kind != b"IEND":
        (length,) = struct.unpack_from(">I", data, at)
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        if data[at + 8 + length : at + 12 + length] != struct.pack(">I", zlib.crc32(kind + body)):
            raise ValueError("a checksum is wrong or the file ends early")
        yield kind, body
        at += 12 + length


def join_chunks(chunks: Iterable[Chunk]) -> bytes:
    r"""A PNG file of these chunks.

    >>> join_chunks([(b"IEND", b"")])[-4:]
    b'\xaeB`\x82'
    """
    parts = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    ]
    return SIGNATURE + b"".join(parts)


def add_chunks(data: bytes, chunks: Iterable[Chunk]) -> bytes:
    """The PNG file with further chunks behind its header."""
    header, *rest = iterate_chunks(data)
    return join_chunks([header, *chunks, *rest])


def kept_chunks(data: bytes) -> tuple[Chunk, ...]:
    """Text and colour chunks that go along with a result: none that may hold an older picture of it.

    Left out are the text of raw profiles (ImageMagick's hexadecimal EXIF, IPTC and Photoshop blocks) and XMP with
    thumbnails.
    """
    kept: list[Chunk] = []
    try:
        for kind, body in iterate_chunks(data):
            if kind in COLOUR or (kind in TEXT and not _may_hold_picture(body)):
                kept.append((kind, body))
    except (ValueError, struct.error):  # a damaged end does not make what stands before it unreadable
        pass
    return tuple(kept)


def _may_hold_picture(text: bytes) -> bool:
    keyword, _, content = text.partition(b"\0")
    return keyword.startswith((b"Raw profile type", b"XML:com.adobe.xmp")) and (
        keyword.startswith(b"Raw") or not content.startswith(b"\0") or b"humbnail" in content
    )


def check_pixel_data(data: bytes) -> None:
    """Refuse a file whose compressed pixels cannot be those of the size in its header.

    Raises
    ------
    ValueError
        There are too many bytes for it (deflate adds less than 1 % and 64 KiB), or too few (it saves at most a
        factor of 1032).
    """
    sizes: dict[bytes, int] = {}
    try:
        for kind, body in iterate_chunks(data):
            if kind == b"IHDR":
                pixels = raw_size(body)
            sizes[kind] = sizes.get(kind, 0) + len(body)
    except (ValueError, struct.error):
        return  # the decoder says what is wrong
    packed = sizes.get(b"IDAT", 0)
    if packed > 1.01 * pixels + 2**16:
        raise ValueError("its pixel data are longer than its size says")
    if pixels > 1032 * packed + 2**16:
        raise ValueError("its pixel data are shorter than its size says")


def raw_size(header: bytes) -> int:
    """Bytes of the filtered rows that an IHDR chunk declares, without interlacing.

    >>> raw_size(struct.pack(">IIBBBBB", 4, 2, 16, 2, 0, 0, 0))
    50
    """
    width, height, depth, colour, *_ = struct.unpack(">IIBBBBB", header)
    return int(height * (1 + (width * depth * CHANNELS[colour] + 7) // 8))
