"""The recipes on Gaussian laws: they reach the noise level, problem by problem, within their limits."""

import dataclasses

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    CondOT,
    Estimate,
    Flow,
    Misfit,
    Misuse,
    OneEvaluation,
    Paper,
    RecipeOptions,
    Status,
    WarmStart,
)
from headwater.recipes.problem import Problem
from headwater.solvers import logit_grid, solve
from headwater.solvers.differentiation import Checkpoint, Direct

torch.set_num_threads(1)
F64 = torch.float64
SIGMA = 0.05
both = pytest.mark.parametrize("recipe", [WarmStart(), Paper()], ids=["warm start", "paper"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def spectrum(size):
    """Variances 1 / (1 + |k|^2)^1.5 of the Fourier modes, as photographs have; condition 500 at 16 x 16."""
    k = torch.fft.fftfreq(size, dtype=F64).square() * size**2
    power = (1 + k[:, None] + k) ** -1.5
    return 0.25**2 * power / power.mean()


class Spectral:
    """The exact Cond-OT velocity of the stationary periodic Gaussian field with this spectrum."""

    def __init__(self, size):
        self.power = spectrum(size)

    def __call__(self, x, t):
        a, b, da, db = CondOT().coefficients(x, t)
        s = self.power.to(x)
        return torch.fft.ifft2((da * a * s + db * b) / (a * a * s + b * b) * torch.fft.fft2(x)).real


class Mask:
    """The known pixels of a random half."""

    def __init__(self, size):
        self.keep = (normal(size, size, seed=9) > 0).double()

    def __call__(self, x):
        return self.keep * x

    adjoint = __call__

    def count(self, y):
        return (self.keep.sum() * y.shape[1]).expand(len(y))


class Box:
    """The mean of each 2 x 2 box."""

    def __call__(self, x):
        return torch.nn.functional.avg_pool2d(x, 2)

    def adjoint(self, y):
        return y.repeat_interleave(2, -1).repeat_interleave(2, -2) / 4


def problems(operator, count=3, size=16):
    """The flow, a misfit with a measurement per problem, its rough guess, and the truth."""
    z = normal(count, 1, size, size, seed=1)
    truth = torch.fft.ifft2(spectrum(size).sqrt() * torch.fft.fft2(z)).real
    y = operator(truth)
    noise = SIGMA * normal(*y.shape, seed=2)
    y = operator(truth + noise) if isinstance(operator, Mask) else y + noise
    guess = operator.adjoint(y) * (4 if isinstance(operator, Box) else 1)
    return Flow(Spectral(size), (1, size, size)), Misfit(operator, y, SIGMA), guess, truth


def posterior_deviation(operator, size=16):
    """The root of the mean posterior variance of a pixel, by dense algebra."""
    basis = torch.eye(size**2, dtype=F64).reshape(-1, 1, size, size)
    s = torch.fft.ifft2(spectrum(size) * torch.fft.fft2(basis)).real.flatten(1)
    a = operator(basis).flatten(1).T
    precision = torch.linalg.inv(s) + a.T @ a / SIGMA**2
    return (torch.linalg.inv(precision).trace() / size**2).sqrt()


def test_the_velocity_of_the_tests_is_that_of_a_gaussian():
    """Against `headwater.Gaussian` with the dense covariance of the field."""
    from headwater import Gaussian

    basis = torch.eye(16, dtype=F64).reshape(16, 4, 4)
    dense = torch.fft.ifft2(spectrum(4) * torch.fft.fft2(basis)).real.reshape(16, 16)
    x, t = normal(2, 1, 4, 4), torch.tensor(0.3, dtype=F64)
    want = Gaussian(torch.zeros(16), dense).velocity(x.flatten(1), t).reshape_as(x)
    assert_close(Spectral(4)(x, t), want, rtol=1e-9, atol=1e-9)


@both
@pytest.mark.parametrize("operator", [Mask(16), Box()], ids=["mask", "box"])
def test_reaches_the_discrepancy(recipe, operator):
    flow, misfit, guess, truth = problems(operator)
    result = recipe(flow, misfit, [0, 1, 2], guess=guess)
    assert result.status == (Status.REACHED,) * 3
    assert (misfit.rms(result.x1) <= 1.05).all()
    assert_close(result.measure, misfit.rms(result.x1).double())
    error = (result.x1 - truth).square().mean().sqrt()
    assert error < 1.25 * 2**0.5 * posterior_deviation(operator)  # a draw of the posterior has sqrt(2)


@both
def test_a_batch_is_its_problems_one_by_one(recipe):
    flow, misfit, guess, _ = problems(Mask(16))
    batch = recipe(flow, misfit, [4, 5, 6], guess=guess)
    for k, seed in enumerate([4, 5, 6]):
        index = torch.tensor([k])
        alone = recipe(flow, misfit.select(index), [seed], guess=guess[index])
        assert_close(batch.x1[index], alone.x1, rtol=1e-7, atol=1e-7)
        assert batch.gradients[k] == alone.gradients[0] and batch.status[k] is alone.status[0]


@both
def test_shared_guess_and_measurement_give_a_sample_per_seed(recipe):
    flow, misfit, guess, _ = problems(Mask(16), count=1)
    result = recipe(flow, misfit, [0, 1], guess=guess)
    assert (result.x1[0] - result.x1[1]).square().mean().sqrt() > 0.02
    assert (result.measure <= 1.05).all()


@both
def test_limits_are_honoured(recipe):
    flow, misfit, guess, _ = problems(Mask(16))
    seen = []
    options = RecipeOptions(steps=3, gradients=4, tau=1e-3, gradient=Checkpoint(), callback=seen.append)
    result = recipe(flow, misfit, [0, 1, 2], guess=guess, options=options)
    assert result.status == (Status.EVALUATIONS,) * 3 and result.gradients.tolist() == [4, 4, 4]
    assert result.nfe_per_gradient == 3 * 2  # midpoint
    assert [event.round for event in seen if event.round] == [1, 2, 3, 4]  # 0 is the estimate
    assert result.evaluations.tolist() == [result.preparation + 4 * 6] * 3 and result.preparation > 0


@both
def test_the_callback_ends_the_run(recipe):
    flow, misfit, guess, _ = problems(Mask(16))
    stop = RecipeOptions(tau=1e-3, callback=lambda e: Status.CANCELLED if e.round == 2 else None)
    result = recipe(flow, misfit, [0, 1, 2], guess=guess, options=stop)
    assert result.status == (Status.CANCELLED,) * 3 and result.gradients.tolist() == [2, 2, 2]
    assert torch.isfinite(result.x1).all()


@both
def test_the_level_is_the_stop(recipe):
    """A looser level never costs more gradients, and is reached."""
    flow, misfit, guess, _ = problems(Box())
    tight, loose = (
        recipe(flow, misfit, [0, 1, 2], guess=guess, options=RecipeOptions(tau=tau)) for tau in (0.5, 2.0)
    )
    assert (loose.measure <= 2.0).all() and (tight.measure <= 0.5).all()
    assert (loose.gradients <= tight.gradients).all()


@pytest.mark.parametrize("operator", [Mask(16), Box()], ids=["mask", "box"])
def test_warm_start_needs_fewer_gradients_than_paper(operator):
    flow, misfit, guess, _ = problems(operator)
    ours, theirs = (p(flow, misfit, [0, 1, 2], guess=guess) for p in (WarmStart(), Paper()))
    assert (ours.gradients < theirs.gradients).all()
    assert 3 * ours.gradients.sum() <= theirs.gradients.sum()


def test_what_the_round_trip_loses_is_corrected():
    """At the noise level the estimate itself comes back; above it the run goes on from there, each problem alone."""
    flow, misfit, guess, _ = problems(Box())
    how = {"guess": guess, "options": RecipeOptions(steps=2)}
    x1 = Estimate().sample(flow, misfit, [0, 1, 2], guess=guess)
    assert (misfit.rms(x1) <= 1.05).all()
    corrected, lost = (WarmStart(correct_round_trip=c)(flow, misfit, [0, 1, 2], **how) for c in (True, False))
    assert_close(corrected.x1, x1)
    assert corrected.gradients.tolist() == [1, 1, 1]
    assert (lost.x1 - x1).abs().max() > 0.01
    assert corrected.preparation == lost.preparation + 2 * 2
    assert lost.on_flow and not corrected.on_flow
    assert_close(solve(flow, lost.x0, steps=logit_grid(2)), lost.x1)

    recipe = WarmStart(correct_round_trip=True, tau=0.5)
    uneven = Misfit(misfit.operator, misfit.y, SIGMA * torch.tensor([0.3, 1.0, 0.1], dtype=F64))
    batch = recipe(flow, uneven, [0, 1, 2], guess=guess)
    assert (uneven.rms(batch.x1) <= 0.5).all() and batch.gradients[2] == 1 < batch.gradients[1]
    assert_close(batch.measure, uneven.rms(batch.x1).double())
    for k in range(3):
        index = torch.tensor([k])
        alone = recipe(flow, uneven.select(index), [k], guess=guess[index])
        assert_close(batch.x1[index], alone.x1, rtol=1e-7, atol=1e-7)


CHECK = 2 + 1 + 3
"""Evaluations of the check at the start of `control`: the batch twice and turned once, three problems alone."""


@pytest.mark.parametrize("correct", [False, True])
def test_an_estimate_that_is_cut_short_says_so(correct):
    """However small its misfit: the status is the callback's, and what was not evaluated is not counted."""
    flow, misfit, guess, _ = problems(Mask(16))
    seen, calls = [], []

    def callback(event):
        seen.append(event.round)
        return Status.SECONDS if len(seen) >= 3 else None

    options = RecipeOptions(tau=50.0, gradient=Direct(), callback=callback)
    counting = Flow(lambda x, t: calls.append(1) or flow(x, t), flow.shape)
    result = WarmStart(correct_round_trip=correct)(counting, misfit, [0, 1, 2], guess=guess, options=options)
    assert seen == [0, 0, 0]
    assert result.status == (Status.SECONDS,) * 3 and (result.measure <= 50.0).all()
    assert result.evaluations.tolist() == [len(calls)] * 3


def test_the_first_step_of_a_warm_start_is_small():
    """The start is nearly right: the first trial moves x0 by 0.005 rms per coordinate, not by a tenth of it."""
    flow, misfit, guess, _ = problems(Mask(16))
    seen = []
    options = RecipeOptions(tau=1e-3, gradients=2, callback=seen.append)
    WarmStart()(flow, misfit, [0, 1, 2], guess=guess, options=options)
    first, second = (event.x0 for event in seen if event.round)
    step = (second - first).flatten(1).square().mean(1).sqrt()
    assert_close(step, torch.full_like(step, 0.005), rtol=1e-4, atol=0)


def test_the_inversion_of_a_warm_start_is_finer_than_the_control():
    """Half again as many steps on the way to x0 as on the way back, which damps what is implausible."""
    flow, misfit, guess, _ = problems(Mask(16))
    times = []
    watched = Flow(lambda x, t: times.append(float(t)) or flow(x, t), flow.shape)
    result = WarmStart(steps=8)(
        watched, misfit, [0, 1, 2], guess=guess, options=RecipeOptions(gradients=1, gradient=Direct())
    )
    inversion, control = times[32 : 32 + 24], times[-16:]
    assert inversion == sorted(inversion, reverse=True) and control == sorted(control)
    assert len(times) == 32 + 24 + CHECK + 16
    assert result.preparation == 32 + 24 and result.nfe_per_gradient == 16


def test_a_problem_is_solved_by_its_own_recipe_or_by_another():
    flow, misfit, guess, _ = problems(Mask(16))
    problem = Problem(flow, misfit, guess, recipe=Paper())
    assert_close(problem.solve([0, 1, 2]).x0, Paper()(flow, misfit, [0, 1, 2], guess=guess).x0)
    other = problem.solve([0, 1, 2], recipe=WarmStart(), options=RecipeOptions(gradients=1))
    assert other.gradients.tolist() == [1, 1, 1] and other.preparation == 32 + 24


def test_the_defaults_are_those_that_the_benchmarks_chose():
    """Frozen, and equal by value: a recipe is a setting that can be compared and stored."""
    assert WarmStart() == WarmStart(
        estimate=Estimate(times=32, fresh=1.0), steps=8, first_step=0.005, tau=1.05
    )
    assert Paper() == Paper(steps=6, a=0.1, gradients=200)
    with pytest.raises(dataclasses.FrozenInstanceError):
        WarmStart().steps = 3


@pytest.mark.parametrize("name", ["steps", "gradients"])
def test_limits_of_nothing_are_refused(name):
    with pytest.raises(Misuse, match=rf"limit {name} = 0 leaves nothing to do\. Give at least 1\."):
        RecipeOptions(**{name: 0})


@pytest.mark.parametrize("recipe", [WarmStart(), Paper(), OneEvaluation()], ids=lambda r: type(r).__name__)
def test_a_recipe_wants_a_misfit(recipe):
    flow = Flow(lambda x, t: -x, (3,))
    with pytest.raises(Misuse, match="minimise any cost with `control`"):
        recipe(flow, lambda x1: x1.square().sum(1), [0], guess=torch.zeros(1, 3))


def test_a_wrong_adjoint_is_refused_before_it_diverges():
    class Wrong:
        def __call__(self, x):
            return 2 * x

        def adjoint(self, y):
            return 6 * y

    flow = Flow(lambda x, t: -x, (3,))
    with pytest.raises(Misuse, match="The adjoint of Wrong"):
        WarmStart()(flow, Misfit(Wrong(), torch.ones(1, 3), 0.1), [0], guess=torch.zeros(1, 3))
