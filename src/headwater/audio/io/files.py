"""Recordings in files: what they are, how far they go, and their samples part by part.

A file is never held in memory as a whole. Samples of integer formats travel as 32-bit integers and those of float
formats as 64-bit floats, which both are exact.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.chunks import read_extension
from headwater.audio.io.decode import DAMAGED, Decoder, Mending, find_mending
from headwater.errors import Misuse

BLOCK = 1 << 18
"""Frames of one channel that are copied at a time."""
CHANNELS, RATES, LOUDEST = 64, (100, 768_000), 1e6
"""The most channels and the rates (Hz) of recordings, and what no sample exceeds (120 dB over full scale)."""
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
    """A file of sound, read in parts `[frames, channels]`; `examine` makes it.

    Parameters
    ----------
    path
        Where it lies.
    rate
        Frames a second, Hz.
    frames
        Its length; a frame has one sample of each channel.
    channels
        How many there are.
    format, subtype, endian
        As libsndfile names them.
    bits
        How many bits of an integer sample are valid, if a WAVE_FORMAT_EXTENSIBLE header says so.
    note
        What the user should know of the file: that it ends early.
    mending
        What the decoder is shown in place of a damaged header.
    lost
        Frames (first, one after the last), in order and apart, that are to be repaired: what is not finite there is
        read as zero.

    Examples
    --------
    >>> import headwater as hw
    >>> recording = hw.audio.examine(hw.audio.recordings.GUITAR)
    >>> recording.rate, recording.seconds, recording.depth, recording.lossless
    (44100, 4.0, 16, True)
    >>> recording.read(0, 1000).shape
    (1000, 2)
    """

    path: Path
    rate: int
    frames: int
    channels: int
    format: str
    subtype: str
    endian: str = "FILE"
    bits: int | None = None
    note: str = ""
    mending: Mending = field(default_factory=Mending)
    lost: tuple[tuple[int, int], ...] = ()

    @property
    def depth(self) -> int | None:
        """Bits of an integer sample; None for floats and lossy codings."""
        container = DEPTH.get(self.subtype)
        return self.bits if container and self.bits and self.bits < container else container

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
            The file ends early, or has samples that are not finite; or `stop` is before `start`.
        """
        if stop < start:
            raise Misuse(f"The frames from {start} to {stop} are none.", "Give a start before its end.")
        inner = slice(max(start, 0), min(stop, self.frames))
        x = np.zeros((stop - start, self.channels))
        if inner.stop > inner.start:
            with self.open() as file:
                file.seek(inner.start)
                raw = self.read_next(file, inner.start, inner.stop - inner.start)
            x[inner.start - start : inner.stop - start] = as_float(raw)
        return x

    def open(self) -> Decoder:
        """The file, opened at its first frame; to be closed, or used in a `with`."""
        return Decoder(self.path, self.mending)

    def read_next(self, file: Decoder, start: int, count: int) -> Samples:
        """The next samples `[count, channels]` of the open file, which is at frame `start`, as they are stored.

        Raises
        ------
        Misuse
            The file ends before, or has samples that are not finite.
        """
        raw = file.read(count, self.dtype)
        if len(raw) < count:
            raise Misuse(
                f"The file {self.path} is damaged at {(start + len(raw)) / self.rate:.3f} s.", DAMAGED
            )
        self._clear_lost(raw, start)
        check_samples(raw, start, self)
        return raw

    def blocks(self, first: int = 0, last: int | None = None) -> Iterator[tuple[int, Samples]]:
        """The samples block by block as they are stored, `[frames, channels]`, each with its first frame.

        Parameters
        ----------
        first
            The first frame.
        last
            The frame after the last; by default all are read.

        Raises
        ------
        Misuse
            As `read`.
        """
        size, last = max(BLOCK // self.channels, 1), self.frames if last is None else last
        with self.open() as file:
            if first:
                file.seek(first)
            for start in range(first, last, size):
                yield start, self.read_next(file, start, min(size, last - start))

    def _clear_lost(self, raw: Samples, start: int) -> None:
        """Zeros for what is not finite in lost frames, in place."""
        if raw.dtype.kind != "f":
            return
        for first, last in self.lost:
            if first < start + len(raw) and last > start:
                part = raw[max(first - start, 0) : last - start]
                part[~(np.abs(part) < LOUDEST)] = 0

    @property
    def dtype(self) -> str:
        """The type in which samples are read and written exactly."""
        return "int32" if self.depth else "float64"


@dataclass(frozen=True)
class Patch:
    """Repaired samples of a recording from frame `start` on; `write_patched` puts them in.

    Parameters
    ----------
    start
        The first frame; below 0 the patch begins before the file, and what lies before frame 0 is not written.
    samples
        float64 `[frames, channels]`, full scale 1.
    changed
        bool `[frames, channels]`: only these are written.

    Raises
    ------
    Misuse
        The two are not of one shape `[frames, channels]`, or a changed sample is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> patch = hw.audio.Patch(start=100, samples=np.zeros((2, 1)), changed=np.array([[True], [False]]))
    >>> patch.start + len(patch.samples), int(patch.changed.sum())  # where it ends, and how much is written
    (102, 1)
    """

    start: int
    samples: Samples
    changed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shapes = np.shape(self.samples), np.shape(self.changed)
        if len(shapes[0]) != 2 or shapes[0] != shapes[1]:
            raise Misuse(
                f"A patch has samples {list(shapes[0])} and changes {list(shapes[1])}.",
                "Give both as [frames, channels].",
            )
        if not np.isfinite(self.samples[self.changed]).all():
            raise Misuse(
                "A patch has a sample that is not finite.", "Give finite samples, full scale being 1."
            )


def examine(path: str | Path) -> Recording:
    """What a file of sound is. Of its samples only the last is read, and all of a file that ends too early.

    Parameters
    ----------
    path : str or Path
        WAV, FLAC, Ogg, AIFF, W64 or CAF, or what else libsndfile reads.

    Returns
    -------
    recording
        Its rate, length and format; `Recording.read` gives samples `[frames, channels]`.

    Raises
    ------
    Misuse
        The file is missing, unreadable, empty, not a file of sound, or beyond what recordings are: of more than 64
        channels, or of a rate below 100 Hz or above 768 kHz.

    Examples
    --------
    >>> import headwater as hw
    >>> recording = hw.audio.examine(hw.audio.recordings.GUITAR)
    >>> recording.rate, recording.channels, recording.format
    (44100, 2, 'FLAC')
    >>> hw.audio.examine("no-such-take.wav")
    Traceback (most recent call last):
    headwater.errors.Misuse: The file no-such-take.wav does not exist. Check the path.
    """
    path = Path(path)
    check_file(path)
    mending, cut = find_mending(path)
    with Decoder(path, mending) as decoder:
        file = decoder.file
        about = (file.samplerate, file.frames, file.channels, file.format, file.subtype, file.endian)
        log = str(file.extra_info)
    found = Recording(path, *about, mending=mending)
    check_kind(found)
    extension = read_extension(path)
    if extension is not None and found.depth and 0 < extension.bits < found.depth:
        found = replace(found, bits=extension.bits)
    return measure(found, cut or is_cut_off(log))


def check_file(path: Path, wanted: str = "a file of sound") -> None:
    """Refuse what is no readable file with something in it, for its true cause."""
    try:
        about = path.stat()
    except FileNotFoundError:
        raise Misuse(f"The file {path} does not exist.", "Check the path.") from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise
        raise Misuse(f"The file {path} cannot be reached: {error.strerror}.", "Check the path.") from error
    if stat.S_ISDIR(about.st_mode):
        raise Misuse(f"{path} is a folder.", f"Give {wanted}.")
    if not stat.S_ISREG(about.st_mode):
        raise Misuse(f"{path} is a pipe or a device.", f"Give {wanted} on a disk.")
    if about.st_size == 0:
        raise Misuse(f"The file {path} is empty.", f"Give {wanted}.")
    try:
        path.open("rb").close()
    except OSError as error:
        raise Misuse(
            f"The file {path} cannot be read: {error.strerror}.", "Check its permissions."
        ) from error


def check_kind(found: Recording) -> None:
    """Refuse a file without sound, and channels and rates that no recording has."""
    low, high = RATES
    if found.channels < 1 or found.frames < 1:
        raise Misuse(f"The file {found.path} has no samples.", "Give a recording.")
    if found.channels > CHANNELS:
        raise Misuse(
            f"The file {found.path} has {found.channels} channels.",
            f"Split it into files of at most {CHANNELS}.",
        )
    if not low <= found.rate <= high:
        raise Misuse(
            f"The file {found.path} has a sampling rate of {found.rate} Hz.",
            f"Give a recording of {low} to {high} Hz, or correct the rate in its header.",
        )


def measure(found: Recording, cut: bool) -> Recording:
    """The recording with as many frames as can be decoded, and a note if they are fewer than it says."""
    try:
        with found.open() as file:
            file.seek(found.frames - 1)
            whole = len(file.read(1, found.dtype)) == 1
    except Misuse:
        whole = False
    if not whole:
        found, cut = replace(found, frames=count_frames(found)), True
    if not cut:
        return found
    note = f"The file {found.path} ends early, as if it was cut off; its {found.seconds:.3f} s are read."
    return replace(found, note=note)


def count_frames(recording: Recording, step: int = 1024) -> int:
    """How many frames can be decoded, in steps; all of them are decoded.

    Raises
    ------
    Misuse
        None can.
    """
    count = 0
    with recording.open() as file:
        try:
            while count < recording.frames and (got := len(file.read(step, recording.dtype))):
                count += got
        except Misuse:
            if not count:
                raise
    if not count:
        raise Misuse(f"The file {recording.path} has no samples that can be read.", DAMAGED)
    return count


def is_cut_off(log: str) -> bool:
    """Whether a chunk claims more bytes than there are; programs that write to a pipe claim 2^31 or more.

    >>> is_cut_off("data : 8008 (should be 3981)"), is_cut_off("data : 4294967295 (should be 8000)")
    (True, False)
    """
    claims = re.findall(r"(\d+) \(should be (\d+)\)", log)
    return any(int(there) < int(claimed) < 2**31 - 1 for claimed, there in claims)


def check_samples(raw: Samples, start: int, recording: Recording) -> None:
    """Refuse samples that are not finite, or so large that they are no sound."""
    if raw.dtype.kind != "f":
        return
    good = np.abs(raw) < LOUDEST
    if good.all():
        return
    first = int(np.nonzero(~good.all(1))[0][0])
    value = raw[first][~good[first]][0]
    what = f"a sample of {value:.3g}" if np.isfinite(value) else "a sample that is not finite"
    raise Misuse(
        f"The file {recording.path} has {what}, at {(start + first) / recording.rate:.4f} s.",
        f"Run 'headwater audio check {recording.path.name}', and fill what it finds with 'inpaint'.",
    )


def check_readable(recording: Recording) -> None:
    """Read the whole file once, so that damage is known before hours of work."""
    for _ in recording.blocks():
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
