"""The picture of a repair: it shows what was there before and after, where, and how it went."""

import matplotlib.image
import numpy as np
import pytest

from headwater import Misuse
from headwater.audio.sheet import draw_sheet, write_gallery, write_sheet

RATE = 8000
GAP = (3000, 3400)


def signals():
    """A tone of 440 Hz, with and without a gap of 50 ms."""
    t = np.arange(RATE) / RATE
    after = 0.5 * np.sin(2 * np.pi * 440 * t)
    before = after.copy()
    before[slice(*GAP)] = 0
    return before, after


def panels(**more):
    """The axes of a sheet by their titles; that of the cost curve has none."""
    figure = draw_sheet(*signals(), **{"rate": RATE, "gaps": [GAP], "start": 2.5} | more)
    return {axes.get_title("left"): axes for axes in figure.axes}


def level(axes, seconds, hertz):
    """What a spectrogram shows at a time and frequency, dB."""
    (image,) = axes.images
    left, right, bottom, top = image.get_extent()
    picture = image.get_array()
    row = (hertz / 1000 - bottom) / (top - bottom) * picture.shape[0]
    column = (seconds - left) / (right - left) * picture.shape[1]
    return float(picture[int(row), int(column)])


def test_spectrograms_show_the_tone_and_its_gap():
    found = panels()
    before, after = found["Before"], found["After"]
    for axes in (before, after):
        assert level(axes, 2.7, 440) > level(axes, 2.7, 2000) + 60
        assert axes.get_xlim() == pytest.approx((2.5, 3.5))
    middle = 2.5 + (sum(GAP) / 2) / RATE
    assert level(before, middle, 440) < level(after, middle, 440) - 20
    assert [line.get_xdata()[0] for line in before.lines] == pytest.approx([2.875, 2.925])


@pytest.mark.parametrize(
    ("gaps", "names"),
    [
        ([GAP], {"Where the gap begins": 3000, "Where it ends": 3400}),
        ([(0, 100), GAP], {"Where the gap begins": 3000, "Where it ends": 3400}),  # the longest one
        ([], {"Where it is loudest": None, "Where it changed most": None}),
    ],
)
def test_waveforms_are_shown_where_it_matters(gaps, names):
    before, after = signals()
    found = panels(gaps=gaps)
    loudest, changed = np.abs(before).argmax(), np.abs(after - before).argmax()
    for (name, frame), other in zip(names.items(), (loudest, changed), strict=True):
        frame = other if frame is None else frame
        part = slice(max(frame - 64, 0), frame + 64)
        old, new, _ = found[name].lines
        np.testing.assert_array_equal(old.get_ydata(), before[part])
        np.testing.assert_array_equal(new.get_ydata(), after[part])
        assert f"{2.5 + frame / RATE:.3f} s" in found[name].get_xlabel()


@pytest.mark.parametrize(
    ("curve", "lines"),
    [
        ([(0, 9.0), (5, 1.0)], {"estimate": [9.0], "control": [9.0, 1.0]}),
        ([(1, 0.3)], {"control": [0.3]}),
        ([(-1, 9.0), (0, 5.0)], {"estimate": [9.0, 5.0], "control": [5.0]}),
    ],
)
def test_the_misfit_is_shown_in_the_estimate_and_after_it(curve, lines):
    axes = panels(curve=curve)[""]
    shown = {x.get_label(): list(x.get_ydata()) for x in axes.lines if not x.get_label().startswith("_")}
    assert shown == lines
    assert "" not in panels(curve=())


@pytest.mark.parametrize("curve", [(), [(-1, 9.0), (0, float("nan"))]])
def test_a_picture_is_written(tmp_path, curve):
    path = write_sheet(tmp_path / "s.png", *signals(), rate=RATE, gaps=[GAP], curve=curve, title="take.wav")
    height, width, _ = matplotlib.image.imread(path).shape
    assert width == 900 and height == (900 if curve else 720)
    gallery = write_gallery(tmp_path / "g.png", signals(), RATE, ["one", "two"])
    assert matplotlib.image.imread(gallery).shape[:2] == (380, 900)


def test_silence_and_a_few_samples_can_be_shown(tmp_path):
    zero = np.zeros(12)
    assert write_sheet(tmp_path / "s.png", zero, zero, rate=RATE, gaps=[(3, 5)]).exists()


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "s.png"
    path.write_bytes(b"mine")
    with pytest.raises(Misuse):
        write_sheet(path, *signals(), rate=RATE, gaps=[])
    assert path.read_bytes() == b"mine"
