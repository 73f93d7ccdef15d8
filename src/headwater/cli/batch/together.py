"""Jobs that share a model and a method: where several of them ask the flow, they ask it at once.

A batch of k gives what k runs of one give, within rounding (the second promise of the house). Each job runs on its
own up to the problem that it wants solved, and waits (`Strand`); the problems of all that wait are solved in batches
of equal shapes, and each job goes on with its part of the result, to its own files and its own report.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch

from headwater.batch import Job, Outcome
from headwater.cli.batch.sharing import Strand
from headwater.errors import Misuse
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers.memory import usable_memory

if TYPE_CHECKING:
    from headwater.cli.shared.job import Job as CommandJob

Sharers = Callable[[torch.device], int]
"""How many workers share the memory of a device."""
PICTURES = ("inpaint", "upscale", "deblur", "denoise", "colorize", "dejpeg", "declip")
RECORDINGS = ("inpaint", "extend", "declip", "denoise", "dereverb", "restore")
MOLECULES = ("generate", "target", "grow")
"""Commands whose jobs may be solved as one batch; others are solved one by one."""
OWN = ("seed", "samples", "reference", "box", "grow", "mask", "output", "photos")
"""Options in which pictures of one group may differ; the worker compares what they lead to."""
METHOD = ("command", "method", "steps", "gradients", "candidates")
"""Options that recordings, and molecules, of one group share; each has a problem of its own."""


def group_of(options: Mapping[str, Any]) -> str | None:
    """The group of a job: what those that may be solved with it have in common; None if it is solved alone."""
    domain, _, command = str(options["command"]).partition(" ")
    if options.get("seconds") is not None or options.get("posterior") is not None:
        return None
    own = domain == "audio" and command in RECORDINGS and options.get("model") is None
    if own or (domain == "molecule" and command in MOLECULES):
        return json.dumps({k: options.get(k) for k in METHOD}, sort_keys=True)
    if domain == "image" and command in PICTURES:
        return json.dumps({k: v for k, v in options.items() if k not in OWN}, sort_keys=True)
    return None


class Asked(Protocol):
    """What a job wants solved, and what it needs to know to be solved with others."""

    options: RecipeOptions

    @property
    def count(self) -> int:
        """How many problems it has."""

    @property
    def most(self) -> int | None:
        """The most problems of a batch beside what memory allows."""

    def fingerprint(self) -> str:
        """What problems that go together have in common."""

    def bytes_of_one(self, device: torch.device) -> int:
        """The memory that a problem takes."""

    def solve_alone(self) -> Any:
        """The result of a run of its own."""


@dataclass
class Entry:
    """A job of a batch: its place, its folder, what it does, and where it runs."""

    place: int
    folder: Path
    job: CommandJob
    strand: Strand
    asked: Any = None


def solve_together(
    jobs: Sequence[Job], folders: Sequence[Path], sharers: Sharers
) -> Iterator[tuple[int, Outcome]]:
    """Do jobs side by side; one that is refused, or raises what no job should, is left."""
    start = time.perf_counter()
    entries = list(make_entries(jobs, folders))
    if len(entries) < 2:
        return
    for entry in entries:
        entry.asked = entry.strand.go_on()
    while waiting := [entry for entry in entries if entry.asked is not None]:
        for part in divide(waiting, sharers):
            for entry, answer in zip(part, answer_all(part), strict=True):
                entry.asked = entry.strand.go_on(answer)
    seconds = (time.perf_counter() - start) / len(entries)
    for entry in entries:
        if isinstance(entry.strand.error, KeyboardInterrupt):
            raise entry.strand.error
        if entry.strand.error is not None:
            empty(entry.folder)
            continue
        yield entry.place, replace(entry.strand.value, seconds=seconds)


def make_entries(jobs: Sequence[Job], folders: Sequence[Path]) -> Iterator[Entry]:
    """The jobs of commands, ready to run; one that is refused is left, and says why when it is done alone."""
    from headwater.cli.batch.work import call_command, record
    from headwater.cli.shared.job import collect

    for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
        with record(folder), collect() as found, suppress(Misuse, OSError):
            call_command(job, folder)
        for one in found:
            if hasattr(one, "solver") and getattr(one, "shares", True):
                yield Entry(place, folder, one, Strand(partial(carry_out, one, folder)))


def carry_out(job: Any, folder: Path, ask: Callable[[Any], Any]) -> Outcome:
    """Run a job, which asks for what it wants solved."""
    from headwater.cli.batch.work import call, read_outcome, record
    from headwater.cli.shared.job import run

    def solver(
        problem: Any, seeds: Sequence[int], *, recipe: Any = None, options: RecipeOptions | None = None
    ) -> Any:
        """Ask for the result."""
        return ask(as_asked(problem, seeds, recipe, options or RecipeOptions()))

    job.solver = solver
    with record(folder) as log:
        code = call(partial(run, job))
    return read_outcome(code, log.getvalue(), folder, 0.0, job.together)


def as_asked(problem: Any, seeds: Sequence[int], recipe: Any, options: RecipeOptions) -> Asked:
    """What is asked for a problem of pictures or recordings, or for one of molecules."""
    from headwater.cli.batch.molecules import AskedDesign
    from headwater.cli.batch.problems import AskedProblem
    from headwater.recipes.problem import Problem

    kind: Any = AskedProblem if isinstance(problem, Problem) else AskedDesign
    asked: Asked = kind(problem, seeds, recipe, options)
    return asked


def divide(waiting: Iterable[Entry], sharers: Sharers) -> Iterator[list[Entry]]:
    """Those that wait, in parts whose problems go together and fit into this worker's share of the memory."""
    groups: dict[str, list[Entry]] = {}
    for entry in waiting:
        groups.setdefault(entry.asked.fingerprint(), []).append(entry)
    for entries in groups.values():
        most = count_at_once(entries[0], sharers) if len(entries) > 1 else 1
        part: list[Entry] = []
        for entry in entries:
            if part and sum(e.asked.count for e in [*part, entry]) > most:
                yield part
                part = []
            part.append(entry)
        yield part


