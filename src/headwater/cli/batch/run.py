"""`headwater batch`: the jobs are read, done, and told of in a table and a page."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from headwater.batch import Job, Processes, RayActors, Shard, Summary, run, write_page, write_table
from headwater.batch.driver import Progress
from headwater.batch.processes import Crew
from headwater.cli.batch.lines import read_lines
from headwater.cli.batch.words import commands, job_of, make_job
from headwater.cli.batch.work import CommandWork
from headwater.cli.shared.batch import find_files
from headwater.cli.shared.exit_codes import DONE, INTERRUPTED, MISSED
from headwater.cli.shared.job import enumeration
from headwater.cli.shared.progress import Interrupt, Watch, clock
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse, suggest
from headwater.extras import import_optional
from headwater.solvers.memory import available_memory
from headwater.text import counted

WORKER_BYTES = 2e9
"""Memory that a worker is given by default: torch, a shipped model and a picture of a few megapixels."""
WHOLE = Shard()


@dataclass(frozen=True)
class Request:
    """What the command asks for.

    Attributes
    ----------
    source
        The table of jobs, or a folder of files.
    words
        Of the command for every file of a folder.
    out
        The folder of results.
    workers
        How many processes, or actors of Ray; None means as many as fit.
    ray
        The address of a cluster.
    cores
        Of each actor of Ray.
    shard
        The share of the jobs.
    retry
        Whether failed jobs are done again.
    quiet
        Whether only warnings and errors are printed.
    """

    source: Path
    words: tuple[str, ...]
    out: Path
    workers: int | None = None
    ray: str | None = None
    cores: int = 1
    shard: Shard = WHOLE
    retry: bool = False
    quiet: bool = False


def batch(request: Request) -> int:
    """Do all jobs that are not done yet; the exit code."""
    for package in ("pyarrow.parquet", "jinja2"):
        import_optional(package, "batch")
    jobs = list(read_jobs(request.source, request.words))
    refuse_if_all(jobs)
    warn_of_refusals(jobs)
    work, crew = hire(request)
    watch = Watch("batch", quiet=request.quiet)
    watch.interrupt = Interrupt(
        watch.stream, "stopping: what is done stays, the same command goes on from there"
    )
    with watch.running():
        summary = run(
            work,
            jobs,
            request.out,
            crew=crew,
            shard=request.shard,
            retry=request.retry,
            tell=lambda progress: watch.tell(tell_progress(progress)),
            stop=lambda: watch.interrupt.asked,
        )
        table = write_table(summary, request.out / f"results{request.shard.mark}.parquet")
        page = write_page(
            summary, request.out / f"report{request.shard.mark}.html", title=f"{request.source}"
        )
    for line in describe_summary(summary):
        say(line, error=request.quiet and not line.startswith("All"))
    if not request.quiet:
        say(f"{table}, {page}: {counted(len(summary.rows), 'job')} in {summary.seconds:.1f} s")
    if summary.stopped:
        return INTERRUPTED
    return DONE if set(summary.counts) <= {"done"} else MISSED


def hire(request: Request) -> tuple[CommandWork, Crew]:
    """The workers, and the work that knows how many of them share the memory of a machine."""
    if request.ray is not None:
        count = request.workers or None
        return CommandWork(count, cores=request.cores), RayActors(request.ray, count, request.cores)
    count = count_workers() if request.workers is None else request.workers
    return CommandWork(count, gpus=torch.cuda.device_count()), Processes(count)


def read_jobs(source: Path, words: Sequence[str]) -> Iterator[Job]:
    """The jobs of a table, or of a folder whose files are all given to one command.

    Raises
    ------
    Misuse
        The table cannot be read; a folder has no command, or a table has one; or the words are no command.
    """
    if not source.is_dir():
        if words:
            what = f"{source} is a table of jobs, and words of a command follow."
            raise Misuse(what, "Give the words with a folder of files, or write them into the table.")
        yield from (make_job(line, source.name) for line in read_lines(source))
        return
    command = " ".join(words[:2])
    if command not in commands():
        what = f"Nothing says what to do with the files of {source}."
        if words:
            raise Misuse(f"There is no command {command!r}.", suggest(command, commands()))
        raise Misuse(what, f"Give a command, as in headwater batch {source} --out results -- image upscale.")
    for file in find_files([source], suffixes_of(command)):
        try:
            yield job_of((*words, "--", str(file)), "", file.name)
        except Misuse as error:
            yield Job({"command": command}, name=file.name, refusal=str(error))


def suffixes_of(command: str) -> Sequence[str]:
    """Which files of a folder a command takes."""
    if command.startswith("image "):
        from headwater.image.io.files import FORMATS

        return tuple(FORMATS)
    if command.startswith("audio "):
        from headwater.audio.io.files import SUFFIXES

        return tuple(SUFFIXES)
    return (".sdf", ".mol", ".xyz", ".extxyz")


def refuse_if_all(jobs: Sequence[Job]) -> None:
    """Refuse a table of which no job can be begun, as it is the header, most likely, or the words of the command."""
    if all(job.refusal for job in jobs):
        what = f"None of {counted(len(jobs), 'job')} can be begun. {jobs[0].name}: {jobs[0].refusal}"
        head, _, cure = what.rpartition(". ")
        raise Misuse(f"{head}.", cure)


def warn_of_refusals(jobs: Sequence[Job], most: int = 5) -> None:
    """Say before the work begins which lines are wrong."""
    wrong = [job for job in jobs if job.refusal]
    for job in wrong[:most]:
        say(f"Error, {job.name}: {job.refusal}", error=True)
    if len(wrong) > most:
        names = enumeration([job.name for job in wrong[most:]], 3)
        say(f"Error, {counted(len(wrong) - most, 'more job')}: {names}.", error=True)


def count_workers() -> int:
    """As many workers as GPUs; without one as many as cores, if each has its memory."""
    if torch.cuda.is_available():
        return torch.cuda.device_count()
    room = int(available_memory(torch.device("cpu")) // WORKER_BYTES)
    return max(1, min(os.cpu_count() or 1, room))


def tell_progress(progress: Progress) -> str:
    """The line that is shown while jobs are done.

    >>> tell_progress(Progress(10, 4, done=1, failed=1))[:38]
    'batch  5 of 10 done, 1 failed  about 0'
    """
    failed = f", {progress.failed:,} failed" if progress.failed else ""
    died = f", {counted(progress.deaths, 'worker')} replaced" if progress.deaths else ""
    left = progress.seconds_left
    about = "" if left is None else f"  about {clock(left)} left"
    return f"batch  {progress.there + progress.done:,} of {progress.total:,} done{failed}{died}{about}"


def describe_summary(summary: Summary) -> Iterator[str]:
    """What came out, in words: how many jobs ended how, and what else the user has to know."""
    counts = summary.counts
    if set(counts) <= {"done"}:
        yield f"All {counted(len(summary.rows), 'job')} done."
    else:
        words = ", ".join(f"{count:,} {status}" for status, count in counts.items())
        yield f"{counted(len(summary.rows), 'job')}: {words}."
    if summary.corrupted:
        yield f"{counted(summary.corrupted, 'result')} did not hold the checksums and had to be done again."
    if counts.get("failed"):
        yield "Failed jobs are done again with --retry."
    if summary.stopped:
        yield "Stopped. The same command goes on from here."
