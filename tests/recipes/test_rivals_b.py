"""Methods of other papers on known posteriors: PnP-Flow, RED-diff, Flower, Flow Priors, DNO, ReNO, OC-Flow.

Where a method is exact it must be, and where it is not, its algorithm is checked against closed forms or torch's own
optimiser, and its bias within wide bounds, so that a change is seen.
"""

import dataclasses
import inspect
import math

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    VP,
    BetaTable,
    CondOT,
    Cosine,
    Flow,
    Gaussian,
    GaussianMixture,
    Misfit,
    Misuse,
    RecipeOptions,
    Status,
)
from headwater.flows.seeds import make_generators
from headwater.flows.watched import watch_flow
from headwater.recipes.rivals.dno import DNO, correlation
from headwater.recipes.rivals.flow_priors import FlowPriors
from headwater.recipes.rivals.flower import Flower, perturb_measurement
from headwater.recipes.rivals.network import Network
from headwater.recipes.rivals.oc_flow import OCFlow
from headwater.recipes.rivals.pnp_flow import PnPFlow
from headwater.recipes.rivals.red_diff import REDDiff
from headwater.recipes.rivals.reno import ReNO, norm_prior_gradient
from headwater.solvers import DDIM, solve
from headwater.solvers.differentiation import Checkpoint, Direct

torch.set_num_threads(1)
F64 = torch.float64


class Linear:
    """y = A x for a matrix A `[m, d]`."""

    def __init__(self, matrix):
        self.matrix = torch.as_tensor(matrix)

    def __call__(self, x):
        return x @ self.matrix.T.to(x)

    def adjoint(self, y):
        return y @ self.matrix.to(y)


