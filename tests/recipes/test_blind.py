"""Unknown operators: on Gaussian laws the joint mode and the maximum of the marginal likelihood are known."""

import pytest
import torch

from headwater import Flow, Gaussian, GaussianMixture, Misuse, RecipeOptions, Status
from headwater.dflow.result import Event
from headwater.flows.seeds import draw_normal, make_generators
from headwater.image.blind import KernelSearch, UnknownBlur, kernel_logits, kernel_prior, shake_kernel
from headwater.image.operators import Blur, gaussian_kernel
from headwater.recipes.blind import (
    Alternate,
    BlindDPS,
    BlindMisfit,
    DMPlug,
    Joint,
    Unknown,
    UnknownClip,
    UnknownGain,
)
from headwater.recipes.estimate import Estimate
from headwater.recipes.recipe import result_without_control

SIGMA = 0.3


def gaussian_case(d=12, count=1, gain=1.6):
    g = torch.Generator().manual_seed(3)
    root = torch.randn(d, d, generator=g, dtype=torch.float64) / d**0.5
    covariance = root @ root.mT + 0.2 * torch.eye(d, dtype=torch.float64)
    mean = torch.linspace(0.4, 1.0, d, dtype=torch.float64)
    x = mean + torch.randn(count, d, generator=g, dtype=torch.float64) @ torch.linalg.cholesky(covariance).mT
    y = gain * x + SIGMA * torch.randn(count, d, generator=g, dtype=torch.float64)
    return mean, covariance, y


def profile(mean, covariance, y, unknown, *, marginal):
    """argmin over g of minus the log of the joint mode's density, or of the marginal likelihood, on a fine grid."""
    grid = torch.linspace(0.3, 4.0, 7401, dtype=torch.float64)
    values, basis = torch.linalg.eigh(covariance)
    spectrum = grid[:, None] ** 2 * values + SIGMA**2
    r = (y[0] - grid[:, None] * mean) @ basis
    cost = 0.5 * (r.square() / spectrum).sum(1) + unknown.penalty(grid[:, None])
    return float(grid[(cost + (0.5 * spectrum.log().sum(1) if marginal else 0)).argmin()])


def exact(mean, covariance, *, draw):
    """A recipe that gives the posterior mean, or a draw of the posterior, of y = g x + noise."""

    def recipe(flow, misfit, seeds, *, guess, options=None):
        g, s2 = misfit.operator.gain[:, None, None], float(misfit.sigma_y) ** 2
        eye = torch.eye(len(mean), dtype=torch.float64)
        precision = torch.linalg.inv(covariance) + g**2 / s2 * eye
        right = (torch.linalg.solve(covariance, mean) + g[:, 0] / s2 * misfit.y)[..., None]
        x = torch.linalg.solve(precision, right)
        if draw:
            z = draw_normal((len(mean), 1), make_generators(seeds)).double()
            x = x + torch.linalg.solve(torch.linalg.cholesky(precision).mT, z)
        return result_without_control(misfit, x[..., 0], Status.COMPUTED, 1)

    return recipe


def test_turns_with_the_posterior_mean_go_to_the_joint_mode():
    mean, covariance, y = gaussian_case()
    unknown = UnknownGain(spread=2.0)
    recipe = Alternate(exact(mean, covariance, draw=False), None, (1.0,) * 300)
    found = recipe(Gaussian(mean, covariance).flow, BlindMisfit(unknown, y, SIGMA), [0], guess=y)
    assert float(found.phi) == pytest.approx(profile(mean, covariance, y, unknown, marginal=False), abs=2e-3)
    assert found.evaluations.tolist() == [300] and found.path.shape == (300, 1, 1)


def test_turns_with_draws_go_to_the_maximum_of_the_marginal_likelihood():
    mean, covariance, y = gaussian_case(d=60)
    unknown = UnknownGain(spread=2.0)
    recipe = Alternate(exact(mean, covariance, draw=True), None, (1.0,) * 130, draws=4)
    found = recipe(Gaussian(mean, covariance).flow, BlindMisfit(unknown, y, SIGMA), [0], guess=y)
    value = float(found.path[60:].mean())
    best, mode = (profile(mean, covariance, y, unknown, marginal=m) for m in (True, False))
    assert abs(best - mode) > 0.1  # the two are not the same question
    assert value == pytest.approx(best, abs=0.035)


