"""One way from a command to written files: what is written, said and returned, however the work ends."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cli_tools import EXITS, report

from headwater.cli.shared import machine
from headwater.cli.shared.job import Entry, Job, run
from headwater.cli.shared.progress import Watch
from headwater.errors import Misuse
from headwater.optimizers.status import Status


@dataclass(kw_only=True)
class Letters(Job):
    """Writes a file for each letter; `trouble` is raised before the letter of that number."""

    folder: Path
    letters: str = "ab"
    statuses: tuple[Status, ...] = (Status.REACHED, Status.REACHED)
    trouble: dict[int, BaseException] = field(default_factory=dict)
    smaller = "Give fewer letters."
    rows, row = "letters", "letter"
    packages = ("numpy", "no-such-package")

    def __post_init__(self):
        self.done = []

    def work(self):
        for number, letter in enumerate(self.letters):
            if number in self.trouble:
                raise self.trouble[number]
            (self.folder / f"{letter}.txt").write_text(letter)
            self.done.append(letter)

    def entries(self):
        rows = zip(self.done, self.statuses, strict=False)
        return [Entry(f"letter {a}", {"letter": a, "status": s.name}, (s,)) for a, s in rows]

    def facts(self):
        return {"seconds": 7, "definitions": {"letter": "one of the alphabet"}}

    def show(self, report):
        (self.folder / "sheet.txt").write_text(str(report["seconds"]))

    def remarks(self, report):
        missing = len(self.letters) - len(self.done)
        return [f"{missing} letters were not begun."] if missing else []

    def tell(self, report):
        print(f"{len(report['letters'])} letters")


@pytest.fixture
def letters(tmp_path):
    return lambda **more: Letters(
        command="letters write", folder=tmp_path, report=tmp_path / "l.json", inputs=(Path("in"),), **more
    )


def test_files_report_and_words(letters, tmp_path, capsys):
    assert run(letters(settings={"size": 3}, warnings=("It is late.",))) == 0
    assert capsys.readouterr() == ("2 letters\n", "Warning: It is late.\n")
    found = report(tmp_path / "l.json")
    assert (
        found["command"] == "letters write" and found["inputs"] == ["in"] and found["settings"] == {"size": 3}
    )
    assert found["letters"] == [{"letter": a, "status": "REACHED"} for a in "ab"]
    assert found["warnings"] == ["It is late."] and found["ended_by"] is None and not found["interrupted"]
    assert (
        found["seconds"] == 7 and found["peak_memory_bytes"] > 0 and found["device"] == "cpu"
    )  # the job's wins
    assert {"headwater", "torch", "numpy"} <= set(found["versions"]) and "no-such-package" not in found[
        "versions"
    ]
    assert (tmp_path / "sheet.txt").read_text() == "7"


def test_without_a_report_nothing_is_written_beside_the_work(letters, tmp_path):
    job = letters(quiet=True)
    job.report = None
    assert run(job) == 0 and not (tmp_path / "l.json").exists()


@pytest.mark.parametrize("status, code", EXITS)
def test_how_it_ends_is_an_exit_code_and_a_warning(status, code, letters, capsys):
    assert run(letters(statuses=(Status.REACHED, status), quiet=True)) == code
    warned = "" if status.ok else f"Warning, letter b: {status.value}\n"
    missed = "" if code in (0, 130) else "1 of 2 letters missed its goal.\n"
    assert capsys.readouterr() == ("", warned + missed)


@pytest.mark.parametrize(
    "error, said",
    [
        (Misuse("The pen broke.", "Buy one."), "The pen broke. Buy one."),
        (MemoryError(), "The machine ran out of memory. Give fewer letters."),
        (RuntimeError("CUDA out of memory"), "The machine ran out of memory. Give fewer letters."),
    ],
)
def test_what_ends_the_work_leaves_what_was_done(error, said, letters, tmp_path, capsys):
    assert run(letters(trouble={1: error}, quiet=True)) == 2
    assert capsys.readouterr().err == f"Warning: 1 letters were not begun.\nError: {said}\n"
    found = report(tmp_path / "l.json")
    assert [row["letter"] for row in found["letters"]] == ["a"] and found["ended_by"] == said
    assert (tmp_path / "a.txt").exists() and (tmp_path / "sheet.txt").exists()


@pytest.mark.parametrize("error", [Misuse("The pen broke.", "Buy one."), MemoryError()])
def test_what_ends_the_work_before_anything_was_done_is_a_refusal(error, letters, tmp_path):
    with pytest.raises(Misuse, match=r"The pen broke\.|ran out of memory\. Give fewer"):
        run(letters(trouble={0: error}))
    assert list(tmp_path.iterdir()) == []


def test_a_defect_is_no_refusal(letters, tmp_path):
    with pytest.raises(RuntimeError, match="a defect"):
        run(letters(trouble={1: RuntimeError("a defect")}))
    assert (tmp_path / "a.txt").exists()


def test_after_ctrl_c_the_exit_code_is_130(letters, tmp_path, capsys):
    watch = Watch("letters", quiet=True)
    watch.interrupt.asked = True
    assert run(letters(watch=watch, quiet=True)) == 130
    assert (
        report(tmp_path / "l.json")["interrupted"] and "What was done is written." in capsys.readouterr().err
    )


def test_many_names_are_counted(letters, capsys):
    many = "abcdefghijk"
    run(letters(letters=many, statuses=(Status.SECONDS,) * len(many), quiet=True))
    assert capsys.readouterr().err.startswith("Warning, letter a, letter b,")


def test_what_was_not_begun_is_counted_as_missed(letters, monkeypatch, capsys):
    monkeypatch.setattr(Letters, "not_begun", lambda job: 2)
    assert run(letters(letters="ab")) == 1
    assert capsys.readouterr().out.splitlines()[0] == "2 of 4 letters missed their goals."
    assert run(letters(letters="a", quiet=True, overwrite=True)) == 1
    assert capsys.readouterr().err == "2 of 3 letters missed their goals.\n"


@pytest.mark.parametrize(
    ("before", "after", "most", "threads"),
    [
        ((100, 1000), (180, 1080), None, 8),  # nobody else computes
        ((100, 1000), (139, 1080), None, 4),  # half of the time of eight cores
        ((100, 1000), (100, 1080), None, 1),
        ((100, 1000), (180, 1080), 2, 2),
        ((100, 1000), (100, 1080), 2, 1),
    ],
)
def test_threads_are_as_many_as_idle_cores_and_no_more_than_a_job_can_use(
    letters, monkeypatch, before, after, most, threads
):
    times, used = iter([before, after]), []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr(machine, "read_core_times", lambda: next(times))
    monkeypatch.setattr("torch.set_num_threads", used.append)
    monkeypatch.setattr(Letters, "most_threads", lambda self: most)
    assert run(letters(quiet=True)) == 0 and used == [threads]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert run(letters(quiet=True, overwrite=True)) == 0 and used == [threads]  # who says it is obeyed


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="there is no /proc/stat")
def test_cores_that_idle_are_counted_by_the_clock_of_the_machine():
    idle, total = machine.read_core_times()
    time.sleep(0.1)
    later = machine.read_core_times()
    assert later[1] > total and 0 <= later[0] - idle <= later[1] - total
    assert 0 <= machine.count_idle_cores(0.05) <= os.cpu_count()


def test_without_the_clock_of_the_machine_the_load_average_is_taken(monkeypatch):
    def no_file():
        raise FileNotFoundError("/proc/stat")

    monkeypatch.setattr(machine, "read_core_times", no_file)
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.setattr("os.getloadavg", lambda: (2.5, 0.0, 0.0), raising=False)
    assert machine.count_idle_cores() == 5.5
