"""Recordings continued by a flow on latents."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.audio.gaps import GapTask
from headwater.audio.io.segments import segments_around
from headwater.audio.latent import LatentPrior

torch.set_num_threads(1)
RATE, LENGTH = 8000, 8000


def autoencoder(flow, channels=2):
    """Latents `[b, 2, n]` as sounds `[b, channels, 2 n]`, every channel the same; a local filter, and its inverse."""

    def decode(z):
        x = z.transpose(1, 2).flatten(1)[:, None]
        return x.expand(-1, channels, -1)

    def encode(x):
        return x.mean(1).unflatten(1, (-1, 2)).transpose(1, 2)

    return hw.LatentModel(flow, decode, encode, rate=RATE)


def white(std=0.1):
    """Independent latents N(0, std^2)."""

    def velocity(x, t):
        a, b, da, db = hw.CondOT().coefficients(x, t)
        return x * (da * a * std**2 + db * b) / (a * a * std**2 + b * b)

    return hw.Flow(velocity, (2, LENGTH))


@pytest.fixture(scope="module")
def prior():
    return LatentPrior(autoencoder(white()))


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """A second of two tones in stereo, and noise in the side."""
    rng, t = np.random.default_rng(0), np.arange(RATE) / RATE
    x = 0.2 * np.sin(2 * np.pi * 440 * t)[:, None] + 0.02 * rng.standard_normal((RATE, 2))
    path = tmp_path_factory.mktemp("sound") / "tone.wav"
    hw.audio.write_new(path, x, RATE)
    return hw.audio.examine(path)


def test_a_canvas_decodes_what_the_whole_sound_has_in_its_middle(prior):
    canvas, z = prior.canvas(501), torch.randn(2, 2, LENGTH)
    assert canvas.decoded.stop - canvas.decoded.start < LENGTH / 8  # it does not pay for the rest
    first = (LENGTH - 251) // 2 * 2
    whole = prior.model.decode(z).mean(1)[:, first : first + 501] / prior.level
    assert_close(canvas(z), whole)
    x = torch.randn(2, 501)
    assert_close(canvas(canvas.encode(x)), x)
    assert canvas.encode(x).shape == z.shape


def test_a_canvas_as_long_as_the_sounds_decodes_all_of_them(prior):
    canvas = prior.canvas(2 * LENGTH)
    assert canvas.decoded == slice(0, LENGTH) and canvas.place == slice(0, 2 * LENGTH)
    with pytest.raises(hw.Misuse, match=r"are 2\.00 s, and the model makes 2\.00 s at once"):
        prior.canvas(2 * LENGTH + 1)


def test_known_samples_stay_and_a_gap_is_as_loud_as_the_flow_makes_it(prior, recording):
    gap = (3600, 4400)
    (filled,) = hw.audio.fill_gaps(prior, recording, [gap])
    assert filled.filled_by == "flow and linear prediction"
    assert filled.patch.changed.sum(0).tolist() == [800, 800]
    (solution,) = filled.solutions
    assert solution.result.x1.shape == (
        2,
        2,
        LENGTH,
    )  # mid and side, each heard as the middle of the pipeline
    assert solution.rms.max() < hw.WarmStart.tau
    inside = filled.patch.samples[filled.patch.changed[:, 0]]
    assert 0.1 < inside.std() < 0.2  # the tone has 0.14


def test_a_pipeline_fills_short_gaps_too(prior, recording):
    (filled,) = hw.audio.fill_gaps(prior, recording, [(4000, 4040)])  # 5 ms
    assert filled.filled_by == "flow and linear prediction"


def test_the_unit_of_the_misfit_holds_the_error_of_the_autoencoder(prior, recording):
    (segment,) = segments_around([(3600, 4400)], 3000)
    coarse = replace(
        prior, model=replace(prior.model, encode=lambda x: (16 * prior.model.encode(x)).round() / 16)
    )
    exact, lossy = (GapTask.read(p, recording, segment).pose(p).misfit.sigma_y for p in (prior, coarse))
    assert torch.as_tensor(exact).tolist() == pytest.approx([0.05, 0.05])
    error = (1 / 16) / 12**0.5 / 0.1  # rounding to 1/16 at a level of 0.1
    assert torch.as_tensor(lossy).tolist() == pytest.approx([(0.05**2 + error**2) ** 0.5] * 2, rel=0.25)


def test_a_model_without_a_rate_is_refused():
    with pytest.raises(hw.Misuse, match="makes no sound"):
        LatentPrior(replace(autoencoder(white()), rate=None))
