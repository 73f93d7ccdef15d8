"""Rewards by control of the source: closed forms of a Gaussian, and ReNO's descent by ours."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.dflow.prior import NearDraw
from headwater.optimizers import GradientDescent
from headwater.recipes.recipe import RecipeOptions
from headwater.recipes.reward import MaximiseReward
from headwater.recipes.rivals.network import Network
from headwater.recipes.rivals.reno import ReNO

F64 = torch.float64


@pytest.fixture
def gaussian():
    return hw.Gaussian(torch.tensor([1.0, 0.0, -1.0]), torch.tensor([2.0, 1.0, 0.5]))


def test_a_linear_reward_rises_by_the_strength(gaussian):
    """r = a . x1 with standard deviation 1 among draws: x0 = z + strength grad r, a draw of the tilted law."""
    a = torch.tensor([0.3, 0.4, 1.0])
    a = a / (a * torch.tensor([2.0, 1.0, 0.5])).norm()
    flow, seeds = gaussian.flow, [0, 1, 2]
    result = MaximiseReward(strength=2.5, steps=48, method=hw.MIDPOINT)(flow, lambda x1: x1 @ a, seeds)
    expected = flow.noise(seeds) + 2.5 * a * torch.tensor([2.0, 1.0, 0.5])
    assert_close(result.x0, expected, rtol=0, atol=5e-3)
    rise = (result.x1 - hw.solve(flow, flow.noise(seeds), steps=48)) @ a
    assert_close(rise, torch.full((3,), 2.5), rtol=0, atol=5e-3)


def test_the_chi_prior_holds_the_norm(gaussian):
    recipe = MaximiseReward(strength=1e-6, hold="chi", gradients=40, steps=8)
    result = recipe(gaussian.flow, lambda x1: x1[:, 0], [0, 1])
    assert_close(result.x0.square().sum(1), torch.full((2,), 2.0), rtol=1e-3, atol=1e-3)  # d - 1


def test_problems_are_independent_and_begin_at_their_seeds(gaussian):
    recipe, reward = MaximiseReward(gradients=3), lambda x1: -(x1 - 3).square().sum(1)
    together = recipe(gaussian.flow, reward, [4, 7])
    assert_close(recipe(gaussian.flow, reward, [7]).x1, together.x1[1:])
    assert_close(hw.solve(gaussian.flow, together.x0, method=hw.DDIM), together.x1)


def test_near_draw_selects_its_rows():
    z, x = torch.randn(3, 2, dtype=F64), torch.randn(3, 2, dtype=F64)
    prior = NearDraw(z, 2.0)
    assert_close(prior(x), (x - z).square().sum(1))
    assert_close(prior.select(torch.tensor([2]))(x[2:]), prior(x)[2:])


def test_nesterov_is_that_of_torch():
    x = torch.tensor([[3.0, -1.0]], dtype=F64)
    weight = x.clone().requires_grad_()
    theirs = torch.optim.SGD([weight], lr=0.1, momentum=0.9, nesterov=True)
    ours = GradientDescent(lr=0.1, momentum=0.9, nesterov=True)
    state = ours.init(x)
    curvature = torch.tensor([1.0, 4.0], dtype=F64)
    for _ in range(6):
        theirs.zero_grad()
        (0.5 * curvature * weight.square()).sum().backward()
        theirs.step()
        at = state.trial
        state = ours.step(state, (0.5 * curvature * at.square()).sum(1), curvature * at)
        assert_close(state.trial, weight.detach())


def test_reno_by_control_follows_reno(gaussian):
    """The same points. The rival keeps the best reward, ours the best of reward and prior; here they agree."""
    flow, target = gaussian.flow, torch.tensor([4.0, 4.0, 4.0])

    def reward(x1):
        return -(x1 - target).square().sum(1)

    rival = ReNO(gradients=3)
    x0 = flow.noise([0, 1])
    *_, (best0, _) = rival.pairs(Network(flow), lambda x1: -reward(x1), x0, RecipeOptions())
    ours = MaximiseReward.as_reno()
    result = replace(ours, gradients=3)(flow, reward, [0, 1])
    assert_close(result.x0, best0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("strength", [0.0, -1.0, float("nan"), float("inf")])
def test_a_strength_that_is_none_is_refused(strength):
    with pytest.raises(hw.Misuse, match="is not positive and finite"):
        MaximiseReward(strength=strength)


def test_another_hold_is_refused():
    with pytest.raises(hw.Misuse, match="Nothing holds x0 by 'rope'"):
        MaximiseReward(hold="rope")
