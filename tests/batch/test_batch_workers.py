"""Workers and drivers that are killed: nothing is lost, and nothing is done twice."""

import os
import signal
import subprocess
import sys
import time

import batch_work
import pytest

from headwater.batch import Function, Job, Processes, RayActors, run
from headwater.batch.driver import Limits
from headwater.batch.processes import finished
from headwater.batch.results import Results
from headwater.errors import Misuse


def tries(path):
    return [line.split()[0] for line in path.read_text().splitlines()]


def test_a_worker_that_dies_loses_no_job_and_a_deadly_job_is_a_failure(tmp_path):
    """kill -9 in the middle of a parcel: what was published stays, what was not goes to the next worker."""
    deadly = {1: "once", 4: "always"}
    todo = [
        Job({"value": i, "deadly": deadly.get(i, ""), "tries": str(tmp_path / "tries")}, name=f"job {i}")
        for i in range(6)
    ]
    summary = run(
        Function(batch_work.die, at_once=3), todo, tmp_path / "out", crew=Processes(1, threads=1),
        limits=Limits(deaths=2, parcels=1),
    )  # fmt: skip
    assert summary.counts == {"done": 5, "failed": 1} and summary.deaths == 3
    assert summary.rows[4].sentence.startswith("2 workers died at this job")
    assert sorted(tries(tmp_path / "tries")) == ["0", "1", "1", "2", "3", "4", "4", "5"]
    folders = [place for place in (tmp_path / "out").iterdir() if not place.name.startswith(".")]
    assert len(folders) == 6 and not list((tmp_path / "out").rglob("torn.txt"))


SCRIPT = """
import sys
from headwater.batch import Function, Job, Processes, run
import batch_work

if __name__ == "__main__":
    jobs = [Job({"started": sys.argv[2], "seconds": 0 if i < 2 else 60, "n": i}) for i in range(4)]
    run(Function(batch_work.slow), jobs, sys.argv[1], crew=Processes(1, threads=1))
"""


def ended(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    with open(f"/proc/{process}/stat") as about:  # what was killed and not yet waited for
        return about.read().rpartition(")")[2].split()[0] == "Z"


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_driver_that_is_killed_takes_its_workers_along_and_the_next_one_goes_on(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    out, started = tmp_path / "out", tmp_path / "started"
    driver = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(out), str(started)])
    wait_for(lambda: started.exists() and len(started.read_text().splitlines()) == 3)  # two done, one at work
    worker = int(started.read_text().split()[-1])
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: ended(worker), 20)
    assert len(list(Results(out).list_keys())) == 2 and list(out.glob(".headwater-tmp-*"))
    jobs = [Job({"started": str(started), "seconds": 0 if i < 2 else 60, "n": i}) for i in range(2)]
    summary = run(Function(batch_work.slow), jobs, out)  # the lock of the dead driver is gone
    assert [row.again for row in summary.rows] == [True, True] and not list(out.glob(".headwater-tmp-*"))


class Frail:
    """A crew whose worker never gets ready."""

    def open(self, carrier):
        return [self]

    def start(self):
        from headwater.batch.processes import failed

        return failed(ValueError("no torch here"))

    def is_death(self, error):
        return True

    def stop(self):
        pass

    def close(self):
        pass


def test_workers_that_never_begin_end_the_run(tmp_path):
    with pytest.raises(
        Misuse, match=r"5 workers ended before they began, the last with ValueError: no torch here\."
    ):
        run(Function(batch_work.half), [Job({"value": 1})], tmp_path, crew=Frail())


def test_a_future_that_is_there():
    assert finished(3).result() == 3


@pytest.mark.parametrize(
    "make", [lambda: Processes(-1), lambda: RayActors(count=0), lambda: RayActors(cores=0)]
)
def test_numbers_of_workers_that_are_none(make):
    with pytest.raises(Misuse):
        make()


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Misuse, match=r"pip install headwater\[cluster\]"):
        run(Function(batch_work.half), [Job({"value": 1})], tmp_path, crew=RayActors("10.0.0.1:6379"))


def test_an_actor_of_ray_that_dies_loses_no_job(tmp_path):
    pytest.importorskip("ray")
    deadly = {1: "once"}
    todo = [
        Job({"value": i, "deadly": deadly.get(i, ""), "tries": str(tmp_path / "tries")}) for i in range(4)
    ]
    try:
        summary = run(
            Function(batch_work.die, at_once=2), todo, tmp_path / "out", crew=RayActors("local", count=1)
        )
    except Misuse as error:
        if "timed out during startup" in str(error):
            pytest.skip("Ray gives its node 30 seconds to start, and this machine is busy.")
        raise
    assert summary.counts == {"done": 4} and summary.deaths == 1
    assert sorted(tries(tmp_path / "tries")) == ["0", "1", "1", "2", "3"]


def test_a_cluster_that_is_not_there(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")

    def init(**given):
        assert given["address"] == "10.0.0.1:6379"
        raise ConnectionError("Could not connect.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(
        Misuse, match=r"There is no Ray cluster at 10\.0\.0\.1:6379: .*connect\. Start one with"
    ):
        run(Function(batch_work.half), [Job({"value": 1})], tmp_path, crew=RayActors("10.0.0.1:6379"))
