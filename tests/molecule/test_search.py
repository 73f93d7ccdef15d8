"""The search: draws, control, attempts, what is counted, kept and told."""

from dataclasses import replace

import pytest
import torch
from by_hand import design_quickly
from torch.testing import assert_close

from headwater.dflow.result import Event
from headwater.molecule.structure.state import atom_mask
from headwater.molecule.targets.cost import PropertyCost, UserCost
from headwater.molecule.targets.design import DesignTask, choose_recipe, design, generate
from headwater.molecule.targets.deviation import TargetDeviation
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import METHODS, Control, Search, SearchThenControl
from headwater.molecule.targets.target import TOLERANCE, Target
from headwater.optimizers.status import Status


def test_weights_choose_among_draws(networks):
    """Two targets that no draw meets: whose weight is large decides which draw is kept."""
    targets = (Target("gap", 12.0), Target("mu", 9.0))
    asked = {"count": 4, "gradients": 0, "candidates": 6}
    gap, mu = (
        design_quickly(**asked, targets=tuple(replace(t, weight=w) for t, w in zip(targets, ws, strict=True)))
        for ws in ((1000.0, 1.0), (1.0, 1000.0))
    )
    assert (gap.guide["gap"] > mu.guide["gap"] + 0.1).any() and (gap.guide["gap"] >= mu.guide["gap"]).all()
    assert (mu.guide["mu"] > gap.guide["mu"] + 0.1).any() and (mu.guide["mu"] >= gap.guide["mu"]).all()


def test_control_lowers_the_cost_of_its_start(networks):
    first = design_quickly(gradients=1, candidates=1, steps=2)
    last = design_quickly(gradients=6, candidates=1, steps=2)
    assert (
        bool((last.deviation <= first.deviation).all())
        and last.deviation.mean() < 0.7 * first.deviation.mean()
    )


def test_more_candidates_start_nearer(networks):
    def start(k):
        return design_quickly(count=4, candidates=k, gradients=0).deviation

    few, many = start(1), start(6)
    assert bool((many <= few).all()) and many.mean() < 0.7 * few.mean()


def test_attempts_go_on_with_what_missed_and_count_everything(networks):
    """One target is what these settings reached before, the other is out of reach."""
    targets = (Target("gap", torch.tensor([float(design_quickly().guide["gap"][0]), 100.0])),)
    one, two = (design_quickly(targets=targets, attempts=k) for k in (1, 2))
    assert one.reached.tolist() == two.reached.tolist() == [True, False]
    assert two.deviation[1] <= one.deviation[1] and two.gradients[1] == 2 * one.gradients[1] > 0
    assert two.evaluations[1] == 2 * one.evaluations[1]
    assert two.evaluations[0] == one.evaluations[0] and two.gradients[0] == one.gradients[0]


def test_evaluations_count_candidates_and_gradients(networks):
    d = design_quickly(targets=(Target("gap", 100.0),))  # out of reach
    assert d.gradients.tolist() == [2, 2] and [s.name for s in d.status] == ["EVALUATIONS"] * 2
    assert d.evaluations.tolist() == [2 * 2 * 2 + 2 * 2 * 2] * 2  # candidates + gradients, 4 evaluations each


def test_the_callback_sees_the_start_and_can_end_the_run(networks):
    seen: list[Event] = []

    def stop(event):
        seen.append(event)
        return Status.SECONDS

    d = design_quickly(targets=(Target("gap", 100.0),), callback=stop, attempts=3)
    assert [e.round for e in seen] == [0]  # one draw
    assert d.status == (Status.SECONDS, Status.SECONDS) and d.gradients.tolist() == [0, 0]
    assert d.evaluations.tolist() == [2 * 2] * 2 and bool(torch.isfinite(d.deviation).all())


def test_the_callback_can_end_the_control(networks):
    d = design_quickly(
        targets=(Target("gap", 100.0),),
        callback=lambda event: Status.CANCELLED if event.round == 1 else None,
        attempts=3,
    )
    assert d.status == (Status.CANCELLED,) * 2 and d.gradients.tolist() == [1, 1]


def test_the_callback_counts_over_batches_and_ends_them_all(networks):
    """Two batches of one: the second is told of as molecule 1; ended in the first, it is a plain draw."""
    seen: list[Event] = []
    asked = {"targets": (Target("gap", 100.0),), "gradients": 0, "at_once": 1}
    design_quickly(**asked, callback=seen.append)
    assert [e.active.tolist() for e in seen] == [[0], [0], [1], [1]]
    calls = []

    def stop(event):
        calls.append(event)
        return Status.CANCELLED

    d = design_quickly(**asked, callback=stop)
    assert len(calls) == 1 and d.status == (Status.CANCELLED,) * 2
    assert d.evaluations.tolist() == [4, 4] and bool(d.x1.flatten(1).any(1).all())  # a plain draw


