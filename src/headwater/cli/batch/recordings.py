"""Recordings that share a method: where several of them ask the flow, they ask it at once.

A recording is repaired stretch by stretch, and only some stretches need the flow. So each job runs on its own up to
the problem that it wants solved, and waits (`Strand`); the problems of all that wait are solved in batches of equal
shapes, and each job goes on with its part of the result. Gaps, noises and rooms may differ: each problem is measured
by an operator of its own.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headwater.batch import Job, Outcome
from headwater.cli.batch.sharing import Fork, Strand, contents, in_order, rows_of
from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.problem.beside import SideBySide, put_side_by_side
from headwater.problem.cost import Misfit
from headwater.problem.operator import LinearOperator, Operator
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import RecipeOptions
from headwater.solvers.memory import activation_bytes, available_memory

if TYPE_CHECKING:
    from headwater.cli.audio.repair import RepairJob
    from headwater.cli.batch.together import Sharers

STATES = 4
"""States that a problem holds at least: the guess, x0, x1 and the best so far."""


@dataclass(frozen=True)
class Asked:
    """What a job wants solved: one problem for each seed."""

    problem: Problem
    seeds: Sequence[int]
    recipe: Any
    options: RecipeOptions

    @property
    def operator(self) -> Operator:
        """The operator of its misfit."""
        operator = self.problem.misfit.operator
        assert isinstance(operator, Operator)
        return operator

    def fingerprint(self) -> str:
        """What problems that go together have in common."""
        p, y = self.problem, self.problem.misfit.y
        known = (p.flow.shape, p.guess.shape[1:], y.dtype, isinstance(self.operator, LinearOperator))
        # The recipes of the tasks draw noise for states alone; another one may draw some for y, too.
        asked = p.recipe if self.recipe is None else (self.recipe, y.shape[1:])
        alone = None if p.misfit.measured is None else id(self)
        return repr((known, asked, alone, replace(self.options, callback=None)))

    def of_seeds(self, value: Any) -> Tensor:
        """A number, or a tensor `[1 or seeds, ...]`, as one row for each seed."""
        rows = torch.as_tensor(value)
        rows = rows[None] if not rows.ndim else rows
        return rows.expand(len(self.seeds), *rows.shape[1:])


@dataclass
class Entry:
    """A job of a batch: its place, its folder, the repair, and where it runs."""

    place: int
    folder: Path
    repair: RepairJob
    strand: Strand
    asked: Asked | None = None


def solve_recordings(
    jobs: Sequence[Job], folders: Sequence[Path], sharers: Sharers
) -> Iterator[tuple[int, Outcome]]:
    """Repair recordings side by side; one that is refused, or raises what no job should, is left."""
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
    """The repairs of jobs, ready to run; one that is refused is left, and says why when it is done alone."""
    from headwater.cli.audio.repair import RepairJob
    from headwater.cli.batch.work import call_command, record
    from headwater.cli.shared.job import collect

    for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
        with record(folder), collect() as found, suppress(Misuse, OSError):
            call_command(job, folder)
        for one in found:
            if isinstance(one, RepairJob):
                yield Entry(place, folder, one, Strand(partial(repair, one, folder)))


def repair(job: RepairJob, folder: Path, ask: Callable[[Asked], Result]) -> Outcome:
    """Run a job, which asks for what it wants solved."""
    from headwater.cli.batch.work import call, read_outcome, record
    from headwater.cli.shared.job import run

    def solver(problem: Problem, seeds: Sequence[int], *, recipe: Any, options: RecipeOptions) -> Result:
        """Ask for the result."""
        return ask(Asked(problem, seeds, recipe, options))

    job.solver = solver
    with record(folder) as log:
        code = call(partial(run, job))
    return read_outcome(code, log.getvalue(), folder, 0.0, job.together)


def divide(waiting: Iterable[Entry], sharers: Sharers) -> Iterator[list[Entry]]:
    """Those that wait, in parts whose problems go together and fit into this worker's share of the memory."""
    groups: dict[str, list[Entry]] = {}
    for entry in waiting:
        assert entry.asked is not None
        groups.setdefault(entry.asked.fingerprint(), []).append(entry)
    for entries in groups.values():
        most = count_at_once(entries[0], sharers) if len(entries) > 1 else 1
        part: list[Entry] = []
        for entry in entries:
            if part and sum(len(e.asked.seeds) for e in [*part, entry] if e.asked) > most:
                yield part
                part = []
            part.append(entry)
        yield part


def count_at_once(entry: Entry, sharers: Sharers) -> int:
    """How many such problems fit into this worker's share of 60 % of the free memory."""
    assert entry.asked is not None
    flow, device = entry.asked.problem.flow, entry.repair.device
    one = activation_bytes(flow, flow.noise([0], device=device)) + STATES * 4 * flow.event_size
    return max(1, int(0.6 * available_memory(device) / sharers(device) // one))


def answer_all(entries: Sequence[Entry]) -> Iterator[Result | BaseException]:
    """The results of several jobs, solved at once; each alone if that is refused."""
    asked = [entry.asked for entry in entries if entry.asked is not None]
    try:
        found = solve(asked) if len(asked) > 1 else None
    except (Misuse, MemoryError, RuntimeError):  # what is said of it is said to the job that it belongs to
        found = None
    for i, (entry, one) in enumerate(zip(entries, asked, strict=True)):
        if found is not None:
            entry.repair.together = max(entry.repair.together, len(entries))
            yield found[i]
            continue
        try:
            yield one.problem.solve(one.seeds, recipe=one.recipe, options=one.options)
        except Exception as error:  # the job's own, in its thread
            yield error


def solve(asked: Sequence[Asked]) -> list[Result]:
    """Solve the problems of several jobs as one batch; the result of each."""
    first, parts = asked[0], in_order([len(one.seeds) for one in asked])
    told = [one.options.callback for one in asked]
    callback = Fork([tell for tell in told if tell is not None], parts) if None not in told else None
    sigma = torch.cat([one.of_seeds(one.problem.misfit.sigma_y) for one in asked])
    misfit = Misfit(*measure(asked), sigma)
    guess = torch.cat([one.of_seeds(one.problem.guess) for one in asked])
    problem = replace(first.problem, misfit=misfit, guess=guess)
    seeds = [seed for one in asked for seed in one.seeds]
    result = problem.solve(seeds, recipe=first.recipe, options=replace(first.options, callback=callback))
    return [rows_of(result, part) for part in parts]


def measure(asked: Sequence[Asked]) -> tuple[Operator, Tensor]:
    """The operator and the measurements of all problems: one operator if they are equal, else each its own."""
    parts = [one.operator.select([i]) for one in asked for i in range(len(one.seeds))]
    y = [row[None] for one in asked for row in one.of_seeds(one.problem.misfit.y)]
    if len({tuple(contents(part)) for part in parts}) == 1:
        return parts[0], torch.cat(y)
    both = put_side_by_side(parts, [row.shape[1:] for row in y])
    assert isinstance(both, SideBySide)
    return both, both.join(y)


def empty(folder: Path) -> None:
    """Remove what an attempt wrote, so that another one finds its folder empty."""
    for path in folder.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
