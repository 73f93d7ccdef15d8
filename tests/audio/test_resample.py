"""Other rates: files block by block as in one piece, levels and places kept."""

import numpy as np
import pytest
import soundfile

from headwater import Misuse
from headwater.audio.io.files import examine
from headwater.audio.io.resample import raise_rate, resample


@pytest.mark.parametrize(("low", "high"), [(8000, 16000), (11025, 44100), (11025, 16000)])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_raised_file_is_the_raised_track(tmp_path, monkeypatch, low, high, subtype):
    monkeypatch.setattr("headwater.audio.io.resample.BLOCK", 5000)
    x = 0.2 * np.random.default_rng(0).standard_normal((17_003, 2))
    soundfile.write(tmp_path / "a.wav", x, low, subtype=subtype)
    source = examine(tmp_path / "a.wav")
    target = raise_rate(source, high, tmp_path / "b.wav")
    y, rate = soundfile.read(tmp_path / "b.wav")
    assert examine(tmp_path / "b.wav") == target and rate == high and target.subtype == subtype
    assert len(y) == target.frames == -(-17_003 * high // low)
    whole = source.read(0, source.frames)
    wanted = np.stack([resample(track, low, high) for track in whole.T], axis=1)[: len(y)]
    np.testing.assert_allclose(y, wanted, atol=4e-5)


def test_a_tone_stays_a_tone(tmp_path):
    t = np.arange(8000) / 8000
    up = resample(np.sin(2 * np.pi * 1000 * t), 8000, 44100)
    wanted = np.sin(2 * np.pi * 1000 * np.arange(44100) / 44100)
    assert np.abs(up - wanted)[2000:-2000].max() < 1e-3


def test_a_rate_must_rise(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    with pytest.raises(Misuse, match="8000 Hz already"):
        raise_rate(examine(tmp_path / "a.wav"), 8000, tmp_path / "b.wav")
    with pytest.raises(Misuse, match=r"No recording has 9000000000 Hz\. Give a rate of at most 768000 Hz\."):
        raise_rate(examine(tmp_path / "a.wav"), 9_000_000_000, tmp_path / "b.wav")
