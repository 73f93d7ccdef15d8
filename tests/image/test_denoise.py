"""Denoised pictures: the noise of luma and chroma, exact answers on closed forms, and never worse than the input."""

import io
import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from headwater import CondOT, Flow, Misuse, Status
from headwater.flows.latent import LatentModel
from headwater.flows.watched import watch_flow
from headwater.image.denoise import DenoisePicture
from headwater.image.io import photos
from headwater.image.metrics.fidelity import psnr
from headwater.image.model import models
from headwater.image.noise import estimate_levels, estimate_noise, from_luma_chroma, to_luma_chroma
from headwater.image.operators import Identity
from headwater.image.restoration import restore
from headwater.image.task import ImageTask
from headwater.problem.cost import Misfit
from headwater.recipes.one_evaluation import OneEvaluation, denoise_measurement
from headwater.recipes.recipe import RecipeOptions

torch.set_num_threads(1)
SIGMA = 0.1


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def wiener(shape, std=0.3):
    """Independent pixels N(0, std^2): xhat = std^2 / (std^2 + sigma^2) y."""

    def velocity(x, t):
        a, b, da, db = CondOT().coefficients(x, t)
        return ((da * a * std**2 + db * b) / (a * a * std**2 + b * b)).to(x) * x

    return Flow(velocity, shape, range=(-1, 1))


def through_jpeg(x, subsampling):
    """x `[1, 3, h, w]` after a JPEG file of quality 95."""
    pixels = ((x[0].permute(1, 2, 0) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95, subsampling=subsampling)
    seen = np.asarray(Image.open(file).convert("RGB")).copy()
    return torch.from_numpy(seen).permute(2, 0, 1)[None] / 127.5 - 1


def levels_of(y, sigma=SIGMA):
    found = estimate_levels(y, torch.full((len(y),), sigma))
    return (found.luma / sigma).item(), (found.chroma / sigma).item(), bool(found.grey)


FLAT = torch.zeros(1, 3, 128, 128) + torch.linspace(-0.4, 0.4, 128)
WHITE = FLAT + SIGMA * normal(1, 3, 128, 128)
EQUAL = FLAT + SIGMA * normal(1, 1, 128, 128)


def test_white_noise_is_one_level():
    assert levels_of(WHITE) == pytest.approx((1, 1, False), abs=1e-6)


def test_a_grey_picture_is_one_measurement_of_three_channels():
    assert levels_of(EQUAL) == pytest.approx((3**0.5, 0, True))
    assert levels_of(through_jpeg(EQUAL, "4:2:0"))[2]


@pytest.mark.parametrize("subsampling, low, high", [("4:2:0", 0.3, 0.65), ("4:2:2", 0.55, 0.85)])
def test_chroma_behind_a_jpeg_has_less_noise_and_luma_more(subsampling, low, high):
    luma, chroma, grey = levels_of(through_jpeg(WHITE, subsampling))
    assert 1.1 < luma < 1.25 and low < chroma < high and not grey


def test_equal_noise_in_a_coloured_picture_is_all_luma():
    colours = torch.tensor([0.2, -0.1, 0.0]).reshape(1, 3, 1, 1)
    luma, chroma, grey = levels_of(EQUAL + colours)
    assert luma == pytest.approx(3**0.5, rel=0.05) and chroma < 0.05 and not grey


def test_the_axes_are_orthonormal():
    x = normal(2, 3, 4, 5)
    assert_close(from_luma_chroma(to_luma_chroma(x)), x)
    assert_close(to_luma_chroma(x).square().sum(), x.square().sum())


def test_noise_is_estimated_at_known_pixels_alone():
    y, known = WHITE.clone(), torch.ones(1, 1, 128, 128, dtype=torch.bool)
    y[..., :90], known[..., :90] = 5 * normal(1, 3, 128, 90, seed=1), False
    assert estimate_noise(y, known).item() == pytest.approx(SIGMA, rel=0.05)
    assert estimate_noise(y).item() > 1
    assert estimate_noise(torch.zeros(1, 3, 1, 1)).item() == 0  # no block of 2 x 2


def test_white_noise_gets_the_exact_mean_in_four_evaluations():
    y = WHITE[..., :64, :64]
    done = restore(ImageTask(Identity(), y, SIGMA, (64, 64)), wiener((3, 64, 64)), seeds=[0, 1])
    assert_close(done.images[:1], (0.09 / 0.1 * y).clamp(-1, 1), rtol=1e-4, atol=1e-5)
    assert torch.equal(done.images[0], done.images[1])  # no noise is added, so the seed changes nothing
    assert done.result.status == (Status.COMPUTED,) * 2 and done.result.evaluations.tolist() == [4, 4]


def test_a_grey_picture_stays_grey_at_its_own_level():
    """The mean over the channels of the completed noise is the measurement: the Wiener filter at sqrt(3) sigma."""
    y = EQUAL[..., :64, :64]
    done = restore(ImageTask(Identity(), y, SIGMA, (64, 64)), wiener((3, 64, 64)), seeds=[4])
    assert_close(done.images, (0.09 / 0.12 * y).clamp(-1, 1), rtol=1e-4, atol=1e-5)
    assert torch.equal(done.images[:, 0], done.images[:, 2])


def test_every_picture_of_a_batch_is_denoised_alone():
    y = torch.cat([WHITE, EQUAL, through_jpeg(WHITE, "4:2:0")])[..., :32, :32]
    flow, misfit = wiener((3, 32, 32)), Misfit(Identity(), y, SIGMA)
    together = DenoisePicture()(flow, misfit, [5, 6, 7], guess=y).x1
    for k in range(3):
        part = torch.tensor([k])
        alone = DenoisePicture()(flow, misfit.select(part), [5 + k], guess=y[part]).x1
        assert_close(together[part], alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (40, 90)], ids=str)
