"""Ten thousand small problems whose workers and drivers are killed: is any lost, doubled or changed?

    python benchmarks/batch_chaos.py

The problems are small, so that the engine is what is seen: draws of a closed-form Gaussian flow, every twentieth the
source of a sample with a given entry (`control`), every hundredth a digit of the small flow of `digits.py`. They are
solved undisturbed in this process first. Then two Ray
nodes of one core each, on this machine, solve them while a random worker is killed (kill -9) every `--every` seconds,
and the driver after a third and after two thirds; the same driver is started again each time. The same is done with a
fifth of the jobs and processes in place of Ray. Needs ray and pyarrow (the extra `cluster`) and scikit-learn.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

import digits
import headwater as hw
from common import options, write
from headwater.batch import Function, Job, Processes, RayActors, run
from headwater.batch.results import Results

PARCEL = 16
HERE = str(Path(__file__).resolve().parent)


@lru_cache
def plane() -> hw.Flow:
    std = torch.linspace(0.5, 1.5, 8)
    return hw.Gaussian(torch.zeros(8), std).flow


@lru_cache
def digit_flow() -> hw.Flow:
    return digits.digits_flow()


def solve(asked: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """One problem; it leaves a line in a file, so that what was computed twice can be counted."""
    with open(asked["log"], "a") as log:
        log.write(f"{asked['number']}\n")
    if asked["number"] % 100 == 0:
        return draw_digit(asked["number"])
    flow, target = plane(), torch.tensor([[asked["target"]]])
    x0 = flow.noise(seeds=[asked["number"]])
    if asked["number"] % 20:
        return {"status": "DRAWN", "x1": hw.solve(flow, x0, steps=2)[0].tolist()}
    misfit = hw.Misfit(lambda x1: x1[:, :1], target, 0.05)
    result = hw.control(flow, misfit, x0, steps=2, gradients=20, stop=hw.discrepancy(misfit))
    return {"status": result.status[0].name, "x1": result.x1[0].tolist(), "x0": result.x0[0].tolist()}


def draw_digit(number: int) -> dict[str, Any]:
    flow = digit_flow()
    with torch.no_grad():
        x = hw.solve(flow, flow.noise(seeds=[number]), steps=2)
    return {"status": "DRAWN", "mean": float(x.mean()), "entry": float(x.flatten()[500])}


def problems(count: int, log: Path) -> list[Job]:
    draw = random.Random(0)
    given = [{"number": i, "target": draw.uniform(-2, 2), "log": str(log)} for i in range(count)]
    return [Job(one, name=f"problem {one['number']}") for one in given]


def drive(folder: Path, count: int, address: str, workers: int) -> None:
    """The driver, as a process of its own that can be killed."""
    torch.set_num_threads(1)
    crew = RayActors(address) if address else Processes(workers, threads=1)
    run(
        Function(solve, version="1", at_once=PARCEL),
        problems(count, folder / "log"),
        folder / "out",
        crew=crew,
    )


def find_workers(ray: bool, driver: int) -> list[int]:
    """The processes that solve: actors of our nodes, or children of the driver's process server.

    Actors of other programs' nodes on this machine are left alone.
    """
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        local = "forkserver" in words and parent != driver and ancestor(parent) == driver
        ours = ancestor(parent) == os.getpid()  # the node that started it is a child of this process
        actor = ours and words.startswith("ray::RemoteCarrier") and "__init__" not in words
        if actor if ray else local:
            found.append(int(place.name))
    return found


def ancestor(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def chaos(folder: Path, count: int, every: float, address: str, workers: int) -> dict[str, int | float]:
    """Run the driver until it ends by itself, killing workers all the time and the driver twice."""
    draw, begun = random.Random(1), time.perf_counter()
    results, killed, drivers, last = Results(folder / "out"), 0, 1, time.perf_counter()
    driver = start_driver(folder, count, address, workers)
    while driver.poll() is None:
        time.sleep(0.5)
        done = sum(1 for _ in results.list_keys()) if results.folder.exists() else 0
        if drivers <= 2 and done >= drivers * count / 3:
            driver.kill()
            driver.wait()
            drivers, driver = drivers + 1, start_driver(folder, count, address, workers)
        elif time.perf_counter() - last >= every:
            last = time.perf_counter()
            for process in draw.sample(w := find_workers(bool(address), driver.pid), min(1, len(w))):
                os.kill(process, signal.SIGKILL)
                killed += 1
    if driver.returncode:
        raise SystemExit(f"The driver ended with {driver.returncode}.")
    return {
        "workers killed": killed,
        "drivers killed": drivers - 1,
        "seconds": round(time.perf_counter() - begun, 1),
    }


def start_driver(folder: Path, count: int, address: str, workers: int) -> subprocess.Popen[bytes]:
    words = [sys.executable, __file__, "drive", str(folder), str(count), address, str(workers)]
    return subprocess.Popen(words)


def compare(folder: Path, truth: Path, count: int) -> dict[str, Any]:
    """Lost, doubled, and equal to the undisturbed run? Every result is read with its checksums."""
    jobs = problems(count, folder / "log")
    found = run(Function(solve, version="1"), jobs, folder / "out", stop=lambda: True)
    wanted = run(
        Function(solve, version="1"), problems(count, truth / "log"), truth / "out", stop=lambda: True
    )
    pairs = zip(found.rows, wanted.rows, strict=True)
    equal = sum(a.again and b.again and a.outcome.values == b.outcome.values for a, b in pairs)
    keys = list(Results(folder / "out").list_keys())
    computed = len((folder / "log").read_text().splitlines())
    return {
        "jobs": count,
        "lost": sum(not row.again for row in found.rows),
        "doubled": len(keys) - len({row.key for row in found.rows}),
        "equal to the undisturbed run": equal,
        "computed again after a kill": computed - count,
    }


def corrupt(folder: Path, truth: Path, count: int, many: int) -> dict[str, Any]:
    """Change one bit of some results; the next run finds them and does them again."""
    results, draw = Results(folder / "out"), random.Random(2)
    for key in sorted(results.list_keys())[:many]:
        record = results.folder / key / "job.json"
        data = bytearray(record.read_bytes())
        data[draw.randrange(len(data))] ^= 1
        record.write_bytes(data)
    summary = run(Function(solve, version="1"), problems(count, folder / "log"), folder / "out")
    after = compare(folder, truth, count)
    return {"changed": many, "found": summary.corrupted, "equal after": after["equal to the undisturbed run"]}


def let_workers_import() -> None:
    """Put this folder on the path of workers; Ray's nodes take the environment of this process."""
    os.environ["PYTHONPATH"] = os.pathsep.join([HERE, os.environ.get("PYTHONPATH", "")])
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def start_nodes(tries: int = 10) -> Any:
    """Two Ray nodes of one core; Ray gives each 30 seconds, which a busy machine may miss."""
    from ray.cluster_utils import Cluster

    about = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    for _ in range(tries):
        cluster = Cluster()
        try:
            cluster.add_node(**about)
            cluster.add_node(**about)
            return cluster
        except Exception as error:
            print(f"A node did not start: {error}", flush=True)
            cluster.shutdown()
    raise SystemExit("No Ray nodes could be started.")


