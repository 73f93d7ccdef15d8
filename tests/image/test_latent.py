"""Pictures restored by a flow on latents."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pixel_shuffle, pixel_unshuffle
from torch.testing import assert_close

import headwater as hw
from headwater import Misuse
from headwater.flows.latent import LatentModel
from headwater.image.latent import canvas_of, misfit_of_pictures
from headwater.image.operators import Blur, Inpaint, SuperResolution, box_mask, gaussian_kernel
from headwater.image.restoration import restore
from headwater.image.task import ImageTask
from headwater.recipes.through_decoder import codec_error

torch.set_num_threads(1)


def decode(z):
    """Latents `[b, 4, h, w]` as pictures `[b, 1, 2 h, 2 w]`, without loss."""
    return pixel_shuffle(z, 2)


def encode(x):
    return pixel_unshuffle(x, 2)


def gaussian(shape, std=0.4, mean=0.1):
    """Independent entries N(mean, std^2), with the velocity on any size."""

    def velocity(x, t):
        a, b, da, db = hw.CondOT().coefficients(x, t)
        centred = x - a * mean
        slope = (da * a * std**2 + db * b) / (a * a * std**2 + b * b)
        return da * mean + slope * centred

    return hw.Flow(velocity, shape)


LATENT = LatentModel(gaussian((4, 8, 8)), decode, encode)
PIXELS = gaussian((1, 16, 16))


def picture(*shape, seed=0):
    return (0.1 + 0.4 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))).clamp(-1, 1)


def measure(operator, x, noise, seed=1):
    y = operator(x)
    return y + noise * torch.randn(y.shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    "name, size",
    [
        ("deblur", (13, 18)),
        ("box", (13, 10)),
        ("upscale", (16, 16)),
    ],
)
def test_without_loss_the_answer_is_that_of_the_flow_on_pixels(name, size):
    """The posterior of independent pixels is the same for latents that are the pixels in another order."""
    operator = {
        "deblur": Blur(gaussian_kernel(0.7)),
        "box": Inpaint(box_mask(*size, 4, 4)),
        "upscale": SuperResolution(2),
    }[name]
    task = ImageTask(operator, measure(operator, picture(1, 1, *size), 0.1), 0.1, size)
    recipe = hw.MAP(hw.Average(hw.Estimate(times=8), count=2), gradients=12)
    latent, pixels = (restore(task, model, [0], recipe=recipe) for model in (LATENT, PIXELS))
    assert latent.images.shape == (1, 1, *size)
    assert_close(latent.images, pixels.images, atol=0.02, rtol=0)


def test_the_unit_of_the_misfit_holds_the_error_of_the_autoencoder():
    coarse = replace(LATENT, encode=lambda x: (encode(x) * 4).round() / 4)
    x = picture(1, 1, 16, 16)
    operator = Inpaint(box_mask(16, 16, 4, 4))
    task = ImageTask(operator, operator(x), 0.0, (16, 16))
    exact, lossy = task.pose(LATENT).misfit.sigma_y, task.pose(coarse).misfit.sigma_y
    error = codec_error(operator, operator(x), decode(coarse.encode(operator(x))))
    assert float(exact) == pytest.approx(float(task.misfit_unit))
    assert 0.05 < float(error) < 0.09  # rounding to quarters: 0.25 / sqrt(12) = 0.072
    assert float(lossy) == pytest.approx((float(exact) ** 2 + float(error) ** 2) ** 0.5)


def test_known_pixels_are_put_back():
    x, operator = picture(1, 1, 16, 16), Inpaint(box_mask(16, 16, 8, 8))
    found = restore(ImageTask(operator, operator(x), 0.0, (16, 16)), LATENT, [0, 1])
    known = operator.known_pixels(x.shape)[0, 0]
    assert_close(found.images[..., known], x.expand(2, -1, -1, -1)[..., known])
    assert (found.images[0] - found.images[1]).abs().max() > 0.01  # seeds differ in the hole


def test_the_misfit_of_pictures_is_the_misfit_of_their_latents():
    x, operator = picture(2, 1, 16, 16), Blur(gaussian_kernel(0.7))
    problem = ImageTask(operator, measure(operator, x, 0.1), 0.1, (16, 16)).pose(LATENT)
    z = torch.randn(2, 4, 8, 8)
    assert_close(misfit_of_pictures(problem).rms(decode(z)), problem.misfit.rms(z))


def test_the_canvas_is_a_multiple_of_the_factor():
    assert canvas_of((16, 16), LATENT) == (16, 16)
    assert canvas_of((3, 21), LATENT) == (16, 22)


def test_the_gradient_passes_through_the_decoder():
    x, operator = picture(1, 1, 16, 16).double(), Blur(gaussian_kernel(0.7))
    problem = ImageTask(operator, measure(operator, x, 0.1).double(), 0.1, (16, 16)).pose(LATENT)
    z = torch.randn(1, 4, 8, 8, dtype=torch.float64, requires_grad=True)
    cost = problem.misfit(z)
    (slope,) = torch.autograd.grad(cost.sum(), z)
    step = torch.randn_like(z) * 1e-5
    difference = (problem.misfit(z + step) - problem.misfit(z - step)) / 2
    assert_close((slope * step).sum().reshape(1), difference.detach(), rtol=1e-5, atol=0)


def test_a_decoder_without_a_whole_factor_is_refused():
    model = LatentModel(gaussian((1, 4, 4)), lambda z: z.repeat_interleave(2, -1), lambda x: x[..., ::2])
    with pytest.raises(Misuse, match=r"The decoder makes \[4, 8\] of latents \[4, 4\]"):
        ImageTask(hw.Identity(), torch.zeros(1, 1, 4, 8), 0.1, (4, 8)).pose(model)
