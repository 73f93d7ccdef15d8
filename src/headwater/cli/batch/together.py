"""Pictures that share model, shape and damage are restored as one batch, each into its own folder.

A batch of k gives what k runs of one give, within rounding (the second promise of the house). Where a run of one
looks at its own picture to choose what is computed, as around a hole, only pictures that choose the same go together.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from headwater.batch import Job, Outcome
from headwater.cli.shared.progress import Watch
from headwater.dflow.result import Event
from headwater.errors import Misuse
from headwater.optimizers.status import Status
from headwater.problem.batch import select_rows
from headwater.problem.operator import Operator
from headwater.solvers.memory import available_memory

if TYPE_CHECKING:
    from headwater.cli.image.restoration import RestoreJob
    from headwater.image.restoration import Restoration

TOGETHER = ("inpaint", "upscale", "deblur", "denoise", "colorize", "dejpeg", "declip")
"""Commands whose jobs may be solved as one batch; others are solved one by one."""
OWN = ("seed", "reference", "box", "grow", "mask", "output", "photos")
"""Options in which jobs of one group may differ; the worker compares what they lead to."""


def group_of(options: Mapping[str, Any]) -> str | None:
    """The group of a job: its options without those that may differ; None if it is solved alone."""
    domain, _, command = str(options["command"]).partition(" ")
    if (
        domain != "image"
        or command not in TOGETHER
        or options["samples"] != 1
        or options["seconds"] is not None
        or options["posterior"] is not None
    ):
        return None
    return json.dumps({k: v for k, v in options.items() if k not in OWN}, sort_keys=True)


@dataclass(frozen=True)
class Entry:
    """A job of a batch: its place, its folder, and the restoration, ready to be solved."""

    place: int
    folder: Path
    restoration: RestoreJob


def solve_together(
    jobs: Sequence[Job], folders: Sequence[Path], sharers: Callable[[torch.device], int]
) -> Iterator[tuple[int, Outcome]]:
    """Solve those of the jobs that go together, as many at once as memory allows; the others are left.

    `sharers` says how many workers share the memory of a device.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in make_entries(jobs, folders):
        groups.setdefault(fingerprint(entry.restoration), []).append(entry)
    for entries in groups.values():
        most = count_at_once(entries[0].restoration, sharers)
        for first in range(0, len(entries), most):
            if len(part := entries[first : first + most]) > 1:
                yield from solve(part)


def make_entries(jobs: Sequence[Job], folders: Sequence[Path]) -> Iterator[Entry]:
    """The restorations of jobs on pixels; one that is refused is left, and says why when it is done alone."""
    from headwater.cli.batch.work import call_command, record
    from headwater.cli.image.restoration import RestoreJob
    from headwater.cli.shared.job import collect
    from headwater.flows.latent import LatentModel

    for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
        with record(folder), collect() as found, suppress(Misuse, OSError):
            call_command(job, folder)
        for one in found:
            if isinstance(one, RestoreJob) and not isinstance(one.model, LatentModel):
                yield Entry(place, folder, one)


def fingerprint(restoration: RestoreJob) -> str:
    """What restorations that go together have in common, beside their options: damage, noise, shapes, greyness."""
    task = restoration.request.task
    y = task.y
    grey = y.ndim == 4 and y.shape[1] == 3 and bool((y - y.mean(1, keepdim=True)).abs().max() <= 1e-6)
    known = (task.noise, task.size, y.shape, y.dtype, grey, task.guess is None, restoration.device)
    digest = hashlib.sha256(repr(known).encode())
    for part in contents(task.operator):
        digest.update(part)
    return digest.hexdigest()


def contents(thing: Any) -> Iterator[bytes]:
    """What an operator is made of, in bytes; a function is only ever equal to itself."""
    if isinstance(thing, Tensor):
        yield f"{thing.dtype} {list(thing.shape)}".encode()
        yield thing.detach().cpu().contiguous().numpy().tobytes()
    elif isinstance(thing, str | int | float | bool | None):
        yield repr(thing).encode()
    elif isinstance(thing, tuple | list):
        for one in thing:
            yield from contents(one)
    elif isinstance(thing, Operator):
        yield type(thing).__qualname__.encode()
        for name, value in sorted(vars(thing).items()):
            yield name.encode()
            yield from contents(value)
    else:
        yield str(id(thing)).encode()


