"""From file to file with the shipped model, few gradients."""

import numpy as np
import pytest
import torch
from cli_tools import call, report
from PIL import Image

from headwater.image.io import photos
from headwater.image.io.files import read_image, write_image
from headwater.image.metrics.fidelity import psnr
from headwater.image.operators import Blur, motion_kernel


def test_a_hole_is_inpainted_and_the_rest_is_left_alone(here, pictures):
    truth = np.asarray(Image.open(photos.path("cat")))
    photo = truth.copy()
    photo[24:36, 20:36] = 128
    Image.fromarray(photo).save("hole.png")
    line = ["image", "inpaint", "hole.png", "--box", "24,20,12,16", "--gradients", "3", "-o", "x.png"]
    assert call([*line, "--reference", photos.path("cat"), "--quiet"]) < 2
    out = np.asarray(Image.open("x.png"))
    known = np.ones((64, 64), bool)
    known[24:36, 20:36] = False
    assert np.array_equal(out[known], truth[known])
    before, after = (np.abs(p[~known].astype(float) - truth[~known]).mean() for p in (photo, out))
    assert after < 0.9 * before
    assert report(here / "x.json")["samples"][0]["gradients"] <= 3
    assert Image.open("x-sheet.png").width > 500


def test_a_blurred_photo_gets_sharper_and_a_seed_repeats(here):
    truth, picture = read_image(photos.path("cat"))
    blurred = Blur(motion_kernel(9, 30))(truth)
    noise = torch.randn(blurred.shape, generator=torch.Generator().manual_seed(0))
    blurred = (blurred + 0.02 * noise).clamp(-1, 1)
    write_image(blurred, "blurred.png", picture)
    line = "image deblur blurred.png --motion 9,30 --noise 0.02 --gradients 3 --seed 2 --quiet"
    assert call(f"{line} -o a.png") < 2
    assert call(f"{line} -o b.png") < 2
    a, b = read_image("a.png")[0], read_image("b.png")[0]
    assert bool((a == b).all())
    assert float(psnr(a, truth)) > float(psnr(blurred, truth)) + 2


def test_larger_than_the_window_and_not_square(here):
    truth = np.asarray(Image.open(photos.path("astronaut")))[:70, :90]
    photo = np.dstack([truth, np.full(truth.shape[:2], 255, np.uint8)])
    photo[30:40, 20:30, 3] = 0
    Image.fromarray(photo).save("hole.png")
    assert call("image inpaint hole.png --gradients 1 -o x.png --quiet --steps 2") < 2
    out = np.asarray(Image.open("x.png"))
    assert out.shape == (70, 90, 3) or (out[..., 3] == 255).all()
    assert np.array_equal(out[:20, :, :3], truth[:20])


def test_molecules_for_real(here, capsys):
    """The shipped networks at few steps, from the command line to all files; then scored, and grown."""
    quick = "--steps 4 --gradients 1 --candidates 4 --check none --keep-broken"
    line = f"molecule target --gap 6.0eV -n 2 {quick} -o hits.sdf"
    assert call(line) < 2
    out = capsys.readouterr().out
    assert ": number " in out.splitlines()[-1] and "own mean error on QM9: gap 0." in out
    r = report(here / "hits.json")
    assert len(r["molecules"]) == 2 and r["targets"]["gap"]["asked"] == 6.0
    assert {p.name for p in here.glob("hits*")} == {
        f"hits{end}" for end in (".sdf", ".xyz", ".csv", ".json", ".html", "-sheet.png")
    }
    assert call("molecule score hits.sdf -o scored.csv") == 0
    scored = report(here / "scored.json")["molecules"]
    for before, after in zip(r["molecules"], scored, strict=True):
        assert after["evaluator"]["gap"] == pytest.approx(before["evaluator"]["gap"], abs=5e-3)
    (here / "ring.xyz").write_text("3\nepoxide\nC 0 0 0\nC 1.47 0 0\nO 0.735 1.2 0\n")
    assert call("molecule grow ring.xyz --atoms 9 -n 1 --steps 3 --check none --quiet") == 0
    lines = (here / "ring-grow.xyz").read_text().splitlines()[2:5]
    assert [x.split()[0] for x in lines] == ["C", "C", "O"]
    assert [float(v) for v in lines[1].split()[1:4]] == pytest.approx([1.47, 0, 0], abs=1e-3)
