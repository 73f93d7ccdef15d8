"""A JPEG file tells its quality, its subsampling and how its blocks lie."""

import numpy as np
import pytest
import torch
from cli_tools import pixels
from PIL import Image

from headwater.cli.image.jpeg_request import dejpeg, read_compression, turn_tensor_as_stored
from headwater.cli.image.options import Restore
from headwater.image.io.picture import TURNS, turn_as_stored


@pytest.mark.parametrize("quality", [1, 10, 30, 50, 75, 95])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:0"])
def test_the_settings_are_read_from_the_file(quality, subsampling, here):
    Image.fromarray(pixels()).save("x.jpg", quality=quality, subsampling=subsampling)
    found = read_compression(here / "x.jpg")
    assert (found.quality, found.subsampling) == (quality, subsampling)
    assert read_compression(here / "photo.png") is None


@pytest.mark.parametrize("orientation", TURNS)
def test_the_tensor_turns_as_the_picture_does(orientation):
    x = torch.randn(3, 5, 4)
    stored = turn_as_stored(x.permute(1, 2, 0).numpy(), orientation)
    assert np.array_equal(turn_tensor_as_stored(x, orientation).permute(1, 2, 0).numpy(), stored)


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_operator_makes_the_file_of_the_original(orientation, mode, here):
    """As the file is stored: 20 columns are no multiple of 8, so turned blocks would not fit."""
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(pixels()).convert(mode)
    image.save("x.jpg", quality=40, exif=exif)
    task = dejpeg(here / "x.jpg", None, None, Restore()).task
    stored = torch.from_numpy(np.asarray(image.convert("RGB"), np.float32) / 127.5 - 1)
    upright = undo(stored.permute(2, 0, 1)[None], orientation)
    assert tuple(upright.shape[-2:]) == task.size
    misfit = float((task.operator(upright) - task.y).square().mean().sqrt())
    identity = float((task.guess - upright).square().mean().sqrt())
    assert misfit < 1.3 * task.noise and misfit < 0.8 * identity


def undo(x, orientation):
    inverse = {1: 1, 3: 3, 6: 8}[orientation]
    return turn_tensor_as_stored(x, inverse)