HALF = Linear([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
"""The first two of four coordinates."""

SHORT = {
    "pnp-flow": PnPFlow(steps=12, averages=2),
    "red-diff": REDDiff(steps=40),
    "flower": Flower(steps=20),
    "flower, gamma = 1": Flower(steps=20, covariance=True),
    "flow-priors": FlowPriors(steps=12, inner=3, lr=0.1),
    "dno": DNO(gradients=25, steps=3, warm_up=5, lr=0.2, decorrelate=1.0, perturb=0.01),
    "reno": ReNO(gradients=25, steps=3, lr=0.2),
    "oc-flow": OCFlow(gradients=8, steps=6),
}
every = pytest.mark.parametrize("recipe", SHORT.values(), ids=SHORT)
PATHS = {"cond-ot": CondOT(), "cosine": Cosine(), "vp": VP(), "table": BetaTable.linear()}


def standard(path=None, mean=0.0, d=4):
    return Gaussian(torch.full((d,), mean), torch.ones(d), path)


def half_measured(sigma, count=1):
    """Problems whose measurements differ."""
    y = torch.tensor([[1.0, -0.5], [0.3, 0.8], [-1.2, 0.1]])[:count]
    return Misfit(HALF, y, sigma)


def posterior(mean, spread, matrix, y, sigma):
    """The mean `[d]` and covariance `[d, d]` of N(mean, diag spread^2) given y = A x + sigma n, float64."""
    precision = torch.diag(spread.to(F64) ** -2)
    covariance = torch.linalg.inv(precision + matrix.to(F64).T @ matrix.to(F64) / sigma**2)
    return covariance @ (precision @ mean.to(F64) + matrix.to(F64).T @ y.to(F64) / sigma**2), covariance


# What all of them promise


@every
def test_a_batch_is_its_problems_one_by_one(recipe):
    flow, guess = standard().flow, torch.zeros(3, 4)
    misfit = half_measured(torch.tensor([0.1, 0.3, 0.5]), count=3)
    batch = recipe(flow, misfit, [4, 9, 5], guess=guess)
    for k, seed in enumerate([4, 9, 5]):
        index = torch.tensor([k])
        alone = recipe(flow, misfit.select(index), [seed], guess=guess[index])
        assert_close(batch.x1[index], alone.x1, rtol=1e-4, atol=1e-4)
        assert batch.status[k] is alone.status[0]


@every
def test_what_it_costs_is_counted(recipe):
    calls = []
    flow = standard().flow
    counting = Flow(lambda x, t: calls.append(1) or flow(x, t), flow.shape)
    options = RecipeOptions(gradient=Direct())
    result = recipe(counting, half_measured(0.3), [0, 1], guess=torch.zeros(1, 4), options=options)
    assert result.evaluations.tolist() == [len(calls)] * 2
    uses_gradients = recipe.about.network_gradient
    assert (result.gradients > 0).tolist() == [uses_gradients] * 2
    assert_close(result.measure, half_measured(0.3).rms(result.x1).double())


@pytest.mark.parametrize(
    "recipe, evaluations, gradients",
    [
        (PnPFlow(), 500, 0),
        (REDDiff(), 1000, 0),
        (Flower(), 100, 0),
        (Flower(covariance=True), 100, 0),
        (FlowPriors(), 200, 100),
        (DNO(), 200, 20),  # 500 gradients by default, 5,000 evaluations
        (ReNO(), 200, 50),
        (OCFlow(gamma=1.0), 1000, 20),
    ],
    ids=lambda value: getattr(getattr(value, "about", None), "name", None),
)
def test_the_settings_of_the_papers_cost_what_they_say(recipe, evaluations, gradients):
    options = RecipeOptions(gradients=20) if isinstance(recipe, DNO | OCFlow) else RecipeOptions()
    result = recipe(
        standard(d=2).flow,
        Misfit(Linear(torch.eye(2)), torch.ones(1, 2), 0.5),
        [0],
        guess=torch.zeros(1, 2),
        options=options,
    )
    found = result.evaluations.item(), result.gradients.item()
    # L-BFGS may end before its limit, where no step lowers the cost any more.
    assert found == (evaluations, gradients) or (
        isinstance(recipe, OCFlow) and found[0] == 50 * found[1] <= evaluations
    )


@every
def test_limits_are_the_users(recipe):
    options = RecipeOptions(steps=2, gradients=3)
    result = recipe(standard().flow, half_measured(0.3), [0], guess=torch.zeros(1, 4), options=options)
    assert result.evaluations.item() <= 10
    names = {field.name for field in dataclasses.fields(recipe)}
    if "gradients" in names:
        assert result.gradients.item() == 3 and result.nfe_per_gradient == 2


@every
def test_a_callback_sees_every_answer_and_ends_the_run(recipe):
    seen = []

    def callback(event):
        seen.append(event)
        return Status.CANCELLED if len(seen) == 2 else None

    options = RecipeOptions(callback=callback, tau=1e9)
    result = recipe(standard().flow, half_measured(0.3), [0, 1], guess=torch.zeros(1, 4), options=options)
    assert len(seen) == 2 and {event.round for event in seen} == {0}
    assert result.status == (Status.CANCELLED,) * 2
    assert_close(result.x1, seen[-1].x1)


@every
@pytest.mark.parametrize("allowed", [0, 17])
def test_a_watched_flow_ends_it_between_evaluations(recipe, allowed):
    """The answer is then the last one that the callback saw, at first the guess."""
    calls, seen, guess = [], [], torch.full((1, 4), 0.25)

    def check():
        if len(calls) == allowed:
            return Status.SECONDS
        calls.append(1)
        return None

    flow, options = watch_flow(standard().flow, check), RecipeOptions(callback=seen.append, gradient=Direct())
    result = recipe(flow, half_measured(0.3), [0, 1], guess=guess, options=options)
    assert len(calls) == allowed and result.status == (Status.SECONDS,) * 2
    assert bool(seen) is (allowed > 0)
    assert_close(result.x1, seen[-1].x1 if seen else guess.expand(2, 4))


@every
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_it_serves_any_affine_gaussian_path(recipe, path):
    """On N(0, I) the measured coordinates come near y, and nothing is far outside of the law."""
    misfit = half_measured(0.3)
    result = recipe(standard(path).flow, misfit, range(32), guess=torch.zeros(1, 4))
    assert (result.x1[:, :2].mean(0) - misfit.y[0]).abs().max() < 0.4
    assert result.x1.abs().max() < 5
    assert all(status in (Status.REACHED, Status.MISSED) for status in result.status)


class Spectrum:
    """The first two of three Fourier coefficients along the last axis, complex."""

    def __call__(self, x):
        return torch.fft.fft(x, norm="ortho")[..., :2]

    def adjoint(self, y):
        return torch.fft.ifft(torch.nn.functional.pad(y, (0, 1)), norm="ortho").real


@every
def test_it_serves_events_of_any_shape_complex_measurements_and_float64(recipe):
    flow = Flow(lambda x, t: (2 * t - 1) / (t**2 + (1 - t) ** 2) * x, (2, 3))
    truth = torch.tensor([[[0.5, -1.0, 0.3], [1.0, 0.2, -0.4]]], dtype=F64)
    misfit, guess = Misfit(Spectrum(), Spectrum()(truth), 0.3), torch.zeros(1, 2, 3, dtype=F64)
    result = recipe(flow, misfit, range(16), guess=guess)
    assert result.x1.dtype == F64 and result.x1.shape == (16, 2, 3)
    error = (Spectrum()(result.x1).mean(0) - misfit.y[0]).abs()
    assert error.max() < 0.5 and bool(result.measure.mean() < misfit.rms(guess))


class ZeroSum:
    """States whose entries sum to zero."""

    dimension = torch.tensor(3)

    def project(self, x):
        return x - x.mean(1, keepdim=True)

    def select(self, index):
        return self


@every
def test_it_stays_in_the_support(recipe):
    flow = dataclasses.replace(standard().flow, support=ZeroSum())
    result = recipe(flow, half_measured(0.3), [0, 1, 2], guess=torch.zeros(1, 4))
    assert result.x1.sum(1).abs().max() < 1e-4


MODES = SHORT | {
    "red-diff": REDDiff(steps=300),
    "dno": DNO(
        gradients=40, warm_up=5, lr=0.1, decorrelate=0.0
    ),  # in two dimensions the penalty pulls off the modes
}


@pytest.mark.parametrize("recipe", MODES.values(), ids=MODES)
def test_it_finds_both_modes(recipe):
    """Nothing in y prefers one of two modes at (-2, 0) and (2, 0)."""
    law = GaussianMixture([0.5, 0.5], torch.tensor([[-2.0, 0.0], [2.0, 0.0]]), torch.tensor([0.3, 0.3]))
    misfit = Misfit(Linear([[0.0, 1.0]]), torch.tensor([[0.3]]), 0.2)
    x1 = recipe(law.flow, misfit, range(64), guess=torch.zeros(1, 2)).x1
    assert 0.3 < (x1[:, 0] > 0).float().mean() < 0.7
    assert (x1[:, 0].abs() - 2).abs().median() < 0.5


@every
def test_a_nonlinear_operator_is_served_or_refused(recipe):
    """y = x^2 of N(1, 0.3^2): the methods for any cost find x near 1.2, Flow Priors says what it needs."""
    flow = Gaussian(torch.ones(1), torch.full((1,), 0.3)).flow
    misfit = Misfit(torch.square, torch.tensor([[1.44]]), 0.1)
    if recipe.about.takes == "linear operator":
        with pytest.raises(Misuse, match=r"needs a linear operator.*\. Use a method that takes any cost"):
            recipe(flow, misfit, [0], guess=torch.ones(1, 1))
    else:
        result = recipe(flow, misfit, range(16), guess=torch.ones(1, 1))
        assert (result.x1.mean() - 1.2).abs() < 0.15


@every
def test_what_is_said_of_it(recipe):
    about = recipe.about
    assert about.name and about.cost and about.paper[-4:].isdigit()
    assert about.takes in ("any operator", "linear operator")
    assert inspect.getdoc(type(recipe)).count("References") == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.steps = 1


@every
def test_nan_of_the_network_is_told(recipe):
    flow = Flow(lambda x, t: x * torch.nan, (4,))
    result = recipe(flow, half_measured(0.3), [0], guess=torch.zeros(1, 4))
    assert result.status == (Status.DIVERGED,)


# PnP-Flow


def test_pnp_flow_has_the_mean_and_spread_of_its_recursion():
    """On N(0, 1) a time maps x to c (t z + (1 - t) eps / sqrt(K)), with c = t / (t^2 + (1 - t)^2): both are known."""
    sigma, steps, averages = 0.4, 30, 5
    misfit = half_measured(sigma)
    mean, variance = torch.zeros(4, dtype=F64), torch.zeros(4, dtype=F64)
    y, measured = (
        torch.tensor([1.0, -0.5, 0.0, 0.0], dtype=F64),
        torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=F64),
    )
    for n in range(steps):
        t = n / steps
        rate = (1 - t) ** 0.5 * measured
        c = t / (t**2 + (1 - t) ** 2)
        mean = c * t * ((1 - rate) * mean + rate * y)
        variance = c**2 * (t**2 * (1 - rate) ** 2 * variance + (1 - t) ** 2 / averages)
    result = PnPFlow(steps=steps)(standard().flow, misfit, range(1000), guess=torch.zeros(1, 4))
    assert_close(result.x1.mean(0).to(F64), mean, rtol=0, atol=4 * (variance.max() / 1000) ** 0.5)
    assert_close(result.x1.var(0).to(F64), variance, rtol=4 * (2 / 1000) ** 0.5, atol=0)


def test_pnp_flow_is_no_sampler_and_fits_noise():
    """Bias: the spread is a third of the posterior's, and y is fitted, not shrunk towards the prior."""
    x1 = PnPFlow(steps=50)(standard().flow, half_measured(0.5), range(300), guess=torch.zeros(1, 4)).x1
    assert 0.2 < x1[:, 2:].std() < 0.6  # exact: 1
    assert (x1[:, :2].mean(0) - torch.tensor([1.0, -0.5])).abs().max() < 0.05  # exact: 0.8 y
    assert x1[:, :2].std(0).max() < 0.2  # exact: 0.45


# RED-diff


def test_red_diff_knows_no_noise_level():
    results = [
        REDDiff(steps=50)(standard().flow, half_measured(s), [0, 1], guess=torch.zeros(1, 4)).x1
        for s in (0.1, 0.5)
    ]
    assert_close(*results, rtol=1e-3, atol=1e-3)


def test_red_diff_fits_y_and_draws_the_rest_to_the_prior_mean():
    """Bias: the measured half is y itself, the rest has the mean of the prior and about half of its spread."""
    x1 = REDDiff(steps=400)(
        standard(mean=0.7).flow, half_measured(0.5), range(100), guess=torch.zeros(1, 4)
    ).x1
    assert (x1[:, :2] - torch.tensor([1.0, -0.5])).abs().max() < 0.1
    assert (x1[:, 2:].mean(0) - 0.7).abs().max() < 0.2
    assert 0.2 < x1[:, 2:].std() < 0.8  # exact: 1


def test_red_diff_of_no_weight_is_least_squares_and_of_much_weight_the_prior():
    how = {"guess": torch.zeros(1, 4)}
    fitted = REDDiff(steps=300, weight=0.0)(standard().flow, half_measured(0.5), [0], **how).x1
    assert_close(fitted, torch.tensor([[1.0, -0.5, 0.0, 0.0]]), rtol=0, atol=1e-2)
    drawn = REDDiff(steps=300, weight=1e4)(standard(mean=0.7).flow, half_measured(0.5), range(100), **how).x1
    assert (drawn.mean(0) - 0.7).abs().max() < 0.2


# Flower


@pytest.mark.parametrize("steps", [1, 4, 25])
def test_flower_with_its_covariance_is_exact_for_a_standard_normal_law(steps):
    """p(x1 | x_t) is then N(xhat, nu^2 I), so every step draws from p(x1 | x_t, y), for any number of steps."""
    matrix, y, sigma, n = (
        torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, -1.0]]),
        torch.tensor([[1.0, -0.5]]),
        0.4,
        1500,
    )
    mean, covariance = posterior(torch.full((3,), 0.3), torch.ones(3), matrix, y[0], sigma)
    flow = standard(mean=0.3, d=3).flow
    x1 = Flower(steps=steps, covariance=True)(
        flow, Misfit(Linear(matrix), y, sigma), range(n), guess=torch.zeros(1, 3)
    ).x1
    spread = covariance.diagonal().sqrt()
    assert ((x1.to(F64).mean(0) - mean) / spread).abs().max() < 4 / n**0.5
    off = (torch.cov(x1.to(F64).T) - covariance) / (spread[:, None] * spread)
    assert off.abs().max() < 5 * (2 / n) ** 0.5


