"""The quality of a JPEG file is found in what it was decoded to, and none in what was no such file."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from headwater.errors import Misuse
from headwater.image import JPEG, find_jpeg
from headwater.image.io import photos


def picture(name, box=(0, 0, 64, 64), grey=False):
    image = Image.open(photos.path(name)).convert("L" if grey else "RGB")
    return image.resize((80, 64)).crop(box)


def tensor(image):
    array = torch.from_numpy(np.asarray(image).copy()).float()
    return (array[None] if array.ndim == 2 else array.permute(2, 0, 1))[None] / 127.5 - 1


def decoded(image, **how):
    file = io.BytesIO()
    image.save(file, "JPEG", **how)
    return tensor(Image.open(file))


@pytest.mark.parametrize("quality", [10, 40, 75, 93])
@pytest.mark.parametrize(("code", "name"), [(0, "4:4:4"), (2, "4:2:0")])
def test_quality_and_subsampling_of_another_codec_are_found(quality, code, name):
    (found,) = find_jpeg(decoded(picture("astronaut"), quality=quality, subsampling=code))
    assert (found.quality, found.subsampling) == (quality, name)


def test_grey_pictures_and_each_of_a_batch_are_found():
    (grey,) = find_jpeg(decoded(picture("coffee", grey=True), quality=60))
    assert (grey.quality, grey.subsampling) == (60, "4:4:4")
    one, two = (decoded(picture("coffee"), quality=q) for q in (30, 80))
    assert [f and f.quality for f in find_jpeg(torch.cat([one, tensor(picture("coffee")), two]))] == [
        30,
        None,
        80,
    ]


def test_a_crop_at_a_block_keeps_its_trace_and_another_does_not():
    y = decoded(picture("rocket", (0, 0, 80, 64)), quality=50)
    assert find_jpeg(y[..., 8:, 16:])[0].quality == 50
    assert find_jpeg(y[..., 3:, 5:]) == [None]


def test_what_was_touched_in_a_corner_keeps_its_trace():
    y = decoded(picture("astronaut"), quality=50)
    y[..., :16, :16] = (y[..., :16, :16] * 64).round() / 64
    assert find_jpeg(y)[0].quality == 50


@pytest.mark.parametrize(
    "y",
    [
        torch.zeros(1, 3, 64, 64),
        torch.ones(1, 3, 64, 64),
        torch.rand(1, 3, 40, 7) - 0.5,
        torch.rand(1, 1, 64, 64),
    ],
)
def test_flat_pictures_noise_and_less_than_a_block_show_nothing(y):
    assert find_jpeg(y) == [None]


def test_precision_and_pictures_that_are_none():
    y = decoded(picture("astronaut"), quality=50)
    assert find_jpeg(y.double())[0].quality == 50
    assert isinstance(find_jpeg(y)[0], JPEG)
    with pytest.raises(Misuse, match="2 channels"):
        find_jpeg(torch.zeros(1, 2, 16, 16))
    with pytest.raises(Misuse, match="not finite"):
        find_jpeg(torch.full((1, 3, 16, 16), torch.nan))
