"""`headwater audio inpaint | extend`: only what is lost changes, whatever the file."""

import json
import tracemalloc

import numpy as np
import pytest
import soundfile
import torch
from audio_takes import RATE, same_outside, samples

from headwater.audio.model import models
from headwater.audio.prior import Prior
from headwater.cli.app import main
from headwater.cli.audio import repair
from headwater.cli.shared.progress import Watch

torch.set_num_threads(1)


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
    assert (folder / "take-inpaint-sheet.png").exists()


@pytest.mark.parametrize("words", ["--gap 1.0-1.05", "--gap 1.0-1.1 --steps 2 --gradients 1"])
def test_the_sheet_is_a_picture(folder, words, pictures):
    assert main(["audio", "inpaint", "take.wav", *words.split(), "--quiet"]) == 0
    assert (folder / "take-inpaint-sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_a_loop_is_repeated_without_the_flow_unless_it_is_asked_for(folder):
    loop = 0.2 * np.random.default_rng(2).standard_normal((RATE, 2))
    soundfile.write("loop.wav", np.tile(loop, (3, 1)), RATE, subtype="PCM_24")
    for method, by, code in (("default", "repetition", 0), ("paper", "flow and linear prediction", 1)):
        words = f"audio inpaint loop.wav --gap 1.2-1.6 --method {method} --gradients 1 -o {method}.wav"
        assert main(f"{words} --quiet".split()) == code  # one gradient is not enough
        report = json.loads((folder / f"{method}.json").read_text())
        assert [s["filled_by"] for s in report["stretches"]] == [by]
    assert np.abs(samples("default.wav") - samples("loop.wav")).max() <= 256  # a step of 24 bits in 32


def test_the_gap_of_half_an_hour_costs_the_gap(folder):
    """Memory does not grow with the file, which would take 230 MB as floats."""
    frames, start = 1800 * RATE, 1799 * RATE
    with soundfile.SoundFile("long.wav", "w", RATE, 2, "PCM_16") as file:
        second = np.tile(soundfile.read("take.wav", dtype="int16")[0][:RATE], (60, 1))
        for _ in range(30):
            file.write(second)
    with soundfile.SoundFile(
        "long.wav", "r+"
    ) as file:  # the file repeats itself: without damage nothing changes
        file.seek(start)
        file.write(np.zeros((160, 2), dtype=np.int16))
    tracemalloc.start()
    assert main(["audio", "inpaint", "long.wav", "--gap", "29:59+20ms", "--quiet"]) == 0
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 90e6
    a, b = (soundfile.read(name, dtype="int16")[0] for name in ("long.wav", "long-inpaint.wav"))
    assert len(b) == frames and np.array_equal(a[:start], b[:start])
    assert (
        np.array_equal(a[start + 160 :], b[start + 160 :])
        and (a[start : start + 160] != b[start : start + 160]).any()
    )


@pytest.mark.parametrize("interrupted", [False, True])
def test_the_sheet_shows_the_longest_gap_that_was_filled(folder, monkeypatch, interrupted):
    shown = {}
    monkeypatch.setattr(repair, "write_sheet", lambda path, *_, **about: shown.update(about) or path.touch())
    if interrupted:
        monkeypatch.setattr(Watch, "over", property(lambda self: True))
    line = "audio inpaint take.wav --gap 0.5-0.6 --gap 2.0-2.3 --quiet"
    assert main(line.split()) == int(interrupted)
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
    monkeypatch.setattr(models, "load_prior", lambda: Prior(None, None, 16_000))
    x, _ = soundfile.read("take.wav")
    soundfile.write("float.wav", x / 3, RATE, subtype="FLOAT")
    soundfile.write("take.ogg", x, RATE)
    with pytest.raises(KeyError) as found:
        main(["audio", *words.split(), "--quiet"])
    (said,) = found.value.args
    assert said.count("Warning") == bool(told) and told in said


def test_several_recordings_and_a_folder(folder, capsys):
    """Each has its own result; one that is refused does not end the rest."""
    (folder / "in").mkdir()
    for name in ("a.wav", "b.flac"):
        soundfile.write(folder / "in" / name, soundfile.read("take.wav")[0], RATE)
    (folder / "in" / "broken.wav").write_bytes(b"no sound")
    line = "audio inpaint in take.wav --gap 1.0-1.02 -o out"
    assert main(line.split()) == 2
    written = {path.name for path in (folder / "out").iterdir()}
    assert {"a.wav", "b.flac", "take.wav"} <= written and "broken.wav" not in written
    out, err = capsys.readouterr()
    assert (
        out.splitlines()[0] == "1 of 4: in/a.wav" and out.splitlines()[-1] == "3 of 4 files done, 1 refused"
    )
    assert "Error, in/broken.wav: " in err
    assert same_outside("out/take.wav", [(1.0, 1.02)])


def test_the_model_of_music_fills_gaps_with_one_thread_whatever_is_idle(folder, monkeypatch):
    used = []
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("headwater.cli.shared.machine.count_idle_cores", lambda: 8.0)
    monkeypatch.setattr("torch.set_num_threads", used.append)
    assert main(["audio", "extend", "take.wav", "--by", "20ms", "--quiet"]) in (0, 1)
    assert used == [1]
