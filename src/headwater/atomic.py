"""Files read whole, or written so that they appear whole: under a temporary name, then renamed."""

from __future__ import annotations

import difflib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.errors import Misuse


def check_output(path: str | Path, *, overwrite: bool = False) -> Path:
    """The path, if a file can be written there; to be called before the work that fills it.

    Parameters
    ----------
    path
        The file to be written.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    Misuse
        If the folder is missing or not writable, the path is a folder, or the file exists.

    Examples
    --------
    >>> check_output("/no/such/folder/out.png")
    Traceback (most recent call last):
    headwater.errors.Misuse: The folder /no/such/folder does not exist. Create it or name another output.
    """
    path = Path(path)
    folder = path.parent
    if not folder.is_dir():
        raise Misuse(f"The folder {folder} does not exist.", "Create it or name another output.")
    if path.is_dir():
        raise Misuse(f"The output {path} is a folder.", f"Name a file, such as {path / 'result.png'}.")
    if not os.access(folder, os.W_OK):
        raise Misuse(f"The folder {folder} is not writable.", "Name another output.")
    if path.exists() and not overwrite:
        raise Misuse(f"The output {path} exists already.", "Name another output or allow overwriting.")
    return path


LARGEST_FILE = 4 * 2**30
"""Bytes of the largest file that is read whole."""


def check_input(path: Path) -> Path:
    """The path, if it is a file that can be opened without waiting.

    Raises
    ------
    Misuse
        It is missing (the nearest name is suggested), a folder, or a pipe or device, which may never end.

    Examples
    --------
    >>> check_input(Path("/no/such.file"))
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no file /no/such.file. Check the name and the folder.
    """
    if path.is_dir():
        raise Misuse(f"{path} is a folder.", "Name one file in it.")
    if not path.exists():
        names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, names, n=1)
        cure = f"Did you mean {path.with_name(near[0])}?" if near else "Check the name and the folder."
        raise Misuse(f"There is no file {path}.", cure)
    if not path.is_file():
        raise Misuse(f"{path} is a pipe or a device.", "Save what it gives as a file and name that.")
    return path


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, at least one.

    Raises
    ------
    Misuse
        As `check_input`; or the file is unreadable, empty or larger than 4 GiB.

    Examples
    --------
    >>> read_bytes(Path("/no/such.file"))
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no file /no/such.file. Check the name and the folder.
    """
    check_input(path)
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Misuse(f"{path} is larger than 4 GiB.", "Cut or shrink it first.")
        data = path.read_bytes()
    except OSError as error:
        raise Misuse(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from error
    if not data:
        raise Misuse(f"{path} is empty.", "Copy or download it again.")
    return data


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What the system says when a disk, a quota or a file is full, or a disk fails."""


@contextmanager
def write_atomically(path: str | Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` at success, remove it at failure.

    The temporary file has the same suffix and the same folder, so the rename is one step of the file
    system: at any moment `path` is the old file or the whole new one, also after an exception, Ctrl-C
    or a full disk. A symbolic link is written through; an existing file keeps its permissions.

    Parameters
    ----------
    path
        The file to be written.
    overwrite
        Whether a file of that name may be replaced.

    Raises
    ------
    Misuse
        As `check_output`, and if the temporary file cannot be created or the disk is full.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.json"
    >>> with write_atomically(path) as temporary:
    ...     _ = temporary.write_text("{}")
    >>> path.read_text(), len(list(path.parent.iterdir()))
    ('{}', 1)
    """
    path = check_output(path, overwrite=overwrite).resolve()
    temporary = path.with_name(f".headwater-{secrets.token_hex(6)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
    except OSError as error:
        raise Misuse(
            f"The output {path} cannot be written: {error.strerror}.", "Name another output."
        ) from error
    try:
        yield temporary
        _settle(temporary, like=path)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise Misuse(
            f"The output {path} cannot be written: {error.strerror}.",
            "Free some space, or name another output.",
        ) from error
    finally:  # also for KeyboardInterrupt; after the rename there is nothing left to remove
        temporary.unlink(missing_ok=True)


def _settle(temporary: Path, like: Path) -> None:
    if like.exists():
        shutil.copymode(like, temporary)
    with open(temporary, "rb") as handle:
        os.fsync(handle.fileno())  # else a power cut may leave the new name with no content
