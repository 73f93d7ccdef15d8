"""A job that is a command: carried out in a worker as on the command line, its words in a log."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.atomic import FULL
from headwater.batch import Job, Outcome
from headwater.cli.batch.words import commands
from headwater.cli.shared.exit_codes import DONE, INTERRUPTED, MISSED, MISUSE
from headwater.errors import Misuse, as_refusal, is_out_of_memory
from headwater.text import printable

if TYPE_CHECKING:
    import torch

LOG = "log.txt"
"""What the command said, in the folder of its result."""
TEXTS = (".json", ".csv", ".txt", ".html")
"""Files of a result in which its temporary name may stand."""
ELSEWHERE = ("file", "sentence", "status", "seed")
"""What a report says of a row and a table of jobs has in columns of its own."""


@dataclass(frozen=True)
class CommandWork:
    """Commands as the work of a batch.

    Attributes
    ----------
    workers
        How many there are; None if Ray decides.
    gpus
        How many GPUs the processes of this machine share out.
    cores
        Of each actor of Ray; None for processes of this machine.
    at_once
        How many pictures or recordings are solved as one batch, at most.
    """

    workers: int | None = 1
    gpus: int = 0
    cores: int | None = None
    at_once: int = 16

    def describe(self, job: Job) -> Mapping[str, Any]:
        """The versions of Headwater and torch, the hash of the code, those of the weights that may be used."""
        return {**describe_code(), "models": dict(hash_models(*models_of(job.options)))}

    def count_sharers(self, device: torch.device) -> int:
        """How many workers, this one included, share the memory of its device; on a machine of Ray at most."""
        if self.cores is None:
            workers = max(1, self.workers or 1)
            return workers if device.type == "cpu" else math.ceil(workers / max(1, self.gpus))
        if device.type != "cpu":  # an actor has a GPU of its own
            return 1
        room = max(1, (os.cpu_count() or 1) // self.cores)
        return min(room, self.workers or room)

    def group(self, job: Job) -> str | None:
        """Jobs of one method; the worker sees whether the shapes of their problems are equal, too."""
        from headwater.cli.batch.together import group_of

        return group_of(job.options)

    def prepare(self) -> None:
        """Import torch, which takes seconds."""
        import torch  # noqa: F401

    def __call__(self, jobs: Sequence[Job], folders: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
        """Jobs together where that changes nothing; other jobs one after the other."""
        from headwater.cli.batch.together import solve_together

        done: set[int] = set()
        if len(jobs) > 1:
            for place, outcome in solve_together(jobs, folders, self.count_sharers):
                done.add(place)
                yield place, outcome
        for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
            if place not in done:
                yield place, carry_out(job, folder)


def models_of(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The shipped models that a command may use; those of a folder are an input of the job."""
    from headwater import zoo

    domain = options["command"].partition(" ")[0]
    if domain == "image":
        from headwater.cli.image.options import Common
        from headwater.cli.image.prior import model_of

        given: dict[str, Any] = {name: options.get(name) for name in ("model", "prompt", "style")}
        name = model_of(Common(**given))
        captions = zoo.list_models("captions") if options.get("reward") else []
        return (*((name,) if name in zoo.list_models() else ()), *captions)
    kinds = ("music",) if domain == "audio" else ("molecule generator", "molecule regressor")
    return tuple(name for kind in kinds for name in zoo.list_models(kind))


@cache
def describe_code() -> Mapping[str, str]:
    """The versions of Headwater and torch, and the hash of the code, as this process found them first."""
    from importlib.metadata import version

    from headwater import __version__

    torch = version("torch").partition("+")[0]  # what follows says for which GPU it was built
    return {"headwater": __version__, "source": hash_source(), "torch": torch}


def hash_source() -> str:
    """The first 16 digits of the SHA-256 of the package's Python files and their names."""
    import headwater

    folder = Path(headwater.__file__).parent
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


@cache
def hash_models(*names: str) -> tuple[tuple[str, str], ...]:
    """Each model and the hash of its card and weights."""
    from headwater import zoo
    from headwater.batch.job import hash_file

    found = []
    for name in names:
        files = [f"{name}.json", *zoo.read_card(name)["files"]]
        found.append((name, "-".join(hash_file(zoo.FOLDER / file)[:16] for file in files)))
    return tuple(found)


