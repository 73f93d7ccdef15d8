"""Files that the page sends: limited before they are read, known by their content, named by us."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headwater.audio.io.decode import Decoder, find_mending
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.web import offers
from headwater.web.guard import Refused

MOST_BYTES: Mapping[str, int] = {
    offers.PICTURE: 100 << 20,
    offers.RECORDING: 500 << 20,
    offers.MOLECULE: 4 << 20,
    offers.LABELS: 4 << 20,
}
"""Kind: the largest file, in bytes."""
MOST_PIXELS = 50_000_000
"""Width times height, by the head of the file: it is not decoded here."""
MOST_SAMPLES = 700_000_000
"""Samples of all channels: two hours of stereo at 48 kHz."""
MOST_WAITING_BYTES = 4 << 30
"""Bytes of all files that wait for a job, those that still come with the most that they may have."""
SPARE_BYTES = 1 << 30
"""Bytes that the disk keeps free."""
KEPT = 6 * 3600.0
"""Seconds after which a file that no job took is removed."""
HEAD = 4096
"""Bytes that say what a file is."""
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF and BigTIFF files begin."""


@dataclass(frozen=True)
class Upload:
    """A file that waits for a job: `path` is UPLOADS/ID/NAME."""

    id: str
    kind: str
    path: Path

    @property
    def name(self) -> str:
        """Our name of the file."""
        return self.path.name


def clean_stem(name: str) -> str:
    r"""The stem of a client's file name as letters, digits and hyphens: it is shown, and never opened as it came.

    >>> clean_stem("../../etc/passwd"), clean_stem("My photo (1).JPG"), clean_stem("日本.png")
    ('passwd', 'My-photo-1', 'file')
    >>> clean_stem("C:\\pictures\\b.png")
    'b'
    """
    stem = re.sub(r"[^A-Za-z0-9]+", "-", Path(name.replace("\\", "/")).stem).strip("-")[:60]
    return stem if stem and not stem[0].isdigit() else f"file-{stem}".rstrip("-")


def picture_suffix(head: bytes) -> str:
    """The ending of a picture by its first bytes; "" for what the page does not show."""
    if head[:4] in TIFF:
        return ".tif"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    return ".bmp" if head.startswith(b"BM") else ""


def recording_suffix(head: bytes) -> str:
    """The ending of a recording by its first bytes; "" for what the page does not play."""
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return ".aiff"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return ".wav"
    if head.startswith(b"fLaC"):
        return ".flac"
    return ".ogg" if head.startswith(b"OggS") else ""


def molecule_suffix(head: bytes) -> str:
    """The ending of a molecule's file: an XYZ file begins with a number, an SDF names its version in line 4."""
    lines = _text_of(head).splitlines()
    if lines and re.fullmatch(r"\s*\d{1,6}\s*", lines[0]):
        return ".xyz"
    return ".sdf" if len(lines) > 3 and re.search(r"V[23]000\s*$", lines[3]) else ""


def labels_suffix(head: bytes) -> str:
    """The ending of a label track: text."""
    return ".txt" if _text_of(head) else ""


def _text_of(head: bytes) -> str:
    return "" if b"\0" in head else head.decode("utf-8", errors="replace")


SUFFIXES: Mapping[str, tuple[Callable[[bytes], str], str]] = {
    offers.PICTURE: (picture_suffix, "Send a PNG, JPEG, WebP, BMP or TIFF; the command line reads more."),
    offers.RECORDING: (recording_suffix, "Send a WAV, FLAC, OGG or AIFF file; the command line reads more."),
    offers.MOLECULE: (molecule_suffix, "Send an SDF or XYZ file with 3-D coordinates."),
    offers.LABELS: (labels_suffix, "Send a label track as Audacity exports it."),
}


def read_head(path: Path) -> bytes:
    """The bytes that say what a file is."""
    with path.open("rb") as file:
        return file.read(HEAD)


def check_content(path: Path, kind: str, name: str) -> str:
    """The ending that a file gets, by its content.

    Raises
    ------
    Misuse
        It is empty, of another kind, or declares more pixels or samples than are taken.
    """
    head = read_head(path)
    if not head:
        raise Misuse(f"{name} is empty.", "Send another file.")
    find, cure = SUFFIXES[kind]
    suffix = find(head)
    if not suffix:
        raise Misuse(f"{name} is no {kind} that the page knows.", cure)
    if kind == offers.PICTURE:
        check_pixels(path, name)
    if kind == offers.RECORDING:
        check_samples(path, name)
    return suffix


