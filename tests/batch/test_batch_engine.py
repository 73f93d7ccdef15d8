"""The engine in one process: keys, folders that hold, failures, shares, resumed and stopped runs."""

import fcntl
import json
import math
import os
import shutil
import subprocess
import sys
import time

import batch_work
import pytest

from headwater.batch import Function, Job, Outcome, Shard, driver, run, write_page, write_table
from headwater.batch.driver import Progress
from headwater.batch.job import Hashes
from headwater.batch.results import Results, name_owner
from headwater.errors import Misuse

HALF = Function(batch_work.half)


def jobs(*values):
    return [Job({"value": value}, name=f"job {value}") for value in values]


def counting(calls):
    def function(options, folder):
        calls.append(options["value"])
        return batch_work.half(options, folder)

    return Function(function, version="1")


def keys(folder):
    return {place.name for place in folder.iterdir() if not place.name.startswith(".")}


def test_every_job_is_done_once_and_never_again(tmp_path):
    calls = []
    first = run(counting(calls), jobs(1, 2, 1, 3), tmp_path / "new" / "out")
    again = run(counting(calls), jobs(3, 4, 1), tmp_path / "new" / "out")
    assert calls == [
        1,
        2,
        3,
        4,
    ]  # the double in the first list, and those of the first run, are not done again
    assert first.rows[0].key == first.rows[2].key and first.counts == {"done": 4}
    assert [row.again for row in again.rows] == [True, False, True]
    assert [row.outcome.values["half"] for row in again.rows] == [1.5, 2.0, 0.5]
    assert keys(tmp_path / "new" / "out") == {row.key for row in (*first.rows, *again.rows)}


def test_a_folder_says_what_it_is(tmp_path):
    (row,) = run(HALF, jobs(3), tmp_path).rows
    record = json.loads((tmp_path / row.key / "job.json").read_text())
    assert (record["key"], record["status"], record["name"]) == (row.key, "done", "job 3")
    assert record["options"] == {"value": 3} and record["values"] == {"half": 1.5}
    assert record["maker"] == {"function": "batch_work.half", "version": HALF.version}
    assert list(record["files"]) == ["half.txt"] and len(record["files"]["half.txt"]) == 64
    assert not [place for place in tmp_path.iterdir() if "tmp" in place.name]


@pytest.mark.parametrize("damage", ["changed", "more", "less", "record", "value", "no record", "other"])
def test_a_corrupted_result_is_found_and_done_again(tmp_path, damage):
    first = run(HALF, jobs(1, 2), tmp_path)
    place, other = (tmp_path / row.key for row in first.rows)
    if damage == "changed":
        (place / "half.txt").write_text("0.6")
    elif damage == "more":
        (place / "stray.txt").write_text("")
    elif damage == "less":
        (place / "half.txt").unlink()
    elif damage == "record":
        (place / "job.json").write_text('{"key": "')
    elif damage == "value":
        text = (place / "job.json").read_text()
        (place / "job.json").write_text(text.replace('"half": 0.5', '"half": 0.6'))
    elif damage == "no record":
        (place / "job.json").unlink()
    else:
        shutil.rmtree(place)
        shutil.copytree(other, place)
    again = run(HALF, jobs(1, 2), tmp_path)
    assert again.corrupted == 1 and [row.again for row in again.rows] == [False, True]
    assert (place / "half.txt").read_text() == "0.5" and Results(tmp_path).look(place.name).status == "done"


def test_keys_know_bytes_options_and_maker_and_nothing_else(tmp_path):
    for name, text in (("a.png", "x"), ("b.png", "x"), ("c.png", "y"), ("a.npy", "x")):
        (tmp_path / name).write_text(text)

    def key(name="a.png", maker="1", **options):
        return Job({"noise": 0.1} | options, {"photo": tmp_path / name}).key({"version": maker})

    assert key() == key("b.png") == key(noise=0.10)  # of equal bytes
    others = [key("c.png"), key("a.npy"), key(noise=0.2), key(more=None), key(maker="2")]
    assert len({key(), *others}) == 6  # the ending decides how bytes are read


