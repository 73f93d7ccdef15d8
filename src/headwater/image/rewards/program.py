"""Scores of pictures by a program of the user: names of PNG files in, numbers out, both as JSON.

    stdin    {"pictures": ["/tmp/abc/0.png", "/tmp/abc/1.png"]}
    stdout   {"scores": [0.31, null]}

The program is started once for every batch of pictures. A number is larger for a better picture; null is none. What
it writes to stderr is shown if it fails.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.io.files import write_image

CURE = 'It reads {"pictures": [PNG files]} from stdin and prints {"scores": [a number or null for each]}.'


@dataclass
class ProgramScore:
    r"""Numbers that a program of the user gives to pictures, `[batch]`; NaN where it gives none.

    A program that cannot be started is a `Misuse`. One that fails on some batch (it ends with an error, takes too
    long, or does not print the JSON) gives NaN to the pictures of this batch, and `failures` says why.

    Parameters
    ----------
    command
        The program and its arguments, as in a shell, which it is not given to.
    seconds
        The time limit of one batch.

    Attributes
    ----------
    failures
        What went wrong so far, one sentence a batch.

    Raises
    ------
    Misuse
        If there is no such program, or the time limit is not positive.

    Examples
    --------
    A program that reads nothing and always prints one score:

    >>> score = ProgramScore("echo '{\"scores\": [0.5]}'")
    >>> score(torch.zeros(1, 3, 8, 8)).tolist(), score(torch.zeros(2, 3, 8, 8)).tolist(), len(score.failures)
    ([0.5], [nan, nan], 1)
    """

    command: str
    seconds: float = 60.0
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.seconds > 0:
            raise Misuse(f"A program cannot run for {self.seconds:g} seconds.", "Give a positive number.")
        words = self.words
        if not words or shutil.which(words[0]) is None:
            name = words[0] if words else self.command
            raise Misuse(
                f"There is no program {name!r} that can be started.", "Check its path, and chmod +x it."
            )

    @property
    def words(self) -> list[str]:
        """The program and its arguments; a `Misuse` if a quotation mark is open."""
        try:
            return shlex.split(self.command)
        except ValueError:
            raise Misuse(f"The command {self.command!r} has an open quotation mark.", "Close it.") from None

    def __call__(self, x: Tensor) -> Tensor:
        """The numbers of pictures x `[batch, 3, h, w]` in [-1, 1], float64 `[batch]`."""
        with tempfile.TemporaryDirectory(prefix="headwater-") as folder:
            files = [str(Path(folder, f"{i}.png")) for i in range(len(x))]
            for picture, file in zip(x.detach().clamp(-1, 1).cpu(), files, strict=True):
                write_image(picture[None], file)
            try:
                found = self._run(files)
            except Misuse as failure:
                self.failures.append(failure.what)
                found = [None] * len(x)
        return torch.tensor([float("nan") if v is None else v for v in found], dtype=torch.float64)

    def check(self, x: Tensor) -> None:
        """Refuse a program that fails on pictures x `[batch, 3, h, w]`.

        Raises
        ------
        Misuse
            With the reason, and what the program has to do.
        """
        before = len(self.failures)
        self(x)
        if len(self.failures) > before:
            raise Misuse(self.failures[-1], CURE)

    def _run(self, files: list[str]) -> list[float | None]:
        """The numbers of files, or a `Misuse` that says why there are none."""
        try:
            done = subprocess.run(
                self.words,
                input=json.dumps({"pictures": files}),
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=self.seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Misuse(
                f"The program {self.command!r} took more than {self.seconds:g} seconds.", CURE
            ) from None
        except OSError as error:
            raise Misuse(
                f"The program {self.command!r} cannot be started: {error.strerror}.", CURE
            ) from error
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:200].rstrip(".")
            raise Misuse(f"The program {self.command!r} ended with error {done.returncode}: {last}.", CURE)
        return read_scores(done.stdout, len(files), self.command)


def read_scores(text: str, count: int, command: str) -> list[float | None]:
    """The numbers in what a program printed; booleans count as 0 and 1.

    Raises
    ------
    Misuse
        If it is not {"scores": [...]} with a number or null for each picture.

    Examples
    --------
    >>> read_scores('{"scores": [1, null]}', 2, "mine")
    [1.0, None]
    """
    try:
        found: Any = json.loads(text)["scores"]
        scores = [None if value is None else float(value + 0) for value in found]
    except (ValueError, TypeError, KeyError, OverflowError):
        shown = " ".join(text.split())[:60] or "nothing"
        raise Misuse(f"The program {command!r} printed no scores, but {shown}.", CURE) from None
    if len(scores) != count:
        raise Misuse(f"The program {command!r} printed {len(scores)} scores for {count} pictures.", CURE)
    return scores