def check_pixels(path: Path, name: str) -> None:
    """Refuse a picture that is too large, by its head alone."""
    pillow = import_optional("PIL.Image")
    try:
        if read_head(path)[:4] in TIFF:
            width, height = tiff_size(path)
        else:
            with pillow.open(path, formats=("PNG", "JPEG", "WEBP", "BMP")) as image:
                width, height = image.size
    except pillow.DecompressionBombError:
        raise Misuse(f"{name} has more than {MOST_PIXELS:,} pixels.", "Cut or shrink it first.") from None
    except Exception as error:  # whatever a decoder raises on a damaged file
        raise Misuse(f"{name} cannot be read as a picture.", "Is the file whole?") from error
    if width * height > MOST_PIXELS:
        what = f"{name} has {width} x {height} pixels, more than {MOST_PIXELS:,}."
        raise Misuse(what, "Cut or shrink it first, or use the command line.")


def tiff_size(path: Path) -> tuple[int, int]:
    """Width and height of the first picture of a TIFF, by its head: Pillow opens no deep ones."""
    with import_optional("tifffile").TiffFile(path) as file:
        page = file.pages[0]
        return int(page.imagewidth), int(page.imagelength)


def check_samples(path: Path, name: str) -> None:
    """Refuse a recording that is too long, by its head alone: FLAC packs hours of silence into a few bytes."""
    try:
        with Decoder(path, find_mending(path)[0]) as decoder:
            samples = decoder.file.frames * decoder.file.channels
    except Misuse as error:
        raise Misuse(f"{name} cannot be read as sound.", "Is the file whole?") from error
    if samples > MOST_SAMPLES:
        what = f"{name} has more than {MOST_SAMPLES:,} samples, or does not say how many."
        raise Misuse(what, "Cut it, or use the command line.")


def remove_strays(folder: Path, known: Container[str] = ()) -> None:
    """Remove the folders of jobs or uploads that are not known; only those with a name that we gave."""
    for path in folder.glob("*"):
        if path.name not in known and re.fullmatch("[0-9a-f]{16}", path.name):
            shutil.rmtree(path, ignore_errors=True)


class Uploads:
    """The folder of files that wait for a job.

    Parameters
    ----------
    folder
        Made if it is not there, and rid of former uploads: no page knows what a former server took.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        remove_strays(folder)
        self.known: dict[str, tuple[Upload, float]] = {}
        self.coming: dict[Path, int] = {}

    def begin(self, size: int) -> Path:
        """A fresh file to write to, at most `size` bytes.

        Raises
        ------
        Refused
            There is no room for it.
        """
        self.clean()
        self._make_room(size)
        place = self.folder / secrets.token_hex(8)
        place.mkdir(mode=0o700)
        self.coming[place / "part"] = size
        return place / "part"

    @contextmanager
    def arriving(self, size: int) -> Iterator[Path]:
        """The same, removed again if the block ends by any exception, that of a client that went away too."""
        part = self.begin(size)
        try:
            yield part
        except BaseException:
            self.discard(part)
            raise

    def _make_room(self, size: int) -> None:
        """Remove the oldest files until another fits; a job that took one has it still."""
        while self.known and self._count_bytes() + size > MOST_WAITING_BYTES:
            self._remove(next(iter(self.known)))
        free = shutil.disk_usage(self.folder).free - sum(self.coming.values())
        if self._count_bytes() + size > MOST_WAITING_BYTES:
            raise Refused(507, "Too many files come at once.", "Send them one after the other.")
        if free - size < SPARE_BYTES:
            raise Refused(507, "The disk is almost full.", "Free some space, then try again.")

    def _count_bytes(self) -> int:
        waiting = sum(upload.path.stat().st_size for upload, _ in self.known.values())
        return waiting + sum(self.coming.values())

    def _remove(self, id: str) -> None:
        shutil.rmtree(self.folder / id, ignore_errors=True)
        del self.known[id]

    def finish(self, part: Path, kind: str, name: str) -> Upload:
        """Take in a file that was received; whatever is refused is removed."""
        try:
            suffix = check_content(part, kind, clean_stem(name) or "file")
            path = part.with_name(f"{clean_stem(name)}{suffix}")
            part.rename(path)
        except BaseException:
            self.discard(part)
            raise
        self.coming.pop(part, None)
        upload = Upload(path.parent.name, kind, path)
        self.known[upload.id] = (upload, time.monotonic())
        return upload

    def discard(self, part: Path) -> None:
        """Remove a file that was not received."""
        self.coming.pop(part, None)
        shutil.rmtree(part.parent, ignore_errors=True)

    def find(self, id: str, kind: str) -> Upload:
        """The upload of an id, if it is of the kind that is wanted.

        Raises
        ------
        Misuse
            It is not there any more, or another kind of file.
        """
        if id not in self.known:
            raise Misuse("The file is not here any more.", "Send it again.")
        upload = self.known[id][0]
        if upload.kind != kind:
            raise Misuse(f"{upload.name} is a {upload.kind}.", f"Send a {kind}.")
        return upload

    def clean(self) -> None:
        """Remove what no job took for hours."""
        old = [id for id, (_, came) in self.known.items() if time.monotonic() - came > KEPT]
        for id in old:
            self._remove(id)
