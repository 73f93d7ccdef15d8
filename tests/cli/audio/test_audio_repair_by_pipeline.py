"""`headwater audio restore | denoise ... --model FOLDER`: a random pipeline undoes damage all over a recording."""

import json

import numpy as np
import pytest
import soundfile

pytest.importorskip("diffusers")
from headwater.cli.app import main

RATE = 4000


@pytest.fixture
def dull(folder):
    """1.2 s of noise below 300 Hz, with a tag."""
    band = np.fft.rfft(np.random.default_rng(0).standard_normal(RATE * 6 // 5))
    band[360:] = 0
    x = np.fft.irfft(band)
    x *= 0.1 / x.std()
    with soundfile.SoundFile("dull.wav", "w", RATE, 1, "FLOAT") as file:
        file.title = "Dull"
        file.write(x)
    return x


def audio(*words):
    return main(["audio", *map(str, words), "--quiet"])


def test_a_lost_band_comes_back_and_what_is_below_stays(dull, stable_audio):
    """The pipeline has 1000 Hz, so it adds up to 500 Hz; it makes 2.05 s at once, so there are two stretches."""
    line = ["--cutoff", "300", "--model", stable_audio, "--prompt", "a cat", "--gradients", "1"]
    assert audio("restore", "dull.wav", *line, "-o", "a.wav") in (0, 1)  # a random network need not agree
    after, rate = soundfile.read("a.wav")
    assert rate == RATE and after.shape == dull.shape and soundfile.SoundFile("a.wav").title == "Dull"
    f, added = np.fft.rfftfreq(len(dull), 1 / RATE), np.abs(np.fft.rfft(after - dull)) ** 2
    inside = (f > 200) & (f < 520)  # the low-pass falls from 200 to 400 Hz
    assert added[inside].sum() > 0 and added[~inside].sum() < 0.02 * added[inside].sum()
    with open("a.json", encoding="utf-8") as file:
        report = json.load(file)
    assert report["model"] == str(stable_audio) and report["damage"]["cutoff"] == 300
    assert report["settings"]["prompt"] == "a cat" and "decoder" in report["definitions"]["misfit"]
    assert len(report["stretches"]) == 2 and min(report["stretches"][0]["evaluations"]) >= 8


def test_another_rate_is_that_of_the_pipelines_band(folder, stable_audio):
    """A recording of 600 Hz at 2000 Hz: the pipeline adds what lies between 285 and 500 Hz."""
    x = 0.1 * np.random.default_rng(0).standard_normal(400)
    soundfile.write("low.wav", x, 600, subtype="PCM_16")
    line = ["--model", stable_audio, "--prompt", "a cat", "--gradients", "1", "-o", "high.wav"]
    assert audio("restore", "low.wav", "--rate", "2000", *line) in (0, 1)
    after, rate = soundfile.read("high.wav")
    power = np.abs(np.fft.rfft(after)) ** 2
    f = np.fft.rfftfreq(len(after), 1 / rate)
    assert rate == 2000 and power[(f > 310) & (f < 450)].mean() > 1e3 * power[f > 600].mean()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ("restore dull.wav --cutoff 300 --prompt cat", "takes no --prompt. Leave it out, or give a --model."),
        (
            "restore dull.wav --cutoff 300 --prompt cat --model music16",
            "The model of music takes no --prompt.",
        ),
        ("denoise dull.wav --noise 0.01 --device cpu", "takes no --device. Leave it out, or give a --model."),
        ("restore dull.wav --cutoff 300 --prompt cat --model nowhere", "There is no folder nowhere. Nothing"),
        ("restore dull.wav --cutoff 300 --model FOLDER", "Give --prompt."),
        ("restore dull.wav --cutoff 600 --model FOLDER --prompt cat", "Give one between 100 and 500 Hz"),
        ("restore dull.wav --rate 8kHz --model FOLDER --prompt cat", "has the whole band of the model. Give"),
        (
            "dereverb dull.wav --impulse long.wav --model FOLDER --prompt cat",
            "makes 2.05 s at once, and a stretch has 1.04 s beside it on both sides. Give a model of longer",
        ),
        ("declip dull.wav --labels l.txt --model FOLDER --prompt cat", "--labels and --model do not go"),
    ],
)
def test_refusals_have_two_sentences(dull, stable_audio, words, part, capsys):
    soundfile.write("long.wav", np.random.default_rng(0).standard_normal(RATE // 2), RATE, subtype="FLOAT")
    assert audio(*words.replace("FOLDER", str(stable_audio)).split()) == 2
    assert part in capsys.readouterr().err
