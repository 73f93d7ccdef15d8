"""Several files and folders in one command: one model, one failure, one Ctrl-C, one exit code."""

import signal
from dataclasses import replace

import pytest
from cli_tools import call, pixels, report, two_sentences
from PIL import Image

from headwater import zoo
from headwater.cli.image import requests, restoration
from headwater.image import restoration as restoring
from headwater.image.model import models
from headwater.optimizers.status import Status


@pytest.fixture
def folder(here):
    """The photo, and two more in a folder with a text."""
    (here / "more").mkdir()
    Image.fromarray(pixels(20, 16)).save("more/b.jpg")
    Image.fromarray(pixels()).save("more/a.PNG")
    (here / "more" / "notes.txt").write_text("none")
    return here


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_and_folders_go_into_a_folder(folder, cheap, no_sheet, capsys):
    assert call("image denoise photo.png more --noise 0.1 -o out/deep") == 0
    assert names(folder / "out" / "deep") == sorted(
        f"{stem}{end}" for stem in ("photo", "a", "b") for end in (".png", ".json", "-sheet.png")
    )
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if " of 3: " in line] == [
        "1 of 3: photo.png", "2 of 3: more/a.PNG", "3 of 3: more/b.jpg",
    ]  # fmt: skip
    assert out.splitlines()[-1] == "3 of 3 files done"
    assert Image.open(folder / "out" / "deep" / "b.png").size == (16, 20)
    assert report(folder / "out" / "deep" / "b.json")["inputs"] == ["more/b.jpg"]


def test_without_an_output_results_lie_beside_their_files(folder, cheap, no_sheet):
    assert call("image denoise photo.png more/b.jpg --noise 0.1 --quiet") == 0
    assert (folder / "photo-denoise.png").exists() and (folder / "more" / "b-denoise.png").exists()


def test_one_file_into_a_folder(folder, cheap, no_sheet):
    (folder / "out").mkdir()
    assert call("image denoise photo.png --noise 0.1 -o out --quiet") == 0
    assert (folder / "out" / "photo.png").exists()


def test_the_model_is_loaded_once(folder, cheap, no_sheet, monkeypatch):
    models.network.cache_clear()
    loads, load = [], zoo.load_weights
    monkeypatch.setattr(zoo, "load_weights", lambda name: loads.append(name) or load(name))
    assert call("image denoise photo.png more --noise 0.1 -o out --quiet") == 0
    assert loads == ["photo64"]


def test_one_failure_does_not_end_the_rest(folder, cheap, no_sheet, capsys):
    (folder / "more" / "aa.png").write_bytes(b"no picture")
    assert call("image denoise more photo.png missing.png --noise 0.1 -o out --quiet") == 2
    err = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in err[:2]] == ["Error, more/aa.png", "Error, missing.png"]
    assert all(two_sentences(line.split(": ", 1)[1]) for line in err[:2])
    assert err[-1] == "3 of 5 files done, 2 refused"
    assert {"a.png", "b.png", "photo.png"} <= set(names(folder / "out"))


def test_a_missed_goal_is_counted(folder, cheap, no_sheet, capsys):
    line = "image denoise photo.png more/b.jpg --noise 0.001 --gradients 1 -o out"
    assert call(line) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[1] == "The sample missed its goal." and out[-1] == "2 of 2 files done, 2 missed a goal"


def test_ctrl_c_ends_all(folder, cheap, no_sheet, monkeypatch, capsys):
    cheap_restore = restoring.restore

    def restore(*arguments, options, **more):
        def callback(event):
            signal.raise_signal(signal.SIGINT)
            return options.callback(event)

        return cheap_restore(*arguments, options=replace(options, callback=callback), **more)

    monkeypatch.setattr(restoring, "restore", restore)
    assert call("image denoise photo.png more --noise 0.001 -o out") == 130
    assert report(folder / "out" / "photo.json")["samples"][0]["status"] == Status.CANCELLED.name
    assert capsys.readouterr().out.splitlines()[-1] == "0 of 3 files done, 1 interrupted, 2 not begun"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("image denoise --noise 0.1", "No file was given."),
        ("image denoise photo.png more/a.PNG --noise 0.1 -o x.png", "x.png is one file for 2 inputs."),
        ("image denoise more --noise 0.1", "nothing says where its results go."),
        ("image denoise more more/c/../a.png empty --noise 0.1 -o out", "The folder empty holds no file"),
        ("image denoise photo.png other/photo.jpg --noise 0.1 -o out", "would have one name."),
        ("image denoise photo.png more --noise 0.1 -o photo.png/out", "cannot be made:"),
        ("image denoise photo.png photo.jpg --noise 0.1", "would have one name."),
        ("image denoise photo.png photo-sheet.png --noise 0.1 -o out", "would have one name."),
    ],
)
def test_refusals_before_any_work(folder, cheap, capsys, line, words):
    (folder / "empty").mkdir()
    (folder / "other").mkdir()
    Image.fromarray(pixels()).save("other/photo.jpg")
    assert call(line) == 2
    err = capsys.readouterr().err
    assert words in err and two_sentences(err.removeprefix("Error: ")) and cheap == []


def test_a_folder_may_have_a_dot_in_its_name(folder, cheap, no_sheet):
    assert call("image denoise photo.png more/b.jpg --noise 0.1 --quiet -o out.v2/") == 0
    assert (folder / "out.v2" / "photo.png").exists()


def test_the_results_of_one_command_are_the_input_of_the_next(folder, cheap, no_sheet, capsys):
    """Without their sheets, and without what is hidden."""
    call("image denoise photo.png more --noise 0.1 -o first --quiet")
    (folder / "first" / "._photo.png").write_bytes(b"resource fork")
    (folder / "first" / "deep.png").mkdir()
    assert call("image upscale first -o second") < 2
    assert capsys.readouterr().out.splitlines()[-1].startswith("3 of 3 files done")


@pytest.mark.parametrize("error", [MemoryError(), OSError(5, "Input/output error", "b.jpg")])
def test_whatever_fails_for_one_file_does_not_end_the_rest(
    folder, cheap, no_sheet, monkeypatch, capsys, error
):
    read = requests.read_image

    def read_image(path, **options):
        if path.name == "b.jpg":
            raise error
        return read(path, **options)

    monkeypatch.setattr(requests, "read_image", read_image)
    assert call("image denoise more photo.png --noise 0.1 -o out --quiet") == 2
    err = capsys.readouterr().err.splitlines()
    assert err[0].startswith("Error, more/b.jpg: ") and err[-1] == "2 of 3 files done, 1 refused"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_a_file_is_read(folder, cheap, no_sheet, monkeypatch, capsys, number):
    read, former = requests.read_image, signal.getsignal(number)

    def read_image(path, **options):
        if path.name == "a.PNG":
            signal.raise_signal(number)
        return read(path, **options)

    monkeypatch.setattr(requests, "read_image", read_image)
    assert call("image denoise photo.png more --noise 0.1 -o out") == 130
    assert capsys.readouterr().out.splitlines()[-1] == "1 of 3 files done, 1 interrupted, 1 not begun"
    assert signal.getsignal(number) is former


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_report_is_written_waits_for_it(folder, cheap, monkeypatch, capsys, number):
    def sheet(path, *arguments, **options):
        signal.raise_signal(number)
        path.write_bytes(b"sheet")

    monkeypatch.setattr(restoration, "write_sheet", sheet)
    assert call("image denoise photo.png more --noise 0.1 -o out") == 130
    assert {"photo.png", "photo.json", "photo-sheet.png"} == set(names(folder / "out"))
