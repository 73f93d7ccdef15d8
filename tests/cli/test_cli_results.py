"""What a restoration writes: the images as the input came, the report, the sheet; how it ends."""

import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from cli_tools import EXITS, call, pixels, report
from PIL import Image

from headwater.image import restoration as restoring
from headwater.optimizers.status import Status
from headwater.recipes.paper import Paper

pytestmark = pytest.mark.usefixtures("cheap", "no_sheet")
SAVED = {
    "grey.png": lambda p: Image.fromarray(p[..., 0]),
    "rgb.png": lambda p: Image.fromarray(p),
    "deep.png": lambda p: Image.fromarray(pixels(dtype=np.uint16)[..., 0]),
    "turned.jpg": lambda p: Image.fromarray(p),
    "clear.png": lambda p: Image.fromarray(np.dstack([p, np.full(p.shape[:2], 255, np.uint8)])),
    "tagged.tif": lambda p: Image.fromarray(p),
}


def save(name):
    exif = Image.Exif()
    if name == "turned.jpg":
        exif[274] = 6
    SAVED[name](pixels()).save(name, **({"exif": exif, "quality": 95} if name.endswith("jpg") else {}))


@pytest.mark.parametrize("name", SAVED)
def test_the_result_comes_back_as_the_input_came(name, here, capsys):
    save(name)
    out = f"out{name[-4:]}"
    assert call(f"image denoise {name} --noise 0.05 -o {out}") == 0
    before, after = Image.open(name), Image.open(out)
    assert (after.mode, after.size, after.format) == (before.mode, before.size, before.format)
    assert after.getexif().get(274) == before.getexif().get(274)
    gap = np.abs(np.asarray(after, float) - np.asarray(before, float)).mean()
    assert gap < 0.1 * np.iinfo(np.asarray(before).dtype).max
    assert f"{out}: misfit 1.0" in capsys.readouterr().out or gap >= 0


def test_floats_and_their_range(here):
    np.save("unit.npy", pixels().astype(np.float32) / 255)
    assert call("image denoise unit.npy --noise 0.05 --range 0,1") == 0
    out = np.load("unit-denoise.npy")
    assert out.dtype == np.float32 and out.shape == (16, 20, 3) and out.min() > -0.3 and out.max() < 1.3


def test_outputs_by_default_lie_beside_the_input(here):
    (here / "sub").mkdir()
    Image.fromarray(pixels()).save("sub/shot.jpg")
    assert call("image inpaint sub/shot.jpg --box 2,2,4,4 --quiet") == 0
    made = sorted(p.name for p in (here / "sub").iterdir())
    assert made == ["shot-inpaint-sheet.png", "shot-inpaint.json", "shot-inpaint.png", "shot.jpg"]


def test_the_report_says_everything(here):
    Image.fromarray(np.where(np.eye(16, 20) > 0, 255, 0).astype(np.uint8)).save("mask.png")
    line = "image inpaint photo.png --mask mask.png --noise 13/255 --seed 5 --reference photo.png -o x.png"
    assert call(line) == 0
    r = report(here / "x.json")
    assert r["command"] == "image inpaint" and r["inputs"] == ["photo.png", "mask.png"]
    assert r["noise"] == pytest.approx(26 / 255) and r["misfit_unit"] == pytest.approx(26 / 255)
    assert r["settings"]["mask"] == "mask.png" and r["settings"]["pixels_to_fill"] == 16
    assert r["settings"]["method"] == "default" and r["size"] == [16, 20] and r["model"] == "photo64"
    assert set(r["versions"]) == {"headwater", "torch", "python"} and r["device"] == "cpu"
    assert r["seconds"] > 0 and r["peak_memory_bytes"] > 1e7 and r["peak_memory_of"] == "process"
    (sample,) = r["samples"]
    assert sample["seed"] == 5 and sample["file"] == "x.png" and sample["status"] == "REACHED"
    assert sample["sentence"] == Status.REACHED.value and 0 <= sample["misfit"] <= 1.06
    assert sample["gradients"] == sample["evaluations"] > 0  # one Euler step
    assert 10 < sample["psnr"] < 60 and 0 < sample["ssim"] <= 1
    assert sample["perceptual"] is None or sample["perceptual"] > 0
    assert set(sample) - {"seed", "file", "status", "sentence", "evaluations"} <= {*r["definitions"]}