def test_the_joint_optimum_of_source_and_gain_is_the_known_one():
    mean, covariance, y = gaussian_case()
    unknown = UnknownGain(spread=2.0)
    problem = BlindMisfit(unknown, y, SIGMA)
    found = Joint(steps=16, gradients=60)(Gaussian(mean, covariance).flow, problem, [0], guess=y)
    assert float(found.phi) == pytest.approx(profile(mean, covariance, y, unknown, marginal=False), abs=0.02)
    assert found.status[0].ok and found.on_flow
    assert float(found.measure) == pytest.approx(float(problem.at(found.phi).rms(found.x1)))


def test_a_known_measurement_decides_and_the_prior_decides_without_one():
    x, y = torch.ones(1, 100), torch.full((1, 100), 3.0)
    assert float(UnknownGain().fit(torch.ones(1, 1), [x], y, torch.tensor(1e-3))) == pytest.approx(
        3.0, abs=1e-3
    )
    assert float(UnknownGain().fit(torch.ones(1, 1), [x], y, torch.tensor(1e3))) == pytest.approx(
        1.0, abs=1e-3
    )


PICTURES = torch.rand(3, 1, 24, 24, generator=torch.Generator().manual_seed(1)) * 2 - 1


def picture_flow(spread=0.1):
    """A flow that makes one of three pictures, with a little noise."""
    law = GaussianMixture([1, 1, 1], PICTURES.flatten(1), torch.full((3,), spread))
    return Flow(lambda x, t: law.velocity(x.flatten(1), t).reshape(x.shape).to(x), (1, 24, 24))


def blurred(kernels, sigma=0.02):
    g = torch.Generator().manual_seed(5)
    clean = Blur(kernels)(PICTURES[: len(kernels)])
    return (clean + sigma * torch.randn(clean.shape, generator=g)).float()


def relative_error(kernel, truth):
    return ((kernel - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)).tolist()


KERNELS = torch.stack([shake_kernel(5, 4.0, 0), gaussian_kernel(1.0, 5)])
TURNS = Alternate(Estimate(times=6), None, (6.0, 4.0, 2.0), 1)


def test_kernels_are_found_by_a_flow_that_knows_the_pictures():
    problem = BlindMisfit(UnknownBlur(5, start_std=1.0, spread=0.1), blurred(KERNELS), 0.02)
    found = TURNS(picture_flow(), problem, [0, 1], guess=problem.y)
    assert max(relative_error(found.parameters, KERNELS)) < 0.1
    assert found.parameters.sum((1, 2)).tolist() == pytest.approx([1.0, 1.0])


def test_joint_descent_improves_kernel_and_picture():
    problem = BlindMisfit(UnknownBlur(5, start_std=1.0, spread=0.1), blurred(KERNELS[:1]), 0.02)
    first = problem.unknown.parameters(problem.unknown.start(problem.y))
    found = Joint(steps=4, gradients=15, first_step=0.05)(picture_flow(), problem, [0], guess=PICTURES[:1])
    assert relative_error(found.parameters, KERNELS[:1])[0] < 0.5 * relative_error(first, KERNELS[:1])[0]
    assert found.gradients.tolist() == [15] and found.nfe_per_gradient == 8


def test_a_picture_without_blur_gives_a_point_and_says_so():
    problem = BlindMisfit(UnknownBlur(5, spread=0.5), blurred(gaussian_kernel(0.05, 5)[None]), 0.02)
    found = TURNS(picture_flow(), problem, [0], guess=problem.y)
    assert found.parameters[0, 2, 2] > 0.8
    assert "the picture is sharp already" in found.warnings[0][0]
    near = UnknownBlur(5).phi_of(gaussian_kernel(0.6, 5)[None])
    assert "almost a point" in UnknownBlur(5).warnings(near)[0][0]


