"""Recordings in files: what they are, whether they are whole, and their samples part by part.

A file is never held in memory as a whole. Samples of integer formats travel as 32-bit integers and those of float
formats as 64-bit floats, which both are exact.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse
from headwater.extras import import_optional

EXTRA = "audio"
BLOCK = 1 << 18
"""Frames that are copied at a time."""
DEPTH = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
FLOATS = ("FLOAT", "DOUBLE")
SUFFIXES = {
    ".wav": "WAV",
    ".flac": "FLAC",
    ".ogg": "OGG",
    ".aiff": "AIFF",
    ".aif": "AIFF",
    ".w64": "W64",
    ".caf": "CAF",
}

Samples = NDArray[Any]


@dataclass(frozen=True)
class Recording:
    """A file of sound, read in parts.

    Parameters
    ----------
    path
        Where it lies.
    rate
        Frames a second, Hz.
    frames, channels
        Its length, and the samples of a frame.
    format, subtype, endian
        As libsndfile names them.
    """

    path: Path
    rate: int
    frames: int
    channels: int
    format: str
    subtype: str
    endian: str = "FILE"

    @property
    def depth(self) -> int | None:
        """Bits of an integer sample; None for floats and lossy codings."""
        return DEPTH.get(self.subtype)

    @property
    def lossless(self) -> bool:
        """Whether writing a sample back leaves it as it was."""
        return self.subtype in DEPTH or self.subtype in FLOATS

    def holds(self, other: Recording) -> bool:
        """Whether samples of the other format, up to full scale, can be written in this one unchanged."""
        if self.depth:
            return other.depth is not None and other.depth <= self.depth
        bits = {"FLOAT": 24, "DOUBLE": 53}
        needed = other.depth or bits.get(other.subtype, 24)  # lossy codings decode to single precision
        return self.subtype == other.subtype or needed <= bits.get(self.subtype, 0)

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return self.frames / self.rate

    def read(self, start: int, stop: int) -> Samples:
        """The frames from `start` to `stop`, float64 `[frames, channels]`, full scale 1; beyond the ends zero.

        Raises
        ------
        Misuse
            The file ends early, or has samples that are not finite.
        """
        inner = slice(max(start, 0), min(stop, self.frames))
        x = np.zeros((stop - start, self.channels))
        if inner.stop > inner.start:
            with import_optional("soundfile", EXTRA).SoundFile(self.path) as file:
                file.seek(inner.start)
                raw = self.read_next(file, inner.start, inner.stop - inner.start)
            x[inner.start - start : inner.stop - start] = as_float(raw)
        return x

    def read_next(self, file: Any, start: int, count: int) -> Samples:
        """The next samples of the open file, which is at frame `start`, as they are stored."""
        try:
            raw = file.read(count, dtype=self.dtype, always_2d=True)
        except import_optional("soundfile", EXTRA).LibsndfileError as error:
            raise _cut_off(self) from error
        check_samples(raw, count, start, self)
        return np.asarray(raw)

    @property
    def dtype(self) -> str:
        """The type in which samples are read and written exactly."""
        return "int32" if self.depth else "float64"


@dataclass(frozen=True)
class Patch:
    """Repaired samples of a recording from frame `start` on.

    Parameters
    ----------
    start
        The first frame.
    samples
        float64 `[frames, channels]`, full scale 1.
    changed
        bool `[frames, channels]`: only these are written.
    """

    start: int
    samples: Samples
    changed: NDArray[np.bool_]


def examine(path: str | Path) -> Recording:
    """What a file of sound is, without reading its samples.

    Raises
    ------
    Misuse
        The file is missing, empty, cut off, or not a file of sound.

    >>> examine("no-such-take.wav")
    Traceback (most recent call last):
    headwater.errors.Misuse: The file no-such-take.wav does not exist. Check the path.
    """
    path = Path(path)
    if not path.exists():
        raise Misuse(f"The file {path} does not exist.", "Check the path.")
    if path.is_dir():
        raise Misuse(f"{path} is a folder.", "Give a file of sound.")
    if path.stat().st_size == 0:
        raise Misuse(f"The file {path} is empty.", "Give a recording.")
    soundfile = import_optional("soundfile", EXTRA)
    try:
        with soundfile.SoundFile(path) as file:
            found = Recording(
                path, file.samplerate, file.frames, file.channels, file.format, file.subtype, file.endian
            )
            log = str(file.extra_info)
    except (soundfile.LibsndfileError, TypeError, RuntimeError) as error:
        raise Misuse(
            f"The file {path} cannot be read as sound: {_reason(error)}.",
            f"Give one of: {', '.join(sorted(SUFFIXES))}.",
        ) from error
    if found.channels < 1 or found.frames < 1:
        raise Misuse(f"The file {path} has no samples.", "Give a recording.")
    if is_cut_off(log):
        raise _cut_off(found)
    if found.format == "OGG":
        check_ogg(found)
    return found


def is_cut_off(log: str) -> bool:
    """Whether a chunk claims more bytes than there are; programs that write to a pipe claim 2^31 or more.

    >>> is_cut_off("data : 8008 (should be 3981)"), is_cut_off("data : 4294967295 (should be 8000)")
    (True, False)
    """
    claims = re.findall(r"(\d+) \(should be (\d+)\)", log)
    return any(int(there) < int(claimed) < 2**31 - 1 for claimed, there in claims)


def check_ogg(recording: Recording) -> None:
    """Refuse an Ogg file whose last page is cut, or with several streams, of which one is read (RFC 3533)."""
    longest, header = 27 + 255 + 255 * 255, 27
    with recording.path.open("rb") as file:
        first = file.read(header)
        file.seek(-min(longest, recording.path.stat().st_size), 2)
        end = file.read()
    page = end[max(end.rfind(b"OggS"), 0) :]
    if not page.startswith(b"OggS"):  # something else follows the last page
        return
    count = page[26] if len(page) > 26 else 255
    if len(page) < header + count or len(page) < header + count + sum(page[header : header + count]):
        raise _cut_off(recording)
    if page[14:18] != first[14:18]:
        raise Misuse(
            f"The file {recording.path} has several streams one after the other.",
            "Give each as a file of its own.",
        )


def _reason(error: Exception) -> str:
    """What libsndfile says, without its file name and full stop."""
    return str(error).rpartition(": ")[2].strip().rstrip(".").lower() or type(error).__name__


def _cut_off(recording: Recording) -> Misuse:
    return Misuse(
        f"The file {recording.path} is cut off or damaged.",
        "Copy it again, or export what is there to a new file.",
    )


def check_samples(raw: Samples, wanted: int, start: int, recording: Recording) -> None:
    """Refuse a part that is shorter than it should be or not finite."""
    if len(raw) < wanted:
        raise _cut_off(recording)
    if raw.dtype.kind == "f" and not np.isfinite(raw).all():
        first = start + int(np.nonzero(~np.isfinite(raw).all(1))[0][0])
        raise Misuse(
            f"The file {recording.path} has a sample that is not finite, at {first / recording.rate:.4f} s.",
            "Replace NaN and infinite samples, for instance by zeros, and name the place as a gap.",
        )


def read_blocks(file: Any, recording: Recording) -> Iterator[tuple[int, Samples]]:
    """The samples of an open file block by block, each with its first frame."""
    for start in range(0, recording.frames, BLOCK):
        yield start, recording.read_next(file, start, min(BLOCK, recording.frames - start))


def check_readable(recording: Recording) -> None:
    """Read the whole file once, so that damage is known before hours of work."""
    with import_optional("soundfile", EXTRA).SoundFile(recording.path) as file:
        for _ in read_blocks(file, recording):
            pass


def as_float(raw: Samples) -> Samples:
    """Samples as float64 with full scale 1."""
    return raw / 2.0**31 if raw.dtype == np.int32 else np.asarray(raw, dtype=np.float64)


def as_stored(x: Samples, depth: int | None) -> Samples:
    """Float samples as they are stored: rounded to the depth and left-aligned in 32 bits, or as they are.

    >>> as_stored(np.array([0.5, 1.5, -1.0]), 16).tolist()
    [1073741824, 2147418112, -2147483648]
    """
    if depth is None:
        return x
    steps = 2.0 ** (depth - 1)
    levels = np.clip(np.round(x * steps), -steps, steps - 1).astype(np.int64)
    return (levels << (32 - depth)).astype(np.int32)
