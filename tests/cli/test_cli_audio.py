"""`headwater audio ...`: files in and out, refusals in two sentences, what is not lost stays."""

import json
import re
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch

from headwater import Flow
from headwater.audio import models
from headwater.audio.files import examine
from headwater.audio.restore import Prior
from headwater.audio.space import Spectral
from headwater.cli.app import main
from headwater.cli.audio import gaps
from headwater.cli.audio.damage import peaks_of
from headwater.cli.progress import Watch

torch.set_num_threads(1)
RATE = 8000
BAD_OPERATORS = {
    "boom": "raise ValueError('boom')",
    "array": "return x.numpy()",
    "nan": "return x * float('nan')",
    "constant": "return torch.ones(1, 5)",
    "late": "assert x.shape[1] == 4000, 'only one second'\n    return x",
}


def chord(count, frequency):
    """A fundamental and two partials, softly beating, `[count]`."""
    t = np.arange(count) / RATE
    return sum(np.sin(2 * np.pi * k * frequency * t + k) / k for k in (1, 2, 3)) / 1.5


@pytest.fixture(autouse=True)
def prior(monkeypatch):
    """The exact flow of white noise in place of the shipped model: fast, and the files do not care."""

    def velocity(x, t):
        s = t if t.ndim == 0 else t[:, None, None]
        return (2 * s - 1) * x / (s**2 + (1 - s) ** 2)

    found = Prior(Flow(velocity, (32, 64)), Spectral(torch.full((64,), 0.7)), 4000)
    monkeypatch.setattr(models, "prior", lambda: found)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    t = np.arange(3 * RATE) / RATE
    glide = t * (1 + 0.1 * t)  # a tone that stays repeats itself
    x = np.stack([0.3 * np.sin(2 * np.pi * f * glide) for f in (220, 330)], axis=1)
    x += 0.002 * np.random.default_rng(1).standard_normal(x.shape)  # else a tone is repaired to the bit
    soundfile.write(tmp_path / "take.wav", x, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "loud.wav", np.clip(4 * x[:RATE, 0], -0.8, 0.8), RATE, subtype="PCM_24")
    hiss = 0.05 * np.random.default_rng(0).standard_normal((RATE, 2))
    soundfile.write(tmp_path / "hiss.wav", x[:RATE] + hiss, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "room.wav", 0.5 ** np.arange(0, 20, 0.5), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "room4.wav", np.ones(4), 4000)
    soundfile.write(tmp_path / "mute.wav", np.zeros(40), RATE)
    (tmp_path / "tube.py").write_text("import torch\n\ndef operator(x):\n    return torch.tanh(x)\n")
    (tmp_path / "bad.py").write_text("def other(x):\n    return x\n")
    for name, body in BAD_OPERATORS.items():
        (tmp_path / f"{name}.py").write_text(f"import torch\n\n\ndef operator(x):\n    {body}\n")
    bad = x.copy()
    bad[9000, 0] = np.nan
    soundfile.write(tmp_path / "nan.wav", bad, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "lost.wav", (np.abs(t - 1.5) < 0.01).astype(float), RATE)
    soundfile.write(tmp_path / "other.wav", np.ones(10), RATE)
    (tmp_path / "labels.txt").write_text("0.5\t0.52\tclick\n2.0\t2.1\n")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("la la la")
    (tmp_path / "there.wav").write_text("keep me")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def samples(path):
    return soundfile.read(path, dtype="int32", always_2d=True)[0]


def same_outside(path, spans):
    """Whether the file is the take but for the spans (seconds), in which it differs."""
    a, b = samples("take.wav"), samples(path)
    lost = np.zeros(len(a), dtype=bool)
    for start, stop in spans:
        lost[round(start * RATE) : round(stop * RATE)] = True
    return np.array_equal(a[~lost], b[~lost]) and all(
        (a[round(s * RATE) : round(e * RATE)] != b[round(s * RATE) : round(e * RATE)]).any() for s, e in spans
    )


