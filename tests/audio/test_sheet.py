"""The picture of a repair: written whole, for any kind of damage."""

import matplotlib.image
import numpy as np
import pytest

from headwater import Misuse
from headwater.audio.sheet import sheet

RATE = 8000


def tracks():
    t = np.arange(RATE) / RATE
    after = 0.5 * np.sin(2 * np.pi * 440 * t)
    before = after.copy()
    before[3000:3400] = 0
    return before, after


@pytest.mark.parametrize("gaps", [[(3000, 3400)], [(0, 100), (3000, 3400)], []])
@pytest.mark.parametrize("curve", [(), [(0, 9.0), (5, 1.0)], [(1, 0.3)], [(-1, 9.0), (0, float("nan"))]])
def test_a_picture_is_written(tmp_path, gaps, curve):
    path = sheet(tmp_path / "s.png", *tracks(), RATE, gaps, start=2.5, curve=curve, title="take.wav")
    picture = matplotlib.image.imread(path)
    assert picture.shape[1] > 800 and picture.std() > 0.1


def test_silence_and_a_few_samples_can_be_shown(tmp_path):
    zero = np.zeros(12)
    assert sheet(tmp_path / "s.png", zero, zero, RATE, [(3, 5)]).exists()


def test_nothing_is_overwritten_unasked(tmp_path):
    path = tmp_path / "s.png"
    path.write_bytes(b"mine")
    with pytest.raises(Misuse):
        sheet(path, *tracks(), RATE, [])
    assert path.read_bytes() == b"mine"
