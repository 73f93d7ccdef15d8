"""Pipelines of diffusers against their own call: one list of families that all go through the same tests."""

import functools

import pytest
import torch

pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from tiny_pipelines import FAMILIES, SEEDS

import headwater as hw
from headwater.adapters.diffusers.families import CONVENTIONS
from headwater.solvers.memory import activation_bytes

every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
solve = functools.partial(hw.solve, method=hw.EULER)


def largest(a, b):
    return float((a - b).abs().max() / b.abs().max())


def test_every_family_is_tested():
    assert {f.name for f in FAMILIES} == {c.name for c in CONVENTIONS}


@every_family
def test_euler_steps_give_the_latents_and_pixels_of_the_pipeline(family):
    """From the noise of the same seeds, which is that of the pipeline's generators."""
    pipeline = family.build()
    model = family.load(pipeline)
    assert model.exact and model.notes == ()
    latents, shown = family.run(pipeline)
    x1 = solve(model.flow, model.flow.noise(SEEDS[:2]), steps=model.steps)
    assert latents.shape == x1.shape and largest(x1, latents) <= family.tolerance
    with torch.no_grad():
        pixels = model.decode(latents)
    pixels = (
        (pixels / 2 + 0.5).clamp(0, 1) if hasattr(pipeline, "image_processor") or shown.ndim == 4 else pixels
    )
    torch.testing.assert_close(pixels[..., : shown.shape[-1]], shown, rtol=0, atol=1e-6)


@every_family
def test_without_guidance_the_pipeline_is_met_too(family):
    if family.guidance is None:
        return
    pipeline = family.build()
    model = family.load(pipeline, guidance=1.0)
    latents, _ = family.run(pipeline, guidance_scale=1.0)
    x1 = solve(model.flow, model.flow.noise(SEEDS[:2]), steps=model.steps)
    assert largest(x1, latents) <= family.tolerance


@every_family
def test_the_gradient_through_solve_and_decoder_is_that_of_central_differences(family):
    pipeline = family.build()
    for part in pipeline.components.values():
        if isinstance(part, torch.nn.Module):
            part.double()
    model = family.load(pipeline, steps=2)
    x0 = model.flow.noise(SEEDS[:2], dtype=torch.float64)
    direction = model.flow.noise([100, 101], dtype=torch.float64)

    def value(z):
        return model.decode(solve(model.flow, z, steps=model.steps)).square().flatten(1).mean(1).log()

    z = x0.clone().requires_grad_()
    slope = (torch.autograd.grad(value(z).sum(), z)[0] * direction).flatten(1).sum(1)
    h = 1e-4 if family.difference < 1e-4 else 3e-3  # some networks compute a part in float32
    with torch.no_grad():
        central = (value(x0 + h * direction) - value(x0 - h * direction)) / (2 * h)
    torch.testing.assert_close(slope, central, rtol=family.difference, atol=family.difference)
    assert (central.abs() > 1e-4).all()


@every_family
def test_a_batch_of_different_conditions_equals_one_by_one(family):
    pipeline = family.build()
    model = family.load(pipeline, batch=3)
    x0 = model.flow.noise(SEEDS)
    together = solve(model.flow, x0, steps=model.steps)
    for i in range(3):
        part = model.flow.select(torch.tensor([i]))
        alone = solve(part, x0[i : i + 1], steps=model.steps)
        assert largest(alone, together[i : i + 1]) < 1e-4
    if family.embed(pipeline, 3) or family.labels:
        other = solve(model.flow.select(torch.tensor([1])), x0[:1], steps=model.steps)
        assert largest(other, together[:1]) > 2e-5


@every_family
def test_gradient_checkpointing_keeps_less_and_changes_nothing(family):
    pipeline = family.build()
    plain = family.load(pipeline)
    x = plain.flow.noise(SEEDS[:2])
    kept = activation_bytes(plain.flow, x)
    v = plain.flow(x, torch.tensor(0.4))
    if family.name == "AudioLDM 2":  # its blocks pass the arguments in a wrong order when they checkpoint
        with pytest.raises(hw.Misuse, match="has no gradient checkpointing"):
            family.load(pipeline, checkpointing=True)
        return
    lean = family.load(pipeline, checkpointing=True)
    assert activation_bytes(lean.flow, x) < 0.8 * kept
    z = x.clone().requires_grad_()
    again = lean.flow(z, torch.tensor(0.4))
    torch.testing.assert_close(again, v)
    assert torch.autograd.grad(again.sum(), z)[0].abs().sum() > 0


@every_family
def test_a_folder_is_the_pipeline(family, tmp_path):
    pipeline = family.build()
    pipeline.save_pretrained(tmp_path)
    model, again = family.load(pipeline), family.load(tmp_path)
    x0 = model.flow.noise(SEEDS[:2])
    x1 = solve(model.flow, x0, steps=model.steps)
    assert torch.equal(solve(again.flow, x0, steps=again.steps), x1)
    with torch.no_grad():
        assert torch.equal(again.decode(x1), model.decode(x1))


@every_family
def test_a_velocity_takes_one_time_per_problem(family):
    model = family.load(family.build())
    x = model.flow.noise(SEEDS[:2])
    times = torch.tensor([model.steps[1], 0.37])
    rows = [model.flow.select(torch.tensor([i]))(x[i : i + 1], times[i]) for i in range(2)]
    torch.testing.assert_close(model.flow(x, times), torch.cat(rows), rtol=1e-4, atol=1e-4)
