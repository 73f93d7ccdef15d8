"""Scores of pictures by a program of the user: names of PNG files in, numbers out, both as JSON.

    stdin    {"pictures": ["/tmp/abc/0.png", "/tmp/abc/1.png"]}
    stdout   {"scores": [0.31, null]}

The program is started once for every batch of pictures. A number is larger for a better picture; null is none. What
it writes to stderr is shown if it fails. Programs that it starts are ended with it when its time is over.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.io.files import write_image

LARGEST = 2**20
"""The most bytes that a program may write to stdout or to stderr."""

CURE = 'It reads {"pictures": [PNG files]} from stdin and prints {"scores": [a number or null for each]}.'


@dataclass
class ProgramScore:
    r"""Numbers that a program of the user gives to pictures, `[batch]`; NaN where it gives none.

    A program that cannot be started is a `Misuse`. One that fails on some batch (it ends with an error, takes too
    long, writes more than 1 MB, or does not print the JSON) gives NaN to the pictures of this batch, and `failures`
    says why. A picture that is not finite has NaN, and the program is not asked about it.

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
        If there is no such program, or the time limit is not positive and finite.

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
        if not 0 < self.seconds < math.inf:
            raise Misuse(
                f"A program cannot run for {self.seconds:g} seconds.", "Give a positive number such as 60."
            )
        if "\0" in self.command:
            raise Misuse(f"The command {self.command!r} holds a NUL character.", "Remove it.")
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
        numbers = torch.full((len(x),), torch.nan, dtype=torch.float64)
        good = torch.isfinite(x).flatten(1).all(1).cpu()
        if not bool(good.any()):
            return numbers
        pictures = x.detach().cpu()[good].clamp(-1, 1)
        with tempfile.TemporaryDirectory(prefix="headwater-", ignore_cleanup_errors=True) as folder:
            files = [str(Path(folder, f"{i}.png")) for i in range(len(pictures))]
            for picture, file in zip(pictures, files, strict=True):
                write_image(picture[None], file)
            try:
                found = self._run(files, Path(folder))
            except Misuse as failure:
                self.failures.append(failure.what)
                found = [None] * len(files)
        numbers[good] = torch.tensor([math.nan if v is None else v for v in found], dtype=torch.float64)
        return numbers

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

    def _run(self, files: list[str], folder: Path) -> list[float | None]:
        """The numbers of files, or a `Misuse` that says why there are none; `folder` is for what is said."""
        asked, out, err = (folder / name for name in ("stdin", "stdout", "stderr"))
        asked.write_text(json.dumps({"pictures": files}), encoding="utf-8")
        try:
            # Files and not pipes: a child that outlives the program and keeps its stdout open does not matter.
            with asked.open("rb") as stdin, out.open("wb") as stdout, err.open("wb") as stderr:
                process = subprocess.Popen(
                    self.words, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
                )
                try:
                    self._wait(process, (out, err))
                except BaseException:  # Ctrl-C included, which another session does not hear
                    kill_group(process)
                    raise
        except OSError as error:
            raise Misuse(
                f"The program {self.command!r} cannot be started: {error.strerror}.", CURE
            ) from error
        if process.returncode != 0:
            last = (read_start(err).strip().splitlines() or ["it said nothing"])[-1][:200].rstrip(".")
            raise Misuse(f"The program {self.command!r} ended with error {process.returncode}: {last}.", CURE)
        return read_scores(read_start(out), len(files), self.command)

    def _wait(self, process: subprocess.Popen[bytes], said: tuple[Path, Path]) -> None:
        """Wait for the end of a program; a `Misuse` if it takes too long or floods a file."""
        end = time.monotonic() + self.seconds
        while process.poll() is None:
            if any(file.stat().st_size > LARGEST for file in said):
                raise Misuse(f"The program {self.command!r} wrote more than 1 MB.", CURE)
            if (left := end - time.monotonic()) <= 0:
                raise Misuse(f"The program {self.command!r} took more than {self.seconds:g} seconds.", CURE)
            with suppress(subprocess.TimeoutExpired):
                process.wait(min(left, 0.05))


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a program at once, with the programs that it started."""
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)  # it leads a session of its own
    process.wait()


def read_start(file: Path) -> str:
    """The text of a file, its first megabyte, without a byte order mark."""
    with file.open("rb") as opened:
        return opened.read(LARGEST).decode("utf-8-sig", errors="replace")


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
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        shown = " ".join(text.split())[:60] or "nothing"
        raise Misuse(f"The program {command!r} printed no scores, but {shown}.", CURE) from None
    if len(scores) != count:
        raise Misuse(f"The program {command!r} printed {len(scores)} scores for {count} pictures.", CURE)
    return scores
