"""audio inpaint --posterior: what is written and said, with the exact flow of white noise as the prior."""

import signal

import numpy as np
import pytest
import soundfile
import torch
from cli_tools import call, report, two_sentences
from scipy import signal as signals

from headwater import Flow
from headwater.audio.model import models
from headwater.audio.model.space import Spectral
from headwater.audio.prior import Prior

LINE = "audio inpaint take.wav --gap 0.5-0.62 --steps 2 --quiet -o a.wav --posterior"
EVENT = """
def event(x):
    assert x.ndim == 2 and x.shape[0] == 1, x.shape
    return x[:, x.shape[1] // 2].mean() > 0
"""


class WhiteNoise:
    def __init__(self, at=None):
        self.at, self.count = at, 0

    def __call__(self, x, t):
        self.count += 1
        if self.count == self.at:
            signal.raise_signal(signal.SIGINT)
        s = t if t.ndim == 0 else t.reshape(-1, *[1] * (x.ndim - 1))
        return (2 * s - 1) * x / (s**2 + (1 - s) ** 2)


@pytest.fixture
def prior(monkeypatch):
    """Put white noise in place of music; `prior(at)` presses Ctrl-C during an evaluation."""

    def put(at=None):
        velocity = WhiteNoise(at)
        sound = Prior(Flow(velocity, (32, 64)), Spectral(torch.full((64,), 0.7)), 4000)
        monkeypatch.setattr(models, "load_prior", lambda: sound)
        return velocity

    put()
    return put


@pytest.fixture
def here(tmp_path, monkeypatch, prior):
    monkeypatch.chdir(tmp_path)
    noise = 0.1 * np.random.default_rng(1).standard_normal(6000)
    soundfile.write("take.wav", noise, 4000, subtype="PCM_16")
    (tmp_path / "event.py").write_text(EVENT, encoding="utf-8")
    return tmp_path


def test_a_plausible_filling_their_mean_and_level_bands(here, prior, pictures):
    velocity = prior()
    assert call(f"{LINE} 8 --event event.py") == 0
    assert sorted(p.name for p in here.glob("a*")) == ["a-mean.wav", "a-sheet.png", "a.json", "a.wav"]
    r, spent = report(here / "a.json"), velocity.count
    (row,) = r["stretches"]
    (signal,) = row["signals"]
    assert row["draws"] == 8 and signal["draws"] == 8 and r["mean"] == "a-mean.wav"
    assert 0 <= row["event"]["probability"] <= 1
    take, filled, mean = (soundfile.read(name)[0] for name in ("take.wav", "a.wav", "a-mean.wav"))
    gap = slice(2000, 2480)
    for x in (filled, mean):
        assert (np.delete(x, np.r_[gap]) == np.delete(take, np.r_[gap])).all()
    # the phases differ, so the mean of white noise is softer than a draw
    assert row["mean_below_draws"] > 2 and (mean[gap] ** 2).mean() < 0.7 * (filled[gap] ** 2).mean()
    levels = row["levels"]
    inside = [i for i, s in enumerate(levels["seconds"]) if 0.52 < s < 0.6]
    spread = np.subtract(levels["q95"], levels["q05"])
    assert (spread[inside] > 0.5).all() and spread[0] == 0
    assert {"levels", "mean_below_draws", "r_hat"} <= set(r["definitions"])
    # ended half-way and gone on with, it is the same
    whole = (here / "a.wav").read_bytes(), row
    for path in here.glob("a*"):
        path.unlink()
    prior(at=2 * spent // 3)
    assert call(f"{LINE} 8 --event event.py") == 130
    assert (here / "a-chains-0.safetensors").is_file() and 0 < report(here / "a.json")["stretches"][0][
        "draws"
    ] < 16
    velocity = prior()
    assert call(f"{LINE} 8 --event event.py") == 0 and velocity.count < spent
    assert (here / "a.wav").read_bytes() == whole[0] and not list(here.glob("*chains*"))
    assert report(here / "a.json")["stretches"][0]["levels"] == whole[1]["levels"]


def narrow_band(seed=1):
    """A tone of a slowly changing level: what linear prediction knows for a while."""
    x = np.random.default_rng(seed).standard_normal(6000)
    return 0.05 * signals.lfilter([1], [1, -2 * 0.995 * np.cos(0.6), 0.995**2], x)


def test_what_prediction_knows_varies_as_much_as_prediction_errs(here, capsys):
    x = narrow_band()
    soundfile.write("take.wav", x, 4000, subtype="FLOAT")
    assert call(f"{LINE} 8") == 0
    (row,) = report(here / "a.json")["stretches"]
    levels = row["levels"]
    inside = [i for i, s in enumerate(levels["seconds"]) if 0.52 < s < 0.6]
    assert (np.subtract(levels["q95"], levels["q05"])[inside] > 1).all()
    assert row["prediction_errors"] == [8] and "stretch" not in capsys.readouterr().err
    long = LINE.replace("0.5-0.62", "0.3-1.2").replace("a.wav", "b.wav")
    assert call(f"{long} 4") == 0
    assert report(here / "b.json")["stretches"][0]["prediction_errors"] == [0]
    assert "no known stretch is as long as it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "more, what",
    [
        ("--sampler pcn", "Nothing is drawn, so --sampler has no effect."),
        ("--posterior 8 --method map", "Give --sampler in place of --method."),
        ("--posterior 8 --event no.py", "There is no file no.py."),
    ],
)
def test_refusals(here, more, what, capsys):
    assert call(f"audio inpaint take.wav --gap 0.5-0.62 -o a.wav {more}") == 2
    err = capsys.readouterr().err
    assert what in err and two_sentences(err.replace(".py", "")) and not list(here.glob("a*"))
