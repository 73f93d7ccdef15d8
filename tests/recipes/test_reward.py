"""Rewards by control of the source: closed forms of a Gaussian, and ReNO's descent by ours."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import headwater as hw
from headwater.dflow.prior import NearDraw
from headwater.optimizers import GradientDescent
from headwater.problem.rewards import RewardThrough, is_scheduled, standardise_reward
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


# Weights that change while the gradients are spent


def test_a_schedule_is_followed_stage_by_stage_and_ends_at_its_end(gaussian):
    """Each stage stands still at its own weight: x0 = z + strength w(share) grad r, and the last is the result."""
    spread, a = torch.tensor([2.0, 1.0, 0.5]), torch.tensor([1.0, 0.0, 0.0])
    total = hw.RewardSum(((hw.Ramp(0.5, 1.5), lambda x1: x1 @ a),))
    recipe = MaximiseReward(strength=2.0, steps=48, method=hw.MIDPOINT, gradients=24, stages=3)
    seen = []
    result = recipe(gaussian.flow, total, [0, 1], callback=lambda event: seen.append(event.x0))
    z = gaussian.flow.noise([0, 1])
    assert_close(result.x0, z + 2.0 * 1.5 * a * spread, rtol=0, atol=5e-3)
    for weight in (0.5, 1.0, 1.5):
        assert (
            min(float((x0 - z - 2.0 * weight * a * spread).abs().max()) for x0 in seen if len(x0) == 2) < 0.01
        )
    assert int(result.gradients.max()) <= 24 and len(result.trace) == len(seen)


def test_a_schedule_of_a_value_is_a_function_of_the_share_that_was_spent(gaussian):
    shares = []

    def weight(share):
        shares.append(share)
        return 1.0 + share

    total = hw.RewardSum(((weight, lambda x1: x1[:, 0]),)).standardise(gaussian.flow.noise(range(4)))
    shares.clear()
    MaximiseReward(gradients=10)(gaussian.flow, total, [0])
    assert sorted(set(shares)) == [0.0, 0.25, 0.5, 0.75, 1.0]  # five stages of two gradients
    assert MaximiseReward(gradients=3).split_gradients(total) == [3]
    assert MaximiseReward(gradients=7, stages=3).split_gradients(total) == [2, 2, 3]
    assert MaximiseReward(gradients=7, stages=3).split_gradients(lambda x1: x1[:, 0]) == [7]


def test_scheduled_problems_are_independent_and_select_their_rows(gaussian):
    target = torch.tensor([[3.0], [-3.0]])
    near = hw.Each(lambda x1, target: -(x1 - target).square().sum(1), target=target)
    total = hw.RewardSum(((hw.Ramp(2.0, 0.1), near), (1.0, lambda x1: x1[:, 1])))
    recipe = MaximiseReward(gradients=20, strength=16.0)
    together = recipe(gaussian.flow, total, [4, 7])
    alone = recipe(gaussian.flow, total.select(torch.tensor([1])), [7])
    assert_close(alone.x1, together.x1[1:])
    assert together.x1[0, 0] > together.x1[1, 0]


def test_a_stage_in_which_nothing_counts_takes_the_weights_of_the_next(gaussian):
    total = hw.RewardSum(((hw.Ramp(0.0, 2.0), lambda x1: x1[:, 0]),)).standardise(
        gaussian.flow.noise(range(4))
    )
    through, x = RewardThrough(total, lambda z: z), torch.ones(1, 3)
    values = [float(r(x)) for r in MaximiseReward(gradients=6, stages=3).rewards(through)]
    assert values[0] == values[1] == pytest.approx(values[2] / 2)


def test_schedules_are_followed_inside_sums_and_standardised_sums():
    rising = hw.RewardSum(((hw.Ramp(0.0, 2.0), lambda x1: x1[:, 0]),))
    draws, x = torch.tensor([[1.0], [3.0]]), torch.tensor([[4.0]])
    scale = standardise_reward(rising, draws)
    assert is_scheduled(scale) and float(scale.at(1.0)(x)) == float(scale(x))
    assert float(scale.at(0.5)(x)) == pytest.approx((4.0 - scale.mean) / scale.spread)
    outer = hw.RewardSum(((3.0, rising),))
    assert outer.scheduled and [float(outer.at(share)(x)) for share in (0.5, 1.0)] == [12.0, 24.0]
    assert outer.standardise(draws).scheduled


def test_each_problem_has_the_mean_and_spread_of_its_own_reward():
    def near(x1, scale):
        return scale * x1[:, 0]

    each = hw.Each(near, scale=torch.tensor([1.0, 10.0, 100.0]))
    draws = torch.tensor([[1.0], [3.0]])
    total = hw.RewardSum(((1.0, each),)).standardise(draws, problems=3)
    x, same = torch.tensor([[4.0], [4.0], [2.0]]), 2**0.5  # all (x - 2) / sqrt(2), whatever the scale
    assert_close(total(x), torch.tensor([same, same, 0.0]))
    assert_close(total.select(torch.tensor([2, 0]))(x[[2, 0]]), torch.tensor([0.0, same]))
    for count in (2, 3):  # also as many draws as problems
        with pytest.raises(hw.Misuse, match="has data per problem") as refusal:
            hw.RewardSum(((1.0, each),)).standardise(torch.arange(float(count))[:, None] + 1)
        assert "problems=" in refusal.value.cure
    shared = hw.RewardSum(((1.0, hw.Each(near, scale=torch.tensor([2.0]))),)).standardise(draws)
    assert_close(shared(x[:1]), torch.tensor([same]))


def test_the_rounding_of_float32_is_no_spread():
    with pytest.raises(hw.Misuse, match="the same for all draws"):
        standardise_reward(lambda x1: 7.0 + 5e-7 * x1[:, 0].sign(), torch.tensor([[-10.0], [10.0], [10.0]]))


def test_a_callback_ends_all_stages(gaussian):
    total = hw.RewardSum(((hw.Ramp(0.0, 1.0), lambda x1: x1[:, 0]),))
    ended = MaximiseReward(gradients=10)(gaussian.flow, total, [0], callback=hw.deadline(0.0))
    assert ended.status[0] is hw.Status.SECONDS and ended.gradients.tolist() == [1]
    # in the only stage what had stood still before keeps its own status
    rounds = iter(range(100))
    steep = hw.Each(lambda x1, w: w * x1[:, 0], w=torch.tensor([0.0, 1.0]))
    last = MaximiseReward(gradients=10)(
        gaussian.flow, steep, [0, 1], callback=lambda event: hw.Status.SECONDS if next(rounds) == 1 else None
    )
    assert last.status == (hw.Status.CONVERGED, hw.Status.SECONDS)
    asked = []

    def check():
        asked.append(None)
        return hw.Status.CANCELLED if len(asked) > 40 else None

    flow = hw.watch_flow(gaussian.flow, check)
    cancelled = MaximiseReward(gradients=10)(flow, total, [0])
    assert cancelled.status[0] is hw.Status.CANCELLED and 1 <= int(cancelled.gradients) < 10


def test_a_weight_of_nothing_a_ramp_out_of_order_and_too_many_stages_are_refused():
    for weight in (0.0, float("nan"), hw.Ramp(0.0, 0.0), lambda share: 1 / share if share else float("inf")):
        with pytest.raises(hw.Misuse, match="zero or not finite"):
            hw.RewardSum(((weight, lambda x1: x1[:, 0]),))
    falling = ((hw.Ramp(2.0, 0.0), lambda x1: x1[:, 0]),)
    with pytest.raises(hw.Misuse, match="zero in the end, so nothing is rewarded"):
        hw.RewardSum(falling)
    assert hw.RewardSum((*falling, (1.0, lambda x1: x1[:, 1]))).scheduled
    with pytest.raises(hw.Misuse, match="0 <= begin < finish <= 1"):
        hw.Ramp(0.0, 1.0, begin=0.5, finish=0.5)
    with pytest.raises(hw.Misuse, match="Give two finite numbers"):
        hw.Ramp(0.0, float("inf"))
    with pytest.raises(hw.Misuse, match="3 gradients make no 4 stages"):
        MaximiseReward(gradients=3, stages=4)