def test_a_kernel_that_is_cut_off_is_told():
    wide = UnknownBlur(5).phi_of(torch.full((1, 5, 5), 1 / 25))
    assert "reaches the border" in UnknownBlur(5).warnings(wide)[0][0]
    fit = UnknownBlur(9).phi_of(gaussian_kernel(1.0, 9)[None])
    assert UnknownBlur(9).warnings(fit) == [()]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_fit_is_exact_without_noise_in_both_precisions(dtype):
    x = PICTURES.to(dtype)
    truth = torch.stack([shake_kernel(7, 5.0, s) for s in range(3)])
    unknown = UnknownBlur(7)
    phi = unknown.fit(unknown.start(x), [x], Blur(truth)(x), torch.tensor(1e-4))
    assert phi.dtype == dtype and max(relative_error(unknown.parameters(phi), truth)) < 0.02


def test_the_fit_minimises_what_it_says_it_does():
    """The projected gradient of the class's formula, written out with the operator itself, vanishes."""
    x, sigma, unknown = PICTURES[:1].double(), 0.2, UnknownBlur(5, spread=0.05)
    y = blurred(KERNELS[:1], sigma).double()
    k = unknown.parameters(unknown.fit(unknown.start(y), [x], y, torch.tensor(sigma))).requires_grad_()
    inner = torch.nn.functional.conv2d(x, k.flip((1, 2))[None]) - y[..., 2:-2, 2:-2]
    wide = torch.nn.functional.pad(k[0], [1] * 4)
    rough = wide[:, 1:].sub(wide[:, :-1]).square().sum() + wide[1:].sub(wide[:-1]).square().sum()
    data = sum(inner.diff(dim=axis).square().sum() for axis in (-1, -2))
    cost = data / (4 * sigma**2) + rough / (2 * unknown.spread**2)
    (slope,) = torch.autograd.grad(cost, k)
    inside = k > 1e-6
    assert (slope[inside] - slope[inside].mean()).abs().max() < 1e-3 * slope.abs().max()
    assert (slope[~inside] > slope[inside].mean() - 1e-3).all()


