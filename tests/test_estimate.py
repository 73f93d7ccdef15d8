"""`Estimate`: its proximal step against dense solves, its result against the Gaussian posterior, its seeds."""

import pytest
import torch
from torch.testing import assert_close

from headwater import Estimate, Gaussian, Misfit
from headwater.flows.seeds import draw_normal, make_generators
from headwater.problem.least_squares import solve_least_squares
from headwater.recipes.covariance import White
from headwater.recipes.estimate import logit_times, perturb_measurement, solve_proximal

torch.set_num_threads(1)
F64 = torch.float64


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


class Matrix:
    """x -> A x with its adjoint."""

    def __init__(self, a):
        self.a = a

    def __call__(self, x):
        return x @ self.a.T

    def adjoint(self, y):
        return y @ self.a


def spd(d, seed, floor=0.1):
    b = normal(d, d, seed=seed)
    return b @ b.T / d + floor * torch.eye(d, dtype=F64)


def dense_proximal(a, y, sigma, xhat, r):
    """(I / r^2 + A'A / s^2)^-1 (xhat / r^2 + A'y / s^2), problem by problem."""
    rows = []
    for k in range(len(xhat)):
        m = torch.eye(a.shape[1], dtype=F64) / r**2 + a.T @ a / sigma[k] ** 2
        rows.append(torch.linalg.solve(m, xhat[k] / r**2 + a.T @ y[k] / sigma[k] ** 2))
    return torch.stack(rows)


