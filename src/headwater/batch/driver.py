"""The driver: what is to be done, who does it, and what became of it.

    plan:  the key of every job, and which results are there already and hold
    hand out:  parcels of jobs to workers; what a dead worker had, less what it published, goes to the next one
    sum up:  one row for every job

The folder of results is the only record, so a run that was killed at any moment goes on with the same call.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headwater.batch.job import Hashes, Job, Outcome
from headwater.batch.processes import Crew, Processes, Worker
from headwater.batch.results import Results, not_written
from headwater.batch.shard import Shard
from headwater.batch.summary import Row, Summary
from headwater.batch.work import Carrier, Parcel, Work
from headwater.errors import Misuse, summarise


@dataclass
class Progress:
    """How far a run is; `tell` is called with it after every change.

    Attributes
    ----------
    total
        Results that are to be there at the end.
    there
        Those that were there before.
    done
        Those of this run, failures included.
    failed
        Failures of this run.
    deaths
        Workers that died.
    start
        When the first parcel was handed out, by `time.perf_counter`.
    """

    total: int
    there: int
    done: int = 0
    failed: int = 0
    deaths: int = 0
    start: float = field(default_factory=time.perf_counter)

    @property
    def seconds_left(self) -> float | None:
        """Seconds until the end, if the rest goes as what was done; None before anything is done."""
        left = self.total - self.there - self.done
        return (time.perf_counter() - self.start) / self.done * left if self.done else None


Tell = Callable[[Progress], None]


@dataclass(frozen=True)
class Limits:
    """What a run puts up with.

    Attributes
    ----------
    deaths
        Workers that die at one job before it counts as failed.
    starts
        Workers that die one after another before they are ready, before the run ends.
    poll
        Seconds between two looks at whether the run is to stop.
    parcels
        Parcels for each worker, at least, that the jobs of a group are divided into, so that all end together.
    """

    deaths: int = 3
    starts: int = 5
    poll: float = 0.2
    parcels: int = 2


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Attributes
    ----------
    keys
        Of every job, None for one that was refused or belongs to another share.
    jobs
        The jobs as they were given, or refused.
    there
        The outcomes of the results that are there and stay.
    todo
        The jobs to be done, by their keys.
    corrupted
        Keys of results that do not hold their checksums.
    """

    keys: Sequence[str | None]
    jobs: Sequence[Job]
    there: Mapping[str, Outcome]
    todo: Mapping[str, Job]
    corrupted: Sequence[str]


def run(
    work: Work,
    jobs: Iterable[Job],
    folder: str | Path,
    *,
    crew: Crew | None = None,
    shard: Shard | None = None,
    retry: bool = False,
    limits: Limits | None = None,
    tell: Tell | None = None,
    stop: Callable[[], bool] | None = None,
) -> Summary:
    """Do all jobs whose results are not there yet.

    Each result is a folder `<key>/` with the files that the work wrote and `job.json`: the job, its key, what
    computed it, its outcome, and the checksums of all files. A folder is there as a whole or not at all. Whatever
    ends a run, the same call goes on from there: nothing is lost, and nothing stands there twice.

    Parameters
    ----------
    work
        What computes the jobs.
    jobs
        What is to be computed; equal ones have one result.
    folder
        Of the results; it is made if it is missing.
    crew
        Where the workers come from; by default this process does the jobs itself.
    shard
        The share of the jobs that this run does; by default all.
    retry
        Whether jobs that failed before are done again.
    limits
        What the run puts up with.
    tell
        Called after every change.
    stop
        Asked often; once it says True, the workers are ended and the run returns.

    Returns
    -------
    summary
        One row for each job of the share.

    Raises
    ------
    Misuse
        The folder cannot be used or is in use; it cannot be written any more; or no worker can be started.

    Examples
    --------
    >>> import tempfile
    >>> from headwater.batch import Function, Job, run
    >>> def half(options, folder):
    ...     return {"half": options["value"] / 2}
    >>> folder, jobs = tempfile.mkdtemp(), [Job({"value": value}) for value in (3, 4, 3)]
    >>> first = run(Function(half, version="1"), jobs, folder)
    >>> first.counts, len({row.key for row in first.rows}), first.rows[0].again
    ({'done': 3}, 2, False)
    >>> run(Function(half, version="1"), jobs, folder).rows[0].again
    True
    """
    start, shard = time.perf_counter(), shard or Shard()
    results = Results.open(Path(folder))
    with results.lock(shard):
        results.clean(shard)
        plan = make_plan(work, list(jobs), results, shard, retry=retry)
        for key in (*plan.corrupted, *(k for k in plan.todo if retry)):
            discard_unless_done(results, key)
        progress = Progress(len(plan.there) + len(plan.todo), len(plan.there))
        carrier = Carrier(work, results.absolute(), shard)
        office = Office(carrier, limits or Limits(), progress, tell or ignore, stop or never)
        try:
            stopped = office.serve(plan.todo, crew or Processes()) if plan.todo else False
        finally:
            results.clean(shard)  # what workers left that were ended
        rows = tuple(make_rows(plan, results))
    seconds = time.perf_counter() - start
    return Summary(results.folder, shard, rows, len(plan.corrupted), progress.deaths, seconds, stopped)