def test_every_command_has_its_operator(here, cheap):
    Image.fromarray(pixels()).save("shot.jpg", quality=30, subsampling=0)
    Image.fromarray(pixels()[..., 0]).save("grey.png")
    np.save("k.npy", np.ones((3, 5)))
    lines = {
        "upscale photo.png --factor 3 --filter bicubic": ("upscale x3 (bicubic)", (48, 60)),
        "deblur photo.png --kernel k.npy": ("deblur", (16, 20)),
        "deblur photo.png --gaussian 0.6 --boundary valid": ("deblur", (20, 24)),
        "deblur photo.png --motion 3,45 --boundary circular": ("deblur", (16, 20)),
        "colorize grey.png --grey mean": ("colorize", (16, 20)),
        "dejpeg shot.jpg": ("dejpeg (quality 30)", (16, 20)),
        "dejpeg photo.png --quality 12": ("dejpeg (quality 12)", (16, 20)),
        "declip photo.png --gain 1.5 --high 200/255": ("declip", (16, 20)),
        "declip photo.png --low 20/255 --noise 0.01": ("declip", (16, 20)),
    }
    for line, (name, size) in lines.items():
        assert call(f"image {line} -o x.png --overwrite --quiet --gradients 3") < 2, line
        asked = cheap[-1]
        task = asked["task"]
        assert (task.operator.name, task.size) == (name, size)
        assert task.operator(torch.zeros(1, 3, *size)).shape == task.y.shape
        assert Image.open("x.png").size == size[::-1]
        assert report(here / "x.json")["operator"] == name
    assert cheap[5]["task"].operator.subsampling == "4:4:4"


def test_a_grey_photo_gains_colour_only_when_colorized(here):
    Image.fromarray(pixels()[..., 0]).save("grey.png")
    assert call("image colorize grey.png -o colour.png") < 2
    assert call("image denoise grey.png --noise 0.1 -o still.png") == 0
    assert (Image.open("colour.png").mode, Image.open("still.png").mode) == ("RGB", "L")


def test_a_transparent_hole_is_filled_opaque(here, cheap):
    alpha = np.full((16, 20), 255, np.uint8)
    alpha[4:8, 4:8], alpha[0, 0] = 0, 200
    Image.fromarray(np.dstack([pixels(), alpha])).save("hole.png")
    assert call("image inpaint hole.png -o full.png") == 0
    out = np.asarray(Image.open("full.png"))
    assert out.shape[2] == 4 and (out[4:8, 4:8, 3] == 255).all() and out[0, 0, 3] == 200
    hole = ~cheap[-1]["task"].operator.mask
    assert int(hole.sum()) == 16 and bool(hole[0, 0, 4:8, 4:8].all())


def test_samples_have_their_own_seeds_and_files(here, cheap):
    assert call("image inpaint photo.png --box 4,4,8,8 --samples 3 --seed 7 -o x.png") == 0
    assert cheap[-1]["seeds"] == [7, 8, 9]
    assert [s["file"] for s in report(here / "x.json")["samples"]] == ["x-0.png", "x-1.png", "x-2.png"]
    assert [s["seed"] for s in report(here / "x.json")["samples"]] == [7, 8, 9]
    assert not (here / "x.png").exists() and (here / "x-sheet.png").exists()
    assert call("image inpaint photo.png --box 4,4,8,8 --seed 8 -o again.png") == 0
    assert (here / "again.png").read_bytes() == (here / "x-1.png").read_bytes()
    assert (here / "x-0.png").read_bytes() != (here / "x-1.png").read_bytes()


def test_the_limits_reach_the_restoration(here, cheap):
    call("image denoise photo.png --noise 0.1 --steps 2 --gradients 4 --memory 2GB --method paper --quiet")
    options = cheap[-1]["options"]
    assert (options.steps, options.gradients, options.gradient.memory) == (2, 4, 2e9)
    assert cheap[-1]["recipe"] == Paper()
    call("image denoise photo.png --noise 0.1 --quiet --overwrite")
    assert cheap[-1]["recipe"] is None  # the problem's own


def test_the_sheet_shows_the_way(here, no_sheet):
    call("image denoise photo.png --noise 0.05 --reference photo.png --quiet")
    (drawn,) = no_sheet
    assert drawn["curve"][0][0] == 1 and drawn["curve"][0][1] > drawn["curve"][-1][1]
    assert drawn["steps"] and drawn["steps"][0][1].shape == (3, 16, 20)
    assert drawn["reference"].shape == (1, 3, 16, 20)


