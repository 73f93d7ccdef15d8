"""One evaluation on closed forms, an estimate that is kept, and what a misfit tells."""

import pytest
import torch
from torch.testing import assert_close

from headwater import (
    VP,
    BetaTable,
    CondOT,
    Cosine,
    Estimate,
    Flow,
    Gaussian,
    GaussianMixture,
    Misfit,
    Paper,
    RecipeOptions,
    Status,
    WarmStart,
)
from headwater.recipes.one_evaluation import OneEvaluation, denoise_measurement, find_time_of_noise
from headwater.recipes.recipe import result_without_control
from headwater.recipes.verdict import tell_overfitted

PATHS = {"cond-ot": CondOT(), "cosine": Cosine(), "vp": VP(), "table": BetaTable.linear()}
each_path = pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)


@each_path
def test_the_time_has_the_noise(path):
    sigma = torch.tensor([0.05, 0.2, 1.0, 3.0], dtype=torch.float64)
    t = find_time_of_noise(path, sigma)
    assert_close(path.sigma(t) / path.alpha(t), sigma, rtol=1e-6, atol=0)


@each_path
def test_it_is_the_posterior_mean(path):
    """N(0, s^2) under noise sigma: s^2 / (s^2 + sigma^2) y, each problem with its own noise."""
    s = torch.tensor([2.0, 0.5], dtype=torch.float64)

    def velocity(x, t):
        a, b, da, db = path.coefficients(x, t)
        return (da * a * s**2 + db * b) / (a * a * s**2 + b * b) * x

    y, sigma = torch.tensor([[1.0, -1.0], [0.3, 2.0]], dtype=torch.float64), torch.tensor([0.2, 1.0])
    exact = s**2 / (s**2 + sigma[:, None].double() ** 2) * y
    assert_close(denoise_measurement(Flow(velocity, (2,), path), y, sigma), exact, rtol=1e-5, atol=1e-6)


def test_the_misfit_of_a_mean_is_low_by_nature():
    """E|y - xhat|^2 + E|x1 - xhat|^2 = n sigma^2, so that a low misfit is no fitted noise."""
    n, s, sigma = 4000, 0.5, 0.5
    x1 = s * torch.randn(1, n, generator=torch.Generator().manual_seed(0))
    y = x1 + sigma * torch.randn(1, n, generator=torch.Generator().manual_seed(1))
    misfit = Misfit(lambda x: x, y, sigma)
    result = OneEvaluation()(Gaussian(torch.zeros(n), torch.full((n,), s)).flow, misfit, [0], guess=y)
    error = (result.x1 - x1).square().mean() / sigma**2
    assert (result.measure.square() + error).item() == pytest.approx(1, rel=0.05)
    assert result.measure.item() == pytest.approx(0.5**0.5, rel=0.05)
    assert tell_overfitted(result, torch.tensor([n])).status == (Status.COMPUTED,)


def test_nan_of_the_network_is_told():
    y = torch.ones(2, 2)
    flow = Flow(lambda x, t: torch.where(x > 0, x * torch.nan, x), (2,))
    misfit = Misfit(lambda x: x, torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), 0.5)
    assert OneEvaluation()(flow, misfit, [0, 1], guess=misfit.y).status == (Status.DIVERGED, Status.COMPUTED)
    assert y.sum() == 4


FLOW = Gaussian(torch.zeros(64), torch.full((64,), 0.5)).flow


def measurement(sigma, seeds=(0, 1)):
    x = torch.cat([0.5 * torch.randn(1, 64, generator=torch.Generator().manual_seed(k)) for k in seeds])
    noise = torch.cat([torch.randn(1, 64, generator=torch.Generator().manual_seed(k + 9)) for k in seeds])
    return Misfit(lambda x: x, x + sigma * noise, sigma)


def test_an_estimate_at_the_noise_level_is_kept():
    misfit, guess = measurement(0.2), torch.zeros(1, 64)
    e = Estimate().sample(FLOW, misfit, [0, 1], guess=guess)
    rms = misfit.rms(e)
    level = float(rms.min()) - 0.01
    result = WarmStart(keep_estimate=level, tau=float(rms.max()) + 0.01)(FLOW, misfit, [0, 1], guess=guess)
    assert torch.equal(result.x1, e) and result.status == (Status.REACHED,) * 2
    assert result.gradients.tolist() == [0, 0] and result.evaluations.tolist() == [32, 32]
    assert not result.on_flow and bool(result.x0.isnan().all())
    assert WarmStart()(FLOW, misfit, [0, 1], guess=guess).gradients.min() > 0  # by default it is improved


