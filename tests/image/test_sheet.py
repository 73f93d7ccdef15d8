"""The sheet: written whole, of any shapes, pixels not smoothed."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from headwater.errors import Misuse
from headwater.image.sheet import sheet

torch.set_num_threads(1)


def image(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("size", [(16, 16), (12, 40), (40, 12), (1, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_any_shape(tmp_path, size, channels):
    x = image(1, channels, *size)
    curve = [(k, 1 + 20 * 0.8**k) for k in range(30)]
    out = sheet(
        tmp_path / "s.png",
        x[..., ::2],
        x,
        steps=[(k, x) for k in range(0, 30, 3)],
        reference=x,
        curve=curve,
        title="A title",
        captions=("one", "two"),
    )
    shown = Image.open(out)
    assert shown.width == 1350 and 300 < shown.height < 2500 and os.listdir(tmp_path) == ["s.png"]


def test_least_content_and_exact_pixels(tmp_path):
    x = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).expand(3, 2, 2)
    out = sheet(tmp_path / "s.png", x, x)
    array = np.asarray(Image.open(out).convert("L"))
    patch = array[200:600, 100:600]
    assert np.isin(patch, [0, 255]).all() and {0, 255} <= set(patch.ravel().tolist())


def test_bad_values_and_outputs(tmp_path):
    x = image(3, 8, 8)
    sheet(tmp_path / "nan.png", x * torch.nan, x * 9, curve=[(0, 1.0)])
    with pytest.raises(Misuse, match="images"):
        sheet(tmp_path / "bad.png", image(2, 3, 8, 8), x)
    with pytest.raises(Misuse, match="exists already"):
        sheet(tmp_path / "nan.png", x, x)
    assert os.listdir(tmp_path) == ["nan.png"]