def test_the_files_of_a_folder_are_an_input(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")
    before = Job({}, {"model": tmp_path / "model"}).key({})
    (tmp_path / "model" / "weights").write_text("2")
    assert Job({}, {"model": tmp_path / "model"}).key({}) != before


def test_a_file_is_read_once(tmp_path, monkeypatch):
    (tmp_path / "a").write_text("x")
    hashes = Hashes()
    first = hashes.of(tmp_path / "a")
    (tmp_path / "a").write_text("y")
    assert hashes.of(tmp_path / "a") == first != Hashes().of(tmp_path / "a")


def test_failures_are_sentences_and_are_done_again_on_request_only(tmp_path):
    mended = str(tmp_path / "mended")
    work = Function(batch_work.fragile, at_once=4)
    todo = [Job({"how": how, "mended": mended}) for how in ("misuse", "error", None)]
    first = run(work, todo, tmp_path / "out")
    assert first.counts == {"done": 1, "failed": 2}
    assert first.rows[0].sentence == "The value is odd. Give an even one."
    assert first.rows[1].sentence == "The job raised KeyError: 'lost'. Do it alone to see more, then --retry."
    (tmp_path / "mended").touch()
    assert run(work, todo, tmp_path / "out").counts == {"done": 1, "failed": 2}
    again = run(work, todo, tmp_path / "out", retry=True)
    assert again.counts == {"done": 3} and [row.again for row in again.rows] == [False, False, True]


def test_a_missing_input_is_refused_and_recorded_nowhere(tmp_path):
    todo = [Job({"value": 1}, {"photo": tmp_path / "nope.png"}), *jobs(2)]
    summary = run(HALF, todo, tmp_path / "out")
    assert summary.counts == {"done": 1, "refused": 1} and len(keys(tmp_path / "out")) == 1
    assert summary.rows[0].sentence.startswith(f"There is no file {tmp_path / 'nope.png'}.")
    (tmp_path / "nope.png").write_text("here")
    assert run(HALF, todo, tmp_path / "out").counts == {"done": 2}


def test_options_that_json_has_not_are_refused(tmp_path):
    (row,) = run(HALF, [Job({"value": math.nan}, name="line 7")], tmp_path).rows
    assert row.status == "refused" and row.sentence.startswith("The options of the job line 7 are not JSON:")


def test_a_full_disk_ends_the_run_and_blames_no_job(tmp_path):
    todo = [Job({"how": None}), Job({"how": "full"})]
    with pytest.raises(
        Misuse, match=r"^The results cannot be written .* No space left on device\. Free some space"
    ):
        run(Function(batch_work.fragile), todo, tmp_path)
    (done,) = keys(tmp_path)
    assert Results(tmp_path).look(done) == Outcome("done", seconds=Results(tmp_path).look(done).seconds)


@pytest.mark.parametrize("kind", ["file", "below a file"])
def test_an_output_that_is_a_file_is_refused(tmp_path, kind):
    (tmp_path / "out").write_text("mine")
    folder = tmp_path / "out" / "deep" if kind == "below a file" else tmp_path / "out"
    with pytest.raises(Misuse):
        run(HALF, jobs(1), folder)
    assert (tmp_path / "out").read_text() == "mine"


def test_shares_are_all_jobs_and_have_none_in_common(tmp_path):
    shares = [run(HALF, jobs(*range(20), 3), tmp_path, shard=Shard(n, 3)) for n in (1, 2, 3)]
    parts = [{row.key for row in share.rows} for share in shares]
    assert all(parts) and sum(map(len, parts)) == len(set().union(*parts)) == 20
    whole = run(HALF, jobs(*range(20), 3), tmp_path)
    assert whole.counts == {"done": 21} and all(row.again for row in whole.rows)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shares_that_are_none(text):
    with pytest.raises(Misuse):
        Shard.parse(text)


def test_a_second_run_of_a_share_is_refused_and_one_of_another_share_is_not(tmp_path):
    run(HALF, jobs(1), tmp_path)
    with open(tmp_path / ".headwater-lock-1-of-1", "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Misuse, match=r"is in use by process \d+ on .*\. Wait for it"):
            run(HALF, jobs(1), tmp_path)
        assert run(HALF, jobs(1), tmp_path, shard=Shard(1, 2)).counts in ({"done": 1}, {})
    assert run(HALF, jobs(1), tmp_path).counts == {"done": 1}


def test_what_a_killed_run_left_is_removed_and_what_others_write_is_not(tmp_path):
    """The other run may be at work, as where the file system has no locks, or have another share."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        key, alive, elsewhere = "0" * 32, name_owner(other.pid), "another-7"
        left = [
            *(
                f".headwater-tmp-1-of-1-{owner}-{key}-abcd"
                for owner in (name_owner(os.getpid()), "another-8")
            ),
            *(f".headwater-tmp-1-of-1-{name_owner(2**30)}-{key}-abcd", f".headwater-trash-{key}-abcd"),
        ]
        used = [f".headwater-tmp-1-of-1-{owner}-{key}-abcd" for owner in (alive, elsewhere)]
        used += [f".headwater-tmp-2-of-3-{name_owner(2**30)}-{key}-abcd", "mine"]
        for name in (*left, *used):
            (tmp_path / name).mkdir()
        os.utime(tmp_path / left[1], (0, time.time() - 25 * 3600))
        run(HALF, jobs(1), tmp_path)
        other.communicate(b"\n")
    assert {place.name for place in tmp_path.iterdir() if place.name in (*left, *used)} == set(used)


def test_a_retry_keeps_what_another_run_has_done_since_it_looked(tmp_path, monkeypatch):
    """Where the file system has no locks two runs may retry one job."""
    work, results = Function(batch_work.fragile, version="1"), Results(tmp_path)
    todo = [Job({"how": "misuse"})]
    (row,) = run(work, todo, tmp_path).rows

    make_plan = driver.make_plan

    def plan_and_be_late(*arguments, **more):
        plan = make_plan(*arguments, **more)
        with results.prepare(row.key, Shard()) as folder:
            results.publish(folder, row.key, todo[0], Outcome("done", values={"first": True}))
        return plan

    monkeypatch.setattr(driver, "make_plan", plan_and_be_late)
    (again,) = run(work, todo, tmp_path, retry=True).rows
    assert again.outcome == Outcome("done", values={"first": True})


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (FileNotFoundError(2, "No such file or directory"), "Check that it is there"),
        (OSError(28, "Full"), "Free"),
    ],
)
def test_a_folder_that_cannot_be_written_any_more_gets_a_cure_that_fits(tmp_path, monkeypatch, error, cure):
    def publish(*arguments, **more):
        raise error

    monkeypatch.setattr(Results, "publish", publish)
    with pytest.raises(Misuse, match=rf"{error.strerror}\. {cure}"):
        run(HALF, jobs(1), tmp_path)


@pytest.mark.parametrize("change", ["other bytes", "deleted", "a file more"])
def test_an_input_that_changes_meanwhile_is_not_stored_under_its_old_bytes(tmp_path, change):
    (tmp_path / "photo.png").write_text("before")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "weights").write_text("1")

    def spoil(options, folder):
        if options["value"] == 2:
            if change == "a file more":
                (tmp_path / "model" / "more").write_text("2")
            else:
                (tmp_path / "photo.png").unlink()
            if change == "other bytes":
                (tmp_path / "photo.png").write_text("behind")
        return {"value": 1}

    inputs = {"photo": tmp_path / "photo.png", "model": tmp_path / "model"}
    todo = [Job({"value": value}, inputs) for value in (1, 2)]
    good, bad = run(Function(spoil, version="1"), todo, tmp_path / "out").rows
    assert good.status == "done" and bad.status == "failed" and bad.outcome.values == {}
    assert bad.sentence.startswith(
        "An input, or what computes the job, changed while this ran. Give the same"
    )


def test_one_name_of_an_option_a_value_and_a_column_is_three_columns(tmp_path):
    import pyarrow.parquet

    def function(options, folder):
        return {"seconds": 3}

    summary = run(Function(function, version="1"), [Job({"seconds": 2})], tmp_path)
    (row,) = pyarrow.parquet.read_table(write_table(summary, tmp_path / "a.parquet")).to_pylist()
    assert (row["seconds_"], row["seconds__"]) == (2, 3) and row["seconds"] < 1


def test_two_workers_with_one_result_give_one(tmp_path):
    """At least once: the second that finishes leaves the first one's result as it is."""
    results, job = Results(tmp_path), Job({"value": 1})
    key = job.key({})
    with results.prepare(key, Shard()) as a, results.prepare(key, Shard()) as b:
        assert a != b
        (a / "x.txt").write_text("first")
        (b / "x.txt").write_text("second")
        assert results.publish(a, key, job, Outcome("done")) and not results.publish(
            b, key, job, Outcome("done")
        )
    assert (tmp_path / key / "x.txt").read_text() == "first" and keys(tmp_path) == {key}


def test_a_result_takes_the_place_of_a_failure(tmp_path):
    results, job = Results(tmp_path), Job({"value": 1})
    key = job.key({})
    for status in ("failed", "done"):
        with results.prepare(key, Shard()) as folder:
            assert results.publish(folder, key, job, Outcome(status, "why"))
    assert results.look(key).status == "done"


def test_a_stopped_run_goes_on_with_the_same_call(tmp_path):
    calls = []
    first = run(counting(calls), jobs(*range(5)), tmp_path, stop=lambda: len(calls) >= 2)
    assert first.stopped and first.counts == {"done": 2, "not begun": 3}
    last = run(counting(calls), jobs(*range(5)), tmp_path)
    assert not last.stopped and last.counts == {"done": 5} and calls == [0, 1, 2, 3, 4]


def test_progress_counts_what_was_there_and_what_failed(tmp_path):
    run(Function(batch_work.fragile), [Job({"n": 0})], tmp_path)
    seen = []
    todo = [Job({"n": 0}), Job({"n": 1}), Job({"how": "error"})]
    run(
        Function(batch_work.fragile),
        todo,
        tmp_path,
        tell=lambda p: seen.append((p.total, p.there, p.done, p.failed)),
    )
    assert seen[0] == (3, 1, 0, 0) and seen[-1] == (3, 1, 2, 1)
    assert Progress(4, 0).seconds_left is None


def test_the_table_and_the_page_have_a_row_for_each_job(tmp_path):
    import pyarrow.parquet

    todo = [
        *jobs(1, 2, 1),
        Job({"value": "<b>x"}, name="job <b>x"),
        Job({}, refusal="It is no job. Write one."),
    ]
    summary = run(HALF, todo, tmp_path)
    rows = pyarrow.parquet.read_table(write_table(summary, tmp_path / "results.parquet")).to_pylist()
    assert [row["status"] for row in rows] == ["done", "done", "done", "failed", "refused"]
    assert [row["half"] for row in rows] == [0.5, 1.0, 0.5, None, None]
    assert [row["value"] for row in rows] == ["1", "2", "1", "<b>x", None]  # of two kinds: text
    assert rows[0]["folder"] == rows[2]["folder"] and rows[4]["sentence"] == "It is no job. Write one."
    page = write_page(summary, tmp_path / "report.html", title="<i>jobs").read_text()
    assert "3 done, 1 failed, 1 refused" in page and "equal jobs have one result" in page
    assert "<b>x" not in page and "<i>jobs" not in page and "http" not in page.replace("http-equiv", "")


def test_pictures_are_small_copies_in_the_page(tmp_path):
    from PIL import Image

    def draw(options, folder):
        Image.new("RGB", (900, 60), options["colour"]).save(folder / "a.png")
        Image.new("RGB", (700, 70), "white").save(folder / "a-sheet.png")
        (folder / "b.png").write_bytes(b"no picture")

    summary = run(Function(draw, version="1"), [Job({"colour": "red"}), Job({"colour": "blue"})], tmp_path)
    page = write_page(summary, tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 and f'href="{summary.rows[0].key}/"' in page


def test_a_function_without_source_needs_a_version():
    with pytest.raises(Misuse, match="Give a version of it"):
        Function(math.sqrt)
    assert Function(batch_work.half).version != Function(batch_work.slow).version