def rows(o: Any, work: Path) -> Iterator[dict[str, Any]]:
    truth = work / "truth"
    truth.mkdir()
    start = time.perf_counter()
    jobs = problems(o.jobs, truth / "log")
    run(Function(solve, version="1", at_once=PARCEL), jobs, truth / "out")
    spent = time.perf_counter() - start
    yield {"what": "undisturbed, one process", "jobs": o.jobs, "seconds": round(spent, 1)}

    cluster = start_nodes()
    try:
        for name, address, count in (
            ("two Ray nodes", cluster.address, o.jobs),
            (f"{o.workers} processes", "", o.jobs // 5),
        ):
            folder = work / name.replace(" ", "-")
            folder.mkdir()
            told = chaos(folder, count, o.every, address, o.workers)
            yield {"what": f"{name}, killed", **compare(folder, truth, count), **told}
        told = corrupt(work / f"{o.workers}-processes", truth, o.jobs // 5, 20)
        yield {"what": "one bit changed in 20 results", "jobs": o.jobs // 5, **told}
    finally:
        cluster.shutdown()


def main() -> None:
    if sys.argv[1:2] == ["drive"]:
        folder, count, address, workers = sys.argv[2:]
        drive(Path(folder), int(count), address, int(workers))
        return
    let_workers_import()
    o = options(__doc__.splitlines()[0], jobs=10_000, workers=2, every=10.0)
    torch.set_num_threads(1)
    work = Path(tempfile.mkdtemp(prefix="batch-chaos-"))
    try:
        found = []
        for row in rows(o, work):
            print(row, flush=True)
            found.append(row)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    note = (
        "A result is a folder named by the content of its job. Other programs had both cores of the machine "
        "during the run, so compare lines, not machines."
    )
    command = f"python benchmarks/batch_chaos.py --jobs {o.jobs} --every {o.every:g}"
    write(o.results / "batch_chaos", found, command, note)


if __name__ == "__main__":
    import batch_chaos  # under the name by which workers import it

    batch_chaos.main()