def test_pictures_of_other_sizes_than_the_window(size):
    y = (0.2 * normal(1, 3, *size)).clamp(-0.9, 0.9)
    done = restore(ImageTask(Identity(), y, SIGMA, size, check_span=False), wiener((3, 32, 32)))
    assert done.images.shape == y.shape and bool(torch.isfinite(done.images).all())


def test_a_noise_below_the_resolution_of_a_solve_is_removed_too():
    done = restore(ImageTask(Identity(), WHITE[..., :64, :64], 0.01, (64, 64)), wiener((3, 64, 64), std=0.01))
    assert_close(done.images, 0.5 * WHITE[..., :64, :64], rtol=1e-3, atol=1e-4)


def test_an_end_between_two_evaluations_keeps_the_mean_so_far():
    y, calls = WHITE[..., :32, :32], []

    def check():
        calls.append(1)
        return Status.CANCELLED if len(calls) > 2 else None

    flow = watch_flow(wiener((3, 32, 32)), check)
    result = DenoisePicture()(flow, Misfit(Identity(), y, SIGMA), [0], guess=y)
    assert result.status == (Status.CANCELLED,) and result.evaluations.tolist() == [2]
    assert_close(result.x1, 0.9 * y, rtol=1e-4, atol=1e-5)
    calls.extend([1, 1])
    assert torch.equal(
        DenoisePicture()(flow, Misfit(Identity(), y, SIGMA), [0], guess=y).x1, y
    )  # nothing was done


def test_the_callback_sees_every_mean_and_may_end_the_run():
    y, seen = WHITE[..., :32, :32], []

    def callback(event):
        seen.append(event.round)
        return Status.SECONDS if len(seen) == 3 else None

    misfit, options = Misfit(Identity(), y, SIGMA), RecipeOptions(callback=callback)
    result = DenoisePicture()(wiener((3, 32, 32)), misfit, [0], guess=y, options=options)
    assert seen == [0, 0, 0] and result.status == (Status.SECONDS,) and result.evaluations.tolist() == [3]


def centre(name, left=0, top=0):
    """64 x 64 pixels of a shipped photograph, `[1, 3, 64, 64]`."""
    pixels = np.asarray(Image.open(photos.path(name)).convert("RGB"))
    a, b = (n // 2 - 32 for n in pixels.shape[:2])
    crop = pixels[a + top : a + top + 64, b + left : b + left + 64].copy()
    return torch.from_numpy(crop).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.mark.parametrize("kind", ["colour", "grey", "4:2:0", "4:2:2"])
def test_the_shipped_network_is_never_worse_than_the_input_or_one_evaluation(kind):
    flow, sigma = models.flow(), 25.6 / 255
    truth = torch.cat([centre(photo) for photo in ("astronaut", "cat", "coffee", "rocket")])
    if kind == "grey":
        truth = truth.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    noise = normal(4, 1 if kind == "grey" else 3, 64, 64, seed=2)
    y = ((truth + sigma * noise).clamp(-1, 1) * 127.5).round() / 127.5
    if ":" in kind:
        y = torch.cat([through_jpeg(picture[None], kind) for picture in y])
    done = restore(ImageTask(Identity(), y, sigma, (64, 64), check_span=False), flow, range(4))
    one = denoise_measurement(flow, y, torch.full((4,), sigma))
    before, after = psnr(y, truth), psnr(done.images, truth)
    assert bool((after > before + 1).all())
    assert bool((after > psnr(one.clamp(-1, 1), truth) - 0.1).all())
    if kind == "grey":
        assert bool((after > psnr(one.clamp(-1, 1).mean(1, keepdim=True), truth[:, :1]) + 1).all())


@pytest.mark.parametrize("part", ["round field", "black border", "white paper"])
def test_parts_without_noise_do_not_change_the_level(part):
    """Black around a microscope's field, a border, paper: cut off at an end of the range, they show no noise."""
    generator = torch.Generator().manual_seed(3)
    y = 0.1 * torch.randn(1, 3, 64, 64, generator=generator) + torch.linspace(-0.4, 0.4, 64)
    rows, columns = torch.meshgrid(torch.arange(64) - 32, torch.arange(64) - 32, indexing="ij")
    flat = {"round field": rows**2 + columns**2 > 484, "black border": (rows < -10) | (columns < -10)}
    flat |= {"white paper": rows > 0}
    y[..., flat[part]] = 1.0 if part == "white paper" else -1.0
    levels = estimate_levels(y, torch.tensor([0.1]))
    assert_close(levels.luma, torch.tensor([0.1]))
    assert_close(levels.chroma, torch.tensor([0.1]))


def test_a_recipe_can_be_sent_to_another_process():
    assert pickle.loads(pickle.dumps(DenoisePicture())).views[1](torch.arange(3.0)).tolist() == [
        2.0,
        1.0,
        0.0,
    ]


@pytest.mark.parametrize(
    "recipe", [DenoisePicture(), OneEvaluation()], ids=lambda recipe: type(recipe).__name__
)
def test_a_flow_on_latents_is_refused(recipe):
    """Latents of a noisy picture are no latents with noise: it would be denoised without a word, and wrongly."""
    flow = Flow(lambda z, t: -z, (3, 4, 4))
    model = LatentModel(flow, torch.nn.Upsample(scale_factor=2), lambda x: x[..., ::2, ::2])
    task = ImageTask(Identity(), torch.zeros(1, 3, 8, 8), noise=0.1, size=(8, 8))
    problem = task.pose(model)
    with pytest.raises(Misuse, match="has 64 numbers and a state of the flow 48") as refusal:
        recipe(problem.flow, problem.misfit, [0], guess=problem.guess)
    assert "Estimate()" in refusal.value.cure