def count_at_once(restoration: RestoreJob, sharers: Callable[[torch.device], int]) -> int:
    """How many such pictures fit into this worker's share of 60 % of the free memory, or into --memory."""
    from headwater.cli.image.prior import flow_of
    from headwater.cli.image.restoration import RESULTS, evaluation_bytes

    canvas = restoration.request.task.embed(flow_of(restoration.model))
    one = evaluation_bytes(canvas) + RESULTS * 4 * canvas.event_size
    device = restoration.device
    room = restoration.options.memory or 0.6 * available_memory(device) / sharers(device)
    return max(1, int(room // one))


def solve(entries: Sequence[Entry]) -> Iterator[tuple[int, Outcome]]:
    """Solve restorations as one batch, then let each write its files and its report."""
    from headwater.cli.batch.work import call, read_outcome, record
    from headwater.cli.image import restoration
    from headwater.cli.shared.job import run

    start, count, first = time.perf_counter(), len(entries), entries[0].restoration
    jobs = [entry.restoration for entry in entries]
    tasks = [job.request.task for job in jobs]
    guess = None if tasks[0].guess is None else torch.cat([t.guess for t in tasks if t.guess is not None])
    task = replace(tasks[0], y=torch.cat([t.y for t in tasks]), guess=guess)
    done = restoration.solve(task, first, [job.options.seed for job in jobs], Fork([j.watch for j in jobs]))
    seconds = (time.perf_counter() - start) / count
    for i, (entry, job) in enumerate(zip(entries, jobs, strict=True)):
        job.done, job.together, job.seconds = pick(done, i), count, seconds
        begun = time.perf_counter()
        with record(entry.folder) as log:
            code = call(partial(run, job))
        spent = seconds + time.perf_counter() - begun
        yield entry.place, read_outcome(code, log.getvalue(), entry.folder, spent, count)


@dataclass(frozen=True)
class Fork:
    """A callback that lets each job follow its own problem; the first of them may end the solve."""

    watches: Sequence[Watch]

    def __call__(self, event: Event) -> Status | None:
        """Note the event of each problem as if it were alone."""
        for i, watch in enumerate(self.watches):
            place = (event.active == i).nonzero().flatten()
            if len(place):
                watch.note(of_problem(event, i, place))
        return self.watches[0].check()


def of_problem(event: Event, i: int, place: Tensor) -> Event:
    """The event of problem `i`, which stands at `place` `[1]` among the active ones."""
    own = {name: getattr(event, name)[place] for name in ("cost", "measure", "x1")}
    x0 = None if event.x0 is None else event.x0[place]
    return replace(event, active=torch.zeros_like(place), best=event.best[i : i + 1], x0=x0, **own)


def pick(done: Restoration, i: int) -> Restoration:
    """The restoration of problem `i`, as a run of its own would have it."""
    index, result, problem = torch.tensor([i]), done.result, done.problem
    own = {
        name: getattr(result, name)[i : i + 1]
        for name in ("x0", "x1", "cost", "measure", "status", "gradients")
    }
    spent = result.preparation
    return replace(
        done,
        images=done.images[i : i + 1],
        result=replace(
            result,
            **own,
            trace=result.trace[..., i : i + 1],
            state=None,
            preparation=spent[i : i + 1] if isinstance(spent, Tensor) and spent.ndim else spent,
        ),
        task=replace(done.task, y=done.task.y[i : i + 1], guess=select_rows(done.task.guess, index)),
        problem=replace(
            problem,
            flow=problem.flow.select(index),
            misfit=problem.misfit.select(index),
            guess=select_rows(problem.guess, index),
        ),
    )