def test_flower_without_its_covariance_has_the_mean_and_too_little_spread():
    """Bias: for gamma = 0 the mean stays exact, and about half of the variance is left."""
    sigma, n = 0.3, 1000
    x1 = Flower(steps=50)(standard().flow, half_measured(sigma), range(n), guess=torch.zeros(1, 4)).x1
    mean, covariance = posterior(torch.zeros(4), torch.ones(4), HALF.matrix, half_measured(sigma).y[0], sigma)
    spread = covariance.diagonal().sqrt()
    assert ((x1.to(F64).mean(0) - mean) / spread).abs().max() < 4 / n**0.5
    ratio = x1.to(F64).std(0) / spread
    assert ratio.min() > 0.55 and ratio.max() < 0.85


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
def test_a_perturbed_measurement_has_the_noise_of_its_problem(dtype):
    misfit = Misfit(lambda x: x, torch.zeros(2, 4000, dtype=dtype), torch.tensor([0.1, 0.5]))
    y = perturb_measurement(misfit, make_generators([3, 4])).y
    assert y.dtype == dtype
    for part in [y.real, y.imag] if dtype.is_complex else [y]:
        assert_close(part.square().mean(1).sqrt(), torch.tensor([0.1, 0.5]), rtol=0.05, atol=0)


