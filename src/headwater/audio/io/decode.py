"""The decoder, libsndfile, wrapped where it is called: what it raises on a damaged file is a `Misuse`.

Headers of recorders that crashed, or wrote to a pipe, do not say how much sound follows. They are not written to:
libsndfile reads the file through `MendedFile`, which shows it other bytes in their place.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse
from headwater.extras import import_optional

EXTRA = "audio"


@dataclass(frozen=True)
class Mending:
    """What a decoder is shown in place of a header: `replaced` bytes `(place, bytes)`, and where the file `end`s."""

    replaced: tuple[tuple[int, bytes], ...] = ()
    end: int | None = None


class MendedFile(io.RawIOBase):
    """A file, read with other bytes in some places.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "file"
    >>> _ = path.write_bytes(b"0123456789")
    >>> MendedFile(path, Mending(((2, b"ab"),), end=6)).read()
    b'01ab45'
    """

    def __init__(self, path: Path, mending: Mending) -> None:
        self.mending, self._file = mending, path.open("rb")
        size = path.stat().st_size
        self.size = size if mending.end is None else min(mending.end, size)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place, as of any file."""
        start = (0, self._file.tell(), self.size)[whence]
        return self._file.seek(max(start + offset, 0))

    def tell(self) -> int:
        """The place."""
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        first = self._file.tell()
        data = bytearray(self._file.read(max(min(len(buffer), self.size - first), 0)))
        for place, new in self.mending.replaced:
            a, b = max(place, first), min(place + len(new), first + len(data))
            if a < b:
                data[a - first : b - first] = new[a - place : b - place]
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class Decoder:
    """An open file of sound.

    Parameters
    ----------
    path
        The file.
    mending
        What the decoder is shown in place of its header.

    Raises
    ------
    Misuse
        libsndfile cannot open it.
    """

    def __init__(self, path: Path, mending: Mending | None = None) -> None:
        soundfile = import_optional("soundfile", EXTRA)
        self.path = path
        self._mended = MendedFile(path, mending) if mending not in (None, Mending()) else None
        try:
            with _refusing(path, "cannot be read as sound", "Give a recording, as WAV, FLAC, OGG or AIFF."):
                self.file = soundfile.SoundFile(self._mended or path)
        except Misuse:
            self.close()
            raise

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        for each in (getattr(self, "file", None), self._mended):
            if each is not None:
                each.close()

    def read(self, count: int, dtype: str) -> NDArray[Any]:
        """The next samples `[frames, channels]`, fewer at the end of what can be decoded."""
        with _refusing(self.path, "is damaged", DAMAGED):
            return np.asarray(self.file.read(count, dtype=dtype, always_2d=True))

    def seek(self, frame: int) -> None:
        """Go to a frame."""
        with _refusing(self.path, "is damaged", DAMAGED):
            self.file.seek(frame)


DAMAGED = "Copy it again, or export what is there to a new file."
"""What to do about a damaged file."""


@contextmanager
def _refusing(path: Path, what: str, cure: str) -> Iterator[None]:
    """A call of libsndfile: whatever it raises is about the file, but for a lack of memory."""
    try:
        yield
    except (MemoryError, Misuse):
        raise
    except Exception as error:
        raise Misuse(f"The file {path} {what}: {_reason(error)}.", cure) from error


def _reason(error: Exception) -> str:
    """What libsndfile says, without its file name and full stop."""
    words = getattr(error, "error_string", None) or getattr(error, "strerror", None) or ""
    return str(words).strip().rstrip(".").lower() or type(error).__name__


# ---- headers that do not say how much sound follows


def find_mending(path: Path) -> tuple[Mending, bool]:
    """What must be shown to the decoder, and whether the file ends before its header says.

    Covered are WAV files whose sound has the size 0, as recorders leave them that crash; CAF files that are cut
    off; and Ogg files whose last page is (RFC 3533). All others libsndfile reads as far as they go.
    """
    with path.open("rb") as file:
        head, size = file.read(12), path.stat().st_size
        if head[:4] in (b"RIFF", b"RIFX") and head[8:] == b"WAVE":
            return _mend_wav(file, size, "<" if head[:4] == b"RIFF" else ">")
        if head[:4] == b"caff":
            return _mend_caf(file, size)
        if head[:4] == b"OggS":
            return _mend_ogg(path, size)
    return Mending(), False


def _mend_wav(file: Any, size: int, order: str) -> tuple[Mending, bool]:
    """The size of an empty data chunk that is followed by no chunk."""
    place = 12
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(order + "4sI", file.read(8))
        if name == b"data":
            following = file.read(4)
            if length or len(following) < 4 or following.isalpha():
                return Mending(), False
            rest = struct.pack(order + "I", min(size - place - 8, 2**32 - 1))
            return Mending(((4, struct.pack(order + "I", min(size - 8, 2**32 - 1))), (place + 4, rest))), True
        place += 8 + length + length % 2
    return Mending(), False


def _mend_caf(file: Any, size: int) -> tuple[Mending, bool]:
    """The size of a data chunk that goes beyond the end."""
    place = 8
    while place + 12 <= size:
        file.seek(place)
        name, length = struct.unpack(">4sq", file.read(12))
        if name == b"data":
            cut = length > size - place - 12
            return Mending(((place + 4, struct.pack(">q", size - place - 12)),) if cut else ()), cut
        if length < 0:
            break
        place += 12 + length
    return Mending(), False


def _mend_ogg(path: Path, size: int) -> tuple[Mending, bool]:
    """The end of the last whole page; several streams, of which libsndfile would read one, are refused."""
    longest, header = 27 + 255 + 255 * 255, 27
    with path.open("rb") as file:
        serial = file.read(header)[14:18]
        start = max(size - longest, 0)
        file.seek(start)
        end = file.read(longest)
    place = end.rfind(b"OggS")
    if place < 0:  # something else follows the last page
        return Mending(), False
    page = end[place:]
    count = page[26] if len(page) > 26 else 255
    whole = len(page) >= header + count and len(page) >= header + count + sum(page[header : header + count])
    if not whole:
        return Mending(end=start + place), True
    if page[14:18] != serial:
        raise Misuse(
            f"The file {path} has several streams one after the other.", "Give each as a file of its own."
        )
    return Mending(), False
