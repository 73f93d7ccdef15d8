"""`Misuse`, the one exception that Headwater raises on purpose, and how exceptions of others are reported."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable


class Misuse(ValueError):
    """The call cannot be served: one sentence says what is wrong, one what to do.

    It is a `ValueError` with the attributes `what` and `cure`. The numerics never raise it, since how a problem ended
    is a `Status`. The command line prints it and exits with code 2.

    Parameters
    ----------
    what
        What is wrong, with what was given.
    cure
        What to do.

    Examples
    --------
    >>> str(Misuse("The mask is 32 x 32 but the image is 64 x 64.", "Give a mask of the image's size."))
    "The mask is 32 x 32 but the image is 64 x 64. Give a mask of the image's size."
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what} {cure}")
        self.what, self.cure = what, cure


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, or all of them.

    Examples
    --------
    >>> suggest("inpiant", ["inpaint", "deblur"])
    "Did you mean 'inpaint'?"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."


def summarise(error: BaseException) -> str:
    """An exception in one line: its class and the first line of its message.

    Examples
    --------
    >>> summarise(ValueError("no such thing."))
    'ValueError: no such thing'
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def as_refusal(error: OSError) -> Misuse:
    """What the system does not allow, as two sentences.

    Examples
    --------
    >>> str(as_refusal(PermissionError(13, "Permission denied", "a.png")))
    'The system refused a.png: Permission denied. Check the name, the permissions and the free space.'
    """
    if error.errno == errno.ENAMETOOLONG:
        return Misuse("The name of a file is too long.", "Give it a shorter one.")
    what = f"The system refused {error.filename or 'a file'}: {error.strerror}."
    return Misuse(what, "Check the name, the permissions and the free space.")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: Python's, torch's on a GPU, or torch's on the CPU.

    Examples
    --------
    >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    True
    """
    # torch has no class for it on the CPU, only a RuntimeError with one of these sentences.
    words = str(error).lower()
    return (
        isinstance(error, MemoryError)
        or "out of memory" in words
        or "not enough memory" in words
        or ("can't allocate memory" in words)
    )
