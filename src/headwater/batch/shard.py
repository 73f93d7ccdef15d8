"""A share of the jobs, for machines that know nothing of each other."""

from __future__ import annotations

import re
from dataclasses import dataclass

from headwater.errors import Misuse


@dataclass(frozen=True)
class Shard:
    """The `number`-th of `count` shares, counted from 1.

    A job belongs to the share that its key says, wherever it stands among the others, so that equal jobs are in one
    share.

    Parameters
    ----------
    number
        Which one.
    count
        Of how many.

    Raises
    ------
    Misuse
        There is no such share.

    Examples
    --------
    >>> from headwater.batch import Shard
    >>> [Shard(n, 2).holds("0b") for n in (1, 2)], str(Shard(3, 16))
    ([False, True], '3-of-16')
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise Misuse(f"There is no share {self.number} of {self.count}.", f"Give 1 to {self.count}.")

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    @property
    def mark(self) -> str:
        """The end of the names of its own files, empty if it is the whole."""
        return "" if self.count == 1 else f"-{self}"

    def holds(self, key: str) -> bool:
        """Whether a job of this key, hexadecimal digits, belongs to the share."""
        return int(key, 16) % self.count == self.number - 1

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The share that a text such as "3/16" names.

        Raises
        ------
        Misuse
            The text names none.
        """
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if found is None:
            raise Misuse(f"{text!r} is not a share.", "Write it like 3/16, the third of sixteen.")
        return cls(int(found[1]), int(found[2]))
