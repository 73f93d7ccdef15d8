"""A job, its key and its outcome.

    key = sha256(options, bytes of all inputs, what computes it)

Two jobs with one key have one result, whatever their inputs are called and whichever line they stand on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from headwater.atomic import check_input
from headwater.errors import Misuse, as_refusal

Status = Literal["done", "missed", "failed"]
"""How a job ended: done; done, but a goal was missed; not done, for the reason that its sentence says."""

DIGITS = 32
"""Hexadecimal digits of a key: 128 bits."""


@dataclass(frozen=True)
class Job:
    """One thing to compute.

    Parameters
    ----------
    options
        What is asked, in values that JSON has. They are a part of the key.
    inputs
        Files, or folders of them, whose bytes are a part of the key, by the names of their options.
    name
        What tables and sentences call it, such as "line 7".
    given
        What the `Work` needs beside the options, such as the words of a command. It can be pickled, and is no part of
        the key.
    refusal
        Why it cannot be begun; such a job is listed and not tried.

    Examples
    --------
    >>> from headwater.batch import Job
    >>> Job({"noise": 0.1}).key({"version": "1"}) == Job({"noise": 0.1}, name="line 7").key({"version": "1"})
    True
    >>> Job({"noise": 0.1}).key({"version": "1"}) == Job({"noise": 0.1}).key({"version": "2"})
    False
    """

    options: Mapping[str, Any]
    inputs: Mapping[str, Path] = field(default_factory=dict)
    name: str = ""
    given: Any = None
    refusal: str = ""

    def key(self, maker: Mapping[str, Any], hashes: Hashes | None = None) -> str:
        """The key, 32 hexadecimal digits.

        Parameters
        ----------
        maker
            What computes the job: versions, and the hashes of weights.
        hashes
            Of files that were read before.

        Raises
        ------
        Misuse
            An input cannot be read, or an option is nothing that JSON has.
        """
        hashes = Hashes() if hashes is None else hashes
        files = {name: [path.suffix.lower(), hashes.of(path)] for name, path in self.inputs.items()}
        try:
            text = json.dumps([self.options, files, maker], sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            what = f"The options of the job {self.name or self.options} are not JSON: {error}."
            raise Misuse(what, "Give finite numbers, strings, lists and mappings.") from None
        return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Parameters
    ----------
    status
        "done", "missed" or "failed".
    sentence
        What was missed, or why it failed and what to do.
    seconds
        Its share of the time of the jobs that were solved together.
    together
        How many jobs were solved as one batch.
    values
        Numbers and words for the table, that JSON has.

    Examples
    --------
    >>> from headwater.batch import Outcome
    >>> Outcome("done", seconds=0.5, values={"misfit": 1.02}).together
    1
    """

    status: Status
    sentence: str = ""
    seconds: float = 0.0
    together: int = 1
    values: Mapping[str, Any] = field(default_factory=dict)


class Hashes:
    """The hashes of files, each read once."""

    def __init__(self) -> None:
        self.known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """The SHA-256 of a file, or of all files of a folder with their names.

        Raises
        ------
        Misuse
            It is missing, empty, no file, or may not be read.
        """
        if path not in self.known:
            self.known[path] = hash_folder(path) if path.is_dir() else hash_file(check_input(path))
        return self.known[path]


class FreshHashes(Hashes):
    """The hashes of files as they are now: one whose size or time of change is another is read again."""

    def __init__(self) -> None:
        super().__init__()
        self.stamps: dict[Path, Any] = {}

    def of(self, path: Path) -> str:
        """As `Hashes.of`."""
        stamp = stamp_of(path)
        if self.stamps.get(path) != stamp:
            self.known.pop(path, None)
        self.stamps[path] = stamp
        return super().of(path)


def stamp_of(path: Path) -> Any:
    """What changes with a file, or with the files of a folder; None if it is missing."""
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        return [(file, about.st_size, about.st_mtime_ns) for file in files for about in (file.stat(),)]
    except OSError:
        return None


def hash_file(path: Path) -> str:
    """The SHA-256 of a file, 64 hexadecimal digits."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise as_refusal(error) from error


def hash_folder(folder: Path) -> str:
    """The SHA-256 of the names and hashes of all files of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    text = json.dumps([[str(path.relative_to(folder)), hash_file(path)] for path in files])
    return hashlib.sha256(text.encode()).hexdigest()