@pytest.mark.parametrize(
    "recipe",
    [
        TURNS,
        Joint(steps=3, gradients=3),
        DMPlug(gradients=3),
        BlindDPS(kernel_prior(5, 30), kernel_logits, 3),
    ],
)
def test_a_problem_does_not_depend_on_its_neighbours(recipe):
    y, unknown = blurred(KERNELS), UnknownBlur(5, start_std=1.0, spread=0.1)
    both = recipe(picture_flow(), BlindMisfit(unknown, y, 0.02), [4, 7], guess=y)
    for i, seed in enumerate((4, 7)):
        alone = recipe(picture_flow(), BlindMisfit(unknown, y[i : i + 1], 0.02), [seed], guess=y[i : i + 1])
        torch.testing.assert_close(alone.x1[0], both.x1[i], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(alone.parameters[0], both.parameters[i], rtol=1e-3, atol=1e-4)


def test_the_first_steps_of_dmplug_are_its_two_rates():
    problem = BlindMisfit(UnknownBlur(5), blurred(KERNELS[:1]), 0.02)
    found = DMPlug(gradients=2)(picture_flow(), problem, [0], guess=problem.y)
    step = found.path[1] - found.path[0]
    torch.testing.assert_close(step.abs(), torch.full_like(step, 0.1), rtol=0.05, atol=0)
    assert found.gradients.tolist() == [2] and found.nfe_per_gradient == 3


def test_blind_dps_pulls_the_sample_towards_the_measurement():
    flow = Gaussian(torch.full((8,), 2.0), torch.full((8,), 0.5)).flow
    gains = Gaussian(torch.ones(1), torch.full((1,), 0.5)).flow
    problem = BlindMisfit(UnknownGain(), torch.full((1, 8), 3.0), 0.05)
    free, held = (
        BlindDPS(gains, steps=60, zeta=zeta)(flow, problem, [0], guess=problem.y).measure
        for zeta in (0.0, 0.05)
    )
    assert float(held) < 0.5 * float(free)


def test_a_callback_ends_the_turns():
    problem = BlindMisfit(UnknownBlur(5), blurred(KERNELS[:1]), 0.02)
    rounds = []

    def stop(event: Event):
        rounds.append(event.round)
        return Status.SECONDS if len(rounds) == 8 else None

    found = TURNS(picture_flow(), problem, [0], guess=problem.y, options=RecipeOptions(callback=stop))
    assert found.status == (Status.SECONDS,) and found.evaluations.tolist() == [8]
    assert torch.isfinite(found.parameters).all()


class Offset(Unknown):
    def start(self, y):
        return torch.zeros(len(y), 1)

    def operator(self, phi):
        return lambda x: x + phi


def test_the_fit_without_a_closed_form_finds_each_problem_its_own():
    y = torch.tensor([[1.0, 3.0], [-5.0, -5.0]])
    phi = Offset().fit(Offset().start(y), [torch.zeros(2, 2)], y, torch.tensor([0.1, 10.0]))
    assert phi.flatten().tolist() == pytest.approx([2.0, -5.0], abs=1e-3)


def test_clipping_levels_are_found_by_a_flow_that_knows_the_signals():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(2, 400, generator=g, dtype=torch.float64)
    law = GaussianMixture([1, 1], x, torch.full((2,), 0.05))
    levels = torch.tensor([[0.7], [1.2]], dtype=torch.float64)
    y = x.clamp(-levels, levels) + 0.05 * torch.randn(2, 400, generator=g, dtype=torch.float64)
    unknown = UnknownClip(slack=0.15)
    found = Alternate(Estimate(times=6), None, (2.0, 1.0))(
        law.flow, BlindMisfit(unknown, y, 0.05), [0, 1], guess=y
    )
    assert (unknown.start(y) - levels).min() > 0.05  # the largest value is too large by the noise
    torch.testing.assert_close(found.parameters, levels, rtol=0, atol=0.02)


def test_turns_find_a_clipping_level_without_noise():
    x = torch.linspace(-2, 2, 100)[None]
    flow = Gaussian(x[0], torch.full((100,), 0.02)).flow
    problem = BlindMisfit(UnknownClip(), x.clamp(-1, 1), 0.05)
    found = TURNS(flow, problem, [0], guess=x)
    assert float(found.phi) == pytest.approx(1.0, abs=0.01)
    assert UnknownClip().warnings(torch.zeros(1, 1))[0][0].startswith("The level that was found is 0")


def test_the_search_looks_at_the_busiest_part_and_crops_a_small_picture():
    y = torch.zeros(1, 1, 60, 48)
    y[..., 30:, 20:] = torch.rand(30, 28, generator=torch.Generator().manual_seed(2))
    search = KernelSearch(levels=(0.1,), restore=Estimate(times=2), most=24)
    found = search(picture_flow(), UnknownBlur(5), y, 0.0, [0])
    assert found.x1.shape == (1, 1, 24, 24) and found.parameters.shape == (1, 5, 5)
    small = search(picture_flow(), UnknownBlur(5), y[..., :20, 28:], 0.01, [0])
    assert small.x1.shape == (1, 1, 24, 24) and torch.isfinite(small.phi).all()
    for picture, words in (
        (y[..., :10, :10], "too small"),
        (y.expand(-1, 3, -1, -1), "channels of the model"),
    ):
        with pytest.raises(Misuse, match=words):
            search(picture_flow(), UnknownBlur(5), picture, 0.01, [0])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UnknownClip(slack=-1.0), "three times"),
        (lambda: UnknownBlur(4), "odd whole number"),
        (lambda: UnknownBlur(5, spread=0.0), "positive"),
        (lambda: UnknownGain(spread=-1.0), "positive spread"),
        (lambda: UnknownGain(mean=float("nan")), "other than zero"),
        (lambda: Alternate(levels=()), "at least one"),
        (lambda: Alternate(levels=(float("nan"),)), "positive level"),
        (lambda: BlindMisfit(UnknownGain(), torch.tensor([[torch.nan]]), 0.1), "NaN"),
        (lambda: BlindMisfit(UnknownGain(), torch.zeros(0, 3), 0.1), "shape"),
        (lambda: BlindMisfit(Blur(gaussian_kernel(1.0)), torch.zeros(1, 1), 0.1), "known"),
        (lambda: BlindMisfit(UnknownGain(), torch.zeros(2, 3), 0.1).expand(3), "one for each"),
        (lambda: shake_kernel(5, 6.0, 0), "length from 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, words):
    with pytest.raises(Misuse, match=words):
        make()
