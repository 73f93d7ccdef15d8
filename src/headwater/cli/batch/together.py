"""Jobs that share model, shape and method are solved as one batch, each into its own folder.

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
from headwater.cli.batch.sharing import Fork, contents, follow, in_order, rows_of
from headwater.errors import Misuse
from headwater.flows.latent import LatentModel
from headwater.problem.batch import select_rows
from headwater.solvers.memory import available_memory

if TYPE_CHECKING:
    from headwater.cli.image.restoration import RestoreJob
    from headwater.image.restoration import Restoration

Sharers = Callable[[torch.device], int]
"""How many workers share the memory of a device."""
PICTURES = ("inpaint", "upscale", "deblur", "denoise", "colorize", "dejpeg", "declip")
RECORDINGS = ("inpaint", "extend", "declip", "denoise", "dereverb", "restore")
"""Commands whose jobs may be solved as one batch; others are solved one by one."""
OWN = ("seed", "samples", "reference", "box", "grow", "mask", "output", "photos")
"""Options in which pictures of one group may differ; the worker compares what they lead to."""
METHOD = ("command", "method", "steps", "gradients")
"""Options that recordings of one group share; each has an operator of its own."""


def group_of(options: Mapping[str, Any]) -> str | None:
    """The group of a job: what those that may be solved with it have in common; None if it is solved alone."""
    domain, _, command = str(options["command"]).partition(" ")
    if options.get("seconds") is not None or options.get("posterior") is not None:
        return None
    if domain == "audio" and command in RECORDINGS and options.get("model") is None:
        return json.dumps({k: options.get(k) for k in METHOD}, sort_keys=True)
    if domain == "image" and command in PICTURES:
        return json.dumps({k: v for k, v in options.items() if k not in OWN}, sort_keys=True)
    return None


def solve_together(
    jobs: Sequence[Job], folders: Sequence[Path], sharers: Sharers
) -> Iterator[tuple[int, Outcome]]:
    """Solve those of the jobs that go together, as many at once as memory allows; the others are left."""
    if jobs[0].options["command"].startswith("audio "):
        from headwater.cli.batch.recordings import solve_recordings

        yield from solve_recordings(jobs, folders, sharers)
        return
    groups: dict[str, list[Entry]] = {}
    for entry in make_entries(jobs, folders):
        groups.setdefault(fingerprint(entry.restoration), []).append(entry)
    for entries in groups.values():
        for part in as_many_as_fit(entries, entries[0].restoration, sharers):
            if len(part) > 1:
                yield from solve(part)


@dataclass(frozen=True)
class Entry:
    """A job of a batch: its place, its folder, and the restoration, ready to be solved."""

    place: int
    folder: Path
    restoration: RestoreJob


def make_entries(jobs: Sequence[Job], folders: Sequence[Path]) -> Iterator[Entry]:
    """The restorations of jobs; one that is refused is left, and says why when it is done alone."""
    from headwater.cli.batch.work import call_command, record
    from headwater.cli.image.restoration import RestoreJob
    from headwater.cli.shared.job import collect

    for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
        with record(folder), collect() as found, suppress(Misuse, OSError):
            call_command(job, folder)
        for one in found:
            if type(one) is RestoreJob:  # a job of another kind, such as one that finds its kernel, does more
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


def as_many_as_fit(
    entries: Sequence[Entry], restoration: RestoreJob, sharers: Sharers
) -> Iterator[list[Entry]]:
    """The entries in parts that fit into this worker's share of 60 % of the free memory, or into --memory."""
    device = restoration.device
    room = restoration.options.memory or 0.6 * available_memory(device) / sharers(device)
    most = max(1, int(room // sample_bytes(restoration)))
    part: list[Entry] = []
    for entry in entries:
        if part and sum(e.restoration.options.samples for e in [*part, entry]) > most:
            yield part
            part = []
        part.append(entry)
    yield part


def sample_bytes(restoration: RestoreJob) -> int:
    """The memory that one sample of a restoration takes."""
    from headwater.cli.image.restoration import RESULTS, decoder_bytes, evaluation_bytes
    from headwater.image.latent import canvas_of, latents_on_canvas

    task, model = restoration.request.task, restoration.model
    if not isinstance(model, LatentModel):
        canvas = task.embed(model)
        return evaluation_bytes(canvas) + RESULTS * 4 * canvas.event_size
    size = canvas_of(task.size, model)
    canvas = latents_on_canvas(model, size)
    return (
        evaluation_bytes(canvas)
        + decoder_bytes(model, canvas)
        + RESULTS * 4 * model.shape[0] * size[0] * size[1]
    )


def solve(entries: Sequence[Entry]) -> Iterator[tuple[int, Outcome]]:
    """Solve restorations as one batch, then let each write its files and its report."""
    from headwater.cli.batch.work import call, read_outcome, record
    from headwater.cli.image import restoration
    from headwater.cli.shared.job import run

    start, count, first = time.perf_counter(), len(entries), entries[0].restoration
    jobs = [entry.restoration for entry in entries]
    parts = in_order([job.options.samples for job in jobs])
    seeds = [job.options.seed + i for job in jobs for i in range(job.options.samples)]
    tasks = [job.request.task for job in jobs]
    guess = (
        None if tasks[0].guess is None else of_samples([t.guess for t in tasks if t.guess is not None], parts)
    )
    task = replace(tasks[0], y=of_samples([t.y for t in tasks], parts), guess=guess)
    done = restoration.solve(task, first, seeds, Fork([follow(job.watch) for job in jobs], parts))
    seconds = (time.perf_counter() - start) / count
    for entry, job, part in zip(entries, jobs, parts, strict=True):
        job.done, job.together, job.seconds = pick(done, part), count, seconds
        begun = time.perf_counter()
        with record(entry.folder) as log:
            code = call(partial(run, job))
        spent = seconds + time.perf_counter() - begun
        yield entry.place, read_outcome(code, log.getvalue(), entry.folder, spent, count)


def of_samples(values: Sequence[Tensor], parts: Sequence[slice]) -> Tensor:
    """What each job has, `[1 or samples, ...]`, once for each of its samples, `[all samples, ...]`."""
    found = [x.expand(p.stop - p.start, *x.shape[1:]) for x, p in zip(values, parts, strict=True)]
    return torch.cat(found)


def pick(done: Restoration, part: slice) -> Restoration:
    """The restoration of the problems of a part, as a run of their own would have it."""
    index, problem = torch.arange(part.start, part.stop), done.problem
    return replace(
        done,
        images=done.images[part],
        result=rows_of(done.result, part),
        task=replace(done.task, y=done.task.y[part], guess=select_rows(done.task.guess, index)),
        problem=replace(
            problem,
            flow=problem.flow.select(index),
            misfit=problem.misfit.select(index),
            guess=select_rows(problem.guess, index),
        ),
    )
