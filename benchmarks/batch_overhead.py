"""What the engine of `headwater batch` costs a job, beside Ray's own call of nothing, and its throughput by workers.

    python benchmarks/batch_overhead.py

A job of nothing still has its folder, its record with checksums, and its rename. Times are those that a tenth of the
calls stay below, one after the other, so that they tell little of other programs on the machine. Throughput is that
of the problems of `batch_chaos.py`, in parcels of 16. Needs ray and pyarrow (the extra `cluster`) and scikit-learn.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from batch_chaos import PARCEL, let_workers_import, problems, solve, start_nodes
from common import options, write
from headwater.batch import Function, Job, Processes, RayActors, run


def nothing(asked: Mapping[str, Any], folder: Path) -> None:
    """No work: what is left is the engine."""


def watch(work: Function, jobs: list[Job], folder: Path, crew: Any) -> list[tuple[float, int]]:
    """When how many jobs were done, after each parcel."""
    marks: list[tuple[float, int]] = []
    run(work, jobs, folder, crew=crew, tell=lambda p: marks.append((time.perf_counter(), p.done)))
    return [(when, done) for when, done in marks if done >= len(jobs) // 5]


def milliseconds(crew: Any, count: int) -> float:
    """What the engine takes for a job of nothing, the first decile over jobs."""
    jobs = [Job({"number": i}) for i in range(count)]
    with tempfile.TemporaryDirectory() as folder:
        marks = watch(Function(nothing, version="1"), jobs, Path(folder) / "out", crew)
    steps = [(b - a) / (m - n) for (a, n), (b, m) in itertools.pairwise(marks) if m > n]
    return fastest_tenth(steps) * 1000


def fastest_tenth(seconds: list[float]) -> float:
    return statistics.quantiles(seconds, n=10)[0]


def throughput(workers: int, count: int) -> float:
    """Problems a second with so many processes, once all of them work."""
    with tempfile.TemporaryDirectory() as folder:
        jobs = problems(count, Path(folder) / "log")
        work = Function(solve, version="1", at_once=PARCEL)
        marks = watch(work, jobs, Path(folder) / "out", Processes(workers, threads=1))
    (start, before), (end, after) = marks[0], marks[-1]
    return (after - before) / (end - start)


def call_ray(address: str, count: int) -> float:
    """Ray's own: milliseconds for a call of an actor that does nothing, the first decile."""
    import ray

    ray.init(address=address, log_to_driver=False, configure_logging=False)

    @ray.remote(num_cpus=1)
    class Idle:
        def nothing(self) -> None:
            pass

    actor = Idle.remote()
    each = []
    for _ in range(count):
        start = time.perf_counter()
        ray.get(actor.nothing.remote())
        each.append(time.perf_counter() - start)
    ray.shutdown()
    return fastest_tenth(each) * 1000


def rows(o: Any) -> Iterator[dict[str, Any]]:
    cluster = start_nodes()
    try:
        yield {"what": "Ray's own call of nothing", "ms a job": round(call_ray(cluster.address, o.jobs), 2)}
        ms = milliseconds(RayActors(cluster.address, count=1), o.jobs)
        yield {"what": "a job of nothing, one Ray actor", "ms a job": round(ms, 2)}
    finally:
        cluster.shutdown()
    for name, crew in (("one process", Processes(1, threads=1)), ("the process of the driver", Processes(0))):
        ms = milliseconds(crew, o.jobs)
        yield {"what": f"a job of nothing, {name}", "ms a job": round(ms, 2)}
    for workers in (1, 2, 4):
        speed = throughput(workers, o.jobs)
        yield {"what": f"problems, {workers} processes", "jobs a second": round(speed, 1)}


def main() -> None:
    let_workers_import()
    o = options(__doc__.splitlines()[0], jobs=800)
    torch.set_num_threads(1)
    found = []
    for row in rows(o):
        print(row, flush=True)
        found.append(row)
    note = "Compare lines, not machines, and expect no gain from more processes than cores."
    write(o.results / "batch_overhead", found, f"python benchmarks/batch_overhead.py --jobs {o.jobs}", note)


if __name__ == "__main__":
    import batch_overhead  # under the name by which workers import it

    batch_overhead.main()
