"""`headwater audio inpaint | extend`: files in and out, refusals in two sentences, what is not lost stays."""

import json
import re

import numpy as np
import pytest
import soundfile
import torch

from headwater import Flow
from headwater.audio import models
from headwater.audio.restore import Prior
from headwater.audio.space import Spectral
from headwater.cli.app import main

torch.set_num_threads(1)
RATE = 8000


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
    x = np.stack([0.3 * np.sin(2 * np.pi * f * t) for f in (220, 330)], axis=1)
    soundfile.write(tmp_path / "take.wav", x, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "short.wav", x[:10], RATE)
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
    assert all(m <= 1.1 for s in report["stretches"] for m in s["misfit"])
    assert (folder / "take-inpaint-sheet.png").read_bytes()[:4] == b"\x89PNG"


def test_extend_goes_on_after_the_end(folder):
    assert main(["audio", "extend", "take.wav", "--by", "300ms", "-o", "long.flac", "--quiet"]) == 0
    a, b = samples("take.wav"), samples("long.flac")
    assert len(b) == len(a) + 2400 and np.array_equal(b[: len(a)], a) and b[len(a) :].any()


def test_the_seed_counts(folder):
    for seed in (0, 1):
        main(f"audio inpaint take.wav --gap 1-1.2 --seed {seed} -o out{seed}.wav --quiet".split())
    assert not np.array_equal(samples("out0.wav"), samples("out1.wav"))


def test_lossy_files_are_warned_of(folder, capsys):
    assert main(["audio", "inpaint", "take.wav", "--gap", "1-1.1", "-o", "out.ogg", "--quiet"]) == 0
    assert "VORBIS is lossy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("inpaint take.wav", "Nothing says what is lost."),
        ("inpaint missing.wav --gap 1-2", "does not exist."),
        ("inpaint empty.wav --gap 1-2", "is empty."),
        ("inpaint text.wav --gap 1-2", "cannot be read as sound"),
        ("inpaint nan.wav --gap 1-1.1", "not finite, at 1.1250 s."),
        ("inpaint take.wav --gap 12:75-13:00", "60 or more seconds"),
        ("inpaint take.wav --gap 2-1", "ends before it begins."),
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
