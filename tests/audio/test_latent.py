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
from headwater.audio.undo import Overlap

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


FEW = hw.audio.SolveOptions(options=hw.RecipeOptions(gradients=2))
DAMAGES = {
    "noise": (
        lambda x: x + 0.03 * np.random.default_rng(3).standard_normal(x.shape),
        hw.audio.Noise(0.03),
        4,
    ),
    "room": (
        lambda x: np.stack([np.convolve(c, [1.0, *[0.0] * 199, 0.5])[: len(x)] for c in x.T], 1),
        hw.audio.Room(np.array([[1.0, *[0.0] * 199, 0.5]]), RATE),
        20,
    ),
    "clipping": (
        lambda x: x.clip(-0.15, 0.15),
        hw.audio.Clipping.at_level(0.15),
        0.2,
    ),  # white noise has no peaks
    "function": (
        lambda x: np.tanh(3 * x) / 3,
        hw.audio.UserDamage(lambda z: torch.tanh(3 * z) / 3),
        10,
    ),
}


def undo(prior, folder, x, damage, **more):
    """The restored samples `[frames, channels]`, and how many were solved."""
    recording = hw.audio.write_new(folder / f"{type(damage).__name__}.wav", x, RATE)
    done = list(hw.audio.undo_damage(prior, recording, damage, **more))
    return np.concatenate([r.patch.samples for r in done]), [len(r.solutions) for r in done]


def of_length(prior, seconds):
    """The prior with shorter sounds."""
    return replace(
        prior, model=replace(prior.model, flow=replace(prior.model.flow, shape=(2, int(seconds * RATE / 2))))
    )


@pytest.mark.parametrize("name", DAMAGES)
def test_any_damage_is_undone_through_the_decoder(prior, tmp_path, name):
    """0.5 s, as the model makes, are two stretches with 0.1 s beside them, and each asks the flow."""
    damaged, damage, gain = DAMAGES[name]
    truth = 0.2 * np.sin(2 * np.pi * 220 * np.arange(RATE // 2) / RATE)[:, None]
    x, beside = damaged(truth), Overlap(margin=0.1)
    found, solved = undo(of_length(prior, 0.5), tmp_path, x, damage, overlap=beside, options=FEW)
    before, after = (10 * np.log10(np.square(truth).sum() / np.square(y - truth).sum()) for y in (x, found))
    assert solved == [1, 1] and found.shape == x.shape and after > before + gain


def test_a_lost_band_is_as_loud_as_the_flow_makes_it_and_the_rest_stays(prior, tmp_path):
    """White noise below 1 kHz at unit loudness; of the flow's own white noise 3/4 of the power lie above.

    Of the level of white noise 8 times of the estimate with 0.3 of new noise leave 0.765, by their recursion.
    """
    band = np.fft.rfft(np.random.default_rng(0).standard_normal(RATE))
    band[1000:] = 0
    x = np.fft.irfft(band)[:, None]
    x *= 0.1 / x.std()
    found, solved = undo(prior, tmp_path, x, hw.audio.BandLimit(1000.0))
    added = np.fft.rfft((found - x)[:, 0])
    assert solved == [1]
    assert np.abs(added[:850]).max() < 0.05 * np.abs(added).max()
    assert (found - x).std() == pytest.approx(0.765 * 0.1 * 0.75**0.5, rel=0.1)


def test_a_lowpass_falls_as_steeply_at_any_rate():
    for rate in (8000, 16_000, 44_100):
        response = np.abs(np.fft.rfft(hw.audio.BandLimit(2000.0).lowpass(rate).kernel[0].numpy(), 10 * rate))
        assert response[: 10 * 1880].min() > 0.98 and response[10 * 2120 :].max() < 0.02


def test_a_model_of_sounds_without_room_for_a_stretch_is_refused(prior, tmp_path):
    with pytest.raises(hw.Misuse, match=r"makes 0\.50 s at once, and a stretch has 0\.50 s beside it"):
        undo(of_length(prior, 0.5), tmp_path, np.ones((RATE, 1)), hw.audio.BandLimit(1000.0))


def test_a_network_that_overflows_changes_nothing_of_a_recording(prior, recording, tmp_path):
    """Its NaN would be written at full scale."""
    nan = hw.Flow(lambda x, t: x * float("nan"), prior.model.flow.shape)
    broken = replace(prior, model=replace(prior.model, flow=nan))
    x = recording.read(0, RATE // 4)
    for damage in (hw.audio.BandLimit(1000.0), hw.audio.Noise(0.02)):
        found, solved = undo(broken, tmp_path, x, damage)
        assert solved == [2] and np.abs(found - x).max() < 1e-6
    (filled,) = hw.audio.fill_gaps(broken, recording, [(3600, 4400)])
    assert filled.filled_by == "linear prediction" and np.isfinite(filled.patch.samples).all()
    assert not filled.solutions[0].result.status[0].ok
