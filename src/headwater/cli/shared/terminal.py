"""What the commands print: cleaned of control characters, in whatever encoding, to an output that may be closed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, TextIO

from headwater.text import printable

if TYPE_CHECKING:
    from rich.table import Table

LOST: list[OSError] = []
"""What the system said of lines that could not be shown, until `finish_output` tells of it."""


def say(text: object, *, error: bool = False) -> None:
    r"""Print a line on standard output, or on standard error, without what could harm a terminal.

    >>> say("caf\udce9.png")
    caf\xe9.png
    """
    stream = sys.stderr if error else sys.stdout
    with _keep_going(stream):
        print(printable(text), file=stream, flush=True)


def say_table(table: Table) -> None:
    """Print a table on standard output: as wide as a terminal, or with no line broken for a file or a pipe."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else 240
    with _keep_going(sys.stdout):
        Console(width=width, markup=False, highlight=False, emoji=False).print(table)


@contextmanager
def _keep_going(stream: TextIO) -> Iterator[None]:
    """A block that prints; on a full disk, or for a reader that has gone as in `| head`, the work goes on."""
    try:
        yield
    except OSError as lost:
        drop_output(stream)
        LOST.append(lost)


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
        drop_output(sys.stdout)
        LOST.append(error)
    first = LOST[0] if LOST else None
    LOST.clear()
    return first


def drop_output(stream: TextIO) -> None:
    """Send all that will be printed on a stream nowhere."""
    with suppress(OSError, ValueError):  # no file stands behind it
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
