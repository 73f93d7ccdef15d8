"""What the commands print: cleaned of control characters, in whatever encoding, to an output that may be closed."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from io import TextIOWrapper

from headwater.text import printable


def say(text: object, *, error: bool = False) -> None:
    r"""Print a line on standard output, or on standard error, without what could harm a terminal.

    >>> say("caf\udce9.png")
    caf\xe9.png
    """
    print(printable(text), file=sys.stderr if error else sys.stdout, flush=True)


def replace_unknown_characters() -> None:
    """Let both outputs show a replacement for a character that their encoding lacks, as no work may fail at that."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace" if stream is sys.stdout else "backslashreplace")


def finish_output() -> OSError | None:
    """Write out what standard output still holds; what the system said if it cannot.

    What cannot be written is dropped then, else Python would try once more at its end, and fail there with words of
    its own (see the note on SIGPIPE in the documentation of Python's module signal).
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        drop_output()
        return error
    return None


def drop_output() -> None:
    """Send all that will be printed on standard output nowhere."""
    with suppress(OSError, ValueError):  # no file stands behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
