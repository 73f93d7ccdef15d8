"""What is asked of a molecule, as costs and as a verdict on the rounded one."""

from dataclasses import replace

import pytest
import torch
from by_hand import METHANE, QUICK, state_of
from torch.testing import assert_close

from headwater import Misuse
from headwater.molecule.design.design import design
from headwater.molecule.design.target import (
    HIT,
    MISSED,
    TOLERANCE,
    UNSOUND,
    Miss,
    PropertyCost,
    Undecided,
    UserCost,
    predict_rounded,
)
from headwater.molecule.structure.state import relaxed_types, rounded


def test_property_cost_is_the_squared_deviation_in_tolerances(networks):
    x, mask = state_of(METHANE, METHANE)
    out = networks.guide(x[..., :3], relaxed_types(x), mask)
    values = {"gap": torch.tensor([9.0, 10.0]), "mu": torch.tensor([0.5, 0.5])}
    cost = PropertyCost(networks.guide, values, {"mu": 2.0}, mask)
    want = 0.5 * ((out["gap"] - values["gap"]) / TOLERANCE["gap"]).square()
    want = want + ((out["mu"] - 0.5) / TOLERANCE["mu"]).square()
    assert_close(cost(x), want, rtol=1e-4, atol=1e-3)
    assert_close(cost.select(torch.tensor([1]))(x[1:]), cost(x)[1:])


def test_undecided_is_zero_for_definite_types_and_their_distance_otherwise():
    x, mask = state_of(METHANE)
    assert Undecided(mask)(x).item() == 0
    x[0, 0, 3], x[0, 0, 4] = 0.2, 0.3  # of 0.5: weights 0.4 and 0.6, rounded to (0, 1)
    assert Undecided(mask)(x).item() == pytest.approx(0.4**2 + 0.4**2, rel=1e-5)
    x[0, 20, 3] = 5.0  # no atom there
    assert Undecided(mask)(x).item() == pytest.approx(0.32, rel=1e-5)


def test_miss_is_judged_after_rounding_and_far_for_broken_valences(networks):
    good = METHANE
    broken = replace(good, positions=good.positions * [[1.0], [1.6], [1], [1], [1]])
    x, mask = state_of(good, broken)
    gap = predict_rounded(networks.guide, rounded(x, mask))["gap"]
    cost = PropertyCost(networks.guide, {"gap": gap + 0.5 * TOLERANCE["gap"]}, {}, mask)
    verdict, measure = Miss(cost, mask).verdict(x), Miss(cost, mask)(x)
    assert verdict.kind.tolist() == [HIT, UNSOUND] and verdict.miss.tolist() == pytest.approx(
        [0.5] * 2, abs=0.01
    )
    assert measure[0] == verdict.miss[0] and measure[1] == torch.inf
    assert Miss(cost, mask, stable=False)(x)[1].item() == pytest.approx(0.5, abs=0.01)
    blurred = x.clone()
    blurred[..., 3:8] *= 0.7  # the same molecule after rounding
    assert_close(Miss(cost, mask)(blurred)[0], measure[0], atol=1e-4, rtol=0)


def test_a_users_cost_is_judged_after_rounding_and_behind_soundness():
    """Relaxed types do not count; no cost, however low, makes a broken molecule the better one."""
    good = METHANE
    broken = replace(good, positions=good.positions * [[1.0], [1.6], [1], [1], [1]])
    x, mask = state_of(good, broken)
    blurred = x.clone()
    blurred[..., 3:8] *= 0.7

    def cost(positions, types, mask):
        return -1e6 * positions.square().sum((1, 2)) + types[..., 1].sum(1)

    miss = Miss(None, mask, cost=UserCost(cost, mask))
    a, b = miss.verdict(x), miss.verdict(blurred)
    assert_close(b.value, a.value)
    assert a.value[1] < a.value[0] and a.kind.tolist() == [MISSED, UNSOUND]
    first, second = a.select(torch.tensor([0])), a.select(torch.tensor([1]))
    assert bool(first.better(second)) and not bool(second.better(first))


def test_a_cost_may_differentiate_and_its_failures_are_sentences(networks):
    """Forces are gradients of an energy, also where molecules are judged without gradient."""

    def forces(positions, types, mask):
        energy = (positions.square().sum(-1) * mask).square().sum(1)
        (f,) = torch.autograd.grad(energy.sum(), positions, create_graph=True)
        return f.square().sum((1, 2))

    x1, mask = state_of(METHANE)
    found = Miss(None, mask, stable=False, cost=UserCost(forces, mask)).verdict(x1)
    r = 1.09
    assert (
        found.value.item() == pytest.approx(4 * (4 * r**3) ** 2, rel=1e-4) and not found.value.requires_grad
    )
    d = design(replace(QUICK, targets=(), cost=forces, count=1), networks)
    assert bool(torch.isfinite(d.x1).all())
    with pytest.raises(Misuse, match=r"failed on 1 molecules: KeyError: 'no'\. Make it work"):
        UserCost(lambda positions, types, mask: {}["no"], mask)(x1)


def test_weights_rank_what_missed_but_do_not_decide_a_hit(networks):
    x, mask = state_of(METHANE)
    out = predict_rounded(networks.guide, rounded(x, mask))
    values = {k: out[k] + d * TOLERANCE[k] for k, d in (("gap", 3.0), ("mu", 0.9))}

    def verdict(gap, values=values):
        return Miss(PropertyCost(networks.guide, values, {"gap": gap}, mask), mask).verdict(x)

    assert verdict(1.0).value.item() == pytest.approx(3.0, abs=0.01)
    assert verdict(0.1).value.item() == pytest.approx(0.9, abs=0.01)  # mu ranks
    assert verdict(0.1).kind.item() == MISSED and verdict(0.1).miss.item() == pytest.approx(3.0, abs=0.01)
    assert verdict(9.0, {"gap": out["gap"] + 0.5 * TOLERANCE["gap"]}).kind.item() == HIT
