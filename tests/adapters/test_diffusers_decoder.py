"""Decoders and encoders of pipelines, their memory, and control of a picture through them."""

import functools
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

import diffusers as df
from tiny_pipelines import FAMILIES, SEEDS, randn

import headwater as hw
from headwater.adapters.diffusers import latents
from headwater.adapters.diffusers.families import CONVENTIONS
from headwater.solvers.memory import PeakMemory

solve = functools.partial(hw.solve, method=hw.EULER)
NAMED = {family.name: family for family in FAMILIES}
SD, SD3 = NAMED["Stable Diffusion 1 and 2"], NAMED["Stable Diffusion 3"]


class Same:
    """An autoencoder that changes nothing, so that what a codec adds is left."""

    def __init__(self, vae):
        self.config, self.bn = vae.config, getattr(vae, "bn", None)

    def decode(self, z, return_dict=True):
        return SimpleNamespace(sample=z) if return_dict else (z,)

    def encode(self, x):
        return SimpleNamespace(latent=x, latent_dist=SimpleNamespace(mode=lambda: x))


@pytest.mark.parametrize("name", [c.name for c in CONVENTIONS if c.codec.encode and c.codec.component])
def test_encoding_undoes_the_scaling_of_decoding(name):
    codec = next(c.codec for c in CONVENTIONS if c.name == name)
    pipeline = SimpleNamespace(vae=Same(NAMED[name].build().vae))
    x = randn(2, 4, 8, 8, seed=0) if name != "Stable Audio" else randn(2, 2, 8, seed=0)
    z = codec.encode(pipeline, x)
    torch.testing.assert_close(codec.decode(pipeline, z), x)


def test_statistics_per_channel_are_those_of_the_configuration():
    config = df.configuration_utils.FrozenDict(
        scaling_factor=0.5, latents_mean=[1.0, 2.0], latents_std=[3.0, 4.0], shift_factor=None
    )
    pipeline = SimpleNamespace(vae=Same(SimpleNamespace(config=config)))
    z = torch.ones(1, 2, 1, 1)
    assert latents.decode_kl(pipeline, z).flatten().tolist() == [1 * 3 / 0.5 + 1, 1 * 4 / 0.5 + 2]
    torch.testing.assert_close(latents.encode_kl(pipeline, latents.decode_kl(pipeline, z)), z)