@pytest.mark.parametrize("r", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("sigma", [0.3, [0.2, 0.5, 1.0]])
def test_proximal_step_of_a_linear_operator_is_the_dense_solution(r, sigma):
    a, xhat, y = normal(4, 6, seed=1), normal(3, 6, seed=2), normal(3, 4, seed=3)
    each = torch.as_tensor(sigma, dtype=F64)
    truth = dense_proximal(a, y, each.expand(3), xhat, r)
    got = solve_proximal(Misfit(Matrix(a), y, each if each.ndim else sigma), xhat, r)
    assert (truth - xhat).norm() > 0.05  # there is something to find
    assert (got - truth).norm() < 2e-3 * (truth - xhat).norm()  # CG stops at 1e-3 of the right-hand side


def test_proximal_step_uses_the_operators_own_residual():
    """A residual that calls nothing wrong leaves xhat alone, whatever A x - y is."""
    operator = Matrix(torch.eye(3, dtype=F64))
    operator.residual = lambda x, y: torch.zeros_like(x)
    xhat = normal(2, 3)
    assert_close(solve_proximal(Misfit(operator, xhat + 5, 0.1), xhat, 1.0), xhat, rtol=0, atol=0)


def test_linear_operator_without_adjoint_finds_the_same_minimiser():
    a, xhat, y = normal(4, 6, seed=1), normal(3, 6, seed=2), normal(3, 4, seed=3)
    sigma = torch.tensor([0.3, 0.5, 1.0], dtype=F64)
    disguised = Misfit(lambda x: x @ a.T, y, sigma)
    truth = dense_proximal(a, y, sigma, xhat, 0.4)
    assert_close(solve_proximal(disguised, xhat, 0.4, iterations=60), truth, rtol=0, atol=1e-5)
    short = solve_proximal(disguised, xhat, 0.4)  # the budget of `estimate`
    assert ((short - truth).norm(dim=1) < 0.1 * (xhat - truth).norm(dim=1)).all()


def test_a_ridge_for_each_problem_is_tikhonov():
    """argmin |A x - y|^2 + ridge |x|^2 by dense algebra, with three ridges at once, 0 among them."""
    a, y = normal(9, 5, seed=1), normal(3, 9, seed=2)
    ridge = torch.tensor([0.0, 0.1, 3.0], dtype=F64)
    x = solve_least_squares(Matrix(a), Matrix(a).adjoint, y, ridge=ridge, tolerance=1e-12)
    for k in range(3):
        dense = torch.linalg.solve(a.T @ a + ridge[k] * torch.eye(5, dtype=F64), a.T @ y[k])
        assert_close(x[k], dense, rtol=1e-8, atol=1e-8)


def test_conjugate_gradients_of_a_problem_do_not_depend_on_the_others():
    """An easy system that is done stays as it is while a hard one goes on."""
    scale = torch.stack([1 + torch.linspace(0, 0.5, 9, dtype=F64), torch.logspace(0, 3, 9, dtype=F64)])
    y = normal(2, 9)
    options = {"ridge": 0.1, "iterations": 16, "tolerance": 1e-3}
    both = solve_least_squares(lambda v: scale * v, lambda v: scale * v, y, **options)
    for k in range(2):
        s = scale[k : k + 1]
        alone = solve_least_squares(lambda v, s=s: s * v, lambda v, s=s: s * v, y[k : k + 1], **options)
        assert_close(both[k : k + 1], alone, rtol=1e-12, atol=1e-14)


def test_times_are_even_in_the_logit():
    t = torch.stack(logit_times(9, 0.05, 0.97))
    steps = torch.logit(t).diff()
    assert_close(t[[0, -1]], torch.tensor([0.05, 0.97], dtype=F64))
    assert_close(steps, steps[:1].expand(8))


def posterior_problem(sigma, d=12, m=8):
    mean, s, a = normal(d, seed=1), spd(d, seed=2), normal(m, d, seed=3) / d**0.5
    law = Gaussian(mean, s)
    y = law.sample([5]) @ a.T + sigma * normal(1, m, seed=4)
    gain = s @ a.T @ torch.linalg.inv(a @ s @ a.T + sigma**2 * torch.eye(m, dtype=F64))
    posterior_mean = mean + (y[0] - a @ mean) @ gain.T
    return law, Misfit(Matrix(a), y, sigma), posterior_mean, s - gain @ a @ s


@pytest.mark.parametrize("sigma", [0.02, 0.2])
def test_estimate_of_a_gaussian_law_lies_in_the_posterior(sigma):
    """The mean over 300 seeds is nearer to the posterior mean than 12 % of its way from the prior mean, the
    spread is 0.5 to 1 of the posterior's, and no seed misses the measurement by more than 1.25 sigma.
    """
    law, misfit, mean, covariance = posterior_problem(sigma)
    x = Estimate(covariance=White(1.3)).sample(
        law.flow, misfit, range(300), guess=torch.zeros(1, 12, dtype=F64)
    )
    way = (law.means[0] - mean).norm()
    assert (x.mean(0) - mean).norm() < 0.12 * way
    ratio = (x.var(0).sum() / covariance.trace()).sqrt()
    assert 0.5 < ratio < 1.0
    rms = misfit.rms(x)
    assert 0.3 < rms.mean() < 0.8 and rms.max() < 1.25


def test_more_distrust_of_the_denoiser_is_nearer_to_the_measurement():
    law, misfit, _, _ = posterior_problem(0.05)
    zero = torch.zeros(1, 12, dtype=F64)
    levels = [
        misfit.rms(Estimate(covariance=White(s)).sample(law.flow, misfit, range(50), guess=zero)).mean()
        for s in (0.7, 1.0, 1.3)
    ]
    assert levels[0] > 1.2 * levels[1] > 1.44 * levels[2]
    default = misfit.rms(Estimate().sample(law.flow, misfit, range(50), guess=zero)).mean()
    assert 0.3 < default < 1.3  # whatever the default is, near the noise level


def test_the_guess_is_drowned_in_noise():
    """Guesses far apart (10 prior deviations) end where the seed says: within 5 % of their distance."""
    law, misfit, _, _ = posterior_problem(0.1)
    low, high = (
        Estimate().sample(law.flow, misfit, range(4), guess=torch.full((1, 12), v, dtype=F64))
        for v in (-5, 5)
    )
    assert ((low - high).norm(dim=1) < 0.05 * 10 * 12**0.5).all()


def test_each_sample_depends_on_its_own_seed_only():
    law, misfit, _, _ = posterior_problem(0.1)
    guess = torch.zeros(1, 12, dtype=F64)
    batch = Estimate().sample(law.flow, misfit, [7, 3, 11], guess=guess)
    for k, seed in enumerate([7, 3, 11]):
        alone = Estimate().sample(law.flow, misfit, [seed], guess=guess)
        assert_close(batch[k : k + 1], alone, rtol=1e-9, atol=1e-9)
    assert (batch[0] - batch[1]).norm() > 0.1
    assert not batch.requires_grad


@pytest.mark.parametrize(("fresh", "least", "most"), [(0.0, 0.85, 1.1), (1.0, 0.5, 0.75)])
def test_what_is_not_measured_keeps_its_energy_or_not(fresh, least, most):
    """The old noise keeps the energy of a draw; new noise at every time draws towards the mean, 0."""
    flow = Gaussian(torch.zeros(400), torch.full((400,), 1.0)).flow
    known = (torch.arange(400) < 200).float()
    misfit = Misfit(lambda x: known * x, known[None] * normal(1, 400).float(), 0.01)
    x1 = Estimate(fresh=fresh).sample(flow, misfit, [0], guess=torch.zeros(1, 400))
    assert least < x1[:, 200:].square().mean().sqrt() < most
    assert misfit.rms(x1) < 3


def test_a_good_guess_enters_late():
    flow = Gaussian(torch.zeros(100), torch.full((100,), 1.0)).flow
    misfit = Misfit(lambda x: x[:, :1], torch.zeros(1, 1), 1.0)  # says next to nothing
    guess = normal(1, 100).float()
    near, far = (Estimate(fresh=0.0, first=f).sample(flow, misfit, [0], guess=guess) for f in (0.95, 0.05))
    assert (near - guess).norm() < 0.2 * (far - guess).norm()


def test_perturbed_estimates_are_nearly_draws_of_a_gaussian_posterior():
    """Width and mean of the exact posterior, where estimates have two thirds of the width."""
    cov = torch.tensor([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 0.5]])
    flow, a, y = Gaussian(torch.zeros(3), cov).flow, torch.tensor([[1.0, 0.5, 0.0]]), torch.tensor([[1.5]])
    gain = cov @ a.T @ torch.linalg.inv(a @ cov @ a.T + 0.3**2 * torch.eye(1))
    mean, std = (gain @ y[0]), (cov - gain @ a @ cov).diagonal().sqrt()
    ratios = {}
    for perturb in (False, True):
        recipe = Estimate(times=64, perturb=perturb)
        x1 = recipe.sample(flow, Misfit(Matrix(a), y, 0.3), range(1500), guess=torch.zeros(1, 3))
        assert bool(((x1.mean(0) - mean) / std).abs().max() < 0.25)
        ratios[perturb] = x1.std(0) / std
    assert bool((ratios[True] > 0.85).all()) and bool((ratios[True] < 1.08).all())
    assert bool((ratios[False] < 0.8).all())


