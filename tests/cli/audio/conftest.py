"""Recordings, whole and broken, and a prior whose flow is exact."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from headwater import Flow
from headwater.audio.model import models
from headwater.audio.model.space import Spectral
from headwater.audio.prior import Prior

sys.path.insert(0, str(Path(__file__).parent))  # for audio_takes, in any import mode of pytest

from audio_takes import RATE

BAD_OPERATORS = {
    "boom": "raise ValueError('boom')",
    "array": "return x.numpy()",
    "nan": "return x * float('nan')",
    "constant": "return torch.ones(1, 5)",
    "late": "assert x.shape[1] == 4000, 'only one second'\n    return x",
}


@pytest.fixture(autouse=True)
def prior(monkeypatch):
    """The exact flow of white noise in place of the shipped model: fast, and the files do not care."""

    def velocity(x, t):
        s = t if t.ndim == 0 else t[:, None, None]
        return (2 * s - 1) * x / (s**2 + (1 - s) ** 2)

    found = Prior(Flow(velocity, (32, 64)), Spectral(torch.full((64,), 0.7)), 4000)
    monkeypatch.setattr(models, "load_prior", lambda: found)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    t = np.arange(3 * RATE) / RATE
    glide = t * (1 + 0.1 * t)  # a tone that stays repeats itself
    x = np.stack([0.3 * np.sin(2 * np.pi * f * glide) for f in (220, 330)], axis=1)
    x += 0.002 * np.random.default_rng(1).standard_normal(x.shape)  # else a tone is repaired to the bit
    soundfile.write(tmp_path / "take.wav", x, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "short.wav", x[:RATE], RATE, subtype="PCM_16")
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


@pytest.fixture(scope="session")
def stable_audio(tmp_path_factory):
    """The folder of a tiny random pipeline of Stable Audio: sounds of 2.048 s at 1000 Hz."""
    pytest.importorskip("diffusers")
    from tiny_pipelines import build_stable_audio, seeded

    path = tmp_path_factory.mktemp("stable-audio")
    pipeline = seeded(build_stable_audio)()
    pipeline.vae.register_to_config(sampling_rate=1000)
    pipeline.transformer.register_to_config(sample_size=512)
    pipeline.save_pretrained(path)
    return path