# Flow Priors


@pytest.mark.parametrize("time", [0.0, 0.4])
def test_the_local_objective_of_a_gaussian_flow(time):
    """v = c x, so its trace d c is constant, and everything else is quadratic."""
    recipe, h, sigma = FlowPriors(weight=3.0), 0.1, 0.5
    flow, x, misfit = standard().flow, torch.randn(2, 4, dtype=F64), half_measured(sigma)
    network = Network(flow)
    t = torch.tensor(time, dtype=F64)
    value, slope = recipe.local_objective(network, misfit, x, t, h, make_generators([0, 1]))
    c = (2 * time - 1) / (time**2 + (1 - time) ** 2)
    ahead = (1 + h * c) * x
    gap = HALF(ahead) - misfit.y
    want = 3 * gap.square().sum(1) + h * 4 * c
    slope_want = 3 * 2 * (1 + h * c) * HALF.adjoint(gap)
    if time == 0:
        want, slope_want = want + 0.5 * x.square().sum(1), slope_want + x
    else:
        slope_want = slope_want + x / (time**2 + (1 - time) ** 2)  # minus the score
    assert_close(value, want, rtol=1e-5, atol=1e-5)
    assert_close(slope, slope_want, rtol=1e-5, atol=1e-5)
    assert network.gradients == 1 and network.evaluations == 0


