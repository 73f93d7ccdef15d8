"""Seeded damage to the bytes of a file: what disks, networks, editors and attackers do to it.

mutate(data, np.random.default_rng(7))      the same bytes for the same seed, on every machine
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

EXTREMES = (
    0,
    1,
    2,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    10**6,
    2**24,
    2**31 - 1,
    2**31,
    2**32 - 1,
)
WIDE = (2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
WORDS = (
    "",
    "nan",
    "-inf",
    "1e400",
    "-1",
    "0",
    "99999999999999999999",
    "1" * 5000,
    "\0",
    "é",
    "1_0",
    "\t",
    "[[[",
    "'",
)
HEADER = 300
"""Most fields stand in the first bytes of a file: half of the damage is done there."""


def mutate(data: bytes, random: np.random.Generator) -> bytes:
    """The bytes with one to four kinds of damage, mostly one: a file with more is refused at its first bytes."""
    for _ in range((1, 1, 1, 2, 3, 4)[int(random.integers(6))]):
        if not data:
            break
        ways = [*BINARY, *(TEXTUAL if is_text(data) else ()), *(PNG if data[:4] == b"\x89PNG" else ())]
        data = ways[int(random.integers(len(ways)))](data, random)
    return data


def is_text(data: bytes) -> bool:
    return b"\0" not in data[:1000] and data[:1000].isascii()


def place(data: bytes, random: np.random.Generator) -> int:
    most = len(data) if random.random() < 0.5 else min(HEADER, len(data))
    return int(random.integers(most))


def length(data: bytes, random: np.random.Generator) -> int:
    """Mostly short, now and then as long as the file."""
    return int(len(data) ** random.random() ** 2) + 1


def flip_bits(data: bytes, random: np.random.Generator) -> bytes:
    changed = bytearray(data)
    for _ in range(2 ** int(random.integers(5))):
        changed[place(data, random)] ^= 1 << int(random.integers(8))
    return bytes(changed)


def overwrite_run(data: bytes, random: np.random.Generator) -> bytes:
    at, count = place(data, random), length(data, random)
    noise = random.integers(0, 256, count, np.uint8).tobytes()
    run = (bytes(count), b"\xff" * count, noise)[int(random.integers(3))]
    return data[:at] + run[: len(data) - at] + data[at + count :]


def truncate(data: bytes, random: np.random.Generator) -> bytes:
    return data[: place(data, random)]


def remove_block(data: bytes, random: np.random.Generator) -> bytes:
    at = place(data, random)
    return data[:at] + data[at + length(data, random) :]


def repeat_block(data: bytes, random: np.random.Generator) -> bytes:
    at, to = place(data, random), place(data, random)
    block = data[at : at + length(data, random)]
    return data[:to] + block * int(random.integers(1, 4)) + data[to:]


def insert_noise(data: bytes, random: np.random.Generator) -> bytes:
    at = place(data, random)
    noise = random.integers(0, 256, int(random.integers(1, 64)), np.uint8).tobytes()
    return data[:at] + noise + data[at:]


def set_field(data: bytes, random: np.random.Generator) -> bytes:
    """A number of 1 to 8 bytes at an extreme of its range, in either byte order."""
    size = (1, 2, 4, 4, 8)[int(random.integers(5))]
    values = (*EXTREMES, *WIDE) if size == 8 else EXTREMES
    value = values[int(random.integers(len(values)))] % 256**size
    at = place(data, random)
    field = value.to_bytes(size, ("little", "big")[int(random.integers(2))])
    return data[:at] + field + data[at + size :]


def replace_word(data: bytes, random: np.random.Generator) -> bytes:
    """One word of a text becomes an extreme one."""
    words = data.decode("latin-1").split(" ")
    words[int(random.integers(len(words)))] = WORDS[int(random.integers(len(WORDS)))]
    return " ".join(words).encode("latin-1", "replace")


def swap_lines(data: bytes, random: np.random.Generator) -> bytes:
    lines = data.split(b"\n")
    i, j = (int(random.integers(len(lines))) for _ in range(2))
    lines[i], lines[j] = lines[j], lines[i]
    return b"\n".join(lines)


def mutate_chunk(data: bytes, random: np.random.Generator) -> bytes:
    """Damage inside a PNG chunk, with a right checksum: else every decoder stops there."""
    chunks, at = [], 8
    while at + 12 <= len(data) and len(chunks) < 1000:
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    if not chunks:
        return data
    chosen = int(random.integers(len(chunks)))
    kind, body = chunks[chosen]
    if kind == b"IDAT" and random.random() < 0.5:  # or inside what deflate packed
        try:
            body = zlib.compress(flip_bits(zlib.decompress(body) or b"\0", random))
        except zlib.error:
            body = set_field(body or b"\0", random)
    else:
        body = set_field(body or b"\0", random)
    chunks[chosen] = kind, body
    return data[:8] + b"".join(
        struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks
    )


BINARY = (
    flip_bits,
    flip_bits,
    overwrite_run,
    truncate,
    remove_block,
    repeat_block,
    insert_noise,
    set_field,
    set_field,
)
TEXTUAL = (replace_word, replace_word, swap_lines)
PNG = (mutate_chunk, mutate_chunk)