def carry_out(job: Job, folder: Path) -> Outcome:
    """Do one job alone."""
    start = time.perf_counter()
    with record(folder) as log:
        code = call(lambda: call_command(job, folder))
    return read_outcome(code, log.getvalue(), folder, time.perf_counter() - start)


def call_command(job: Job, folder: Path) -> int:
    """Call the command of a job with an output in a folder; its exit code."""
    from headwater.cli.app import app

    words = [*job.given.words[:2], f"--output={folder / job.given.output}", *job.given.words[2:]]
    _, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    function = commands()[job.options["command"]]
    return int(function(*bound.args, **bound.kwargs) or 0)


def call(command: Callable[[], int]) -> int:
    """The exit code of a command; its refusal is printed.

    Raises
    ------
    KeyboardInterrupt
        The worker was asked to end: the job is not done.
    """
    from headwater.cli.shared.terminal import say

    try:
        code = command()
    except Misuse as error:
        say(f"Error: {error}", error=True)
        return MISUSE
    except OSError as error:
        if error.errno is None:
            raise
        say(f"Error: {as_refusal(error)}", error=True)
        return MISUSE
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        say("Error: The machine ran out of memory. Give fewer --workers, or ask for less.", error=True)
        return MISUSE
    if code == INTERRUPTED:
        raise KeyboardInterrupt
    return code


@contextmanager
def record(folder: Path) -> Iterator[StringIO]:
    """A block whose words go to the log of a folder."""
    log = StringIO()
    try:
        with redirect_stdout(log), redirect_stderr(log):
            yield log
    finally:
        (folder / LOG).write_text(printable(log.getvalue()), encoding="utf-8")
        forget_name(folder)


def forget_name(folder: Path) -> None:
    """Leave the temporary name of a folder out of what was written there."""
    plain = f"{folder}/"
    names = {plain.encode(), json.dumps(plain, ensure_ascii=False)[1:-1].encode()}
    for file in folder.iterdir():
        if file.suffix in TEXTS:
            data = text = file.read_bytes()
            for name in names:
                text = text.replace(name, b"")
            if text != data:
                file.write_bytes(text)


def read_outcome(code: int, log: str, folder: Path, seconds: float, together: int = 1) -> Outcome:
    """The outcome of a command, from its exit code, its words and its report.

    Raises
    ------
    OSError
        The disk is full, which is no failure of this job.
    """
    log = log.replace(f"{folder}/", "")
    errors = re.findall(r"^Error(?:, \S+)?: (.*)$", log, re.MULTILINE)
    if code not in (DONE, MISSED):
        sentence = errors[-1] if errors else "The command failed. See its log."
        end_if_disk_full(sentence)
        return Outcome("failed", sentence, seconds, together, read_values(folder))
    if code == DONE:
        return Outcome("done", "", seconds, together, read_values(folder))
    missed = re.findall(r"^.*missed (?:its goal|their goals)\.$", log, re.MULTILINE)
    sentence = missed[-1] if missed else "A goal was missed."
    return Outcome("missed", sentence, seconds, together, read_values(folder))


def end_if_disk_full(sentence: str) -> None:
    """End the run if a command failed because nothing more can be written."""
    for number in FULL:
        if os.strerror(number) in sentence:
            raise OSError(number, os.strerror(number))


def read_values(folder: Path) -> dict[str, Any]:
    """The numbers and words of the first row of a command's report, and how many rows there are."""
    for path in sorted(folder.glob("*.json")):
        report = json.loads(path.read_text(encoding="utf-8"))
        for rows in ("samples", "stretches", "molecules", "images", "findings"):
            if isinstance(report.get(rows), list):
                first = report[rows][0] if report[rows] else {}
                plain = {k: v for k, v in first.items() if isinstance(v, bool | int | float | str)}
                return {rows: len(report[rows]), **{k: v for k, v in plain.items() if k not in ELSEWHERE}}
    return {}
