"""A JPEG file tells its quality, its subsampling and how its blocks lie."""

import io

import imagecodecs
import numpy as np
import pytest
import torch
from cli_tools import pixels
from PIL import Image

from headwater.cli.image.jpeg_request import codec_noise, dejpeg, read_compression, turn_tensor_as_stored
from headwater.cli.image.options import Restore
from headwater.errors import Misuse
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.io.picture import TURNS, turn_as_stored

UNEVEN = [[3 + (i // 8) * 2 + (i % 8) * 4 for i in range(64)], [9 + (i // 8) * 5 + i % 8 for i in range(64)]]
"""Tables that are not symmetric, and no libjpeg quality."""


def by_pillow(array, **how):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", **how)
    return stream.getvalue()


def by_libjpeg(array, subsampling):
    return imagecodecs.jpeg8_encode(np.ascontiguousarray(array), 80, subsampling=subsampling)


FILES = {  # what wrote the file, and what its header says: quality, subsampling
    "4:4:4": (lambda a: by_libjpeg(a, "444"), 80, "4:4:4"),
    "4:2:2": (lambda a: by_libjpeg(a, "422"), 80, "4:2:2"),
    "4:2:0": (lambda a: by_libjpeg(a, "420"), 80, "4:2:0"),
    "4:4:0": (lambda a: by_libjpeg(a, "440"), 80, "4:4:0"),
    "4:1:1": (lambda a: by_libjpeg(a, "411"), 80, "4:1:1"),
    "flat": (lambda a: by_pillow(a, subsampling=0, qtables=[[16] * 64] * 2), None, "4:4:4"),
    "uneven": (lambda a: by_pillow(a, subsampling=2, qtables=UNEVEN), None, "4:2:0"),
    "three tables": (lambda a: by_pillow(a, subsampling=1, qtables=[*UNEVEN, [5] * 64]), None, "4:2:2"),
    "RGB": (lambda a: by_pillow(a, quality=80, keep_rgb=True), None, "4:4:4"),
    "progressive": (lambda a: by_pillow(a, quality=80, progressive=True), 80, "4:2:0"),
    "grey": (lambda a: by_pillow(np.ascontiguousarray(a[..., 1]), quality=60), 60, "4:4:4"),
}


def striped_cat(size):
    """A cat behind rows of red and blue, which no other subsampling explains."""
    array = np.asarray(Image.open(photos.path("cat")).convert("RGB").resize((64, 64))).copy()
    array[16:48:2, 16:48], array[17:48:2, 16:48] = (220, 30, 30), (30, 30, 220)
    return np.ascontiguousarray(array[: size[0], : size[1]])


@pytest.mark.parametrize("size", [(64, 64), (61, 51)])
@pytest.mark.parametrize("name", FILES)
def test_a_file_tells_how_it_was_made(name, size, tmp_path):
    write, quality, subsampling = FILES[name]
    truth, path = striped_cat(size), tmp_path / "x.jpg"
    path.write_bytes(write(truth))
    found = read_compression(path)
    assert (found.quality, found.subsampling) == (quality, subsampling)
    x = torch.from_numpy(truth).permute(2, 0, 1)[None] / 127.5 - 1
    y, _ = read_image(path)
    x, y = (x[:, 1:2], y[:, :1]) if name == "grey" else (x, y)
    codec = found.codec()
    misfit = float((codec(x) - y).square().mean().sqrt()) / codec_noise(codec, y)
    assert 0.5 < misfit < 1.1, misfit  # A(truth) - y is noise of about the level that the solve is told
    exact = float((found.codec("straight")(x) - y).square().mean().sqrt())
    assert exact < 0.016  # 42 dB


def test_jpeg_files_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "x.jpg"
    Image.fromarray(pixels()).convert("CMYK").save(path)
    with pytest.raises(Misuse, match="JPEG file of CMYK"):
        read_compression(path)
    assert read_image(path)[0].shape == (1, 3, 16, 20)
    path.write_bytes(imagecodecs.jpeg8_encode(pixels(), lossless=True, predictor=1))
    with pytest.raises(Misuse, match=r"quantisation|cannot be read"):
        read_compression(path)


def test_what_the_user_says_stands_before_the_file(here):
    Image.fromarray(pixels()).save("x.jpg", quality=70, subsampling="4:2:2")
    for quality, subsampling, steps in [(None, "4:4:4", 70), (30, None, 30)]:
        task = dejpeg(here / "x.jpg", quality, subsampling, Restore()).task
        assert task.operator.subsampling == (subsampling or "4:2:2") and task.operator.quality == steps


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


def test_a_file_that_was_saved_anew_still_tells_its_quality(tmp_path):
    path, again = tmp_path / "x.jpg", tmp_path / "x.png"
    path.write_bytes(by_pillow(striped_cat((64, 64)), quality=40, subsampling=0))
    Image.open(path).save(again)
    direct, seen = (dejpeg(file, None, None, Restore()) for file in (path, again))
    assert seen.settings == direct.settings == {"quality": 40, "subsampling": "4:4:4"}
    assert not direct.hints and "its pixels were one of quality 40, 4:4:4." in seen.hints[0]
    assert seen.task.noise == direct.task.noise
    told = dejpeg(again, None, "4:2:0", Restore())
    assert told.settings == {"quality": 40, "subsampling": "4:2:0"}


def test_a_picture_without_a_trace_of_compression_is_refused(tmp_path):
    path = tmp_path / "x.png"
    Image.fromarray(striped_cat((64, 64))).save(path)
    with pytest.raises(Misuse, match=r"show no trace of one\. Give --quality, 1 to 100\."):
        dejpeg(path, None, None, Restore())
