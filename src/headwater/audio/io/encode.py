"""The encoder, libsndfile, wrapped where it is called: a full disk is told as what it is, whatever the format."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from headwater.audio.io.decode import EXTRA
from headwater.errors import Misuse, summarise
from headwater.extras import import_optional

ADD_PEAK_CHUNK = 0x1050
"""Of sndfile.h."""


class Sink(io.FileIO):
    """A file that libsndfile writes to, which keeps the first error of the system: libsndfile swallows it."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        """All of the data, or none if the system refuses."""
        left = memoryview(data)
        try:
            while left:
                left = left[super().write(left) :]
        except OSError as error:
            self.error = self.error or error
            return 0
        return len(data)


class Encoder:
    """A file of sound that is written.

    Parameters
    ----------
    path
        Where.
    how
        Rate, channels, subtype, endian and format, as `soundfile.SoundFile` takes them.

    Raises
    ------
    OSError
        From any method: what the system refused.
    Misuse
        libsndfile refuses the format.
    """

    def __init__(self, path: Path, *how: Any) -> None:
        self.path, self.frames = path, 0
        self.file: Any = None
        self.sink = Sink(path, "w+")
        try:
            self._calling(lambda: self._open(*how))
        except BaseException:  # Ctrl-C included: libsndfile must not keep a closed file
            self._abandon()
            raise
        leave_peak_out(self.file)

    def _open(self, *how: Any) -> None:
        self.file = import_optional("soundfile", EXTRA).SoundFile(self.sink, "w", *how)

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._abandon()

    def write(self, x: NDArray[Any]) -> None:
        """The next samples `[frames, channels]`."""
        self._calling(lambda: self.file.write(x))
        self.frames += len(x)

    def tag(self, name: str, value: str) -> None:
        """A tag such as the title, if the format has it."""
        soundfile = import_optional("soundfile", EXTRA)
        try:
            setattr(self.file, name, value)
        except (soundfile.LibsndfileError, ValueError):
            return

    def close(self) -> None:
        """End the file."""
        if self.sink.closed:
            return
        self._calling(self.file.close)
        self.sink.close()

    def _abandon(self) -> None:
        """Throw the file away: libsndfile lets go of it first, since it would write to the closed one later."""
        with suppress(OSError, Misuse):
            if self.file is not None:
                self._calling(self.file.close)
        self.sink.close()

    def _calling(self, call: Callable[[], Any]) -> Any:
        """What a call of libsndfile returns; the error of the system that it swallowed is raised."""
        try:
            result = call()
        except (MemoryError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise self.sink.error or Misuse(
                f"The file {self.path.name} cannot be written: {summarise(error)}.",
                "Name a .wav file as output.",
            ) from error
        if self.sink.error is not None:
            raise self.sink.error
        return result


def leave_peak_out(file: Any) -> None:
    """Let a WAV or AIFF file of floats have no PEAK chunk, which holds the time: the same samples make the same file.

    The switch is SFC_SET_ADD_PEAK_CHUNK of libsndfile, which soundfile does not name.
    """
    soundfile = import_optional("soundfile", EXTRA)
    library, ffi = getattr(soundfile, "_snd", None), getattr(soundfile, "_ffi", None)
    if library is not None and ffi is not None and hasattr(file, "_file"):
        library.sf_command(file._file, ADD_PEAK_CHUNK, ffi.NULL, 0)


def is_possible(*how: Any) -> bool:
    """Whether libsndfile can write files of this rate, channels, subtype, endian and format; only an attempt tells.

    >>> is_possible(8000, 1, "PCM_16", "FILE", "WAV"), is_possible(8000, 10, "PCM_16", "FILE", "FLAC")
    (True, False)
    """
    soundfile = import_optional("soundfile", EXTRA)
    try:
        soundfile.SoundFile(io.BytesIO(), "w", *how).close()
    except (soundfile.LibsndfileError, ValueError, OverflowError):
        return False
    return True
