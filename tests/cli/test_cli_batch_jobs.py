"""`headwater batch`: tables and folders of commands, how jobs end, and what a second run does again."""

import shutil
import signal

import pytest
from cli_tools import call, pixels, records, report, two_sentences, write_table
from PIL import Image

from headwater.cli.batch.work import describe_code
from headwater.cli.image import restoration
from headwater.errors import Misuse
from headwater.image import restoration as restoring


def test_a_table_of_commands(here, cheap, no_sheet, capsys):
    Image.fromarray(pixels(20, 16)).save("b.jpg")
    write_table(
        "jobs.csv",
        "image denoise,photo.png,0.1,",
        "image upscale,b.jpg,,3",
        "headwater image  denoise,photo.png,0.10,0",
    )
    assert call("batch jobs.csv --out results --workers 0") == 0
    assert capsys.readouterr().out.splitlines()[0] == "All 3 jobs done."
    first, second = records(here / "results")  # the third line is the first one, written otherwise
    folder = here / "results" / first["key"]
    assert set(first["files"]) == {"photo.png", "photo.json", "photo-sheet.png", "log.txt"}
    assert first["options"]["noise"] == 0.1 and first["inputs"] == {"photos": "photo.png"}
    assert first["values"]["misfit"] == pytest.approx(report(folder / "photo.json")["samples"][0]["misfit"])
    assert report(folder / "photo.json")["samples"][0]["file"] == "photo.png"  # no temporary name stays
    assert "tmp-" not in (folder / "log.txt").read_text()
    assert (
        second["name"] == "jobs.csv line 3" and "b.png" in second["files"] and second["options"]["seed"] == 3
    )
    assert set(first["maker"]["models"]) == {"photo64"} and first["maker"]["headwater"]
    assert (here / "results" / "results.parquet").exists() and (here / "results" / "report.html").exists()
    calls = len(cheap)
    assert call("batch jobs.csv --out results --workers 0") == 0 and len(cheap) == calls


def test_a_folder_and_the_words_of_a_command(here, cheap, no_sheet, capsys):
    (here / "more").mkdir()
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels(16, 16 + len(name) + (name == "a.png"))).save(here / "more" / name)
    (here / "more" / "notes.txt").write_text("none")
    assert call("batch more --out results --workers 0 --quiet -- image denoise --noise 0.1 --seed 2") == 0
    assert [record["name"] for record in records(here / "results")] == ["a.png", "b.png"]
    assert {record["options"]["seed"] for record in records(here / "results")} == {2}
    assert call("batch more --out results --workers 0 --quiet") == 2
    assert two_sentences(capsys.readouterr().err.removeprefix("Error: "))


def test_one_wrong_line_of_many_is_told_first_and_the_others_are_done(here, cheap, no_sheet, capsys):
    lines = [f"image denoise,photo.png,0.1,{i}" for i in range(6)]
    lines[3] = "image denoise,photo.png,loud,3"
    write_table("jobs.csv", *lines)
    assert call("batch jobs.csv --out results --workers 0") == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[0] == "6 jobs: 5 done, 1 refused."
    first = err.splitlines()[0]
    assert first.startswith("Error, jobs.csv line 5: 'loud' is not a number") and two_sentences(
        first.split(": ", 1)[1]
    )


def test_a_failed_job_says_what_the_command_says(here, cheap, no_sheet, capsys):
    (here / "bad.png").write_bytes(b"no picture")
    write_table(
        "jobs.csv", "image denoise,bad.png,0.1,", "image denoise,photo.png,,", "image denoise,photo.png,0.1,"
    )
    assert call("batch jobs.csv --out results --workers 0") == 1
    bad, silent, good = records(here / "results")
    assert [r["status"] for r in (bad, silent, good)] == ["failed", "failed", "done"]
    assert bad["sentence"].startswith("bad.png") and two_sentences(bad["sentence"])
    assert silent["sentence"].startswith("Denoising needs the level of the noise.")
    assert "Failed jobs are done again with --retry." in capsys.readouterr().out


def test_a_missed_goal_is_told(here, cheap, no_sheet, capsys):
    write_table("jobs.csv", "image denoise,photo.png,0.001,1", head="command,input,noise,gradients\n")
    assert call("batch jobs.csv --out results --workers 0") == 1
    (record,) = records(here / "results")
    assert record["status"] == "missed" and record["sentence"] == "The sample missed its goal."