def discard_unless_done(results: Results, key: str) -> None:
    """Take away a result that failed or is corrupted; it stays if another run has put down a good one meanwhile."""
    found = results.look(key)
    if not isinstance(found, Outcome) or found.status == "failed":
        results.discard(key)


def ignore(progress: Progress) -> None:
    """Show nothing."""


def never() -> bool:
    """Go on."""
    return False


def make_plan(work: Work, jobs: Sequence[Job], results: Results, shard: Shard, *, retry: bool) -> Plan:
    """What is there, and what is to be done."""
    hashes = Hashes()
    keys: list[str | None] = []
    known: list[Job] = []
    there: dict[str, Outcome] = {}
    todo: dict[str, Job] = {}
    corrupted: list[str] = []
    for job in jobs:
        key, job = find_key(work, job, hashes)
        if key is not None and not shard.holds(key):
            key = None
        keys.append(key)
        known.append(job)
        if key is None or key in there or key in todo:
            continue
        found = results.look(key)
        if isinstance(found, Outcome) and not (retry and found.status == "failed"):
            there[key] = found
            continue
        todo[key] = job
        corrupted += [key] if found == "corrupted" else []
    return Plan(keys, known, there, todo, corrupted)


def find_key(work: Work, job: Job, hashes: Hashes) -> tuple[str | None, Job]:
    """The key of a job; of one that cannot be read None, and the job with the refusal."""
    if job.refusal:
        return None, job
    try:
        return job.key(work.describe(job), hashes), job
    except Misuse as error:
        return None, replace(job, refusal=str(error))


def make_rows(plan: Plan, results: Results) -> Iterable[Row]:
    """One row for each job of the share; refused jobs are in every share."""
    fresh: dict[str, Outcome | None] = {}
    for fresh_key in plan.todo:
        found = results.look(fresh_key)
        fresh[fresh_key] = found if isinstance(found, Outcome) else None
    for key, job in zip(plan.keys, plan.jobs, strict=True):
        if key is not None:
            yield Row(job, key, plan.there.get(key) or fresh.get(key), again=key in plan.there)
        elif job.refusal:
            yield Row(job, "", None)


def divide(work: Work, todo: Mapping[str, Job], workers: int, parcels: int) -> list[Parcel]:
    """The jobs in parcels, each of one group, in the order in which they were given."""
    groups: dict[str, list[tuple[str, Job]]] = {}
    for key, job in todo.items():
        group = work.group(job)
        groups.setdefault(f"alone {key}" if group is None else f"group {group}", []).append((key, job))
    found: list[Parcel] = []
    for entries in groups.values():
        fair = math.ceil(len(entries) / (parcels * workers if workers > 1 else 1))
        size = min(work.at_once, fair)
        found += [entries[i : i + size] for i in range(0, len(entries), size)]
    return found