def test_the_gradient_of_the_trace_is_that_of_differences():
    """In one dimension one probe gives the trace itself; of a mixture it depends on x."""
    law = GaussianMixture([0.4, 0.6], torch.tensor([[-1.0], [1.5]]), torch.tensor([0.4, 0.6]))
    recipe, misfit = FlowPriors(weight=2.0), Misfit(Linear([[1.0]]), torch.tensor([[0.5]]), 0.5)
    x, t, e = torch.tensor([[0.3], [-0.8]], dtype=F64), torch.tensor(0.6, dtype=F64), 1e-5

    def objective(z):
        return recipe.local_objective(Network(law.flow), misfit, z, t, 0.1, make_generators([0, 1]))

    numeric = (objective(x + e)[0] - objective(x - e)[0]) / (2 * e)
    score = (law.log_density(x + e, t) - law.log_density(x - e, t)) / (2 * e)
    assert_close(objective(x)[1][:, 0], numeric - score, rtol=1e-5, atol=1e-5)


def test_flow_priors_moves_by_its_rate_a_time():
    """Bias: with one Adam step of 0.01 a time it does not reach y in 100 times, with 0.1 it does; and no sampler."""
    small, large = (
        FlowPriors(lr=lr)(standard().flow, half_measured(0.1), range(50), guess=torch.zeros(1, 4))
        for lr in (0.01, 0.1)
    )
    assert small.measure.mean() > 2 and large.measure.mean() < 1
    assert large.x1[:, 2:].std() < 0.3  # exact: 1