def test_changed_code_computes_again(here, cheap, no_sheet, monkeypatch, tmp_path):
    """The key knows the code of a checkout, whose version is one for many commits, and torch."""
    import headwater

    package = tmp_path / "copy"
    (package / "part").mkdir(parents=True)
    for name in ("__init__.py", "part/a.py"):
        (package / name).write_text("x = 1\n")
    monkeypatch.setattr(headwater, "__file__", str(package / "__init__.py"))
    write_table("jobs.csv", "image denoise,photo.png,0.1,")
    counts = []
    for change in ("x = 1\n", "x = 2\n", "x = 1\n"):
        (package / "part" / "a.py").write_text(change)
        describe_code.cache_clear()
        assert call("batch jobs.csv --out results --workers 0 --quiet") == 0
        counts.append(len(cheap))
    monkeypatch.setattr("importlib.metadata.version", lambda name: "2.99.0+cu130")
    describe_code.cache_clear()
    assert call("batch jobs.csv --out results --workers 0 --quiet") == 0
    describe_code.cache_clear()
    assert [*counts, len(cheap)] == [1, 2, 2, 3]
    assert records(here / "results")[0]["maker"]["torch"].count("+") == 0


def test_an_output_that_is_a_file_and_a_share_that_is_none(here, cheap, no_sheet, capsys):
    write_table("jobs.csv", "image denoise,photo.png,0.1,")
    for line in (
        "batch jobs.csv --out photo.png --workers 0",
        "batch jobs.csv --out r --shard 3 --workers 0",
    ):
        assert call(line) == 2
        assert two_sentences(capsys.readouterr().err.splitlines()[-1].removeprefix("Error: ")) and cheap == []


def test_ctrl_c_leaves_what_the_same_command_goes_on_from(here, cheap, no_sheet, monkeypatch):
    cheap_restore = restoring.restore

    def restore(*arguments, **more):
        if len(cheap) == 1:
            signal.raise_signal(signal.SIGINT)
        return cheap_restore(*arguments, **more)

    monkeypatch.setattr(restoring, "restore", restore)
    write_table("jobs.csv", "image denoise,photo.png,0.001,", "image denoise,photo.png,0.002,")
    assert call("batch jobs.csv --out results --workers 0") == 130
    assert [record["name"] for record in records(here / "results")] == ["jobs.csv line 2"]
    assert not list((here / "results").glob(".headwater-tmp-*"))
    assert call("batch jobs.csv --out results --workers 0") in (0, 1)
    assert len(cheap) == 3 and len(records(here / "results")) == 2


def test_a_full_disk_ends_the_run_and_is_no_failure_of_a_job(here, cheap, no_sheet, monkeypatch, capsys):
    def write_image(*arguments, **more):
        raise Misuse("The output photo.png cannot be written: No space left on device.", "Free some space.")

    monkeypatch.setattr(restoration, "write_image", write_image)
    write_table("jobs.csv", "image denoise,photo.png,0.1,", "image denoise,photo.png,0.2,")
    assert call("batch jobs.csv --out results --workers 0 --quiet") == 2
    err = capsys.readouterr().err.splitlines()[-1].removeprefix("Error: ")
    assert err.startswith("The results cannot be written to") and two_sentences(err)
    assert records(here / "results") == []


def test_a_share_has_a_table_and_a_page_of_its_own(here, cheap, no_sheet):
    write_table("jobs.csv", *[f"image denoise,photo.png,0.1,{i}" for i in range(4)])
    for share in ("1/2", "2/2"):
        assert call(f"batch jobs.csv --out results --workers 0 --shard {share} --quiet") == 0
    assert {"results-1-of-2.parquet", "report-2-of-2.html"} <= {
        path.name for path in (here / "results").iterdir()
    }
    assert len(cheap) == 4 or len(records(here / "results")) == 4


def test_without_pyarrow_the_extra_is_named_before_any_work(here, cheap, monkeypatch, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    write_table("jobs.csv", "image denoise,photo.png,0.1,")
    assert call("batch jobs.csv --out results --workers 0") == 2
    assert "pip install headwater[batch]" in capsys.readouterr().err and cheap == []


def test_a_shipped_input_may_move(here, cheap, no_sheet):
    """The key knows the bytes of the input and not its name."""
    write_table("jobs.csv", "image denoise,photo.png,0.1,")
    call("batch jobs.csv --out results --workers 0 --quiet")
    (here / "moved").mkdir()
    shutil.move("photo.png", "moved/photo.png")
    write_table("jobs.csv", "image denoise,moved/photo.png,0.1,")
    assert call("batch jobs.csv --out results --workers 0 --quiet") == 0 and len(cheap) == 1
