"""One way from a command to written files, the same for images, recordings and molecules.

A command checks its options and files and makes a `Job` of them. `run` then does everything in one order:

    warnings -> work (files appear as they are done) -> report -> sheet -> what to tell -> exit code

The work runs under the job's watch: Ctrl-C, SIGTERM and the limit of time end it between two evaluations of the
network.

Whatever ends the work early leaves what is written, and a report of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from headwater.cli.shared.batch import Batch, Options
from headwater.cli.shared.exit_codes import DONE, INTERRUPTED, MISSED, MISUSE
from headwater.cli.shared.machine import Meter, use_idle_cores, versions
from headwater.cli.shared.outputs import write_json
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse, as_refusal, is_out_of_memory
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status

__all__ = ["DONE", "INTERRUPTED", "MISSED", "MISUSE", "Entry", "Job", "run"]


@dataclass(frozen=True)
class Entry:
    """One row of the report: a sample, a stretch of a recording, a molecule.

    Attributes
    ----------
    name : str
        What a warning calls it, as in "seed 3".
    values : mapping
        The row as it stands in the report, ready for JSON.
    statuses : tuple of Status
        How its solves ended: one, or one for each track; empty where nothing was solved.
    missed : bool
        Whether it misses its goal for another reason than how its solves ended.
    """

    name: str
    values: Mapping[str, Any]
    statuses: tuple[Status, ...] = ()
    missed: bool = False

    @property
    def reached(self) -> bool:
        """Whether nothing of it missed its goal."""
        return not self.missed and all(status.ok for status in self.statuses)


@dataclass(kw_only=True)
class Job(ABC):
    """What one command does. Its options, inputs and outputs are checked when it is made; nothing is written yet.

    Attributes
    ----------
    command : str
        The words of the command, as in "image deblur".
    inputs : tuple of Path
        The files that were read.
    settings : mapping
        The options as the report repeats them.
    report : Path, optional
        The JSON file; without one no report is written.
    warnings : tuple of str
        Sentences that the user reads before the work begins.
    watch : Watch
        Follows the work. Guard the flows that are solved, `watch.guard(flow)`: Ctrl-C then ends the work before the
        next evaluation of a network. Elsewhere Ctrl-C ends the command at once.
    device : torch.device
        Where the work is done.
    overwrite, quiet : bool
        Whether files are replaced; whether only warnings and errors are printed.
    together : int
        How many jobs a batch solved at once, at most.
    share : float
        Seconds of its share of what was solved at once.
    """

    command: str
    inputs: tuple[Path, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    report: Path | None = None
    warnings: tuple[str, ...] = ()
    watch: Watch = field(default_factory=lambda: Watch("", quiet=True))
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    overwrite: bool = False
    quiet: bool = False
    together: int = 1
    share: float = 0.0

    rows: ClassVar[str] = "samples"
    """What the report calls its list of entries."""
    row: ClassVar[str] = "sample"
    """One of them."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions the report names, if they are installed."""
    smaller: ClassVar[str] = "Ask for less at once."
    """What to do when memory runs out."""

    @abstractmethod
    def work(self) -> None:
        """Solve and write the main files, each when it is done.

        A Misuse or a lack of memory may end it: `entries` then says what was done before.
        """

    @abstractmethod
    def entries(self) -> Sequence[Entry]:
        """The rows of what was done so far."""

    def most_threads(self) -> int | None:
        """The threads beyond which the work is no faster, if there is such a number."""
        return None

    def not_begun(self) -> int:
        """How many rows were asked for and not begun, each a missed goal."""
        return 0

    def facts(self) -> Mapping[str, Any]:
        """What the domain adds to the report, `definitions` last; a key of the runner's own is replaced."""
        return {}

    def show(self, report: Mapping[str, Any]) -> None:
        """Write the pictures beside the report: a sheet, a page. By default none."""
        return

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Sentences that the user reads after the work, also with --quiet. By default none."""
        return ()

    @abstractmethod
    def tell(self, report: Mapping[str, Any]) -> None:
        """Print what came out, and which files were written; not with --quiet."""

    def interrupted(self) -> bool:
        """Whether the user ended the work early."""
        return self.watch.interrupt.asked


COLLECTED: ContextVar[list[Job] | None] = ContextVar("COLLECTED", default=None)
"""Within `collect`, the jobs that were to run."""


def run(job: Job) -> int:
    """Carry the job out; the exit code.

    See `exit_codes`; 2 here if a Misuse or a lack of memory ended the work after something was done, or kept the
    report from being written.

    Raises
    ------
    Misuse
        The work could not begin, or ended before anything was done.
    """
    if (collected := COLLECTED.get()) is not None:
        collected.append(job)
        return DONE
    for sentence in job.warnings:
        _warn(sentence)
    use_idle_cores(job.most_threads())
    meter = Meter(job.device)
    with job.watch.running():
        ended_by = _carry_out(job)
        costs, entries = meter.read(), job.entries()
        if job.interrupted() and not entries:
            say("Interrupted. Nothing was done yet.", error=True)
            return INTERRUPTED
        report = build_report(job, entries, costs, ended_by)
        refusals = [*([] if ended_by is None else [ended_by]), *_write_report(job, report)]
    for line in status_warnings(entries):
        say(line, error=True)
    for sentence in job.remarks(report):
        _warn(sentence)
    if job.interrupted():
        say("Interrupted. What was done is written.", error=True)
    if exit_code(job, entries) == MISSED and (missed := count_missed(entries, job.row, job.not_begun())):
        say(missed, error=job.quiet)
    if not job.quiet:
        job.tell(report)
    for refusal in refusals:
        say(f"Error: {refusal}", error=True)
    return MISUSE if refusals else exit_code(job, entries)


def _write_report(job: Job, report: Mapping[str, Any]) -> list[Misuse]:
    """Write the report and the pictures; what keeps one of them from being written does not keep the others."""
    refusals = []
    try:
        if job.report is not None:
            write_json(job.report, report, overwrite=job.overwrite)
    except Misuse as error:
        refusals.append(error)
    try:
        job.show(report)
    except Misuse as error:
        refusals.append(error)
    return refusals


@contextmanager
def collect() -> Iterator[list[Job]]:
    """A block in which jobs are made and not run; a batch solves them together."""
    jobs: list[Job] = []
    token = COLLECTED.set(jobs)
    try:
        yield jobs
    finally:
        COLLECTED.reset(token)


def run_each(batch: Batch[Options], make_job: Callable[[Path, Options], Job]) -> int:
    """Make and run a job for every file; the exit code of the worst, where 130 is worse than 2, 1 and 0.

    What fails for one of several files does not end the rest; Ctrl-C does.
    """
    if (collected := COLLECTED.get()) is not None:
        collected += [make_job(*file) for file in batch.files]
        return DONE
    if batch.alone:
        return run(make_job(*batch.files[0]))
    codes: list[int] = []
    quiet = batch.files[0][1].quiet
    for number, (file, options) in enumerate(batch.files, 1):
        if not quiet:
            say(f"{number} of {len(batch.files)}: {file}")
        try:
            codes.append(run(make_job(file, options)))
        except KeyboardInterrupt:
            codes.append(INTERRUPTED)
        except (Misuse, OSError, MemoryError, RuntimeError) as error:
            say(f"Error, {file}: {_refusal(error, 'Give it alone, or a smaller one.')}", error=True)
            codes.append(MISUSE)
        if codes[-1] == INTERRUPTED:
            break
    if not quiet or max(codes) != DONE:
        say(summarise(codes, len(batch.files)), error=quiet)
    return max(codes)


def summarise(codes: Sequence[int], count: int) -> str:
    """How many files were done, in one line.

    >>> summarise([0, 1, 2], 4)
    '2 of 4 files done, 1 missed a goal, 1 refused, 1 not begun'
    """
    done = sum(code in (DONE, MISSED) for code in codes)
    more = [
        f"{number} {words}"
        for number, words in (
            (codes.count(MISSED), "missed a goal"),
            (codes.count(MISUSE), "refused"),
            (codes.count(INTERRUPTED), "interrupted"),
            (count - len(codes), "not begun"),
        )
        if number
    ]
    return ", ".join([f"{done} of {count} files done", *more])


def _carry_out(job: Job) -> Misuse | None:
    """Do the work; what ended it, if something was done before."""
    try:
        job.work()
    except Ended as ended:
        if not job.entries() and not job.interrupted():
            raise Misuse(ended.status.value, "Give more --seconds.") from None
    except (Misuse, MemoryError, RuntimeError) as error:
        refusal = _refusal(error, job.smaller)
        if not job.entries():
            raise refusal from error.__cause__
        return refusal
    return None


def _refusal(error: Exception, smaller: str) -> Misuse:
    """What is said of an error that the user can do something about; any other is raised again."""
    if isinstance(error, Misuse):
        return error
    if is_out_of_memory(error):
        return Misuse("The machine ran out of memory.", smaller)
    if isinstance(error, OSError) and error.errno is not None:
        return as_refusal(error)
    raise error


def build_report(
    job: Job, entries: Sequence[Entry], costs: Mapping[str, Any], ended_by: Misuse | None
) -> dict[str, Any]:
    """The content of the report, ready for JSON."""
    shared = {"solved_together": job.together, "seconds_of_its_share": round(job.share, 3)}
    return {
        "command": job.command,
        "inputs": [str(path) for path in job.inputs],
        "settings": dict(job.settings),
        "warnings": list(job.warnings),
        job.rows: [dict(entry.values) for entry in entries],
        "device": str(job.device),
        **costs,
        "ended_by": None if ended_by is None else str(ended_by),
        "interrupted": job.interrupted(),
        "versions": versions(*job.packages),
        **(shared if job.together > 1 else {}),
        **job.facts(),
    }


def status_warnings(entries: Sequence[Entry]) -> Iterator[str]:
    """One line for each way of ending that is not the solver's own.

    >>> list(status_warnings([Entry("seed 3", {}, (Status.REACHED,)), Entry("seed 4", {}, (Status.SECONDS,))]))
    ['Warning, seed 4: The time limit was reached before the stop criterion.']
    """
    names: dict[Status, list[str]] = {}
    for entry in entries:
        for status in dict.fromkeys(entry.statuses):
            if not status.ok:
                names.setdefault(status, []).append(entry.name)
    for status, which in names.items():
        yield f"Warning, {enumeration(which)}: {status.value}"


def enumeration(names: Sequence[str], most: int = 8) -> str:
    """Names with commas, of long lists the first ones.

    >>> enumeration(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")


def count_missed(entries: Sequence[Entry], row: str, not_begun: int = 0) -> str:
    """How many entries missed their goal or were not begun, as a sentence; empty if none did.

    >>> count_missed([Entry("seed 3", {}, (Status.REACHED,)), Entry("seed 4", {}, (Status.STALLED,))], "sample")
    '1 of 2 samples missed its goal.'
    >>> count_missed([Entry("seed 4", {}, missed=True)], "sample")
    'The sample missed its goal.'
    """
    missed, count = sum(not entry.reached for entry in entries) + not_begun, len(entries) + not_begun
    if not missed:
        return ""
    if count == 1:
        return f"The {row} missed its goal."
    whose = "its goal" if missed == 1 else "their goals"
    return f"{missed} of {count} {plural(row)} missed {whose}."


def plural(word: str) -> str:
    """The plural of a regular noun.

    >>> plural("sample"), plural("stretch")
    ('samples', 'stretches')
    """
    return word + ("es" if word.endswith(("ch", "s", "x")) else "s")


def exit_code(job: Job, entries: Sequence[Entry]) -> int:
    """130 after Ctrl-C, 1 if a goal was missed, else 0."""
    if job.interrupted() or any(Status.CANCELLED in entry.statuses for entry in entries):
        return INTERRUPTED
    return DONE if all(entry.reached for entry in entries) and not job.not_begun() else MISSED


def _warn(sentence: str) -> None:
    say(f"Warning: {sentence}", error=True)
