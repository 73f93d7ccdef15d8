"""`headwater image restore`: the user's own operator."""

import numpy as np
import pytest
import torch
from cli_tools import call, report, two_sentences

GOOD = """
import torch
import neighbour
def operator(x): return neighbour.half * x
def narrow(x): return x[..., ::2]
def spectrum(x): return torch.fft.rfft2(x).abs()
class Physics:
    def A(self, x): return -x
    def A_adjoint(self, y): return -y
physics = Physics()
from headwater.image.operators import Blur
blur = Blur(torch.ones(3, 3))
number = 3
def broken(x): return x.nothing
def scalar(x): return x.sum()
def array(x): return [1, 2]
def whole(x): return x.long()
def cut(x): return x.detach()
"""


@pytest.fixture
def files(here, cheap, no_sheet):
    (here / "neighbour.py").write_text("half = 0.5\n")
    (here / "my.py").write_text(GOOD)
    (here / "syntax.py").write_text("def operator(x: return x\n")
    (here / "raises.py").write_text("raise SystemExit('no')\n")
    (here / "none.txt").write_text("def operator(x): return x\n")
    return here


@pytest.mark.parametrize("name", ["my.py", "my.py:operator", "my.py:physics", "my.py:blur"])
def test_a_function_a_physics_and_an_operator(name, files, cheap):
    line = f"image restore photo.png --operator {name} --noise 0.05 -o x.png --quiet"
    assert call(line) < 2  # clamped, the stub's sample is off
    assert report(files / "x.json")["settings"]["operator"] == name
    assert cheap[-1]["task"].operator.linear is (name in ("my.py:physics", "my.py:blur"))


def test_an_image_of_another_size(files, cheap):
    line = "image restore photo.png --operator my.py:narrow --size 16,40 --noise 0.05 -o x.png --quiet"
    assert call(line) == 0
    assert cheap[-1]["task"].size == (16, 40) and cheap[-1]["task"].guess is None


def test_a_measurement_that_is_no_image(files, cheap):
    np.save("y.npy", torch.fft.rfft2(torch.rand(3, 8, 12)).abs().numpy())
    line = "image restore y.npy --operator my.py:spectrum --size 8,12 --noise 0.05 --gradients 3 -o x.png"
    assert call(line + " --quiet") == 1  # three gradients are too few
    assert cheap[-1]["task"].y.shape == (1, 3, 8, 7)


@pytest.mark.parametrize(
    "where, words",
    [
        ("no.py", "There is no file no.py."),
        ("mi.py", "Did you mean my.py?"),
        ("syntax.py", "SyntaxError"),
        ("raises.py", "SystemExit: no"),
        ("none.txt", "ends in .py"),
        ("neighbour.py", "def operator(x)"),
        ("my.py:oparator", "Did you mean 'operator'?"),
        ("my.py:number", "is of type int."),
        ("my.py:Physics", "is a class."),
        ("my.py:broken", "AttributeError"),
        ("my.py:scalar", "Keep the first axis"),
        ("my.py:array", "returned list"),
        ("my.py:whole", "int64 values"),
        ("my.py:cut", "lost the gradient"),
        ("my.py:narrow", "Give --size"),
    ],
)
def test_what_is_wrong_with_it_is_two_sentences(where, words, files, cheap, capsys):
    before = sorted(files.iterdir())
    assert call(f"image restore photo.png --operator {where}") == 2
    err = capsys.readouterr().err
    assert words in err and two_sentences(err), err
    assert sorted(p for p in files.iterdir() if p.name != "__pycache__") == before and cheap == []


def test_a_function_that_fails_later_is_two_sentences_too(files, cheap, capsys):
    """It is called with one image before the work, and with both samples in it."""
    (files / "late.py").write_text(
        "def operator(x):\n    assert len(x) == 1, 'one at a time'\n    return x\n"
    )
    line = "image restore photo.png --operator late.py --noise 0.05 --samples 2 -o x.png --quiet"
    assert call(line) == 2
    error = capsys.readouterr().err
    assert (
        "late.py failed on an image [2, 3, " in error
        and "one at a time" in error
        and "Traceback" not in error
    )


@pytest.mark.parametrize("failing", [0, 1])
def test_an_image_that_cannot_be_written_leaves_the_others_and_a_report(
    failing, files, cheap, capsys, monkeypatch
):
    from headwater.cli.image import restoration
    from headwater.errors import Misuse

    count, write = [], restoration.write_image

    def full(image, path, *arguments, **options):
        count.append(path)
        if len(count) == failing + 1:
            raise Misuse("The disk is full.", "Free some space.")
        return write(image, path, *arguments, **options)

    monkeypatch.setattr(restoration, "write_image", full)
    assert call("image denoise photo.png --noise 0.1 --samples 2 -o x.png --quiet") == 2
    assert "The disk is full. Free some space." in capsys.readouterr().err
    assert (files / "x-0.png").exists() is (failing == 1) and not (files / "x-1.png").exists()
    if failing == 1:
        found = report(files / "x.json")
        assert found["ended_by"] == "The disk is full. Free some space." and len(found["samples"]) == 1