@pytest.mark.parametrize(
    ("words", "spans"),
    [
        ("--gap 1.0-1.05", [(1.0, 1.05)]),
        ("--gap 1.0-1.05 --gap 0:02.5+100ms", [(1.0, 1.05), (2.5, 2.6)]),
        ("--labels labels.txt", [(0.5, 0.52), (2.0, 2.1)]),
        ("--mask lost.wav", [(1.490125, 1.51)]),
        ("--gap 0-0.2 --gap 2.9-3.0", [(0, 0.2), (2.9, 3.0)]),
    ],
)
def test_only_gaps_change(folder, words, spans):
    assert main(["audio", "inpaint", "take.wav", *words.split(), "--quiet"]) == 0
    assert same_outside("take-inpaint.wav", spans)
    assert soundfile.info("take-inpaint.wav").subtype == "PCM_16"
    report = json.loads((folder / "take-inpaint.json").read_text())
    assert report["command"] == "audio inpaint" and report["not_begun"] == 0
    assert sum(len(s["gaps"]) for s in report["stretches"]) == len(spans)
    solved = [s for s in report["stretches"] if s["filled_by"] != "linear prediction"]
    assert bool(solved) == any(e - s > 0.05001 for s, e in spans)
    assert all(len(s["misfit"]) == 2 and max(s["misfit"]) <= 1.1 for s in solved)
    assert (folder / "take-inpaint-sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_loop_is_repeated_without_the_flow_unless_it_is_asked_for(folder):
    loop = 0.2 * np.random.default_rng(2).standard_normal((RATE, 2))
    soundfile.write("loop.wav", np.tile(loop, (3, 1)), RATE, subtype="PCM_24")
    for preset, by in (("default", "repetition"), ("paper", "flow and linear prediction")):
        words = f"audio inpaint loop.wav --gap 1.2-1.6 --preset {preset} --gradients 1 -o {preset}.wav"
        assert main(f"{words} --quiet".split()) == 0
        report = json.loads((folder / f"{preset}.json").read_text())
        assert [s["filled_by"] for s in report["stretches"]] == [by]
    assert np.abs(samples("default.wav") - samples("loop.wav")).max() <= 256  # a step of 24 bits in 32


def test_the_gap_of_half_an_hour_costs_the_gap(folder):
    """Memory does not grow with the file, which would take 230 MB as floats."""
    frames, start = 1800 * RATE, 1799 * RATE
    with soundfile.SoundFile("long.wav", "w", RATE, 2, "PCM_16") as file:
        second = np.tile(soundfile.read("take.wav", dtype="int16")[0][:RATE], (60, 1))
        for _ in range(30):
            file.write(second)
    tracemalloc.start()
    assert main(["audio", "inpaint", "long.wav", "--gap", "29:59+20ms", "--quiet"]) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6
    a, b = (soundfile.read(name, dtype="int16")[0] for name in ("long.wav", "long-inpaint.wav"))
    assert len(b) == frames and np.array_equal(a[:start], b[:start])
    assert (
        np.array_equal(a[start + 160 :], b[start + 160 :])
        and (a[start : start + 160] != b[start : start + 160]).any()
    )


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_sheet_shows_the_longest_gap_that_was_filled(folder, monkeypatch, interrupted):
    shown = {}
    monkeypatch.setattr(gaps, "sheet", lambda path, *_, **about: shown.update(about) or path.touch())
    if interrupted:
        monkeypatch.setattr(Watch, "over", property(lambda self: True))
    assert main(["audio", "inpaint", "take.wav", "--gap", "0.5-0.6", "--gap", "2.0-2.3", "--quiet"]) == 0
    assert shown["start"] == pytest.approx(-0.25 if interrupted else 1.25) and shown["curve"]
    left = json.loads((folder / "take-inpaint.json").read_text())["not_begun"]
    assert left == int(interrupted)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_full_scale_stays_full_scale(folder, subtype):
    t = np.arange(2 * RATE) / RATE
    x = np.clip(1.02 * np.sin(2 * np.pi * 220 * t * (1 + 0.1 * t)), -1, 1)
    soundfile.write("full.wav", x, RATE, subtype=subtype)
    assert main(["audio", "inpaint", "full.wav", "--gap", "1.0-1.02", "--quiet"]) == 0
    a, b = (soundfile.read(name)[0] for name in ("full.wav", "full-inpaint.wav"))
    lost = slice(RATE, RATE + 160)
    assert np.array_equal(np.delete(a, np.r_[lost]), np.delete(b, np.r_[lost]))
    assert np.abs(b - a).max() < 0.1  # and nothing wraps around


def test_ten_samples_are_a_recording(folder):
    soundfile.write("ten.wav", soundfile.read("take.wav")[0][:10], RATE)
    assert main(["audio", "inpaint", "ten.wav", "--gap", "0.0005-0.00075", "--quiet"]) == 0
    a, b = samples("ten.wav"), samples("ten-inpaint.wav")
    assert len(b) == 10 and np.array_equal(np.delete(a, [4, 5], 0), np.delete(b, [4, 5], 0))


def test_extend_goes_on_after_the_end(folder):
    assert main(["audio", "extend", "take.wav", "--by", "300ms", "-o", "long.flac", "--quiet"]) == 0
    a, b = samples("take.wav"), samples("long.flac")
    assert len(b) == len(a) + 2400 and np.array_equal(b[: len(a)], a)
    before, after = (np.std(z.astype(float)) for z in (a[-2400:], b[len(a) :]))
    assert 0.3 < after / before < 2  # it goes on, neither silent nor louder


def test_the_seed_counts(folder):
    for seed in (0, 1):
        main(f"audio inpaint take.wav --gap 1-1.2 --seed {seed} -o out{seed}.wav --quiet".split())
    assert not np.array_equal(samples("out0.wav"), samples("out1.wav"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "inpaint float.wav --gap 1-1.1 -o out.ogg",
            "VORBIS is lossy, the whole file is encoded again; name the",
        ),
        (
            "inpaint float.wav --gap 1-1.1 -o out.flac",
            "PCM_24 is narrower than the input, all samples are rounded;",
        ),
        ("inpaint float.wav --gap 1-1.1 -o out.wav", ""),
        ("inpaint take.ogg --gap 1-1.1 -o out.flac", "PCM_24 is narrower"),
        ("inpaint take.ogg --gap 1-1.1 -o out.wav", ""),
        ("denoise float.wav --noise 0.001 -o out.flac", ""),
        ("restore take.ogg --rate 16kHz -o out.ogg", "VORBIS is lossy, the whole file is encoded again."),
    ],
)
def test_what_a_format_loses_is_said_once_and_before_the_work(folder, capsys, monkeypatch, words, told):
    def begun(*_):
        raise KeyError(capsys.readouterr().err)

    monkeypatch.setattr(Watch, "running", begun)
    monkeypatch.setattr(models, "prior", lambda: Prior(None, None, 16_000))
    x, _ = soundfile.read("take.wav")
    soundfile.write("float.wav", x / 3, RATE, subtype="FLOAT")
    soundfile.write("take.ogg", x, RATE)
    with pytest.raises(KeyError) as found:
        main(["audio", *words.split(), "--quiet"])
    (said,) = found.value.args
    assert said.count("Warning") == bool(told) and told in said


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("declip loud.wav", "loud-declip.wav"),
        ("declip loud.wav --preset paper", "loud-declip.wav"),
        ("denoise hiss.wav --noise 0.05", "hiss-denoise.wav"),
        ("dereverb take.wav --impulse room.wav", "take-dereverb.wav"),
        ("restore take.wav --cutoff 1kHz", "take-restore.wav"),
        ("restore take.wav --operator tube.py", "take-restore.wav"),
        ("restore take.wav --operator tube.py:operator --noise -40dB", "take-restore.wav"),
    ],
)
def test_damage_all_over_a_recording(folder, words, name):
    source = words.split()[1]
    assert main(["audio", *words.split(), "--steps", "2", "--gradients", "3", "--quiet"]) == 0
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
        assert 1 <= report["stretches"][0]["gradients"][0] <= 3


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
        peaks, runs = peaks_of(examine("peaks.wav"))
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


