"""The shipped image prior: its cost, labels and guidance, and what it knows of a photo."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from headwater import Misuse, zoo
from headwater.image.io import photos
from headwater.image.io.files import read_image
from headwater.image.model import models

torch.set_num_threads(1)
HALF = torch.tensor(0.5)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_model_of_another_kind_is_refused():
    with pytest.raises(Misuse, match=r"makes no images\. Give one of .*photo64"):
        models.flow(zoo.list_models("molecule generator")[0])


def test_unknown_model():
    with pytest.raises(Misuse, match=r"no model named 'photo46'\. Did you mean 'photo64'\?"):
        models.flow("photo46")


# ---- the cost


def test_a_forward_call_costs_at_most_3_gflop_mostly_at_32_pixels_and_below():
    net = models.network("photo64", "cpu")
    by_resolution: dict[int, float] = {}

    def count(module, inputs, output):
        macs = module.weight.numel() * output[0, 0].numel()
        by_resolution[output.shape[-1]] = by_resolution.get(output.shape[-1], 0) + 2 * macs

    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    handles = [m.register_forward_hook(count) for m in convolutions]
    with FlopCounterMode(display=False) as counter:
        models.flow("photo64")(noise(1, 3, 64, 64), HALF)
    for handle in handles:
        handle.remove()
    total = counter.get_total_flops()
    assert 0.1e9 < total <= 3e9
    assert sum(f for size, f in by_resolution.items() if size <= 32) > 0.9 * total


# ---- labels and guidance


def test_label_by_name_wnid_and_number():
    classes = zoo.read_card("photo64")["classes"]
    number = next(k for k, (_, words) in enumerate(classes) if words.startswith("goldfish"))
    content = zoo.read_card("photo64")
    for label in ("goldfish", "Goldfish", "Carassius auratus", classes[number][0], number, str(number)):
        assert models.class_number(content, label) == number
    x = noise(2, 3, 64, 64)
    want = models.network("photo64", "cpu")(x, HALF, torch.tensor([number, number]))
    assert_close(models.flow("photo64", label="goldfish")(x, HALF), want)
    assert (want - models.flow("photo64")(x, HALF)).square().mean().sqrt() > 1e-3  # the label matters


@pytest.mark.parametrize(
    "label, message",
    [
        ("goldfsh", r"no class named 'goldfsh'\. Did you mean 'goldfish'\?"),
        ("n99999999", r"no class named 'n99999999'\. "),
        ("²", r"no class named '²'\. "),
        (202, r"no class number 202\. Give 0 to 201\."),
        (-1, r"no class number -1\. Give 0 to 201\."),
        ("202", r"no class number 202\. "),
    ],
)
def test_unknown_label(label, message):
    with pytest.raises(Misuse, match=message):
        models.flow("photo64", label=label)


def test_guidance_is_the_formula():
    """1 is the label's velocity, 0 the null velocity, w the line through both; without a label refused."""
    x = noise(2, 3, 64, 64)
    null, one, zero, three = (
        models.flow("photo64", label=label, guidance=w)(x, HALF)
        for label, w in ((None, 1.0), (5, 1.0), (5, 0.0), (5, 3.0))
    )
    with torch.no_grad():
        assert_close(one, models.network("photo64", "cpu")(x, HALF, torch.tensor([5, 5])))
        assert_close(null, models.network("photo64", "cpu")(x, HALF, None))
    assert_close(zero, null)
    assert_close(three, null + 3 * (one - null), rtol=1e-4, atol=1e-4)
    with pytest.raises(Misuse, match="needs a class to guide to"):
        models.flow("photo64", guidance=3.0)


def test_a_problem_does_not_see_the_batch_and_gradients_reach_x():
    flow, x = models.flow("photo64"), noise(3, 3, 64, 64)
    t = torch.tensor([0.1, 0.5, 0.9])
    assert flow.shape == (3, 64, 64) and flow.range == (-1, 1)
    batch = flow(x, t)
    for k in range(3):
        assert_close(batch[k : k + 1], flow(x[k : k + 1], t[k]), rtol=1e-4, atol=1e-4)
    z = x[:1].requires_grad_()
    (gradient,) = torch.autograd.grad(flow(z, HALF).square().sum(), z)
    assert gradient.abs().max() > 0
    assert not any(p.requires_grad for p in models.network("photo64", "cpu").parameters())


# ---- what it knows


@pytest.mark.parametrize("t, gain", [(0.5, 5.0), (0.7, 3.0)])
def test_denoiser_cleans_a_photo(t, gain):
    """PSNR of E[x1 | x_t] against that of x_t / alpha, on a photo that is not in the training data."""
    photo = read_image(photos.path("cat"))[0]
    side = min(photo.shape[-2:])
    x1 = nn.functional.interpolate(photo[..., :side, :side], size=(64, 64), mode="area")
    flow, time = models.flow("photo64"), torch.tensor(t)
    xt = flow.path.interpolate(noise(1, 3, 64, 64), x1, time)

    def decibel(x):
        return -10 * (x - x1).square().mean().log10()

    assert decibel(flow.denoise(xt, time)) > decibel(xt / t) + gain
