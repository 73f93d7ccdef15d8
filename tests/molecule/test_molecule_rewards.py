"""Rewards of molecules: standard deviations, the second network, the search, refusals."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.molecule import PropertyReward, Request, SearchThenControl, design, reward_cost
from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.targets import rewards

REQUEST = Request(2, atoms=9)


def size(positions, types, mask):
    return (positions.square().sum(-1) * mask).sum(1) / mask.sum(1)


@pytest.fixture(scope="module")
def cost(networks):
    return reward_cost(
        {"mu": (2.0, "mu"), "size": (-1.0, size)}, REQUEST, strength=3.0, networks=networks, draws=4
    )


def test_the_cost_is_minus_the_strength_times_standard_deviations_among_draws(cost, networks):
    draws = design(Request(4, rewards.FIRST_DRAW, atoms=9), networks, recipe=rewards.FREE).molecules
    mu, spread = predict_batch(networks.guide, draws)["mu"], size(draws.positions, None, draws.mask)
    total = 2 * (mu - mu.mean()) / mu.std() - (spread - spread.mean()) / spread.std()
    assert_close(cost(draws.positions, draws.one_hot, draws.mask), -3 * total, rtol=1e-3, atol=1e-3)
    assert_close(cost.standard_deviations(draws), total, rtol=1e-3, atol=1e-3)
    assert cost.predicted and not replace(cost, total=hw.RewardSum(cost.total.terms[1:])).predicted
    part = cost.select(torch.tensor([2, 0]))
    assert_close(
        part(draws.positions[[2, 0]], draws.one_hot[[2, 0]], draws.mask[[2, 0]]),
        -3 * total[[2, 0]],
        rtol=1e-3,
        atol=1e-3,
    )


def test_the_evaluator_judges_with_its_own_prediction_and_the_same_scale(cost, networks):
    m = design(Request(2, atoms=9), networks, recipe=hw.molecule.Search(steps=2, candidates=1)).molecules
    other = cost.standard_deviations(m, networks.evaluator)
    gap = predict_batch(networks.evaluator, m)["mu"] - predict_batch(networks.guide, m)["mu"]
    spread = cost.total.terms[0][1].spread
    assert_close(other - cost.standard_deviations(m), 2 * gap / spread, rtol=1e-3, atol=1e-3)


def test_a_search_raises_the_reward_above_that_of_its_draws(cost, networks):
    recipe = SearchThenControl(steps=3, candidates=2, gradients=3, attempts=1)
    found = design(replace(REQUEST, cost=cost), networks, recipe=recipe)
    drawn = design(replace(REQUEST, cost=cost), networks, recipe=replace(recipe, gradients=0))
    assert bool((found.cost <= drawn.cost + 1e-6).all()) and found.gradients.tolist() == [3, 3]
    assert_close(found.cost.float(), -3 * cost.standard_deviations(found.molecules), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda n: reward_cost([(hw.Ramp(0.0, 1.0), "mu")], networks=n), "follows no schedule"),
        (lambda n: reward_cost([(1.0, "mu")], networks=n, strength=0.0), "strength 0 is not positive"),
        (lambda n: reward_cost([(1.0, "mux")], networks=n), "No network predicts 'mux'"),
        (lambda n: reward_cost([], networks=n), "There is no reward"),
        (lambda n: reward_cost([(0.0, "mu")], networks=n), "zero or not finite"),
        (lambda n: PropertyReward("zpve", n.guide), "No network predicts 'zpve'"),
    ],
)
def test_refusals_are_two_sentences(networks, make, words):
    with pytest.raises(hw.Misuse, match=words) as refusal:
        make(networks)
    assert refusal.value.cure.endswith((".", "?"))