def test_the_latents_of_flux_2_are_those_of_its_own_encoder():
    pipeline = NAMED["Flux 2"].build()
    model = NAMED["Flux 2"].load(pipeline)
    x = randn(1, 3, 16, 16, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(model.encode(x), pipeline._encode_vae_image(x, None))


def test_the_encoder_is_differentiable():
    """Its gradient is that of central differences; AudioLDM 2 has none, and says so."""
    pipeline = SD.build()
    pipeline.vae.double()
    model = SD.load(pipeline)
    x, direction = randn(1, 3, 16, 16, seed=1).double(), randn(1, 3, 16, 16, seed=2).double()
    z = x.clone().requires_grad_()
    slope = (torch.autograd.grad(model.encode(z).square().sum(), z)[0] * direction).sum()
    with torch.no_grad():
        up, down = (model.encode(x + h * direction).square().sum() for h in (1e-5, -1e-5))
    torch.testing.assert_close(slope, (up - down) / 2e-5, rtol=1e-6, atol=0)
    audio = NAMED["AudioLDM 2"].load(NAMED["AudioLDM 2"].build())
    with pytest.raises(hw.Misuse, match="AudioLDM 2 has no encoder"):
        audio.encode(torch.zeros(1, 8))


def test_checkpointing_of_the_decoder_needs_less_memory_and_changes_nothing():
    peaks, pixels = [], []
    for checkpointing in (False, True):
        pipeline = SD.build()
        model = SD.load(pipeline, checkpointing=checkpointing)
        z = model.flow.noise(SEEDS[:2]).requires_grad_()
        with PeakMemory() as memory:
            out = model.decode(z)
            peaks.append(memory.live)
        pixels.append((out.detach(), torch.autograd.grad(out.square().sum(), z)[0]))
    assert peaks[1] < 0.5 * peaks[0]
    for plain, lean in zip(*pixels, strict=True):
        torch.testing.assert_close(plain, lean)


def test_slices_are_the_batch_and_tiles_are_near_it():
    pipeline = SD.build()
    plain = SD.load(pipeline, height=64, width=64)
    z = plain.flow.noise(SEEDS[:2])
    with torch.no_grad():
        whole = plain.decode(z)
        torch.testing.assert_close(SD.load(pipeline, slicing=True, height=64, width=64).decode(z), whole)
        tiled = SD.load(pipeline, tiling=True, height=64, width=64)
        assert pipeline.vae.use_tiling and pipeline.vae.use_slicing
        pixels = tiled.decode(z)
    assert pixels.shape == whole.shape and not torch.equal(pixels, whole)
    assert torch.corrcoef(torch.stack([pixels.flatten(), whole.flatten()]))[0, 1] > 0.8


def test_what_a_component_does_not_have_is_refused():
    with pytest.raises(hw.Misuse, match="has no slicing"):
        NAMED["DDPM and DDIM"].load(NAMED["DDPM and DDIM"].build(), slicing=True)


def test_seconds_are_the_length_of_the_sound():
    audio = NAMED["Stable Audio"]
    pipeline = audio.build()
    model = audio.load(pipeline, seconds=1.5)
    assert model.decode(model.flow.noise([0])).shape == (1, 2, 24)  # of 16 samples a second
    latents_, shown = audio.run(pipeline, audio_end_in_s=1.5)
    x1 = solve(model.flow, model.flow.noise(SEEDS[:2]), steps=model.steps)
    with torch.no_grad():
        torch.testing.assert_close(model.decode(x1), shown, atol=1e-5, rtol=1e-4)
    speech = NAMED["AudioLDM 2"]
    pipeline = speech.build()
    model = speech.load(pipeline, seconds=0.0101)
    latents_, shown = speech.run(pipeline, audio_length_in_s=0.0101)
    x1 = solve(model.flow, model.flow.noise(SEEDS[:2]), steps=model.steps)
    assert x1.shape == latents_.shape
    with torch.no_grad():
        torch.testing.assert_close(model.decode(x1), shown, atol=1e-5, rtol=1e-4)


def test_a_picture_is_restored_through_the_decoder():
    """The measurement of a sample is met by control, for two problems with prompts of their own."""
    model = SD3.load(SD3.build())
    truth = solve(model.flow, model.flow.noise([40, 41]), steps=model.steps)
    with torch.no_grad():
        y = model.decode(truth)[..., :8]
    misfit = hw.compose(hw.Misfit(lambda x: x[..., :8], y, 0.05), model.decode)
    x0 = model.flow.noise(SEEDS[:2])
    result = hw.control(
        model.flow, misfit, x0, method=hw.EULER, steps=model.steps, stop=hw.discrepancy(misfit), gradients=30
    )
    before = misfit.rms(solve(model.flow, x0, steps=model.steps))
    after = misfit.rms(result.x1)
    assert (after < 0.5 * before).all()
    assert torch.allclose(solve(model.flow, result.x0, steps=model.steps), result.x1, atol=1e-5)


def test_a_few_step_model_is_controlled():
    family = NAMED["Latent Consistency"]
    model = family.load(family.build())
    target = solve(model.flow, model.flow.noise([40, 41]), steps=model.steps)
    cost = hw.Each(lambda x1, target: (x1 - target).square().flatten(1).mean(1), target=target)
    x0 = model.flow.noise(SEEDS[:2])
    result = hw.control(model.flow, cost, x0, method=hw.EULER, steps=model.steps, gradients=20)
    assert (result.cost < 0.8 * cost(solve(model.flow, x0, steps=model.steps))).all()


def test_the_forecast_sees_the_decoder_and_takes_the_times_of_the_model():
    model = SD.load(SD.build(), guidance=1.0)
    y = torch.zeros(2, 3, 16, 16)
    misfit = hw.Misfit(lambda x: x, y, 0.1)
    through = hw.compose(misfit, model.decode)
    plain = hw.Misfit(lambda x: x, torch.zeros(2, 4, 8, 8), 0.1)
    ways = dict(batch=2, method=hw.EULER, steps=model.steps, gradient=hw.Checkpoint())
    with_decoder, without = hw.forecast(model.flow, through, **ways), hw.forecast(model.flow, plain, **ways)
    x0 = model.flow.noise(SEEDS[:2])
    with PeakMemory() as memory:
        hw.control(
            model.flow, through, x0, method=hw.EULER, steps=model.steps, gradient=hw.Checkpoint(), gradients=3
        )
    assert with_decoder.bytes > 1.05 * without.bytes
    assert 0.5 < memory.peak / with_decoder.bytes < 1.2