def test_only_the_other_problems_go_on_each_as_if_alone():
    misfit, guess = measurement(0.2), torch.zeros(1, 64)
    rms = misfit.rms(Estimate().sample(FLOW, misfit, [0, 1], guess=guess))
    first, between = int(rms.argmin()), float(rms.mean())
    recipe = WarmStart(keep_estimate=0.1, tau=between)
    result = recipe(FLOW, misfit, [0, 1], guess=guess)
    assert result.gradients[first] == 0 and result.gradients[1 - first] > 0
    assert bool((result.measure <= between).all()) and result.status == (Status.REACHED,) * 2
    assert bool(result.x0[first].isnan().all()) and bool(result.x0[1 - first].isfinite().all())
    assert result.evaluations[first] == 32 < result.evaluations[1 - first]
    for k in (0, 1):
        alone = recipe(FLOW, misfit.select(torch.tensor([k])), [k], guess=guess)
        assert_close(result.x1[k : k + 1], alone.x1, rtol=0, atol=1e-5)
        assert result.status[k] is alone.status[0] and result.gradients[k] == alone.gradients[0]


def test_an_estimate_stays_that_is_nearer_than_the_control_at_its_end():
    """A coarse solve loses much of the estimate on the way to x0 and back, and one gradient does not mend it."""
    misfit, guess = measurement(0.01), torch.zeros(1, 64)
    e = Estimate().sample(FLOW, misfit, [0, 1], guess=guess)
    options = RecipeOptions(steps=2, gradients=1, tau=float(misfit.rms(e).min()) / 2)
    lost = WarmStart()(FLOW, misfit, [0, 1], guess=guess, options=options)
    kept = WarmStart(keep_estimate=0.0)(FLOW, misfit, [0, 1], guess=guess, options=options)
    assert bool((lost.measure > misfit.rms(e)).all())
    assert torch.equal(kept.x1, e) and bool((kept.measure == misfit.rms(e)).all())
    assert kept.status == (Status.EVALUATIONS,) * 2 and not kept.status[0].ok


@pytest.mark.parametrize("recipe", [WarmStart(), Paper()], ids=["warm start", "paper"])
def test_a_search_that_converges_above_its_goal_has_missed_it(recipe):
    """A measurement that x1 has no influence on: the gradient is zero, and the misfit stays at 3."""
    misfit = Misfit(lambda x: 0 * x, torch.full((1, 64), 3.0), 1.0)
    result = recipe(FLOW, misfit, [0], guess=torch.zeros(1, 64))
    assert result.status == (Status.MISSED,) and not result.status[0].ok
    assert result.measure.item() == pytest.approx(3)


@pytest.mark.parametrize(
    "rms, count, low", [(0.85, 10**6, False), (0.79, 10**6, True), (0.79, 100, False), (0.7, 100, True)]
)
def test_few_measurements_lie_below_the_noise_by_chance(rms, count, low):
    """Four standard deviations below 1 are 0.72 for n = 100; with more than 200 the level is 0.8."""
    misfit = Misfit(lambda x: x, torch.zeros(1, 4), 1.0)
    result = result_without_control(misfit, torch.full((1, 4), rms), Status.REACHED, 0)
    found = tell_overfitted(result, torch.tensor([count])).status[0]
    assert (found is Status.OVERFITTED) is low and found.ok is not low


@pytest.mark.parametrize("limit", [1, 20])
@pytest.mark.parametrize(
    "recipe", [WarmStart(), WarmStart(keep_estimate=0.8), Paper()], ids=["own", "kept", "paper"]
)
def test_a_status_says_whether_the_goal_was_reached(recipe, limit):
    """On a law that no recipe was tuned on: four problems, whose measurements no source point may explain."""
    law = GaussianMixture(
        [0.5, 0.5], torch.tensor([[-2.0, 0.0, 1.0], [2.0, 1.0, 0.0]]), torch.tensor([0.1, 0.3])
    )
    g = torch.Generator().manual_seed(0)
    y = 2 * torch.randn(4, 2, generator=g)
    misfit = Misfit(lambda x: x[:, :2] * x[:, 1:], y, 0.05)
    options = RecipeOptions(gradients=limit)
    result = recipe(law.flow, misfit, range(4), guess=torch.zeros(1, 3), options=options)
    reached = misfit.rms(result.x1.double()) <= 1.05 + 1e-4
    assert [s.ok for s in result.status] == reached.tolist()
    assert limit == 1 or bool(reached.any())
