"""`restore` on an analytic flow of 16 x 16 windows: any size, only damage, agreement with y, seeds, refusals."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from headwater import CondOT, Flow, Misuse, Status
from headwater.image.answers import estimate_for, faithful, on_latents
from headwater.image.operators import (
    JPEG,
    Blur,
    Clip,
    Colorize,
    Identity,
    Inpaint,
    PhaseRetrieval,
    SuperResolution,
    UserOperator,
    chain,
    from_physics,
    gaussian_kernel,
)
from headwater.image.phase_estimate import PhaseEstimate
from headwater.image.restoration import restore
from headwater.image.task import ImageTask
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.paper import Paper
from headwater.recipes.problem import Task
from headwater.recipes.recipe import RecipeOptions, result_without_control

torch.set_num_threads(1)
SIGMA = 0.05


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def spectrum(h, w):
    """Variances 1 / (1 + |k|^2)^1.5 of the Fourier modes; pixels have the standard deviation 0.2."""
    k, m = (torch.fft.fftfreq(n).square() * n**2 for n in (h, w))
    power = (1 + k[:, None] + m) ** -1.5
    return 0.2**2 * power / power.mean()


def velocity(x, t):
    """The exact Cond-OT velocity of the periodic Gaussian field with this spectrum."""
    a, b, da, db = CondOT().coefficients(x, t)
    s = spectrum(16, 16).to(x)
    return torch.fft.ifft2((da * a * s + db * b) / (a * a * s + b * b) * torch.fft.fft2(x)).real


FLOW = Flow(velocity, (3, 16, 16), range=(-1, 1))


def field(h, w, seed=0):
    """A picture inside the range."""
    x = torch.fft.ifft2(spectrum(h, w).sqrt() * torch.fft.fft2(normal(1, 3, h, w, seed=seed))).real
    return 0.9 * x / x.abs().max().clamp(min=0.9)


def hole(h, w, top, left):
    """True but for a hole of 3 x 4 pixels."""
    mask = torch.ones(h, w, dtype=torch.bool)
    mask[top : top + 3, left : left + 4] = False
    return mask


def rms(a):
    return a.square().mean().sqrt()


@pytest.mark.parametrize("recipe", [None, Paper()], ids=["own", "paper"])
@pytest.mark.parametrize("size", [(16, 16), (10, 12), (9, 33), (24, 16), (21, 35)], ids=str)
def test_pictures_of_any_size_come_back_in_it(size, recipe):
    x = field(*size)
    y = x + SIGMA * normal(*x.shape, seed=1)
    done = restore(ImageTask(Identity(), y, SIGMA, size), FLOW, recipe=recipe)
    assert done.images.shape == x.shape and done.images.abs().max() <= 1
    assert done.result.status == (Status.COMPUTED if recipe is None else Status.REACHED,)
    assert done.problem.flow.shape == (3, max(size[0], 16), max(size[1], 16))
    assert_close(done.crop(done.result.x1).clamp(-1, 1), done.images)
    assert 0.3 < rms(done.images - y) / SIGMA < 1.06
    assert_close(done.result.measure[0].float(), rms(done.crop(done.result.x1) - y) / SIGMA)


def test_a_task_has_the_one_shape_of_all_domains():
    """Posed, solved and finished by hand it gives what `restore` gives."""
    x = field(16, 16)
    operator = SuperResolution(2)
    task: Task[Flow, torch.Tensor] = ImageTask(operator, operator(x), 0.0, (16, 16))
    problem = task.pose(FLOW)
    done = restore(task, FLOW, seeds=[3])
    images = task.finish(problem.solve([3]).x1)
    assert_close(images.clamp(-1, 1), done.images)
    assert (operator(images) - operator(x)).abs().max() < 1e-3
    for moved in (task.to("cpu"), replace(task, guess=x).to("cpu")):
        assert_close(moved.pose(FLOW).misfit(x), problem.misfit(x))


def test_only_windows_that_see_damage_are_solved():
    x, mask = field(40, 56), hole(40, 56, 9, 2)
    windows = []

    def counted(x, t):
        windows.append(len(x))
        return velocity(x, t)

    flow = Flow(counted, (3, 16, 16), range=(-1, 1))
    done = restore(ImageTask(Inpaint(mask), Inpaint(mask)(x), 0.0, (40, 56)), flow)
    assert done.problem.flow.velocity.covers[0].corners == ((2, 0),)
    assert done.problem.flow.shape == (3, 1, 256) and done.region == (slice(2, 18), slice(0, 16))
    assert set(windows) == {1}
    assert (done.images[..., mask] == x[..., mask]).all()  # bit by bit
    lost = ~mask
    assert rms(done.images[..., lost] - x[..., lost]) < 1.25 * rms(x[..., lost])
    assert (done.images[..., lost] != 0).all()


@pytest.mark.parametrize("recipe", [None, Paper()], ids=["own", "paper"])
def test_noisy_mask_keeps_the_measurement_where_nothing_is_solved(recipe):
    """Pixels that no solved window covers are those of y, not what the start holds there."""
    x, mask = field(40, 40), hole(40, 40, 9, 2)
    y = Inpaint(mask)(x + SIGMA * normal(1, 3, 40, 40, seed=1))
    done = restore(ImageTask(Inpaint(mask), y, SIGMA, (40, 40)), FLOW, seeds=[0, 1], recipe=recipe)
    covered = torch.zeros(40, 40, dtype=torch.bool)
    covered[done.region] = True
    assert 0 < covered.sum() < 1600
    want = y.clamp(-1, 1)[..., ~covered].expand(2, -1, -1)
    assert (done.images[..., ~covered] == want).all()
    assert_close(done.crop(done.result.x1).clamp(-1, 1), done.images[..., *done.region])
    solved = mask & covered  # and there the noise is not copied: near the noise level, but not y
    assert 0.3 * SIGMA < rms((done.images - y)[..., solved]) < 1.06 * SIGMA


def test_noiseless_super_resolution_agrees_exactly():
    x = field(20, 24)
    for operator in (SuperResolution(2), SuperResolution(2, "bicubic"), SuperResolution(4, "decimate")):
        y = operator(x)
        done = restore(ImageTask(operator, y, 0.0, (20, 24)), FLOW)
        polished = done.task.finish(done.crop(done.result.x1))
        assert polished.abs().max() <= 1  # so that the clamp is not at work
        assert (operator(done.images) - y).abs().max() < 1e-3
        assert (operator(done.crop(done.result.x1)) - y).abs().max() > 1e-3  # the solve alone does not


@pytest.mark.parametrize("sigma", [0.001, 0.01])
def test_a_little_noise_is_not_amplified_by_the_polish(sigma):
    """A deblurring to A x = y would be mostly noise; the residual ends near sigma instead, the error no worse."""
    operator, x = Blur(gaussian_kernel(std=1.5)), field(20, 24)
    y = operator(x) + sigma * normal(1, 3, 20, 24, seed=1)
    done = restore(ImageTask(operator, y, sigma, (20, 24)), FLOW)
    before = done.crop(done.result.x1)
    assert rms(done.images - x) < rms(before - x)
    assert rms(operator(done.images) - y) < max(1.3 * sigma, 0.003)


def test_polish_is_the_dense_regularised_least_squares_solution():
    operator, x = SuperResolution(2, "bicubic"), normal(2, 1, 8, 8).double()
    y, sigma = operator(normal(2, 1, 8, 8, seed=1).double()), 0.01
    a = operator(torch.eye(64, dtype=torch.float64).reshape(64, 1, 8, 8)).flatten(1).T
    m = torch.eye(64, dtype=torch.float64) / ImageTask.resolution**2 + a.T @ a / sigma**2
    b = x.flatten(1).T / ImageTask.resolution**2 + a.T @ y.flatten(1).T / sigma**2
    got = ImageTask(operator, y, sigma, (8, 8)).finish(x)
    assert_close(got.flatten(1).T, torch.linalg.solve(m, b), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("recipe", [None, Paper()], ids=["own", "paper"])
@pytest.mark.parametrize(
    "operator", [SuperResolution(2), Blur(gaussian_kernel(std=1.0)), Colorize()], ids=lambda o: o.name
)
def test_noisy_restoration_ends_at_the_noise_level(operator, recipe):
    x = field(20, 24)
    y = operator(x) + SIGMA * normal(*operator(x).shape, seed=1)
    done = restore(ImageTask(operator, y, SIGMA, (20, 24)), FLOW, recipe=recipe)
    low = done.result.measure[0] < 0.8  # far below the noise: a failure, not a success
    mean = recipe is None and operator.kind in ("deblur", "upscale")  # whose misfit is low by nature
    assert done.result.status == (Status.COMPUTED if mean else Status.OVERFITTED if low else Status.REACHED,)
    level = rms(operator(done.images) - y) / SIGMA
    assert 0.3 < level < 1.06


def test_the_discrepancy_is_approached_from_above():
    """`paper` starts far off and stops at the first point under 1.05 sigma: not much under it."""
    x = field(16, 16)
    y = x + 0.02 * normal(1, 3, 16, 16, seed=1)
    done = restore(
        ImageTask(Identity(), y, 0.02, (16, 16)), FLOW, recipe=Paper(), options=RecipeOptions(gradients=200)
    )
    assert done.result.gradients[0] > 3
    assert 0.8 < done.result.measure[0] <= 1.05


@pytest.mark.parametrize(
    "operator",
    [SuperResolution(2), Inpaint(hole(20, 24, 9, 2)), Blur(gaussian_kernel(std=1.0))],
    ids=lambda o: o.name,
)
def test_every_seed_is_its_own_run(operator):
    y = operator(field(20, 24)) + 0
    task = ImageTask(operator, y, SIGMA, (20, 24))
    recipe = task.recipe("plausible")
    recipe = replace(recipe, gradients=4, estimate=replace(recipe.estimate, times=16))
    together = restore(task, FLOW, seeds=[5, 2, 9], recipe=recipe)
    assert together.images.shape == (3, 3, 20, 24)
    for k, seed in enumerate([5, 2, 9]):
        alone = restore(task, FLOW, seeds=[seed], recipe=recipe)
        assert_close(together.images[k : k + 1], alone.images, rtol=0, atol=1e-4)
    assert rms(together.images[0] - together.images[1]) > 0.005
    assert rms(together.images[1] - together.images[2]) > 0.005


@pytest.mark.parametrize("answer", ["faithful", "plausible", None])
def test_magnitudes_alone_get_the_better_of_two_estimates(answer):
    """They are the same for x and -x, so a mean of some estimates may be 0, which agrees with nothing."""
    x = field(16, 16)
    task = ImageTask(PhaseRetrieval(), PhaseRetrieval()(x), SIGMA, (16, 16))
    recipe = task.recipe() if answer is None else task.recipe(answer)
    assert isinstance(recipe.estimate, PhaseEstimate) and recipe.estimate.from_noise.times == 128
    short = PhaseEstimate(Estimate(times=16), Estimate(times=8, first=0.3), iterations=50)
    done = restore(task, FLOW, recipe=replace(recipe, gradients=1, estimate=short))
    assert done.result.preparation >= 16 + 64 + 8
    assert rms(done.images) > 0.5 * rms(x)


def test_magnitudes_within_a_chain_are_found_and_other_operators_keep_their_mean():
    operator = chain(Blur(gaussian_kernel(std=1.0)), PhaseRetrieval())
    assert estimate_for(operator).times == 128
    assert isinstance(faithful(Blur(gaussian_kernel(std=1.0))).estimate, Average)


def test_through_a_decoder_magnitudes_have_no_mean_either():
    assert isinstance(on_latents(Blur(gaussian_kernel(std=1.0)), "faithful").estimate, Average)
    assert isinstance(on_latents(PhaseRetrieval(), "faithful").estimate, Estimate)


def test_a_mask_of_grey_pixels_still_wants_their_colour():
    """A chain with a mask knows no pixel fully: all windows are solved, no grey is put into the channels."""
    x = field(20, 40)
    operator = chain(Inpaint(hole(20, 40, 9, 2)), Colorize())
    done = restore(ImageTask(operator, operator(x), 0.0, (20, 40)), FLOW)
    assert len(done.problem.flow.velocity.corners) == 8
    assert (operator(done.images) - operator(x)).abs().max() < 1e-3
    assert rms(done.images[:, 0] - done.images[:, 1]) > 0.1  # channels of this law are independent


@pytest.mark.parametrize(
    "operator, size", [(JPEG(50), (16, 16)), (Clip(gain=3.0), (16, 16))], ids=["jpeg", "clip"]
)
def test_nonlinear_operators_run(operator, size):
    x = field(*size)
    y = operator(x)
    task = ImageTask(operator, y, SIGMA, size)
    recipe = task.recipe()
    one = replace(recipe, estimate=replace(recipe.estimate, count=1))
    done = restore(task, FLOW, recipe=one, options=RecipeOptions(gradients=30))
    assert done.images.shape == x.shape
    assert rms(operator.residual(done.images, y)) < 1.06 * SIGMA
    assert rms(done.images - x) < 0.2  # the standard deviation of the law


def test_a_guess_of_the_users_own():
    x = field(16, 16)
    y = SuperResolution(4)(x)
    runs = [
        restore(ImageTask(SuperResolution(4), y, SIGMA, (16, 16), g), FLOW, recipe=Paper()).images
        for g in (None, SuperResolution(4).pinv(y), x)
    ]
    assert_close(runs[0], runs[1])
    assert rms(runs[2] - runs[0]) > 1e-3


def test_a_recipe_is_a_value_and_its_options_reach_it():
    x = field(16, 16)
    rounds = []
    options = RecipeOptions(gradients=2, steps=3, tau=1e-4, callback=lambda e: rounds.append(e.round))
    operator = Blur(gaussian_kernel(std=1.0))
    done = restore(ImageTask(operator, operator(x), SIGMA, (16, 16)), FLOW, options=options)
    assert (
        [r for r in rounds if r] == [1, 2]
        and rounds.count(0) == 64
        and done.result.status == (Status.EVALUATIONS,)
    )


X = field(16, 16)
REFUSED = {
    "negative": ({"noise": -0.1}, r"noise level -0\.1 is not 0 or more\. Give"),
    "nan noise": ({"noise": math.nan}, r"noise level nan is not 0 or more\. Give"),
    "infinite noise": ({"noise": math.inf}, r"noise level inf is not 0 or more\. Give"),
    "no seed": ({"seeds": []}, r"seeds are 0 and the measurements 1\. Give"),
    "measurements": (
        {"y": torch.cat([X, X]), "seeds": [1, 2, 3]},
        r"seeds are 3 and the measurements 2\. Give",
    ),
    "size": ({"size": (16, 18)}, r"measurement is .*16, 16\] but .*\[1, 3, 16, 18\]\. Give the measurement"),
    "operator's size": (
        {"operator": SuperResolution(2), "size": (9, 9), "y": X[..., :4, :4]},
        r"9 x 9 pixels cannot be shrunk by a factor of 2",
    ),
    "y of another size": (
        {"operator": SuperResolution(2), "y": X[..., :4, :4]},
        r"measurement is \[1, 3, 4, 4\] but the operator makes \[1, 3, 8, 8\]\. Give",
    ),
    "y without batch": ({"y": X[0], "seeds": [0, 1, 2]}, r"measurement is \[3, 16, 16\] but"),
    "y of another number of channels": ({"y": X[:, :1]}, r"measurement is \[1, 1, 16, 16\] but"),
    "mask and y": (
        {"operator": Inpaint(hole(16, 16, 2, 2)), "y": X[..., :12]},
        r"measurement is .* 16, 12\]",
    ),
    "a function": ({"operator": lambda x: x}, r"of type function\. Give an Operator"),
    "no y": ({"y": X[:0], "seeds": [0]}, r"measurement is .*\[0, 3, 16, 16\]\. Give"),
    "resolution": ({"resolution": 0.0}, r"resolution 0\.0 is not positive\. Give"),
    "y of integers": ({"y": X.byte()}, r"measurement is torch\.uint8 .*\. Give a floating"),
    "y is no tensor": ({"y": X.numpy()}, r"measurement is ndarray\. Give"),
    "guess": ({"guess": X[..., :8]}, r"guess is \[1, 3, 16, 8\]\. Give a picture \[1, 3, 16, 16\]"),
    "negative size": ({"size": (-16, 16)}, r"size \(-16, 16\) is not"),
    "three sizes": ({"size": (3, 16, 16)}, r"is not a height and a width"),
    "broken size": ({"size": (16.0, 16)}, r"is not a height and a width"),
    "nan": ({"y": X / 0}, r"The image holds NaN or Inf\. Replace"),
    "mask": ({"operator": Inpaint(hole(12, 16, 2, 2))}, r"mask is 12 x 16 .* 16 x 16\. Give a mask"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_are_two_sentences(case):
    change, message = REFUSED[case]
    arguments = {"operator": Identity(), "y": X, "noise": SIGMA, "size": (16, 16)} | change
    with pytest.raises(Misuse, match=message) as caught:
        seeds = arguments.pop("seeds", [0])
        restore(ImageTask(**arguments), FLOW, seeds)
    assert str(caught.value) == f"{caught.value.what} {caught.value.cure}"
    assert caught.value.what.endswith(".") and caught.value.cure[-1] in ".?"


def test_a_task_is_refused_before_the_network_is_asked():
    flow = Flow(lambda x, t: pytest.fail("the network was asked"), (3, 16, 16))
    for operator, size in ((SuperResolution(2), (9, 9)), (SuperResolution(4), (16, 16))):
        with pytest.raises(Misuse):
            ImageTask(operator, X[..., :8, :8], SIGMA, size).pose(flow)


def test_a_users_operator_is_asked_once_and_neither_for_zeros_nor_gradients():
    seen = []

    def contrast(x):
        seen.append(x)
        low, high = x.amin((1, 2, 3)), x.amax((1, 2, 3))
        assert bool((low < high).all())
        return x / (high - low)[:, None, None, None]

    ImageTask(UserOperator(contrast), X.double(), SIGMA, (16, 16)).pose(FLOW)
    assert len(seen) == 1 and not seen[0].requires_grad and seen[0].dtype == torch.float64


def test_known_pixels_that_are_noisy_are_not_fitted():
    """Without a told noise they are put back at the end, so the hole needs no better fit than the noise they show."""
    y = torch.linspace(-0.5, 0.5, 16) + 0.1 * normal(1, 3, 16, 16, seed=4)
    task = ImageTask(Inpaint(hole(16, 16, 6, 6)), y, 0.0, (16, 16))
    assert task.misfit_unit.item() == pytest.approx(0.1, rel=0.2)
    done = restore(task, FLOW)
    known = task.operator.mask.expand_as(y)
    assert torch.equal(done.images[known], y.clamp(-1, 1)[known]) and done.result.gradients[0] <= 3
    forced = done.problem.misfit.sigma_y.item()
    assert done.result.measure[0] > 0.3 and forced == task.misfit_unit.item()


def test_a_clean_picture_is_still_fitted_down_to_the_resolution():
    task = ImageTask(
        Inpaint(hole(16, 16, 6, 6)), torch.full((1, 3, 16, 16), 0.25), 0.0, (16, 16), check_span=False
    )
    assert task.misfit_unit.tolist() == pytest.approx([ImageTask.resolution])
    assert ImageTask(SuperResolution(2), X, 0.0, (32, 32)).misfit_unit == ImageTask.resolution
    assert ImageTask(Identity(), X, 0.004, (16, 16)).misfit_unit == 0.004


def test_an_estimate_at_the_noise_level_is_the_answer_of_a_deblurring():
    x, operator = field(16, 16), Blur(gaussian_kernel(std=1.0))
    y = operator(x) + SIGMA * normal(1, 3, 16, 16, seed=1)
    done = restore(ImageTask(operator, y, SIGMA, (16, 16)), FLOW)
    assert done.result.status == (Status.COMPUTED,) and done.result.measure[0] <= 1.05
    assert done.result.gradients.tolist() == [0] and done.result.evaluations.tolist() == [64]


@pytest.mark.parametrize("noise, wanted", [(0.1, (Status.OVERFITTED,)), (0.01, (Status.REACHED,))])
def test_a_fitted_noise_is_told_as_a_failure_where_there_is_one(noise, wanted):
    """The measurement itself as the answer: misfit 0. Below the resolution there is no noise that could be fitted."""
    operator = Blur(gaussian_kernel(std=1.0))

    def exact(flow, misfit, seeds, *, guess, options):
        return result_without_control(misfit, field(16, 16), Status.REACHED, 0)

    done = restore(ImageTask(operator, operator(field(16, 16)), noise, (16, 16)), FLOW, recipe=exact)
    assert done.result.status == wanted and not (noise == 0.1 and done.result.status[0].ok)


@pytest.mark.parametrize("wrap", [UserOperator, from_physics], ids=["user", "physics"])
def test_what_an_own_operator_measures_may_have_any_range_and_be_complex(wrap):
    """Only pictures in the data range are examined for a wrong range."""
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for function in (lambda u: (u + 1) / 2, lambda u: 200 * (u + 1), torch.fft.fft2):
        task = ImageTask(wrap(function), function(x), 0.1, size=(8, 8))
        flow = Flow(lambda v, t: -v, (3, 8, 8), range=(-1, 1))
        assert restore(task, flow, recipe=Paper(gradients=1)).images.shape == x.shape
    with pytest.raises(Misuse, match="looks like"):
        ImageTask(Identity(), (x + 1) / 2, 0.1, size=(8, 8)).pose(
            Flow(lambda v, t: -v, (3, 8, 8), range=(-1, 1))
        )