class Office:
    """Hands parcels out to workers until none is left."""

    def __init__(
        self, carrier: Carrier, limits: Limits, progress: Progress, tell: Tell, stop: Callable[[], bool]
    ) -> None:
        self.carrier, self.limits, self.progress = carrier, limits, progress
        self.tell, self.stop = tell, stop
        self.waiting: deque[Parcel] = deque()
        self.starting: dict[Future[int], Worker] = {}
        self.working: dict[Future[list[str]], tuple[Worker, Parcel]] = {}
        self.failed_starts = 0
        self.deaths: dict[str, int] = {}

    def serve(self, todo: Mapping[str, Job], crew: Crew) -> bool:
        """Have all jobs done; whether the run was stopped before that.

        Raises
        ------
        Misuse
            The results cannot be written, or no worker can be started.
        """
        workers: Sequence[Worker] = ()
        try:
            workers = crew.open(self.carrier)
            self.waiting.extend(divide(self.carrier.work, todo, len(workers), self.limits.parcels))
            for worker in workers[: len(self.waiting)]:
                self.start(worker)
            self.tell(self.progress)
            while self.waiting or self.working:
                if self.stop():
                    return True
                self.turn()
            return False
        finally:
            for worker in workers:
                worker.stop()
            crew.close()

    def start(self, worker: Worker) -> None:
        """Start a worker, and wait for it with the others."""
        self.starting[worker.start()] = worker

    def turn(self) -> None:
        """Wait for one of the futures, and do what it calls for."""
        pending: list[Future[Any]] = [*self.starting, *self.working]
        over, _ = wait(pending, timeout=self.limits.poll, return_when=FIRST_COMPLETED)
        for future in over:
            if future in self.starting:
                self.begin(future)
            else:
                self.settle(future)

    def begin(self, future: Future[int]) -> None:
        """Give a worker that is ready its first parcel, or start it again."""
        worker = self.starting.pop(future)
        error = future.exception()
        if error is None:
            self.failed_starts = 0
            self.hand_out(worker)
            return
        self.failed_starts += 1
        if not worker.is_death(error) or self.failed_starts >= self.limits.starts:
            what = f"{self.failed_starts} workers ended before they began, the last with {summarise(error)}."
            raise Misuse(what, "Give fewer workers, or do one job without workers to see more.")
        self.start(worker)

    def hand_out(self, worker: Worker) -> None:
        """Give a worker the next parcel, if there is one; of jobs that met death each alone."""
        if self.waiting:
            parcel = self.waiting.popleft()
            self.working[worker.submit(parcel)] = worker, parcel

    def settle(self, future: Future[list[str]]) -> None:
        """Put down what a worker did, and give it more; or replace it."""
        worker, parcel = self.working.pop(future)
        error = future.exception()
        if error is None:
            self.count(parcel)
            self.hand_out(worker)
        elif worker.is_death(error):
            self.progress.deaths += 1
            self.take_back(parcel)
            if self.waiting:
                self.start(worker)
        elif isinstance(error, KeyboardInterrupt):  # of the worker alone, or before the driver hears of it
            left = [entry for entry in parcel if self.carrier.results.read(entry[0]) is None]
            self.count([entry for entry in parcel if entry not in left])
            self.waiting.extend([left] if left else [])
            self.hand_out(worker)
        elif isinstance(error, OSError):
            cause = getattr(error, "cause", error)  # Ray's own has no number
            raise not_written(self.carrier.results.folder, cause)
        else:
            raise error
        self.tell(self.progress)

    def count(self, parcel: Parcel) -> None:
        """Count jobs whose results are there."""
        for key, _ in parcel:
            found = self.carrier.results.read(key)
            self.progress.done += 1
            self.progress.failed += found is not None and found.status == "failed"

    def take_back(self, parcel: Parcel) -> None:
        """What a dead worker had and did not publish goes to the next one, each job alone."""
        for key, job in parcel:
            if self.carrier.results.read(key) is not None:
                self.count([(key, job)])
                continue
            self.deaths[key] = self.deaths.get(key, 0) + 1
            if self.deaths[key] < self.limits.deaths:
                self.waiting.appendleft([(key, job)])
                continue
            what = f"{self.deaths[key]} workers died at this job, for want of memory perhaps."
            outcome = Outcome("failed", f"{what} Give fewer --workers or a smaller problem, then --retry.")
            with self.carrier.results.prepare(key, self.carrier.shard) as folder:
                self.carrier.publish((key, job), folder, outcome)
            self.count([(key, job)])
