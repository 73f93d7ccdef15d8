"""The sheet: every image in its place and its shape, pixels not smoothed, the curve as it went, written whole."""

import os

import numpy as np
import pytest
import torch
from PIL import Image

from headwater.errors import Misuse
from headwater.image.sheet import LINE, NOISE, write_sheet

torch.set_num_threads(1)
COLOURS = {"red": (1.0, -1.0, -1.0), "green": (-1.0, 1.0, -1.0), "blue": (-1.0, -1.0, 1.0)}


def image(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1


def plain(name, height, width):
    """An image of one colour, [3, height, width]."""
    return torch.tensor(COLOURS[name]).reshape(3, 1, 1).expand(3, height, width)


def shown(path):
    return np.asarray(Image.open(path).convert("RGB"), int)


def box(picture, colour):
    """(left, top, width, height) of what has this colour, in pixels; None if nothing has."""
    colour = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) if isinstance(colour, str) else colour
    rows, columns = np.nonzero((np.abs(picture - colour) <= 1).all(-1))
    if not len(rows):
        return None
    return columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1


def rgb(name):
    return (np.array(COLOURS[name]) + 1) * 127.5


@pytest.mark.parametrize("size", [(16, 16), (12, 40), (40, 20), (9, 27)])
def test_measurement_result_and_reference_stand_side_by_side_in_their_shapes(tmp_path, size):
    h, w = size
    half = plain("red", h, w)[..., ::2]  # the measurement may have another size than the result
    out = write_sheet(tmp_path / "s.png", half, plain("green", h, w), reference=plain("blue", h, w))
    picture = shown(out)
    assert picture.shape[1] == 1350 and os.listdir(tmp_path) == ["s.png"]
    boxes = [box(picture, rgb(name)) for name in COLOURS]
    for (_, top, width, height), (_, columns) in zip(boxes, [half.shape[1:], size, size], strict=True):
        assert abs(width / height - columns / h) < 0.02 * columns / h
        assert abs(top - boxes[0][1]) <= 1 and abs(height - boxes[0][3]) <= 2
    ends = [left + width for left, _, width, _ in boxes]
    assert (
        boxes[0][0] >= 70
        and all(e < b[0] for e, b in zip(ends, boxes[1:], strict=False))
        and ends[-1] <= 1350
    )


def test_without_a_reference_there_are_two_images(tmp_path):
    out = write_sheet(tmp_path / "s.png", plain("red", 8, 8), plain("green", 8, 8))
    found = [box(shown(out), rgb(name)) for name in COLOURS]
    assert found[0] and found[1] and found[2] is None


def test_the_way_stands_below_in_its_order_and_of_many_steps_six_are_shown(tmp_path):
    levels = np.linspace(-0.9, 0.9, 11).round(2).tolist()
    steps = [(k, torch.tensor([v, -1.0, 1.0]).reshape(3, 1, 1).expand(3, 8, 8)) for k, v in enumerate(levels)]
    picture = shown(write_sheet(tmp_path / "s.png", plain("red", 8, 8), plain("green", 8, 8), steps=steps))
    below = box(picture, rgb("red"))[1] + box(picture, rgb("red"))[3]
    values = [np.array([(v + 1) * 127.5, 0, 255]) for v in levels]
    lefts = [b[0] for v in values if (b := box(picture[below + 40 :], v)) and b[2] > 100]
    assert len(lefts) == 6 and lefts == sorted(lefts)
    ends = [box(picture[below + 40 :], v) for v in (values[0], values[-1])]
    assert all(
        b is not None and b[2] > 100 for b in ends
    )  # the first step and the last are always among them


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_exact_and_not_smoothed(tmp_path, channels):
    x = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).expand(channels, 2, 2)
    picture = shown(write_sheet(tmp_path / "s.png", x, x))
    left, top = 75, 30 + 57  # the margin, and the head with the label, in pixels
    side = 585  # 3.9 inches: two squares fill the width
    quarter = side // 2
    for row, column, value in ((0, 0, 255), (0, 1, 0), (1, 0, 0), (1, 1, 255)):
        a, b = top + row * quarter + 4, left + column * quarter + 4
        assert (picture[a : a + quarter - 8, b : b + quarter - 8] == value).all()


def test_values_beyond_the_range_are_clipped_and_nan_is_black(tmp_path):
    out = write_sheet(tmp_path / "s.png", torch.full((3, 8, 8), torch.nan), 9 * plain("green", 8, 8))
    picture = shown(out)
    assert box(picture, rgb("green"))[2] > 500
    assert (picture[200:500, 100:600] == 0).all()


def test_the_curve_falls_as_the_misfit_did_to_the_level_of_the_noise(tmp_path):
    x = plain("red", 8, 8)
    bare = shown(write_sheet(tmp_path / "bare.png", x, x))
    curve = [(k, max(20 * 0.7**k, 1.0)) for k in range(30)]
    picture = shown(write_sheet(tmp_path / "s.png", x, x, curve=curve))
    assert box(bare, LINE) is None and len(picture) > len(bare) + 300
    left, top, width, height = box(picture, LINE)
    assert left > 75 and width > 1000 and height > 150 and top > box(picture, rgb("red"))[1] + 400
    line = [box(picture[:, c : c + 1], LINE)[1] for c in range(left, left + width - 10, 100)]
    assert line == sorted(line) and line[-1] - line[0] > 150  # rows count downwards
    noise = box(picture, NOISE)
    assert abs(noise[1] - line[-1]) < 8 and noise[2] > 1000  # the dashed line, where the curve ends


def test_title_and_captions_are_written_where_they_belong(tmp_path):
    x = plain("red", 8, 8)
    bare = shown(write_sheet(tmp_path / "bare.png", x, x))
    titled = shown(write_sheet(tmp_path / "titled.png", x, x, title="A title"))
    assert len(titled) - len(bare) == pytest.approx(33, abs=1)  # 0.22 inches for the title
    assert (titled[:63].min() < 60) and (bare[:30].min() == 255)
    captioned = shown(write_sheet(tmp_path / "c.png", x, x, captions=("", "misfit 1.00")))
    changed = np.argwhere((captioned != bare).any(-1))
    assert (
        captioned.shape == bare.shape and changed[:, 0].max() < 90 and changed[:, 1].min() > 675
    )  # of the result


def test_bad_values_and_outputs(tmp_path):
    x = image(3, 8, 8)
    write_sheet(tmp_path / "s.png", x, x, curve=[(0, 1.0)])
    with pytest.raises(Misuse, match="images"):
        write_sheet(tmp_path / "bad.png", image(2, 3, 8, 8), x)
    with pytest.raises(Misuse):
        write_sheet(tmp_path / "bad.png", x[..., :0], x)
    with pytest.raises(Misuse, match="exists already"):
        write_sheet(tmp_path / "s.png", x, x)
    assert os.listdir(tmp_path) == ["s.png"]