@pytest.mark.parametrize("operator", [torch.square, lambda x: x + 1], ids=["square", "affine"])
def test_flow_priors_refuses_what_is_not_linear(operator):
    with pytest.raises(Misuse, match="needs a linear operator"):
        FlowPriors()(standard(d=1).flow, Misfit(operator, torch.ones(1, 1), 0.1), [0], guess=torch.ones(1, 1))


# DNO


def test_dno_leaves_the_draw_where_nothing_was_measured():
    """Bias: without the penalty the rest is a draw of the prior by the coarse solve, and y is fitted to the end."""
    recipe, flow, misfit = DNO(gradients=150, decorrelate=0.0), standard().flow, half_measured(0.5)
    result = recipe(flow, misfit, [0, 1, 2], guess=torch.zeros(1, 4))
    assert torch.equal(result.x0[:, 2:], flow.noise([0, 1, 2])[:, 2:])
    assert result.on_flow
    assert_close(solve(flow, result.x0, method=DDIM, steps=10), result.x1)
    assert result.measure.max() < 0.1


def test_correlation_is_that_of_neighbours_on_every_scale():
    a, b, c, d = x = torch.tensor([0.5, -1.0, 2.0, 0.3])
    first, second = (a * b + b * c + c * d + d * a) / 4, (a + b) / 2 * (c + d) / 2
    generators = make_generators([0])
    assert_close(correlation(x[None], generators), (first**2 + second**2)[None])
    filled = correlation(x[None, :3], make_generators([0]))
    new = torch.randn(1, generator=make_generators([0])[0])
    assert_close(filled, correlation(torch.cat([x[:3], new])[None], generators))


def test_the_penalty_of_dno_takes_correlation_out():
    flow = Gaussian(torch.zeros(32), torch.ones(32)).flow
    misfit = Misfit(lambda x: x[:, :1], torch.zeros(1, 1), 1.0)
    plain, penalised = (
        DNO(gradients=60, warm_up=5, decorrelate=w)(flow, misfit, range(8), guess=torch.zeros(1, 32)).x0
        for w in (0.0, 1000.0)
    )
    generators = make_generators(range(8))
    assert correlation(penalised, generators).mean() < 0.2 * correlation(plain, generators).mean()


# ReNO


def test_reno_takes_the_steps_of_torch():
    """The best of 12 points, against torch's own Nesterov descent and clipping."""
    recipe, flow, misfit = ReNO(gradients=12, weight=0.05), standard().flow, half_measured(0.5)
    x = flow.noise([3]).requires_grad_()
    optimizer = torch.optim.SGD([x], lr=recipe.lr, momentum=recipe.momentum, nesterov=True)
    costs, points = [], []
    for _ in range(12):
        optimizer.zero_grad()
        cost = misfit(solve(flow, x, method=DDIM, steps=4)).sum()
        costs.append(cost.item())
        points.append(x.detach().clone())
        norm = x.norm()
        (cost + recipe.weight * (norm**2 / 2 - 3 * norm.log())).backward()
        torch.nn.utils.clip_grad_norm_([x], recipe.clip)
        optimizer.step()
    result = recipe(flow, misfit, [3], guess=torch.zeros(1, 4))
    assert_close(result.x0, points[costs.index(min(costs))], rtol=1e-4, atol=1e-4)
    assert result.cost.item() == pytest.approx(min(costs), rel=1e-3)
    assert_close(solve(flow, result.x0, method=DDIM, steps=4), result.x1)


def test_the_norm_prior_is_that_of_a_normal_vector():
    x = torch.randn(3, 5, dtype=F64, requires_grad=True)
    norm = x.norm(dim=1)
    (want,) = torch.autograd.grad((norm**2 / 2 - 4 * norm.log()).sum(), x)
    assert_close(norm_prior_gradient(standard(d=5).flow, x.detach()), want)


