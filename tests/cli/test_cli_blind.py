"""`headwater image deblur --blind`: the kernel is found, written, told, and used for the whole photo."""

import numpy as np
import pytest
import torch
from cli_tools import call, report
from PIL import Image

from headwater.cli.image import blind
from headwater.image.blind import Caution, KernelSearch
from headwater.recipes.estimate import Estimate

pytestmark = pytest.mark.usefixtures("cheap", "no_sheet")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """One short round on at most one window."""
    short = KernelSearch(levels=(0.2,), restore=Estimate(times=1), most=64)
    monkeypatch.setattr(blind, "KernelSearch", lambda: short)


def trust(monkeypatch, **numbers):
    """Leave no photo as it was for its kernel's sake, unless the numbers say so."""
    caution = Caution(**{"point": 1.0, "excess": 10.0, **numbers})
    monkeypatch.setattr(blind, "Caution", lambda: caution)


def pixels(name):
    return np.asarray(Image.open(name).convert("RGB"), np.int16)


def photo(name, height, width, *, sharp=False):
    g = np.random.default_rng(0)
    x = g.integers(0, 255, (height, width, 3)) if sharp else np.linspace(0, 255, height * width * 3)
    Image.fromarray(np.asarray(x, np.uint8).reshape(height, width, 3)).save(name)


def test_one_kernel_is_found_written_and_used_for_the_whole_photo(here, cheap, monkeypatch):
    trust(monkeypatch)
    photo("wide.png", 70, 90, sharp=True)
    assert call("image deblur wide.png --blind 5 --samples 2 -o x.png --quiet") < 2
    found = report(here / "x.json")
    kernel = torch.tensor(found["kernel"])
    assert kernel.shape == (5, 5) and kernel.sum().item() == pytest.approx(1.0, abs=1e-4)
    drawn = np.asarray(Image.open("x-kernel.png").convert("L"))
    assert drawn.shape == (5, 5) and drawn.max() == 255
    np.testing.assert_allclose(drawn, 255 * (kernel / kernel.max()).numpy(), atol=1)
    assert found["kernel_picture"] == "x-kernel.png" and found["settings"]["blind"] == 5
    assert found["kernel_evaluations"] == 1 and found["noise"] == 0.04
    (used,) = cheap
    torch.testing.assert_close(used["task"].operator.kernel[0].float(), kernel, atol=1e-5, rtol=0)
    assert used["task"].size == (70, 90) and used["seeds"] == [0, 1]
    assert {p.name for p in here.glob("x*")} == {
        f"x{e}" for e in ("-0.png", "-1.png", "-kernel.png", ".json", "-sheet.png")
    }


def test_a_doubtful_kernel_is_told_on_the_terminal_and_in_the_report(here, capsys, monkeypatch):
    monkeypatch.setattr(
        blind.UnknownBlur, "warnings", lambda self, phi: [("It is almost a point.",)] * len(phi)
    )
    photo("sharp.png", 64, 64, sharp=True)
    assert call("image deblur sharp.png --blind 5 -o x.png") < 2
    told = capsys.readouterr()
    assert "Warning: It is almost a point." in told.err
    assert "x-kernel.png: the kernel that was found" in told.out
    assert report(here / "x.json")["kernel_warnings"] == ["It is almost a point."]


def test_what_is_written_is_a_mixture_with_the_photo(here, monkeypatch):
    photo("wide.png", 70, 90, sharp=True)
    written = {}
    for weight in (0.0, 0.7, 1.0):
        trust(monkeypatch, weight=weight)
        assert call("image deblur wide.png --blind 5 -o x.png --quiet --overwrite") < 2
        written[weight] = pixels("x.png")
    np.testing.assert_array_equal(written[0.0], pixels("wide.png"))
    assert np.abs(written[1.0] - written[0.0]).mean() > 5
    np.testing.assert_allclose(written[0.7], 0.7 * written[1.0] + 0.3 * written[0.0], atol=1.1)
    assert report(here / "x.json")["weight"] == 1.0


def test_a_photo_whose_kernel_is_a_point_is_written_as_it_was_without_more_work(here, cheap, capsys):
    photo("sharp.png", 70, 90, sharp=True)  # noise of pixels: the kernel is a point
    assert call("image deblur sharp.png --blind 5 --samples 2 -o x.png") == 0
    assert not cheap
    for name in ("x-0.png", "x-1.png"):
        np.testing.assert_array_equal(pixels(name), pixels("sharp.png"))
    assert "sharp.png was written as it was. If it is blurred, give its kernel" in capsys.readouterr().err
    rows = report(here / "x.json")["samples"]
    assert [(row["left_as_it_was"], row["evaluations"]) for row in rows] == [(True, 0)] * 2


def test_a_photo_that_no_picture_with_the_kernel_explains_is_written_as_it_was(
    here, cheap, capsys, monkeypatch
):
    trust(monkeypatch, excess=1e-3)
    photo("sharp.png", 70, 90, sharp=True)
    assert call("image deblur sharp.png --blind 5 -o x.png") == 0
    assert len(cheap) == 1
    np.testing.assert_array_equal(pixels("x.png"), pixels("sharp.png"))
    (row,) = report(here / "x.json")["samples"]
    assert row["left_as_it_was"] and row["unexplained"] > 1e-3
    assert f"{row['unexplained']:.3f} are left over at edges. It is sharp" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--blind 4", "odd whole number"),
        ("--blind 2", "Give 3 to 63"),
        ("--blind 23", "at most a third"),
        ("--blind 5 --gaussian 1", "--blind alone"),
        ("--blind 5 --boundary valid", "Leave --boundary out"),
        ("--blind 5 --posterior 4", "give its kernel by --kernel"),
        ("--blind 5 --model pictograms", "model of pixels"),
    ],
)
def test_what_cannot_be_done_is_refused_before_the_work(here, capsys, options, words):
    photo("small.png", 66, 66)
    assert call(f"image deblur small.png {options} -o x.png") == 2
    assert words in capsys.readouterr().err
    assert not list(here.glob("x*"))


def test_a_kernel_that_is_there_is_not_replaced(here, capsys):
    photo("small.png", 66, 66)
    Image.new("L", (5, 5)).save("x-kernel.png")
    assert call("image deblur small.png --blind 5 -o x.png") == 2
    assert "x-kernel.png" in capsys.readouterr().err
    assert call("image deblur small.png --blind 5 -o x.png --overwrite --quiet") < 2
