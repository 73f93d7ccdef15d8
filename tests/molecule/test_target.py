"""What is asked of a molecule, as costs and as a verdict on the rounded one."""

import re
from dataclasses import replace

import pytest
import torch
from by_hand import METHANE, design_quickly, state_of
from torch.testing import assert_close

from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.structure.state import relaxed_types, round_state
from headwater.molecule.targets.cost import PropertyCost, RoundingPenalty, UserCost
from headwater.molecule.targets.deviation import Grade, TargetDeviation
from headwater.molecule.targets.target import TOLERANCE, Target


def goals(values):
    """A goal for each molecule by single values `[b]`."""
    return {k: Target(k, v).make_goal(len(v)) for k, v in values.items()}


def test_property_cost_is_the_squared_deviation_in_tolerances(networks):
    x, mask = state_of(METHANE, METHANE)
    out = networks.guide(x[..., :3], relaxed_types(x), mask)
    values = {"gap": torch.tensor([9.0, 10.0]), "mu": torch.tensor([0.5, 0.5])}
    cost = PropertyCost(networks.guide, goals(values), {"mu": 2.0}, mask)
    want = 0.5 * ((out["gap"] - values["gap"]) / TOLERANCE["gap"]).square()
    want = want + ((out["mu"] - 0.5) / TOLERANCE["mu"]).square()
    assert_close(cost(x), want, rtol=1e-4, atol=1e-3)
    assert_close(cost.select(torch.tensor([1]))(x[1:]), cost(x)[1:])


def test_undecided_is_zero_for_definite_types_and_their_distance_otherwise():
    x, mask = state_of(METHANE)
    assert RoundingPenalty(mask)(x).item() == 0
    x[0, 0, 3], x[0, 0, 4] = 0.2, 0.3  # of 0.5: weights 0.4 and 0.6, rounded to (0, 1)
    assert RoundingPenalty(mask)(x).item() == pytest.approx(0.4**2 + 0.4**2, rel=1e-5)
    x[0, 20, 3] = 5.0  # no atom there
    assert RoundingPenalty(mask)(x).item() == pytest.approx(0.32, rel=1e-5)


def test_miss_is_judged_after_rounding_and_far_for_broken_valences(networks):
    good = METHANE
    broken = replace(good, positions=good.positions * [[1.0], [1.6], [1], [1], [1]])
    x, mask = state_of(good, broken)
    gap = predict_batch(networks.guide, round_state(x, mask))["gap"]
    cost = PropertyCost(networks.guide, goals({"gap": gap + 0.5 * TOLERANCE["gap"]}), {}, mask)
    verdict, measure = TargetDeviation(cost, mask).judge(x), TargetDeviation(cost, mask)(x)
    assert verdict.grade.tolist() == [
        Grade.HIT,
        Grade.UNSOUND,
    ] and verdict.deviation.tolist() == pytest.approx([0.5] * 2, abs=0.01)
    assert measure[0] == verdict.deviation[0] and measure[1] == torch.inf
    assert TargetDeviation(cost, mask, sound=False)(x)[1].item() == pytest.approx(0.5, abs=0.01)
    blurred = x.clone()
    blurred[..., 3:8] *= 0.7  # the same molecule after rounding
    assert_close(TargetDeviation(cost, mask)(blurred)[0], measure[0], atol=1e-4, rtol=0)


def test_a_users_cost_is_judged_after_rounding_and_behind_soundness():
    """Relaxed types do not count; no cost, however low, makes a broken molecule the better one."""
    good = METHANE
    broken = replace(good, positions=good.positions * [[1.0], [1.6], [1], [1], [1]])
    x, mask = state_of(good, broken)
    blurred = x.clone()
    blurred[..., 3:8] *= 0.7

    def cost(positions, types, mask):
        return -1e6 * positions.square().sum((1, 2)) + types[..., 1].sum(1)

    miss = TargetDeviation(None, mask, cost=UserCost(cost, mask))
    a, b = miss.judge(x), miss.judge(blurred)
    assert_close(b.value, a.value)
    assert a.value[1] < a.value[0] and a.grade.tolist() == [Grade.MISSED, Grade.UNSOUND]
    first, second = a.select(torch.tensor([0])), a.select(torch.tensor([1]))
    assert bool(first.is_better(second)) and not bool(second.is_better(first))


def test_a_cost_may_differentiate_and_its_failures_pass_with_a_note(networks):
    """Forces are gradients of an energy, also where molecules are judged without gradient."""

    def forces(positions, types, mask):
        energy = (positions.square().sum(-1) * mask).square().sum(1)
        (f,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        return f.square().sum((1, 2))

    x1, mask = state_of(METHANE)
    found = TargetDeviation(None, mask, sound=False, cost=UserCost(forces, mask)).judge(x1)
    r = 1.09
    assert (
        found.value.item() == pytest.approx(4 * (4 * r**3) ** 2, rel=1e-4) and not found.value.requires_grad
    )
    d = design_quickly(networks, targets=(), cost=forces, count=1)
    assert bool(torch.isfinite(d.x1).all())
    with pytest.raises(KeyError) as raised:
        UserCost(lambda positions, types, mask: {}["no"], mask)(x1)
    assert re.search(r"failed on 1 molecule\. Make it work", "".join(raised.value.__notes__))


def test_weights_rank_what_missed_but_do_not_decide_a_hit(networks):
    x, mask = state_of(METHANE)
    out = predict_batch(networks.guide, round_state(x, mask))
    values = {k: out[k] + d * TOLERANCE[k] for k, d in (("gap", 3.0), ("mu", 0.9))}

    def verdict(gap, values=values):
        return TargetDeviation(PropertyCost(networks.guide, goals(values), {"gap": gap}, mask), mask).judge(x)

    assert verdict(1.0).value.item() == pytest.approx(3.9, abs=0.01)  # the sum, not the largest
    assert verdict(0.1).value.item() == pytest.approx(1.2, abs=0.01)  # mu ranks
    assert verdict(0.1).grade.item() == Grade.MISSED and verdict(0.1).deviation.item() == pytest.approx(
        3.0, abs=0.01
    )
    assert verdict(9.0, {"gap": out["gap"] + 0.5 * TOLERANCE["gap"]}).grade.item() == Grade.HIT