def test_a_perturbed_estimate_of_an_operator_without_an_adjoint_is_as_wide():
    flow, y = Gaussian(torch.zeros(2), torch.ones(2)).flow, torch.tensor([[1.0, -1.0]])
    found = []
    for operator in (Matrix(torch.eye(2)), lambda x: 1.0 * x):
        recipe = Estimate(times=24, perturb=True)
        found.append(recipe.sample(flow, Misfit(operator, y, 0.5), range(400), guess=torch.zeros(1, 2)))
    assert_close(found[0], found[1], rtol=0, atol=0.05)


def test_the_perturbation_of_a_problem_is_that_of_its_seed_in_the_units_of_its_noise():
    y = torch.zeros(2, 400)
    misfit = Misfit(lambda x: x, y, torch.tensor([0.1, 2.0]))

    def normal(*seeds):
        generators = make_generators(seeds)
        return lambda shape: draw_normal(shape, generators)

    both = perturb_measurement(misfit, 2, normal(3, 5)).y
    assert both.std(1).tolist() == pytest.approx([0.1, 2.0], rel=0.1)
    alone = perturb_measurement(misfit.select(torch.tensor([1])), 1, normal(5)).y
    assert_close(alone, both[1:])
    waves = perturb_measurement(Misfit(torch.fft.fft, torch.fft.fft(y), 1.0), 2, normal(0, 1)).y
    assert waves.is_complex() and waves.real.std() == pytest.approx(1, abs=0.1) == waves.imag.std()


def test_antithetic_perturbations_cancel_where_the_flow_is_gaussian():
    flow, misfit = (
        Gaussian(torch.zeros(2), torch.ones(2)).flow,
        Misfit(Matrix(torch.eye(2)), torch.ones(1, 2), 0.5),
    )
    recipe = Estimate(times=8, perturb=True)
    one, two = (
        recipe.sample(flow, misfit, [7], guess=torch.zeros(1, 2), antithetic=s) for s in (False, True)
    )
    middle = Estimate(times=8).sample(flow, misfit, range(200), guess=torch.zeros(1, 2)).mean(0)
    assert (one - two).abs().max() > 0.05 and ((one + two)[0] / 2 - middle).abs().max() < 0.1
