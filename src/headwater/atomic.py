"""Files read whole, or written so that they appear whole: under a temporary name, then renamed."""

from __future__ import annotations

import difflib
import errno
import os
import secrets
import shutil
import stat
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
        If the folder is missing, closed or not writable, the path is a folder, the file exists, a link leads to
        itself or into a missing folder, or the working folder was deleted.

    Examples
    --------
    >>> check_output("/no/such/folder/out.png")
    Traceback (most recent call last):
    headwater.errors.Misuse: The folder /no/such/folder does not exist. Create it or name another output.
    """
    path = Path(path)
    with _explain(f"The output {path} cannot be written", "Name another output."):
        folder = path.parent
        if not _exists(folder):
            raise Misuse(f"The folder {folder} does not exist.", "Create it or name another output.")
        there = _exists(path)
        if path.is_dir():
            raise Misuse(f"The output {path} is a folder.", f"Name a file, such as {path / 'result.png'}.")
        target = real_path(path)
        if not target.parent.is_dir():
            raise Misuse(f"The folder {target.parent} does not exist.", "Create it or name another output.")
        if not os.access(target.parent, os.W_OK):
            raise Misuse(
                f"The folder {target.parent if path.is_symlink() else folder} is not writable.",
                "Name another output.",
            )
        if there and not overwrite:
            raise Misuse(f"The output {path} exists already.", "Name another output or allow overwriting.")
        return path


def _exists(path: Path) -> bool:
    """Whether something is there; unlike `Path.exists` it raises what else the system says, as of a loop of links."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def real_path(path: Path) -> Path:
    """Where a path ends: through links, and seen from the root.

    Raises
    ------
    Misuse
        If links lead to each other, or the path is seen from a working folder that was deleted.
    """
    with _explain(f"{path} leads nowhere", "Name another file."):
        if not path.is_absolute():
            os.getcwd()
        target = os.path.realpath(path)
        if os.path.islink(target):  # where links lead in a circle, this is one of them
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        return Path(target)


@contextmanager
def _explain(what: str, cure: str) -> Iterator[None]:
    """A block whose failures in the file system are two sentences: what the system says, and a cure."""
    try:
        yield
    except OSError as error:
        # NumPy's has no number where less was written than should be.
        if error.errno is None or error.errno in FULL:
            cure = "Free some space, or name another output."
        if error.errno == errno.ENOENT and not _has_working_folder():
            cure = "The working folder was deleted: go to another one."
        reason = error.strerror or str(error) or type(error).__name__
        raise Misuse(f"{what}: {reason.rstrip('.')}.", cure) from error


def _has_working_folder() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


LARGEST_FILE = 4 * 2**30
"""Bytes of the largest file that is read whole."""


def check_input(path: Path) -> Path:
    """The path, if it is a file that has something in it; to be called before any library opens it.

    A pipe or a device is no file: reading it may never end.

    Raises
    ------
    Misuse
        If the file is missing (the nearest name is suggested), a folder, a pipe or a device, or empty; or if the
        system does not let us look.

    Examples
    --------
    >>> check_input(Path("/dev/zero"))
    Traceback (most recent call last):
    headwater.errors.Misuse: /dev/zero is a pipe or a device. Save what it gives as a file and name that.
    """
    with _explain(f"{path} cannot be read", "Check the name, its links and the permissions."):
        if not _exists(path):
            raise Misuse(*_missing(path))
        about = os.stat(path)
    if stat.S_ISDIR(about.st_mode):
        raise Misuse(f"{path} is a folder.", "Name one file in it.")
    if not stat.S_ISREG(about.st_mode):
        raise Misuse(f"{path} is a pipe or a device.", "Save what it gives as a file and name that.")
    if not about.st_size:
        raise Misuse(f"{path} is empty.", "Copy or download it again.")
    return path


def _missing(path: Path) -> tuple[str, str]:
    """What is said of a file that is not there."""
    if path.is_symlink():
        return f"{path} is a link to {os.readlink(path)}, which does not exist.", "Name the file itself."
    names = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, [name for name in names if name != path.name], n=1)
    cure = f"Did you mean {path.with_name(near[0])}?" if near else "Check the name and the folder."
    return f"There is no file {path}.", cure


def read_bytes(path: Path) -> bytes:
    """The bytes of a file, at least one.

    Raises
    ------
    Misuse
        As `check_input`, or the file is unreadable or larger than 4 GiB.

    Examples
    --------
    >>> read_bytes(Path("/no/such.file"))
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no file /no/such.file. Check the name and the folder.
    """
    check_input(path)
    with _explain(f"{path} cannot be read", "Check its permissions."):
        if path.stat().st_size > LARGEST_FILE:
            raise Misuse(f"{path} is larger than 4 GiB.", "Cut or shrink it first.")
        return path.read_bytes()


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
        As `check_output`, and whatever the system says while the file is written: that the disk is full, say.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "report.json"
    >>> with write_atomically(path) as temporary:
    ...     _ = temporary.write_text("{}", encoding="utf-8")
    >>> path.read_text(encoding="utf-8"), len(list(path.parent.iterdir()))
    ('{}', 1)
    """
    path = real_path(check_output(path, overwrite=overwrite))
    temporary = path.with_name(f".headwater-{secrets.token_hex(6)}{path.suffix}")
    try:
        with _explain(f"The output {path} cannot be written", "Name another output."):
            temporary.touch(exist_ok=False)
            yield temporary
            _settle(temporary, like=path)
            os.replace(temporary, path)
    finally:  # also for KeyboardInterrupt; after the rename there is nothing left to remove
        temporary.unlink(missing_ok=True)


def _settle(temporary: Path, like: Path) -> None:
    if like.exists():
        shutil.copymode(like, temporary)
    with open(temporary, "rb") as handle:
        os.fsync(handle.fileno())  # else a power cut may leave the new name with no content