def test_reno_fits_y_and_keeps_the_norm():
    """Bias: with a rate for four dimensions y is fitted below its noise; the rest is the draw by a coarse solve."""
    recipe = ReNO(lr=5.0 * math.sqrt(4 / 16384))
    result = recipe(standard().flow, half_measured(0.5), range(200), guess=torch.zeros(1, 4))
    assert result.measure.mean() < 0.4
    assert 0.5 < result.x1[:, 2:].std() < 0.9  # exact: 1; four Euler steps map N(0, 1) to N(0, 0.72^2)


# OC-Flow


def controlled(flow, x0, u):
    steps = u.shape[1] - 1
    x = x0 + u[:, steps]
    for n in range(steps):
        x = x + (flow(x, torch.tensor(n / steps, dtype=F64)) + u[:, n]) / steps
    return x


@pytest.mark.parametrize("lean", [False, True], ids=["kept", "lean"])
def test_the_costate_gives_the_gradient_in_the_controls(lean):
    law = GaussianMixture([0.4, 0.6], torch.tensor([[-1.0, 0.0], [1.5, 1.0]]), torch.tensor([0.4, 0.6]))
    misfit = Misfit(Linear([[1.0, 0.5]]), torch.tensor([[0.5]]), 0.5)
    x0, u = torch.randn(3, 2, dtype=F64), torch.randn(3, 6, 2, dtype=F64, requires_grad=True)
    x1 = controlled(law.flow, x0, u)
    objective = misfit(x1) + 0.5 * 0.3 * u[:, :5].flatten(1).square().sum(1) / 5
    (want,) = torch.autograd.grad(objective.sum(), u)
    found = OCFlow(gamma=0.3).control_gradient(Network(law.flow), misfit, x0, u.detach(), lean)
    for got, exact in zip(found, (x1, objective, want), strict=True):
        assert_close(got, exact.detach(), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("strategy", [Direct(), Checkpoint()], ids=["direct", "checkpoint"])
def test_oc_flow_solves_the_linear_quadratic_problem(strategy):
    """For a Gaussian flow x1 is affine in the controls, so the best controls are a ridge regression."""
    recipe, steps = OCFlow(gamma=0.5, steps=4, gradients=60), 4
    flow, misfit, seeds = standard(d=4).flow, half_measured(0.5), [0, 1]
    options = RecipeOptions(gradient=strategy)
    x1 = recipe(flow, misfit, seeds, guess=torch.zeros(1, 4), options=options).x1
    for k, seed in enumerate(seeds):
        x0 = flow.noise([seed]).to(F64)
        zero = torch.zeros(1, (steps + 1) * 4, dtype=F64)

        def end(u, x0=x0):
            return controlled(flow, x0, u.reshape(1, steps + 1, 4))[0]

        jacobian = torch.autograd.functional.jacobian(end, zero)[:, 0]
        penalty = torch.cat([torch.full((steps * 4,), 0.5 / steps), torch.zeros(4)]).to(F64)
        matrix = HALF.matrix.to(F64) @ jacobian
        gap = misfit.y[0].to(F64) - HALF.matrix.to(F64) @ end(zero)
        normal = matrix.T @ matrix / 0.25 + torch.diag(penalty)
        u = torch.linalg.lstsq(normal, matrix.T @ gap / 0.25, driver="gelsd").solution
        assert_close(x1[k].to(F64), end(zero) + jacobian @ u, rtol=0, atol=5e-3)


def test_oc_flow_fits_y_and_leaves_the_rest_to_the_draw():
    """Bias: the source's control is free, so y is fitted whatever its noise, and the rest is a draw of the prior."""
    result = OCFlow(steps=20)(standard().flow, half_measured(0.5), range(200), guess=torch.zeros(1, 4))
    assert result.measure.max() < 0.1
    assert 0.75 < result.x1[:, 2:].std() < 1.1  # exact: 1
    assert not result.on_flow and bool(result.x0.isnan().all())
