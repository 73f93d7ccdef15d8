"""From file to file with the shipped model, few gradients."""

import numpy as np
import torch
from cli_tools import call, report
from PIL import Image

from headwater.image import photos
from headwater.image.files import read_image, write_image
from headwater.image.metrics import psnr
from headwater.image.operators import Blur, motion_kernel


def test_a_hole_is_inpainted_and_the_rest_is_left_alone(here):
    truth = np.asarray(Image.open(photos.path("cat")))
    photo = truth.copy()
    photo[24:36, 20:36] = 128
    Image.fromarray(photo).save("hole.png")
    line = ["image", "inpaint", "hole.png", "--box", "24,20,12,16", "--gradients", "3", "-o", "x.png"]
    assert call([*line, "--reference", photos.path("cat"), "--quiet"]) == 0
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
    assert call(f"{line} -o a.png") == 0
    assert call(f"{line} -o b.png") == 0
    a, b = read_image("a.png")[0], read_image("b.png")[0]
    assert bool((a == b).all())
    assert float(psnr(a, truth)) > float(psnr(blurred, truth)) + 2


def test_larger_than_the_window_and_not_square(here):
    truth = np.asarray(Image.open(photos.path("astronaut")))[:70, :90]
    photo = np.dstack([truth, np.full(truth.shape[:2], 255, np.uint8)])
    photo[30:40, 20:30, 3] = 0
    Image.fromarray(photo).save("hole.png")
    assert call("image inpaint hole.png --gradients 1 -o x.png --quiet --steps 2") == 0
    out = np.asarray(Image.open("x.png"))
    assert out.shape == (70, 90, 3) or (out[..., 3] == 255).all()
    assert np.array_equal(out[:20, :, :3], truth[:20])