@pytest.mark.parametrize("count", [1, 3])
def test_draws_of_the_model(folder, count):
    assert (
        main(f"audio generate -n {count} --length 1.5 --steps 2 --seed 5 -o song.flac --quiet".split()) == 0
    )
    names = ["song.flac"] if count == 1 else [f"song-{i}.flac" for i in range(count)]
    tracks = [soundfile.read(n) for n in names]
    assert all(
        len(x) == 6000 and rate == 4000 and x.std() == pytest.approx(0.1, rel=0.02) for x, rate in tracks
    )
    assert json.loads((folder / "song.json").read_text())["samples"][-1]["seed"] == 4 + count
    assert (folder / "song-sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_draw_depends_on_its_own_seed_alone(folder):
    for words in ("-n 2 -o two.wav", "-n 1 --seed 1 -o one.wav"):
        main(["audio", "generate", *words.split(), "--length", "0.5", "--steps", "2", "--quiet"])
    np.testing.assert_array_equal(samples("two-1.wav"), samples("one.wav"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (f"inpaint {300 * 'a'}.wav --gap 1-1.1", "too long."),
        (f"inpaint take.wav --gap 1-1.1 -o {300 * 'a'}.wav", "too long."),
        (f"inpaint take.wav --gap 1-1.1 -o {250 * 'a'}.wav", "too long."),
        ("denoise hiss.wav --noise 0,9", "as loud as the recording"),
        ("declip take.wav", "in a row of take.wav are at its peak."),
        ("declip loud.wav --level 0", "The level is 0."),
        ("restore take.wav --cutoff 1kHz --noise 0.1", "--noise is for --operator only."),
        ("declip loud.wav --level loud", "is no level"),
        ("declip take.wav --level 1.5", "No sample of take.wav reaches the level 1.5."),
        ("denoise hiss.wav", "The level of the noise is not known."),
        ("denoise hiss.wav --noise 20dB", "as loud as the recording"),
        ("dereverb take.wav --impulse room.wav --noise 0.5", "as loud as the recording"),
        ("restore take.wav --operator tube.py --noise 1", "as loud as the recording"),
        ("dereverb take.wav", "The room is not known."),
        ("dereverb take.wav --impulse room4.wav", "4000 Hz and the recording 8000 Hz."),
        ("dereverb loud.wav --impulse take.wav", "2 channels and the recording 1."),
        ("declip loud.wav -o out.flac", "FLAC cannot hold peaks beyond full scale."),
        ("dereverb take.wav --impulse mute.wav", "is silent."),
        ("dereverb take.wav --impulse missing.wav", "does not exist."),
        ("restore take.wav", "says what to undo."),
        ("restore take.wav --cutoff 1kHz --operator tube.py", "says what to undo."),
        ("restore take.wav --cutoff 3kHz", "leaves the model nothing to add."),
        ("restore take.wav --operator bad.py", "has no function named 'operator'."),
        ("restore take.wav --operator missing.py", "missing.py"),
        ("restore take.wav --operator boom.py", "boom.py failed on a recording [1, 4000]: ValueError: boom."),
        ("restore take.wav --operator array.py", "array.py failed on a recording [1, 4000]"),
        ("restore take.wav --operator nan.py", "nan.py makes NaN or infinity"),
        ("restore take.wav --operator constant.py", "constant.py returns has no gradient."),
        ("restore take.wav --operator late.py --quiet", "only one second."),
        ("declip mute.wav", "is silent."),
        ("restore take.wav --rate 16kHz", "has the whole band of the model."),
        ("generate -n 0", "--count is 0."),
        ("generate --length 0", "--length is 0."),
        ("generate --length long", "is no time."),
        ("generate -o there.wav -n 1", "there.wav exists already."),
        ("generate -o song.mp3", "unknown kind."),
        ("generate --seed -1", "--seed is -1."),
        ("inpaint take.wav", "Nothing says what is lost."),
        ("inpaint missing.wav --gap 1-2", "does not exist."),
        ("inpaint empty.wav --gap 1-2", "is empty."),
        ("inpaint text.wav --gap 1-2", "cannot be read as sound"),
        ("inpaint nan.wav --gap 1-1.1", "not finite, at 1.1250 s."),
        ("inpaint take.wav --gap 12:75-13:00", "60 or more seconds"),
        ("inpaint take.wav --gap 2-1", "ends before it begins."),
        ("inpaint take.wav --gap 1.5-", "'1.5-' is no gap."),
        ("inpaint take.wav --gap=-1-2", "'-1-2' is no gap."),
        ("inpaint take.wav --gap 2.5-3.5", "beyond the recording of 3.000 s."),
        ("inpaint take.wav --gap 0-3", "whole recording."),
        ("inpaint take.wav --mask other.wav", "The mask has 10 frames"),
        ("inpaint take.wav --labels missing.txt", "cannot be read as labels."),
        ("inpaint take.wav --gap 1-1.1 -o there.wav", "there.wav exists already."),
        ("inpaint take.wav --gap 1-1.1 -o take.wav --overwrite", "is also an input."),
        ("inpaint take.wav --gap 1-1.1 -o out.xyz", "unknown kind."),
        ("inpaint take.wav --gap 1-1.1 -o no/out.wav", "does not exist."),
        ("inpaint take.wav --gap 1-1.1 --steps 0", "--steps is 0."),
        ("inpaint take.wav --gap 1-1.1 --seed -1", "--seed is -1."),
        ("extend take.wav --by 0", "adds nothing."),
        ("extend take.wav --by soon", "is no time."),
        ("inpiant take.wav", "inpaint"),
    ],
)
def test_refusals(folder, capsys, words, told):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert main(["audio", *words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and told in error
    assert len(re.findall(r"[.?](?=\s|$)", error)) >= 2
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