def ending(monkeypatch, status, spoil=lambda images: images):
    """Make the restoration end with a status."""
    cheap = restoring.restore

    def restore(*arguments, **options):
        done = cheap(*arguments, **options)
        statuses = (status, *done.result.status[1:])
        return replace(done, images=spoil(done.images), result=replace(done.result, status=statuses))

    monkeypatch.setattr(restoring, "restore", restore)


@pytest.mark.parametrize("status, code", EXITS)
def test_how_it_ends_is_an_exit_code_and_a_warning(status, code, here, capsys, monkeypatch):
    ending(monkeypatch, status)
    assert call("image denoise photo.png --noise 0.1 -o x.png --quiet") == code
    out, err = capsys.readouterr()
    assert out == "" and (status.value in err) is not status.ok
    assert (here / "x.png").exists() and report(here / "x.json")["samples"][0]["status"] == status.name


def test_a_sample_that_is_no_image_is_reported_and_not_written(here, capsys, monkeypatch):
    def spoil(images):
        images = images.clone()
        images[0] = float("nan")
        return images

    ending(monkeypatch, Status.DIVERGED, spoil)
    assert call("image denoise photo.png --noise 0.1 -o x.png --samples 2") == 1
    first, second = report(here / "x.json")["samples"]
    assert first["file"] is None and first["misfit"] is None and second["file"] == "x-1.png"
    assert not (here / "x-0.png").exists() and (here / "x-1.png").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_keeps_the_best_so_far(here, monkeypatch, capsys, number):
    former = signal.getsignal(number)  # ignored where the tests run in the background of a shell
    rounds = interrupting(monkeypatch, at=(2,), number=number)
    assert call("image denoise photo.png --noise 0.001 -o x.png") == 130
    assert len(rounds) == 2 and (here / "x.png").exists()
    sample = report(here / "x.json")["samples"][0]
    assert sample["status"] == "CANCELLED" and sample["gradients"] == 2
    assert Status.CANCELLED.value in capsys.readouterr().err
    assert signal.getsignal(number) is former


def test_ctrl_c_twice_aborts(here, monkeypatch, capsys):
    interrupting(monkeypatch, at=(1, 1))
    assert call("image denoise photo.png --noise 0.001 -o x.png") == 130
    assert [p.name for p in here.iterdir()] == ["photo.png"]
    assert "Interrupted." in capsys.readouterr().err


def interrupting(monkeypatch, at, number=signal.SIGINT):
    """Send a signal in the rounds `at`, before the command sees them."""
    cheap, rounds = restoring.restore, []

    def restore(*arguments, options, **more):
        def callback(event):
            rounds.append(event.round)
            for _ in range(at.count(event.round)):
                signal.raise_signal(number)
            return options.callback(event)

        return cheap(*arguments, options=replace(options, callback=callback), **more)

    monkeypatch.setattr(restoring, "restore", restore)
    return rounds


def test_the_time_limit(here):
    assert call("image denoise photo.png --noise 0.001 --seconds 0.001 -o x.png --quiet") == 1
    sample = report(here / "x.json")["samples"][0]
    assert sample["status"] == "SECONDS" and sample["gradients"] == 1


def test_overwrite_replaces(here):
    (here / "x.png").write_bytes(b"old")
    assert call("image denoise photo.png --noise 0.1 -o x.png --overwrite --quiet") == 0
    assert Image.open("x.png").size == (20, 16)


def test_quiet_and_lines_when_no_terminal(here, capsys):
    call("image denoise photo.png --noise 0.1 -o a.png --quiet")
    assert capsys.readouterr() == ("", "")
    call("image denoise photo.png --noise 0.1 -o b.png")
    out, err = capsys.readouterr()
    assert "b.png: misfit" in out and err == "denoise  starting\n"  # the next line only after seconds
    assert not sys.stderr.isatty()


def test_the_report_names_the_model(here):
    assert call("image denoise photo.png --noise 0.1 -o x.png --quiet --model photo64") == 0
    assert report(here / "x.json")["model"] == "photo64"
    assert call("image deblur photo.png --gaussian 1 --noise 0.1 -o y.png --quiet") == 0
    assert report(here / "y.json")["model"] == "photo64"
