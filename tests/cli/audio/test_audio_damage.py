"""`headwater audio declip | denoise | dereverb | restore`: what is not damaged stays."""

import json

import numpy as np
import pytest
import soundfile
import torch
from audio_takes import RATE, chord, samples

from headwater.audio.damage.rails import find_peaks
from headwater.audio.io.files import examine
from headwater.cli.app import main

torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("declip loud.wav", "loud-declip.wav"),
        ("declip loud.wav --method paper", "loud-declip.wav"),
        ("denoise hiss.wav --noise 0.05", "hiss-denoise.wav"),
        ("dereverb short.wav --impulse room.wav", "short-dereverb.wav"),
        ("restore short.wav --cutoff 1kHz", "short-restore.wav"),
        ("restore tiny.wav --operator tube.py", "tiny-restore.wav"),
        ("restore tiny.wav --operator tube.py:operator --noise -40dB", "tiny-restore.wav"),
    ],
)
def test_damage_all_over_a_recording(folder, words, name):
    source = words.split()[1]
    soundfile.write("tiny.wav", soundfile.read("short.wav")[0][: RATE // 2], RATE, subtype="PCM_16")
    missed = "paper" in words  # three gradients are not enough from plain noise
    assert main(["audio", *words.split(), "--steps", "2", "--gradients", "3", "--quiet"]) == missed
    a, b = soundfile.info(source), soundfile.info(name)
    assert (a.samplerate, a.channels, a.frames) == (b.samplerate, b.channels, b.frames)
    assert b.subtype == ("FLOAT" if "declip" in words else a.subtype)
    assert not np.array_equal(samples(source), samples(name))
    report = json.loads((folder / name).with_suffix(".json").read_text())
    assert report["command"] == f"audio {words.split()[0]}" and report["not_begun"] == 0
    assert report["damage"]
    if words == "declip loud.wav":
        assert report["damage"]["by"] == "sparsity" and not report["stretches"][0]["gradients"]
    else:
        assert report["stretches"][0]["gradients"][0] <= 3
        assert report["stretches"][0]["evaluations"][0] >= 16 or missed


def test_light_noise_asks_no_flow(folder):
    assert main(["audio", "denoise", "hiss.wav", "--noise", "0.001", "--quiet"]) == 0
    report = json.loads((folder / "hiss-denoise.json").read_text())
    assert report["model"] is None and report["stretches"][0]["evaluations"] == []
    assert not np.array_equal(samples("hiss.wav"), samples("hiss-denoise.wav"))


@pytest.mark.parametrize(
    ("subtype", "level"), [("PCM_24", 0.8), ("PCM_24", 1.0), ("PCM_16", 1.0), ("PCM_U8", 1.0), ("FLOAT", 0.8)]
)
def test_declipping_leaves_what_is_below_the_level(folder, subtype, level):
    """Both rails are found: full scale is -1 on one side and a step less than 1 on the other."""
    t = np.arange(RATE) / RATE
    x = np.clip(1.5 * np.sin(2 * np.pi * 220 * t), -level, level)
    soundfile.write("cut.wav", x, RATE, subtype=subtype)
    assert main(["audio", "declip", "cut.wav", "--steps", "2", "--gradients", "3", "--quiet"]) == 0
    a, b = (soundfile.read(f)[0] for f in ("cut.wav", "cut-declip.wav"))
    least = level - (1.6 / 128 if subtype == "PCM_U8" else 2e-4)
    cut = np.abs(a) >= least
    assert 0.2 < cut.mean() < 0.8
    np.testing.assert_array_equal(a[~cut], b[~cut])
    assert (np.sign(a[cut]) * b[cut] >= least).all()
    assert b.max() > 1.2 * level and b.min() < -1.2 * level


def test_clipping_is_found_whatever_a_lone_peak_does(folder):
    for first in (400_000, 2**18 - 2):  # the file is read in blocks
        x = np.zeros((600_000, 2))
        x[10] = -1.0
        x[first : first + 4, 0] = 32767 / 32768
        x[first : first + 2, 1] = 0.5
        soundfile.write("peaks.wav", x, RATE, subtype="PCM_16")
        peaks, runs = find_peaks(examine("peaks.wav"))
        np.testing.assert_allclose(peaks, [[1.0, 1.0], [1.0, 0.5]], atol=1e-4)
        assert runs.tolist() == [[False, True], [False, False]]


def test_every_channel_and_side_is_declipped_at_its_own_level(folder):
    """Gains differ after clipping, and analogue stages clip unevenly; one channel is whole."""
    x = 0.8 * np.stack([chord(8000, f) for f in (220, 330, 275)], axis=1)
    rails = [(0.45, 0.6), (0.35, 0.5), (np.inf, np.inf)]
    y = np.stack([c.clip(-low, high) for c, (low, high) in zip(x.T, rails, strict=True)], axis=1)
    soundfile.write("uneven.wav", y, RATE, subtype="PCM_24")
    assert main(["audio", "declip", "uneven.wav", "--quiet"]) == 0
    found = json.loads((folder / "uneven-declip.json").read_text())["damage"]["levels"]
    assert found[0] == pytest.approx(rails[0], abs=1e-5) and found[1] == pytest.approx(rails[1], abs=1e-5)
    assert found[2] == [None, None]
    a, b = soundfile.read("uneven.wav")[0], soundfile.read("uneven-declip.wav")[0]
    for i, (low, high) in enumerate(rails):
        cut = (x[:, i] > high) | (x[:, i] < -low)
        np.testing.assert_array_equal(a[~cut, i], b[~cut, i])
        if cut.any():
            worse, better = (np.sum((z[cut, i] - x[cut, i]) ** 2) for z in (a, b))
            assert better < 0.2 * worse
            assert b[:, i].max() > 1.1 * high and b[:, i].min() < -1.1 * low


def test_a_low_rate_is_raised(folder):
    t = np.arange(3001) / 2000
    low = np.stack([0.3 * np.sin(2 * np.pi * f * t) for f in (220, 330)], axis=1)
    low += 0.03 * np.random.default_rng(0).normal(size=low.shape)
    soundfile.write("low.wav", low, 2000, subtype="PCM_16")
    assert (
        main(["audio", "restore", "low.wav", "--rate", "4kHz", "--steps", "2", "--gradients", "3", "--quiet"])
        == 0
    )
    assert json.loads((folder / "low-restore.json").read_text())["output"]["exact"] is False
    info = soundfile.info("low-restore.wav")
    assert (info.samplerate, info.channels, info.frames, info.subtype) == (4000, 2, 6002, "PCM_16")
    spectrum = np.abs(np.fft.rfft(soundfile.read("low-restore.wav")[0][:, 0]))
    hertz = np.fft.rfftfreq(6002, 1 / 4000)
    assert 215 < hertz[spectrum.argmax()] < 225
    old, new = (np.median(spectrum[(hertz > a) & (hertz < b)]) for a, b in ((500, 900), (1100, 1900)))
    # the white prior adds a band, which falls on as the tones fall: 12 dB an octave
    assert 0.1 < new / old < 0.3


def test_stretches_before_a_failure_are_written(folder, capsys):
    """A user's operator that fails in the last of three stretches: the first two are kept, and the report says so."""
    t = np.arange(17 * RATE) / RATE
    x = np.where(t < 13, 0.02, 0.6) * np.sin(2 * np.pi * 220 * t)
    soundfile.write("long.wav", x, RATE, subtype="FLOAT")
    (folder / "fragile.py").write_text(
        "import torch\n\n\ndef operator(x):\n    assert x.abs().max() < 0.4, 'too loud'\n    return torch.tanh(x)\n"
    )
    words = "audio restore long.wav --operator fragile.py --noise 0.001 -o out.wav --steps 2 --gradients 1 --quiet"
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert "fragile.py failed on a recording" in error and "too loud" in error
    report = json.loads((folder / "out.json").read_text())
    assert "too loud" in report["ended_by"] and report["not_begun"] == 1 and len(report["stretches"]) == 2
    before, after = (soundfile.read(name)[0] for name in ("long.wav", "out.wav"))
    assert len(before) == len(after) and not np.array_equal(before[: 5 * RATE], after[: 5 * RATE])
    assert np.array_equal(before[-4 * RATE :], after[-4 * RATE :])


@pytest.mark.parametrize(("words", "level"), [("", 2.0), ("--method paper", 1.05)])
def test_the_time_left_is_that_to_the_level_of_the_recipe(folder, monkeypatch, words, level):
    """Denoising ends at twice the noise, as its filter does the rest; the recipe of the paper at 1.05."""
    from headwater.cli.shared import progress

    levels, guess = [], progress.seconds_left
    monkeypatch.setattr(progress, "seconds_left", lambda *a: levels.append(a[4]) or guess(*a))
    main(["audio", *f"denoise hiss.wav --noise 0.05 --steps 2 --gradients 1 {words}".split()])
    assert set(levels) == {level}


def test_a_profile_may_be_silent_in_one_channel(folder):
    x = soundfile.read("hiss.wav")[0]
    x[: RATE // 2, 0] = 0.01 * np.random.default_rng(5).standard_normal(RATE // 2)
    x[:, 1] = 0
    soundfile.write("left.wav", x, RATE, subtype="PCM_16")
    assert main(["audio", "denoise", "left.wav", "--profile", "0.1-0.45", "--quiet"]) == 0
    assert not samples("left-denoise.wav")[:, 1].any()
