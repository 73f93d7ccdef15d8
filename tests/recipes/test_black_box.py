"""Goals without a gradient: exact laws of mixtures and Gaussians, counts, and rewards that are NaN."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater import Status
from headwater.flows.watched import Ended, watch_flow
from headwater.recipes.blackbox import (
    CMAES,
    BestOf,
    CoDe,
    FeynmanKac,
    NaturalEvolution,
    StochasticControl,
)
from headwater.recipes.blackbox.feynman_kac import resample
from headwater.recipes.blackbox.natural import rank_gradient

F64 = torch.float64
CALLS = itertools.count()
SHORT = (
    BestOf(draws=5, steps=4),
    CMAES(draws=40, steps=4),
    CMAES(draws=33, dimension=4, stages=2, steps=4),
    NaturalEvolution(draws=9, pairs=2, steps=4),
    FeynmanKac(particles=3, steps=6),
    CoDe(candidates=3, block=2, steps=6),
    StochasticControl(candidates=3, steps=6),
)
EACH = pytest.mark.parametrize("method", SHORT, ids=lambda m: type(m).__name__)


@pytest.fixture
def gaussian():
    return hw.Gaussian(torch.tensor([1.0, 0.0, -1.0, 0.5]), torch.tensor([2.0, 1.0, 0.5, 1.0]))


def first(x1):
    return x1[:, 0]


# The weights of the particles


@pytest.fixture(scope="module")
def law():
    return hw.GaussianMixture([0.3, 0.7], torch.tensor([[-1.5], [1.0]]), torch.tensor([0.5, 0.3]))


def sampled_law(law, steps, strength):
    """E[exp(strength x)] and its tilted mean under the discrete sampler, by quadrature: the exact target.

    p' (x') = integral N(x'; mean(x), std^2) p(x) dx on a grid, step by step from N(0, 1).
    """
    x = torch.linspace(-6, 6, 1201, dtype=F64)
    p, width = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi), float(x[1] - x[0])
    method = hw.solvers.Ancestral()
    for i in range(steps):
        t, t_next = (torch.tensor(j / steps, dtype=F64) for j in (i, i + 1))
        step = method.transition(law.path, x[:, None], law.flow(x[:, None], t), t, t_next)
        mean, std = step.mean[:, 0], float(step.std)
        if std == 0:
            tilt = torch.exp(strength * mean)
            z = float((p * tilt).sum() * width)
            return z, float((p * tilt * mean).sum() * width) / z
        kernel = torch.exp(-0.5 * ((x[:, None] - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        p = kernel @ p * width
    raise AssertionError("the last step has noise")


@pytest.mark.parametrize("potential", ["difference", "max", "sum"])
@pytest.mark.parametrize("threshold", [0.0, 0.7, 1.0])
def test_the_weights_of_particles_are_unbiased_on_a_mixture(law, potential, threshold):
    """E[Z] and E[Z mean] over many runs of few particles are those of the law of the sampler, computed exactly."""
    steps, strength, runs = 8, 0.7, 500
    steer = FeynmanKac(
        strength, particles=4, potential=potential, threshold=threshold, steps=steps, at_once=4096
    )
    found = steer(law.flow, first, range(runs))
    z = found.log_normaliser.exp()
    weights = torch.softmax(found.log_weights, 1)
    weighted = z * (weights * found.particles[..., 0].to(F64)).sum(1)
    exact, mean = sampled_law(law, steps, strength)
    for estimate, truth in ((z, exact), (weighted, exact * mean)):
        error = float(estimate.std()) / math.sqrt(runs)
        assert abs(float(estimate.mean()) - truth) < 4 * error + 2e-3, (float(estimate.mean()), truth, error)


def test_particles_have_the_tilted_law_of_the_mixture(law):
    """p(x) exp(l x) is a mixture of N(m + l s^2, s^2) with weights w exp(l m + l^2 s^2 / 2): its exact mean."""
    strength, w, m = 1.0, law.log_weights.exp(), law.means[:, 0]
    s2 = law.eigenvalues[:, 0]
    tilted = w * torch.exp(strength * m + 0.5 * strength**2 * s2)
    mean = float((tilted * (m + strength * s2)).sum() / tilted.sum())
    found = FeynmanKac(strength, particles=32, steps=64, at_once=4096)(law.flow, first, range(40))
    weights = torch.softmax(found.log_weights, 1)
    assert abs(float((weights * found.particles[..., 0]).sum(1).mean()) - mean) < 0.08
    assert abs(float(found.log_normaliser.mean()) - math.log(float(tilted.sum()))) < 0.08


def test_resampling_gives_everyone_its_share():
    """Systematic: floor or ceil of k w, and k w on average over the uniform number."""
    w = torch.tensor([[0.55, 0.05, 0.3, 0.1]], dtype=F64)
    counts = torch.stack(
        [torch.bincount(resample(w, [torch.Generator().manual_seed(i)])[0], minlength=4) for i in range(400)]
    ).to(F64)
    assert bool((counts >= (4 * w).floor()).all()) and bool((counts <= (4 * w).ceil()).all())
    assert_close(counts.mean(0), 4 * w[0], atol=0.08, rtol=0)


# What each method reaches


def test_the_best_of_n_is_what_order_statistics_say(gaussian):
    """E max of 16 from N(0, 1) is 1.766; the reward has a standard deviation of 2."""
    result = BestOf(draws=16, steps=8, method=hw.MIDPOINT, at_once=4096)(gaussian.flow, first, range(200))
    assert abs(float(result.reward.mean()) - (1 + 2 * 1.766)) < 0.25
    assert_close(hw.solve(gaussian.flow, result.x0, method=hw.MIDPOINT, steps=8), result.x1)


def test_cma_finds_the_best_point_of_the_shell(gaussian):
    """r = a . x1 is linear in x0 with gradient S^(1/2) a: on the shell of z its largest value is |z| |S^(1/2) a|."""
    a = torch.tensor([0.5, 0.5, 0.5, -0.5])
    slope = a * torch.tensor([2.0, 1.0, 0.5, 1.0])
    flow = gaussian.flow
    result = CMAES(draws=250, steps=8, method=hw.MIDPOINT)(flow, lambda x1: x1 @ a, [0, 1])
    z = flow.noise([0, 1])
    assert_close(result.x0, z.norm(dim=1, keepdim=True) * slope / slope.norm(), atol=0.05, rtol=0)


def test_cma_with_a_strength_finds_the_most_likely_point(gaussian):
    """argmax strength r - |x0|^2 / 2 is strength S^(1/2) a, where the search ends."""
    a, flow = torch.tensor([1.0, 0.0, 0.0, 0.0]), gaussian.flow
    seen = []
    search = CMAES(draws=400, strength=1.5, steps=24)
    search(flow, lambda x1: x1 @ a / 2, [0], callback=lambda event: seen.append(event.x0))
    last = torch.cat(seen[-5:]).mean(0)
    assert_close(last, torch.tensor([1.5, 0.0, 0.0, 0.0]), atol=0.2, rtol=0)


def test_cma_with_a_strength_returns_the_most_likely_point_and_not_the_largest_reward():
    """N(0, I) and r = x: argmax 2 x - |x0|^2 / 2 is (2, 0, 0); the largest reward seen is far above 2."""
    flow = hw.Gaussian(torch.zeros(3), torch.ones(3)).flow
    result = CMAES(draws=400, strength=2.0, steps=12)(flow, first, range(6))
    slope = float(hw.solve(flow, torch.ones(1, 3), method=hw.DDIM, steps=12)[0, 0])  # of x1 in x0: nearly 1
    assert_close(result.x0, torch.tensor([[2 * slope, 0.0, 0.0]]).expand(6, 3), atol=0.1, rtol=0)
    assert_close(result.reward, first(result.x1).to(F64))


def test_points_of_all_coordinates_have_the_length_of_the_draw(gaussian):
    result = CMAES(draws=40, steps=4)(gaussian.flow, first, [0, 1, 2])
    assert_close(result.x0.norm(dim=1), gaussian.flow.noise([0, 1, 2]).norm(dim=1))


@EACH
def test_seeds_may_be_numbers_of_numpy(gaussian, method):
    """Seeds are multiplied by 1,000,003, beyond int32."""
    seeds = np.asarray([70_000, 5], np.int32)
    assert_close(method(gaussian.flow, first, seeds).x1, method(gaussian.flow, first, [70_000, 5]).x1)


def test_a_search_of_subspaces_beats_draws_where_a_source_is_large():
    """The gradient of a linear reward in 200 coordinates: 240 draws give 2.8, and the search more, on the shell."""
    flow = hw.Gaussian(torch.zeros(200), torch.ones(200)).flow
    draws = BestOf(draws=240, steps=2)(flow, first, range(4)).reward.mean()
    for search in (
        CMAES(draws=240, dimension=48, steps=2),
        CMAES(draws=240, steps=2),
        NaturalEvolution(draws=240, steps=2),
    ):
        result = search(flow, first, range(4))
        assert result.reward.mean() > 1.2 * draws
        assert bool((result.x0.norm(dim=1) / 200**0.5 < 1.3).all())


def test_the_gradient_of_ranks_points_uphill_and_knows_no_scale():
    torch.manual_seed(0)
    e = torch.randn(2000, 3)
    reward = torch.cat([e[:, 0], -e[:, 0]])[None]
    g = rank_gradient(reward, e)[0]
    assert float(g[0] / g.norm()) > 0.99
    assert_close(rank_gradient(torch.exp(3 * reward), e)[0], g)


def test_choosing_along_the_path_raises_a_reward_and_more_so_with_more_candidates(gaussian):
    flow, seeds = gaussian.flow, range(40)
    plain = hw.solve_stochastic(flow, flow.noise(seeds), seeds)[:, 0].mean()
    four = [type(m)(candidates=4, at_once=4096)(flow, first, seeds).reward.mean() for m in SHORT[-2:]]
    eight = CoDe(candidates=8, at_once=4096)(flow, first, seeds).reward.mean()
    assert four[0] > plain + 2 and four[1] > plain + 2 and eight > four[0]


def test_one_block_of_all_steps_is_a_best_of_n(gaussian):
    """E max of 4 from N(0, 1) is 1.03."""
    result = CoDe(candidates=4, block=48, steps=48, at_once=4096)(gaussian.flow, first, range(300))
    assert abs(float(result.reward.mean()) - (1 + 2 * 1.03)) < 0.35


# What all of them promise


@EACH
def test_a_batch_is_its_problems(gaussian, method):
    together = method(gaussian.flow, first, [4, 7])
    alone = method(gaussian.flow, first, [7])
    assert_close(alone.x1, together.x1[1:])
    assert_close(alone.reward, together.reward[1:])
    assert alone.calls[0] == together.calls[1] and alone.evaluations[0] == together.evaluations[1]


@EACH
def test_evaluations_of_network_and_reward_are_counted(gaussian, method):
    count = {"network": 0, "reward": 0}

    def velocity(x, t):
        count["network"] += len(x)
        return gaussian.velocity(x, t)

    def reward(x1):
        assert not torch.is_grad_enabled() and not x1.requires_grad
        count["reward"] += len(x1)
        return x1[:, 0].tolist()  # numbers will do

    result = method(hw.Flow(velocity, (4,)), reward, [0, 1])
    # What is not counted: the velocity of one candidate twice, and the reward of one candidate alone.
    assert int(result.evaluations.sum()) == count["network"] - 2
    assert int(result.calls.sum()) == count["reward"] - 1
    assert int(result.gradients.max()) == 0


@EACH
def test_the_reward_is_that_of_the_sample(gaussian, method):
    result = method(gaussian.flow, first, [0, 1, 2])
    assert_close(result.reward, result.x1[:, 0].to(F64))
    assert_close(result.cost, -result.reward)
    assert result.on_flow == bool(torch.isfinite(result.x0).all())
    if result.on_flow:
        assert_close(hw.solve(gaussian.flow, result.x0, method=method.method, steps=method.steps), result.x1)
        plain = hw.solve(
            gaussian.flow, gaussian.flow.noise([0, 1, 2]), method=method.method, steps=method.steps
        )
        assert bool((result.reward >= plain[:, 0] - 1e-5).all())  # the sample without a search was looked at


@EACH
def test_a_nan_is_the_worst_and_a_problem_of_nothing_but_nan_has_diverged(gaussian, method):
    some = method(gaussian.flow, lambda x1: torch.where(x1[:, 1] > 0, x1[:, 0], torch.nan), range(6))
    good = [s is not hw.Status.DIVERGED for s in some.status]
    assert any(good) and bool((some.x1[torch.tensor(good), 1] > 0).all())
    none = method(gaussian.flow, lambda x1: torch.full((len(x1),), torch.nan), [0, 1])
    assert [s.name for s in none.status] == ["DIVERGED", "DIVERGED"]
    assert bool(torch.isfinite(none.x1).all()) and bool((none.reward == -torch.inf).all())


@EACH
def test_rewards_with_data_per_problem_follow_their_problems(gaussian, method):
    target = torch.tensor([-3.0, 0.0, 3.0])
    reward = hw.Each(lambda x1, y: -(x1[:, 0] - y).abs(), y=target)
    result = replace(method, at_once=4)(gaussian.flow, reward, [0, 1, 2])
    assert_close(result.reward, -(result.x1[:, 0] - target).abs().to(F64))


@EACH
def test_a_callback_ends_a_run(gaussian, method):
    def stop(event):
        assert event.cost.shape == (2,) and event.x1.shape == (2, 4)
        return hw.Status.CANCELLED

    result = replace(method, at_once=2)(gaussian.flow, first, [0, 1], callback=stop)
    assert [s.name for s in result.status] == ["CANCELLED", "CANCELLED"]
    assert_close(result.reward, result.x1[:, 0].to(F64))


@pytest.mark.parametrize(
    "reward",
    [
        lambda x1: x1[:, 0] - x1[:, 0].mean(),
        lambda x1: x1[:, 0].softmax(0),
        lambda x1: [next(CALLS)] * len(x1),
    ],
    ids=["centred", "softmax", "of its calls"],
)
def test_a_reward_that_depends_on_the_others_is_refused(gaussian, reward):
    for method in (BestOf(draws=6, steps=2), CMAES(draws=40, steps=2), CoDe(steps=6)):
        with pytest.raises(hw.Misuse, match="among others"):
            method(gaussian.flow, reward, [0])


def test_rounding_and_failures_of_one_batch_are_no_dependence(gaussian):
    """A network rounds otherwise alone; a program may fail on many pictures at once, or on one."""
    for reward in (
        lambda x1: 100 + x1[:, 0] * (1 + 1e-6 * len(x1)),
        lambda x1: x1[:, 0] if len(x1) > 1 else [math.nan],
        lambda x1: x1[:, 0] if len(x1) == 1 else [math.nan] * len(x1),
    ):
        BestOf(draws=6, steps=2)(gaussian.flow, reward, [0])


@EACH
def test_a_velocity_that_draws_random_numbers_is_refused(method):
    flow = hw.Flow(lambda x, t: torch.randn_like(x), (4,))
    with pytest.raises(hw.Misuse, match="two answers"):
        method(flow, first, [0])
    net = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Dropout(0.5))
    with pytest.raises(hw.Misuse, match="training mode"):
        method(hw.Flow(lambda x, t: net(x), (4,), modules=(net,)), first, [0])


def test_rewards_are_asked_about_finite_samples_alone():
    """Problem 1 has a velocity of NaN: it has diverged, its calls count, and the reward sees problem 0 only."""
    y = torch.tensor([0.0, torch.nan])
    flow = hw.Flow(hw.Each(lambda x, t, y: -x + y[:, None], y=y), (4,))

    def reward(x1):
        assert bool(torch.isfinite(x1).all()) and len(x1) > 0
        return x1[:, 0]

    result = BestOf(draws=3, steps=2)(flow, reward, [0, 1])
    assert [s.name for s in result.status] == ["COMPUTED", "DIVERGED"] and result.calls.tolist() == [3, 3]


def test_complex_rewards_are_refused(gaussian):
    with pytest.raises(hw.Misuse, match="complex"):
        BestOf(draws=2, steps=2)(gaussian.flow, lambda x1: x1[:, 0] + 0j, [0])


@EACH
def test_a_deadline_of_a_watched_flow_ends_a_run_with_what_there_is(gaussian, method):
    """Ended after 5 and after 8 calls of the network; before the first there is nothing to return."""
    for calls in (5, 8) if method in SHORT[4:] else (8,):
        left = iter(range(calls))
        flow = watch_flow(
            gaussian.flow, lambda left=left: None if next(left, None) is not None else Status.SECONDS
        )
        result = replace(method, at_once=4)(flow, first, [0, 1])
        assert [s.name for s in result.status] == ["SECONDS", "SECONDS"]
        assert_close(result.reward, result.x1[:, 0].to(F64))
    with pytest.raises(Ended):
        method(watch_flow(gaussian.flow, lambda: Status.SECONDS), first, [0])


@pytest.mark.parametrize("bad", [lambda x1: x1, lambda x1: "much", lambda x1: None, lambda x1: 1.0])
def test_a_reward_that_is_no_number_for_each_is_refused(gaussian, bad):
    with pytest.raises(hw.Misuse, match="The reward returned"):
        BestOf(draws=2, steps=2)(gaussian.flow, bad, [0])


@pytest.mark.parametrize(
    "make",
    [
        lambda: BestOf(draws=0),
        lambda: CMAES(stages=0),
        lambda: CMAES(population=30, draws=20),
        lambda: CMAES(population=30, draws=60, dimension=4, stages=2),
        lambda: CMAES(strength=1.0, dimension=4),
        lambda: NaturalEvolution(draws=3, pairs=2),
        lambda: NaturalEvolution(step=0.0),
        lambda: FeynmanKac(strength=0.0),
        lambda: FeynmanKac(particles=1),
        lambda: FeynmanKac(potential="hope"),
        lambda: CoDe(candidates=1),
    ],
)
def test_a_search_of_nothing_is_refused(make):
    with pytest.raises(hw.Misuse):
        make()