def count_at_once(entry: Entry, sharers: Sharers) -> int:
    """How many such problems fit into --memory, or this worker's share of 60 % of the free memory."""
    device, asked = entry.job.device, entry.asked
    given = getattr(asked.options.gradient, "memory", None)
    room = given or usable_memory(device) / sharers(device)
    most = max(1, int(room // asked.bytes_of_one(device)))
    return most if asked.most is None else min(most, asked.most)


def answer_all(entries: Sequence[Entry]) -> Iterator[Any]:
    """The results of several jobs, solved at once; each alone if that is refused."""
    asked, start = [entry.asked for entry in entries], time.perf_counter()
    try:
        found = solve(asked) if len(asked) > 1 else None
    except (Misuse, MemoryError, RuntimeError):  # what is said of it is said to the job that it belongs to
        found = None
    share = (time.perf_counter() - start) / len(entries)
    for i, (entry, one) in enumerate(zip(entries, asked, strict=True)):
        if found is not None:
            entry.job.together = max(entry.job.together, len(entries))
            entry.job.share += share
            yield found[i]
            continue
        try:
            yield one.solve_alone()
        except Exception as error:  # the job's own, in its thread
            yield error


def solve(asked: Sequence[Any]) -> list[Any]:
    """Solve what several jobs want at once; the result of each."""
    from headwater.cli.batch.molecules import AskedDesign, solve_designs
    from headwater.cli.batch.problems import solve_problems

    return solve_designs(asked) if isinstance(asked[0], AskedDesign) else solve_problems(asked)


def empty(folder: Path) -> None:
    """Remove what an attempt wrote, so that another one finds its folder empty."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
