"""Misuse: the one exception that Headwater raises on purpose."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class Misuse(ValueError):
    """The call cannot be served: one sentence says what is wrong, one what to do.

    The numerics never raise it (how a problem ended is a `Status`); the command line prints it and
    exits with code 2.

    >>> str(Misuse("The mask is 32 x 32 but the image is 64 x 64.", "Give a mask of the image's size."))
    "The mask is 32 x 32 but the image is 64 x 64. Give a mask of the image's size."
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(f"{what} {cure}")
        self.what, self.cure = what, cure


def suggest(name: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known name, or all of them.

    >>> suggest("inpiant", ["inpaint", "deblur"])
    "Did you mean 'inpaint'?"
    """
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"Known are: {', '.join(known)}."
