"""16-bit PNG, which Pillow reduces to 8 bits: a reader and a writer of the pixels.

Source: PNG specification (W3C, third edition), sections 5 (chunks), 8 (Adam7) and 9 (filters).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headwater.image.io.png_chunks import CHANNELS, SIGNATURE, Chunk, iterate_chunks, join_chunks

COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels
ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]

Pixels = NDArray[np.uint16]


def is_png16(data: bytes) -> bool:
    """Whether these are the first bytes (26 or more) of a PNG file with 16 bits a channel.

    >>> is_png16(encode(np.zeros((2, 3, 1), np.uint16))), is_png16(b"GIF89a")
    (True, False)
    """
    return data[:8] == SIGNATURE and data[12:16] == b"IHDR" and data[24:25] == b"\x10"


def decode(data: bytes) -> Pixels:
    """Pixels [h, w, c] of a 16-bit PNG file, c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.

    A transparent colour (tRNS) becomes an alpha channel. Interlaced files are read too.

    Raises
    ------
    ValueError, zlib.error, struct.error
        The file is damaged.

    Examples
    --------
    >>> pixels = np.arange(24, dtype=np.uint16).reshape(2, 4, 3) * 2500
    >>> bool((decode(encode(pixels)) == pixels).all())
    True
    """
    found: dict[bytes, list[bytes]] = {}
    for kind, body in iterate_chunks(data):
        found.setdefault(kind, []).append(body)
    chunks = {kind: b"".join(bodies) for kind, bodies in found.items()}
    width, height, _, colour, _, _, interlaced = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    if colour == 3:
        raise ValueError("a palette has no 16 bits")
    shape = (height, width, CHANNELS[colour])
    parts = _parts(shape) if interlaced else [shape]
    stream = _inflate(chunks[b"IDAT"], sum(h * (1 + 2 * w * c) for h, w, c in parts if h and w))
    pixels = _interlaced(stream, shape) if interlaced else _unfilter(stream, shape)[0]
    if b"tRNS" in chunks and colour in (0, 2):
        opaque = (pixels != np.frombuffer(chunks[b"tRNS"], ">u2")).any(-1, keepdims=True)
        pixels = np.concatenate([pixels, opaque.astype(np.uint16) * np.uint16(65535)], -1)
    return pixels


def encode(
    pixels: Pixels, *, icc: bytes | None = None, exif: bytes | None = None, more: Iterable[Chunk] = ()
) -> bytes:
    r"""A 16-bit PNG file of pixels [h, w, c], c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA.

    `more` are further chunks, that stand before the pixels.

    >>> encode(np.zeros((1, 1, 3), np.uint16))[:4]
    b'\x89PNG'
    """
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1)
    filtered = rows.copy()
    filtered[1:] -= rows[:-1]  # filter 2, "up": cheap, and good for photographs
    lines = np.concatenate([np.full((height, 1), 2, np.uint8), filtered], 1)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    parts = [(b"IHDR", header), *more]
    if icc:
        parts.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(icc)))
    if exif:
        parts.append((b"eXIf", exif.removeprefix(b"Exif\0\0")))
    return join_chunks([*parts, (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b"")])


def _inflate(packed: bytes, size: int) -> bytes:
    """Exactly `size` bytes of pixel data: more of them are not even inflated."""
    inflater = zlib.decompressobj()
    stream = inflater.decompress(packed, max(size, 1))
    if len(stream) < size:
        raise ValueError("its pixel data are shorter than its size says")
    if inflater.decompress(inflater.unconsumed_tail, 1):
        raise ValueError("its pixel data are longer than its size says")
    return stream


def _parts(shape: tuple[int, int, int]) -> list[tuple[int, int, int]]:
    """The sizes of the seven passes of an interlaced image."""
    height, width, channels = shape
    return [(len(range(t, height, d)), len(range(s, width, r)), channels) for t, s, d, r in ADAM7]


def _interlaced(stream: bytes, shape: tuple[int, int, int]) -> Pixels:
    pixels = np.empty(shape, np.uint16)
    at = 0
    for top, left, down, right in ADAM7:
        part = pixels[top::down, left::right]
        if part.size:
            values, used = _unfilter(stream[at:], part.shape)
            pixels[top::down, left::right] = values
            at += used
    return pixels


def _unfilter(stream: bytes, shape: tuple[int, ...]) -> tuple[Pixels, int]:
    """Undo the row filters and say how many bytes that took.

    A pixel depends on its left, upper and upper-left neighbours, so all pixels of one anti-diagonal
    are found at once: h + w steps of numpy in place of h w of Python.
    """
    height, width, channels = shape
    unit = 2 * channels
    used = height * (1 + width * unit)
    lines = np.frombuffer(stream, np.uint8, used).reshape(height, -1)
    kinds = lines[:, 0]
    if kinds.max() > 4:
        raise ValueError("an unknown row filter")
    raw = lines[:, 1:].reshape(height, width, unit).astype(np.int16)
    out = np.zeros((height + 1, width + 1, unit), np.int16)  # a border of zeros above and to the left
    for diagonal in range(height + width - 1):
        row = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        column = diagonal - row
        left, up, corner = out[row + 1, column], out[row, column + 1], out[row, column]
        guess = _predict(kinds[row, None], left, up, corner)
        out[row + 1, column + 1] = (raw[row, column] + guess) & 255
    whole = np.ascontiguousarray(out[1:, 1:].astype(np.uint8)).view(">u2")
    return whole.astype(np.uint16), used


def _predict(
    kind: NDArray[np.uint8], left: NDArray[np.int16], up: NDArray[np.int16], corner: NDArray[np.int16]
) -> NDArray[np.int16]:
    by_left, by_up = abs(up - corner), abs(left - corner)  # Paeth: the neighbour nearest left + up - corner
    by_corner = abs(left + up - 2 * corner)
    paeth = np.where(by_up <= by_corner, up, corner)
    paeth = np.where((by_left <= by_up) & (by_left <= by_corner), left, paeth)
    choices = [np.zeros_like(left), left, up, (left + up) >> 1, paeth]
    return np.choose(kind, choices)