def test_events_of_draws_tell_the_best_so_far(networks):
    seen: list[Event] = []
    design_quickly(targets=(Target("gap", 100.0),), gradients=0, candidates=4, callback=seen.append)
    best = torch.stack([e.best for e in seen])
    assert_close(best, torch.stack([e.cost for e in seen]).cummin(0).values)


def test_a_molecule_that_hits_by_a_draw_draws_no_more(networks, monkeypatch):
    """With a tolerance that everything meets, the first draw is the result."""
    monkeypatch.setitem(TOLERANCE, "gap", 1e9)
    d = design_quickly(candidates=5, attempts=3)
    assert d.status == (Status.REACHED,) * 2 and d.gradients.tolist() == [0, 0]
    assert d.evaluations.tolist() == [2 * 2] * 2


def test_several_draws_at_once_find_the_same(networks, monkeypatch):
    """What is drawn beyond a hit is paid for but dropped: the molecules do not depend on how many draw at once."""
    monkeypatch.setitem(TOLERANCE, "gap", 1.0)
    asked = {"candidates": 6, "attempts": 2, "gradients": 1, "count": 4}
    one = design_quickly(**asked)
    many = design_quickly(**asked, least=24)  # all six at once
    assert one.reached.tolist() == many.reached.tolist() and bool(one.reached.any())
    assert_close(many.x1, one.x1, atol=1e-3, rtol=1e-3)
    assert bool((many.evaluations >= one.evaluations).all()) and (many.evaluations > one.evaluations).any()


def test_without_gradients_it_is_a_search_alone(networks):
    searched = design_quickly(gradients=0, candidates=3, targets=(Target("gap", 100.0),))
    assert searched.gradients.tolist() == [0, 0] and searched.evaluations.tolist() == [3 * 2 * 2] * 2
    assert searched.status == (Status.EVALUATIONS,) * 2
    controlled = design_quickly(gradients=3, candidates=3, targets=(Target("gap", 100.0),))
    assert bool((controlled.deviation <= searched.deviation).all())


def test_the_default_is_a_search_and_a_cost_has_control_as_well(networks):
    request = Request(1, atoms=5, targets=(Target("gap", 100.0),))
    assert choose_recipe(request) == Search() and Search().gradients == 0
    assert (
        choose_recipe(replace(request, cost=lambda positions, types, mask: mask.sum(1)))
        == SearchThenControl()
    )
    assert DesignTask(request).pose(networks).recipe == Search()


def test_control_starts_from_one_draw_and_again_from_another(networks):
    few = Control(steps=2, gradients=1, attempts=3)
    d = design(Request(2, 3, atoms=9, targets=(Target("gap", 100.0),)), recipe=few)
    assert d.gradients.tolist() == [3, 3] and d.evaluations.tolist() == [3 * (4 + 4)] * 2


def test_the_methods_take_about_as_long():
    """A gradient takes about 2.7 draws (molecule_search)."""
    limits = [r.attempts * (r.candidates + 2.7 * r.gradients) for r in (make() for make in METHODS.values())]
    assert max(limits) < 1.15 * min(limits)


def test_a_users_cost_is_followed(networks):
    def wide(positions, types, mask):
        return -positions.square().sum((1, 2)) / mask.sum(1)

    request = Request(3, 0, atoms=10, cost=wide, sound=False)
    recipe = SearchThenControl(steps=4, candidates=1, attempts=1)
    mask = atom_mask(torch.tensor([10] * 3))
    first, last = (
        UserCost(wide, mask)(design(request, recipe=replace(recipe, gradients=k)).x1) for k in (1, 8)
    )
    assert bool((last <= first).all()) and (last < first).sum() >= 2


def test_what_is_nowhere_finite_diverged(networks):
    class Lost(torch.nn.Module):
        def forward(self, x, t, mask):
            return x * torch.nan

    lost, recipe = replace(networks, generator=Lost()), Search(steps=2)
    d = generate(2, atoms=5, recipe=recipe, networks=lost)
    assert d.status == (Status.DIVERGED,) * 2 and not bool(d.reached.any())
    d = generate(2, formula={"C": 1, "H": 4}, recipe=recipe, networks=lost)
    assert d.status == (Status.DIVERGED,) * 2


def test_the_kept_molecule_is_the_best_of_all_that_was_seen(networks):
    """Its deviation is the smallest of every candidate and round, not that of the lowest cost."""
    seen = []

    def watch(event):
        seen.append(judge(event.x1))

    def judge(x1):
        mask = atom_mask(torch.tensor([9]))
        v = TargetDeviation(
            PropertyCost(networks.guide, {"gap": Target("gap", 6.0).make_goal(1)}, {}, mask), mask
        ).judge(x1)
        return v.grade.item(), v.value.item()

    d = design_quickly(count=1, atoms=9, gradients=4, attempts=2, sound=True, callback=watch, steps=3)
    assert len(seen) > 4 and judge(d.x1) == pytest.approx(min(seen), rel=1e-4)
    assert d.deviation.item() == pytest.approx(min(seen)[1], rel=1e-4)
