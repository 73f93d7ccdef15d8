"""Targets, the molecule flow and the whole recipe, with the shipped networks at few steps."""

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from headwater import Misuse, solve, zoo
from headwater.control import Event
from headwater.molecule import models, search
from headwater.molecule.chemistry import examine, sound
from headwater.molecule.design import Networks, design, generate, score
from headwater.molecule.flow import Known, MoleculeVelocity, Renormalised, molecule_flow
from headwater.molecule.molecule import Molecule, batch_of, molecules_of
from headwater.molecule.regressor import PROPERTIES
from headwater.molecule.request import Request, Target
from headwater.molecule.sizes import draw_atoms, ranges
from headwater.molecule.stability import clashing, sound_by_table
from headwater.molecule.state import alike, encode, mask_of, project, relaxed_types, rounded
from headwater.molecule.target import (
    HIT,
    MISSED,
    TOLERANCE,
    UNSOUND,
    Miss,
    PropertyCost,
    Undecided,
    UserCost,
    predict,
    predict_rounded,
)
from headwater.status import Status

torch.set_num_threads(1)
QUICK = Request(
    2, 3, targets=(Target("gap", 6.0),), steps=2, gradients=2, candidates=2, attempts=1, stable=False
)


@pytest.fixture(autouse=True)
def one_draw_at_a_time(monkeypatch):
    """So that evaluations can be counted."""
    monkeypatch.setattr(search, "FILL", 1)


@pytest.fixture(scope="module")
def networks():
    return Networks.shipped()


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def methane():
    a = 0.629
    xyz = np.array([[0, 0, 0], [a, a, a], [-a, -a, a], [-a, a, -a], [a, -a, -a]], dtype=float)
    return Molecule(("C", "H", "H", "H", "H"), xyz, (0,) * 5)


def state_of(*molecules):
    b = batch_of(molecules)
    return encode(b.positions, b.types, b.charges, b.mask), b.mask


# ---- the flow


def test_centre_of_mass_and_padding_are_kept_along_the_solve(networks):
    flow = molecule_flow(networks.generator, [5, 29, 12])
    mask = flow.support.mask
    x = flow.noise([0, 1, 2])
    for t in (0.0, 0.5, 0.9):
        x = x + 0.3 * flow(x, torch.tensor(t))
        assert (x[..., :3].sum(1).abs() / mask.sum(1)[:, None]).max() < 1e-5
        assert bool((x[~mask] == 0).all())


def test_the_same_molecule_in_another_batch_gives_the_same_result(networks):
    def run(sizes, seeds):
        flow = molecule_flow(networks.generator, sizes)
        with torch.no_grad():
            return solve(flow, flow.noise(seeds), steps=4)

    alone, together = run([9], [5]), run([9, 29, 4], [5, 6, 7])
    assert_close(together[:1], alone, atol=2e-4, rtol=1e-3)


def test_molecules_are_solved_in_groups_of_like_size_and_come_back_in_order(networks):
    """By the CPU, in groups; on an accelerator in one. With gradients, too."""
    sizes = torch.tensor([5, 21, 9, 12] * 10)
    flow, state = molecule_flow(networks.generator, sizes), noise(40, 29, 9)
    x = flow.project(state).requires_grad_()
    v = flow(x, torch.linspace(0.1, 0.9, 40))
    w = flow.project(noise(40, 29, 9, seed=1))
    g = torch.autograd.grad((v * w).sum(), x)[0]
    n = int(sizes.max())
    z = x.detach()[:, :n].requires_grad_()
    one = networks.generator(z, torch.linspace(0.1, 0.9, 40), flow.support.mask[:, :n])
    assert_close(v[:, :n], one, atol=1e-4, rtol=1e-3)
    h = torch.autograd.grad((one * w[:, :n]).sum(), z)[0]
    assert_close(g[:, :n], h, atol=1e-3, rtol=1e-2)
    groups = alike(flow.support.mask, torch.device("cpu"))
    assert [(len(i), atoms) for i, atoms in groups] == [(16, 9), (16, 21), (8, 21)]
    assert [len(i) for i, _ in alike(flow.support.mask, torch.device("cuda"))] == [40]


def test_the_source_has_the_variance_of_its_dimension(networks):
    flow = molecule_flow(networks.generator, [7] * 500)
    square = flow.noise(range(500)).square().sum((1, 2)) / flow.dimension
    assert flow.dimension[0] == 3 * 6 + 6 * 7
    assert abs(square.mean().item() - 1) < 0.03


@pytest.mark.parametrize("sizes", [[1], [30], [], [5, 0]])
def test_impossible_sizes_are_refused(sizes, networks):
    with pytest.raises(Misuse, match="Give 2 to 29"):
        molecule_flow(networks.generator, sizes)


def test_renormalised_puts_each_kind_of_feature_on_its_shell():
    mask = mask_of(torch.tensor([6, 3]))
    z = 3 * noise(2, 29, 9)
    z[..., 3:] += 2.0
    x = Renormalised(mask)(z)
    n = torch.tensor([6.0, 3.0])
    assert_close(x[..., :3].square().sum((1, 2)), 3 * (n - 1))
    assert_close(x[..., 3:8].square().sum((1, 2)), 5 * n)
    assert_close(x[..., 8].square().sum(1), n)
    assert_close(project(x, mask), x)
    assert_close(Renormalised(mask)(x), x)
    assert_close(Renormalised(mask).select(torch.tensor([1]))(z[1:]), x[1:])


# ---- costs


def test_known_is_an_orthogonal_projection_that_forgets_where_the_fragment_is():
    placed = torch.zeros(2, 29, dtype=torch.bool)
    placed[0, :4], placed[1, :2] = True, True
    typed = placed.clone()
    typed[:, 4:6] = True
    x, y = noise(2, 29, 9), noise(2, 29, 9, seed=1)
    a = Known.of(y, placed, typed)
    assert_close((a.part(x) * y).sum(), (x * a.part(y)).sum())
    assert_close(a.part(a.part(x)), a.part(x))
    moved = x.clone()
    moved[..., :3] += torch.tensor([1.0, -2.0, 3.0])
    assert_close(a.part(moved), a.part(x), atol=1e-5, rtol=0)
    assert_close(a.part(y), a.y)


@pytest.mark.parametrize("steps", [1, 3, 8, 60])
def test_what_is_known_comes_out_exactly_from_any_noise(networks, steps):
    x, mask = state_of(methane(), methane())
    known = Known.of(x, mask & (torch.arange(29) < 4), mask)
    flow = molecule_flow(networks.generator, [5, 5], known)
    with torch.no_grad():
        x1 = solve(flow, flow.noise([0, 1]), steps=steps)
    assert (known.part(x1) - known.y).abs().max() < 1e-5
    assert x1[..., :3].sum(1).abs().max() < 1e-5
    assert not torch.allclose(x1[0], x1[1], atol=0.01)


def test_property_cost_is_the_squared_deviation_in_tolerances(networks):
    x, mask = state_of(methane(), methane())
    out = networks.guide(x[..., :3], relaxed_types(x), mask)
    values = {"gap": torch.tensor([9.0, 10.0]), "mu": torch.tensor([0.5, 0.5])}
    cost = PropertyCost(networks.guide, values, {"mu": 2.0}, mask)
    want = 0.5 * ((out["gap"] - values["gap"]) / TOLERANCE["gap"]).square()
    want = want + ((out["mu"] - 0.5) / TOLERANCE["mu"]).square()
    assert_close(cost(x), want, rtol=1e-4, atol=1e-3)
    assert_close(cost.select(torch.tensor([1]))(x[1:]), cost(x)[1:])


def test_undecided_is_zero_for_definite_types_and_their_distance_otherwise():
    x, mask = state_of(methane())
    assert Undecided(mask)(x).item() == 0
    x[0, 0, 3], x[0, 0, 4] = 0.2, 0.3  # of 0.5: weights 0.4 and 0.6, rounded to (0, 1)
    assert Undecided(mask)(x).item() == pytest.approx(0.4**2 + 0.4**2, rel=1e-5)
    x[0, 20, 3] = 5.0  # no atom there
    assert Undecided(mask)(x).item() == pytest.approx(0.32, rel=1e-5)


def test_miss_is_judged_after_rounding_and_far_for_broken_valences(networks):
    good = methane()
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
    good = methane()
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

    x1, mask = state_of(methane())
    found = Miss(None, mask, stable=False, cost=UserCost(forces, mask)).verdict(x1)
    r = 3**0.5 * 0.629
    assert (
        found.value.item() == pytest.approx(4 * (4 * r**3) ** 2, rel=1e-4) and not found.value.requires_grad
    )
    d = design(replace(QUICK, targets=(), cost=forces, count=1), networks)
    assert bool(torch.isfinite(d.x1).all())
    with pytest.raises(Misuse, match=r"failed on 1 molecules: KeyError: 'no'\. Make it work"):
        UserCost(lambda positions, types, mask: {}["no"], mask)(x1)


def test_weights_rank_what_missed_but_do_not_decide_a_hit(networks):
    x, mask = state_of(methane())
    out = predict_rounded(networks.guide, rounded(x, mask))
    values = {k: out[k] + d * TOLERANCE[k] for k, d in (("gap", 3.0), ("mu", 0.9))}

    def verdict(gap, values=values):
        return Miss(PropertyCost(networks.guide, values, {"gap": gap}, mask), mask).verdict(x)

    assert verdict(1.0).value.item() == pytest.approx(3.0, abs=0.01)
    assert verdict(0.1).value.item() == pytest.approx(0.9, abs=0.01)  # mu ranks
    assert verdict(0.1).kind.item() == MISSED and verdict(0.1).miss.item() == pytest.approx(3.0, abs=0.01)
    assert verdict(9.0, {"gap": out["gap"] + 0.5 * TOLERANCE["gap"]}).kind.item() == HIT


def test_weights_choose_among_draws(networks):
    """Two targets that no draw meets: whose weight is large decides which draw is kept."""
    targets = (Target("gap", 12.0), Target("mu", 9.0))
    request = replace(QUICK, count=6, targets=targets, gradients=0, candidates=8)
    gap, mu = (
        design(
            replace(request, targets=tuple(replace(t, weight=w) for t, w in zip(targets, ws, strict=True)))
        )
        for ws in ((1000.0, 1.0), (1.0, 1000.0))
    )
    assert (gap.guide["gap"] > mu.guide["gap"] + 0.1).any() and (gap.guide["gap"] >= mu.guide["gap"]).all()
    assert (mu.guide["mu"] > gap.guide["mu"] + 0.1).any() and (mu.guide["mu"] >= gap.guide["mu"]).all()


# ---- sizes


def test_numbers_of_atoms_follow_the_data_and_the_target():
    free = draw_atoms(range(2000)).double()
    counts = torch.tensor(zoo.card(models.GENERATOR)["counts"], dtype=torch.float64)
    mean = (counts * torch.arange(30)).sum() / counts.sum()
    assert abs(free.mean() - mean) < 0.3
    small = draw_atoms(range(500), [Target("alpha", 55.0)]).double()
    large = draw_atoms(range(500), [Target("alpha", 90.0)]).double()
    assert small.mean() + 3 < mean < large.mean() - 2
    assert_close(draw_atoms([7, 8]), torch.cat([draw_atoms([7]), draw_atoms([8])]))


def test_each_molecule_may_have_its_own_target():
    both = draw_atoms([1, 2], [Target("alpha", torch.tensor([55.0, 90.0]))])
    assert both.tolist() == [
        draw_atoms([1], [Target("alpha", 55.0)]).item(),
        draw_atoms([2], [Target("alpha", 90.0)]).item(),
    ]


def test_ranges_enclose_most_of_qm9():
    r = ranges()
    assert set(r) == set(PROPERTIES)
    assert 2.5 < r["gap"][0] < 4 and 9 < r["gap"][1] < 12 and 0 <= r["mu"][0] < 0.1


# ---- the recipe


def test_a_batch_of_two_is_two_of_one(networks):
    both = design(QUICK)
    for i in range(2):
        one = design(replace(QUICK, count=1, seed=3 + i))
        assert_close(one.x0[0], both.x0[i], atol=2e-3, rtol=1e-2)
        assert_close(one.x1[0], both.x1[i], atol=5e-3, rtol=1e-2)
        assert torch.equal(one.molecules.types[0], both.molecules.types[i])
        assert one.molecules.mask.sum() == both.molecules.mask[i].sum()
        assert one.gradients[0] == both.gradients[i]
        assert one.miss[0] == pytest.approx(both.miss[i].item(), rel=0.01)


def test_what_is_reported_belongs_to_the_rounded_molecule(networks):
    d = design(QUICK)
    guide, evaluator = score(d.molecules)
    for name in PROPERTIES:
        assert_close(d.guide[name], guide[name])
        assert_close(d.evaluator[name], evaluator[name])
    again = score(batch_of(molecules_of(d.molecules)))[1]  # by way of files
    assert_close(again["alpha"], d.evaluator["alpha"], rtol=1e-3, atol=1e-2)
    assert bool((d.guide["gap"] != d.evaluator["gap"]).all())  # two networks


def test_control_lowers_the_cost_of_its_start(networks):
    first = design(replace(QUICK, gradients=1, candidates=1, steps=4))
    last = design(replace(QUICK, gradients=8, candidates=1, steps=4))
    assert bool((last.miss <= first.miss).all()) and last.miss.mean() < 0.7 * first.miss.mean()


def test_more_candidates_start_nearer(networks):
    def start(k):
        return design(replace(QUICK, count=6, candidates=k, gradients=1)).miss

    few, many = start(1), start(6)
    assert bool((many <= few).all()) and many.mean() < 0.7 * few.mean()


def test_attempts_go_on_with_what_missed_and_count_everything(networks):
    """One target is met by the first draw, the other by none."""
    targets = (Target("gap", torch.tensor([float(design(QUICK).guide["gap"][0]), 100.0])),)
    one, three = (design(replace(QUICK, targets=targets, attempts=k)) for k in (1, 3))
    assert one.reached.tolist() == three.reached.tolist() == [True, False]
    assert three.miss[1] <= one.miss[1] and three.gradients[1] == 3 * one.gradients[1] > 0
    assert three.evaluations[1] == 3 * one.evaluations[1]
    assert three.evaluations[0] == one.evaluations[0] and three.gradients[0] == one.gradients[0]


def test_evaluations_count_candidates_and_gradients(networks):
    d = design(replace(QUICK, targets=(Target("gap", 100.0),)))  # out of reach
    assert d.gradients.tolist() == [2, 2] and [s.name for s in d.status] == ["EVALUATIONS"] * 2
    assert d.evaluations.tolist() == [2 * 2 * 2 + 2 * 2 * 2] * 2  # candidates + gradients, 4 evaluations each


def test_the_callback_sees_the_start_and_can_end_the_run(networks):
    seen: list[Event] = []

    def stop(event):
        seen.append(event)
        return Status.SECONDS

    d = design(replace(QUICK, targets=(Target("gap", 100.0),), callback=stop, attempts=3))
    assert [e.round for e in seen] == [0]  # one draw
    assert d.status == (Status.SECONDS, Status.SECONDS) and d.gradients.tolist() == [0, 0]
    assert d.evaluations.tolist() == [2 * 2] * 2 and bool(torch.isfinite(d.miss).all())


def test_the_callback_can_end_the_control(networks):
    d = design(
        replace(
            QUICK,
            targets=(Target("gap", 100.0),),
            callback=lambda event: Status.CANCELLED if event.round == 1 else None,
            attempts=3,
        )
    )
    assert d.status == (Status.CANCELLED,) * 2 and d.gradients.tolist() == [1, 1]


def test_the_callback_counts_over_batches_and_ends_them_all(networks, monkeypatch):
    """Two batches of one: the second is told of as molecule 1; ended in the first, it is a plain draw."""
    monkeypatch.setattr("headwater.molecule.design.BATCH", 1)
    seen: list[Event] = []
    request = replace(QUICK, targets=(Target("gap", 100.0),), gradients=0, callback=seen.append)
    design(request)
    assert [e.active.tolist() for e in seen] == [[0], [0], [1], [1]]
    calls = []

    def stop(event):
        calls.append(event)
        return Status.CANCELLED

    d = design(replace(request, callback=stop))
    assert len(calls) == 1 and d.status == (Status.CANCELLED,) * 2
    assert d.evaluations.tolist() == [4, 4] and bool(d.x1.flatten(1).any(1).all())  # a plain draw


def test_events_of_draws_tell_the_best_so_far(networks):
    seen: list[Event] = []
    request = replace(QUICK, targets=(Target("gap", 100.0),), gradients=0, candidates=4, callback=seen.append)
    design(request)
    best = torch.stack([e.best for e in seen])
    assert_close(best, torch.stack([e.cost for e in seen]).cummin(0).values)


def test_who_hits_by_a_draw_draws_no_more(networks, monkeypatch):
    """With a tolerance that everything meets, the first draw is the result."""
    monkeypatch.setitem(TOLERANCE, "gap", 1e9)
    d = design(replace(QUICK, candidates=5, attempts=3))
    assert d.status == (Status.REACHED,) * 2 and d.gradients.tolist() == [0, 0]
    assert d.evaluations.tolist() == [2 * 2] * 2


def test_several_draws_at_once_find_the_same(networks, monkeypatch):
    """What is drawn beyond a hit is paid for but dropped: the molecules do not depend on how many draw at once."""
    monkeypatch.setitem(TOLERANCE, "gap", 1.0)
    request = replace(QUICK, candidates=6, attempts=2, gradients=1, count=4)
    one = design(request)
    monkeypatch.setattr(search, "FILL", 24)  # all six at once
    many = design(request)
    assert one.reached.tolist() == many.reached.tolist() and bool(one.reached.any())
    assert_close(many.x1, one.x1, atol=1e-3, rtol=1e-3)
    assert bool((many.evaluations >= one.evaluations).all()) and (many.evaluations > one.evaluations).any()


def test_without_gradients_draws_are_screened_only(networks):
    screened = design(replace(QUICK, gradients=0, candidates=3, targets=(Target("gap", 100.0),)))
    assert screened.gradients.tolist() == [0, 0] and screened.evaluations.tolist() == [3 * 2 * 2] * 2
    assert screened.status == (Status.EVALUATIONS,) * 2
    controlled = design(replace(QUICK, gradients=3, candidates=3, targets=(Target("gap", 100.0),)))
    assert bool((controlled.miss <= screened.miss).all())


def test_a_users_cost_is_followed(networks):
    def wide(positions, types, mask):
        return -positions.square().sum((1, 2)) / mask.sum(1)

    request = Request(3, 0, atoms=10, cost=wide, steps=4, candidates=1, attempts=1, stable=False)
    mask = mask_of(torch.tensor([10] * 3))
    first, last = (UserCost(wide, mask)(design(replace(request, gradients=k)).x1) for k in (1, 8))
    assert bool((last <= first).all()) and (last < first).sum() >= 2


def test_a_formula_and_a_fragment_come_out(networks):
    m = methane()
    fragment = replace(
        m, symbols=m.symbols[:4], positions=np.add(m.positions[:4], (1.0, 2.0, 3.0)), charges=(0,) * 4
    )
    d = design(
        Request(
            2,
            0,
            fragment=fragment,
            formula={"C": 2, "H": 6},
            steps=4,
            gradients=2,
            candidates=2,
            attempts=1,
        )
    )
    for found in molecules_of(d.molecules):
        assert found.symbols[:4] == fragment.symbols
        assert sorted(found.symbols) == ["C"] * 2 + ["H"] * 6
        assert np.abs(found.positions[:4] - fragment.positions).max() < 1e-4  # where it was
    assert d.fragment_rms is not None and d.fragment_rms.max() < 1e-4


def test_generate_does_not_depend_on_the_batch(networks):
    three, last = generate(3, 5, steps=3, candidates=1), generate(1, 7, steps=3, candidates=1)
    assert_close(three.x1[2], last.x1[0], atol=1e-3, rtol=1e-3)
    assert three.evaluations.tolist() == [6, 6, 6] and three.gradients.sum() == 0


def test_generate_draws_until_a_molecule_is_sound(networks):
    plain = generate(4, 2, atoms=12, steps=6, candidates=1)
    chosen = generate(4, 2, atoms=12, steps=6, candidates=6)
    first, good = sound(plain.molecules), sound(chosen.molecules)
    assert not bool(first.all()) and bool((good | ~first).all()) and int(good.sum()) > int(first.sum())
    assert_close(chosen.x1[first], plain.x1[first], atol=1e-3, rtol=1e-3)  # who is sound at once stays
    assert chosen.reached.tolist() == good.tolist() and plain.evaluations.tolist() == [12] * 4
    assert [s is Status.REACHED for s in chosen.status] == good.tolist()


def test_what_is_nowhere_finite_diverged(networks):
    class Lost(torch.nn.Module):
        def forward(self, x, t, mask):
            return x * torch.nan

    d = generate(2, atoms=5, steps=2, networks=replace(networks, generator=Lost()))
    assert d.status == (Status.DIVERGED,) * 2 and not bool(d.reached.any())
    d = generate(2, formula={"C": 1, "H": 4}, steps=2, networks=replace(networks, generator=Lost()))
    assert d.status == (Status.DIVERGED,) * 2


@pytest.mark.parametrize(
    "change, words",
    [
        ({"count": 0}, "asks for nothing"),
        ({"prior": -1.0, "renormalise": False}, "Give 0 or a positive"),
        ({"undecided": float("nan")}, "Give 0 or a positive"),
        ({"atoms": torch.tensor([8, 40])}, "Give 2 to 29"),
        ({"formula": {"C": 2, "H": 6}, "atoms": torch.tensor([8, 9])}, "8, 9 are asked for"),
        ({"fragment": methane(), "atoms": torch.tensor([9, 4])}, "leaves none to generate of 4"),
        ({"fragment": replace(methane(), charges=(1, 0, 0, 0, 0)), "stable": True}, "without formal charges"),
        ({"atoms": 30}, "Give 2 to 29"),
        ({"atoms": 1}, "Give 2 to 29"),
        ({"gradients": -1}, "cannot be taken"),
        ({"prior": 1.0}, "renormalise=False"),
        ({"formula": {"S": 1, "H": 4}}, "has the element S"),
        ({"targets": (Target("gap", 1.0), Target("gap", 2.0))}, "the same property"),
        ({"targets": (Target("gap", torch.ones(3)),)}, "3 values are given for 2"),
        ({"formula": {"C": 2, "H": 6}, "atoms": 9}, "Give one of the two"),
        ({"fragment": methane(), "atoms": 5}, "leaves none to generate"),
        ({"fragment": methane(), "formula": {"C": 2, "H": 2, "O": 3}}, "4 H but the formula only 2"),
    ],
)
def test_contradictory_requests_are_refused(change, words):
    with pytest.raises(Misuse, match=words):
        design(replace(QUICK, **change))


def test_unknown_properties_are_refused():
    with pytest.raises(Misuse, match="Give one of alpha"):
        Target("logp", 2.0)


@pytest.mark.parametrize(
    "value, weight", [(float("nan"), 1.0), (torch.tensor([1.0, torch.inf]), 1.0), (6.0, 0.0), (6.0, -1.0)]
)
def test_targets_are_numbers_with_positive_weights(value, weight):
    with pytest.raises(Misuse, match="Give a"):
        Target("gap", value, weight)


def test_the_evaluator_never_guides(networks):
    """A judge that knows nothing changes no molecule."""

    class Blank(torch.nn.Module):
        def forward(self, positions, types, mask):
            return {name: torch.full((len(mask),), torch.nan) for name in PROPERTIES}

    request = replace(QUICK, attempts=2, stable=True)
    usual, blind = design(request), design(request, replace(networks, evaluator=Blank()))
    assert_close(blind.x1, usual.x1, atol=0, rtol=0)
    assert blind.status == usual.status and bool(blind.evaluator["gap"].isnan().all())


def test_the_kept_molecule_is_the_best_of_all_that_was_seen(networks):
    """Its miss is the smallest of every candidate and round, not that of the lowest cost."""
    seen = []

    def watch(event):
        seen.append(judge(event.x1))

    def judge(x1):
        mask = mask_of(torch.tensor([9]))
        v = Miss(PropertyCost(networks.guide, {"gap": torch.tensor([6.0])}, {}, mask), mask).verdict(x1)
        return v.kind.item(), v.value.item()

    request = replace(QUICK, count=1, atoms=9, gradients=4, attempts=2, stable=True, callback=watch, steps=3)
    d = design(request)
    assert len(seen) > 4 and judge(d.x1) == pytest.approx(min(seen), rel=1e-4)
    assert d.miss.item() == pytest.approx(min(seen)[1], rel=1e-4)


def test_two_waters_and_a_charged_methane_are_unsound():
    water = Molecule(
        ("O", "H", "H"), np.array([[0.0, 0, 0], [0.757, 0.587, 0], [-0.757, 0.587, 0]]), (0,) * 3
    )
    two = Molecule(water.symbols * 2, np.concatenate([water.positions, water.positions + 4]), (0,) * 6)
    charged = replace(methane(), charges=(1, 0, 0, 0, 0))
    assert sound(batch_of([water, two, methane(), charged])).tolist() == [True, False, True, False]


def test_benzene_is_sound_though_the_table_refuses_it():
    """Aromatic bonds are longer than the table's double ones; without a hydrogen it is a radical and unsound."""
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    benzene = Molecule(("C",) * 6 + ("H",) * 6, np.concatenate([1.395 * ring, 2.48 * ring]), (0,) * 12)
    radical = replace(
        benzene, symbols=benzene.symbols[:11], positions=benzene.positions[:11], charges=(0,) * 11
    )
    both = batch_of([benzene, radical])
    assert sound_by_table(both).tolist() == [False, False] and sound(both).tolist() == [True, False]


def test_orders_must_fit_the_lengths():
    """RDKit would close three heavy atoms without hydrogens to a ring with a triple bond."""
    ring = Molecule(("C", "C", "O"), np.array([[0, 0, 0], [1.47, 0, 0], [0.735, 1.2, 0]]), (0,) * 3)
    assert sound(batch_of([ring])).tolist() == [False]


def test_molecules_with_atoms_too_close_are_unsound():
    """The table of bonds has no shortest length, and two molecules may be pushed into each other."""
    short = np.array([[0.0, 0, 0], [0.757, 0.587, 0], [-0.45, 0.35, 0]])  # O-H of 0.57 angstrom
    squeezed = Molecule(("O", "H", "H"), short, (0,) * 3)
    both = batch_of([squeezed, methane()])
    assert clashing(both).tolist() == [True, False] and sound(both).tolist() == [False, True]
    ethane = Molecule(
        ("C", "C", *"HHHHHH"),
        np.array(
            [[0, 0, 0], [1.53, 0, 0], [-0.39, 1.02, 0], [-0.39, -0.51, 0.88], [-0.39, -0.51, -0.88],
             [1.92, -1.02, 0], [1.92, 0.51, 0.88], [1.92, 0.51, -0.88]]
        ),
        (0,) * 8,
    )  # fmt: skip
    near = replace(ethane, positions=ethane.positions.copy())
    near.positions[2] = [0.6, 0.93, 0.0]  # leans over the other carbon: 1.11 from its own, 1.32 from it
    assert sound(batch_of([ethane, near])).tolist() == [True, False]
    assert examine([near])[0].notes == ("atoms too close",) and examine([near])[0].stable


# ---- the cards


def test_the_guide_never_saw_what_the_evaluator_learnt_from():
    part = {n: zoo.card(n)["training"]["part"] for n in (models.GENERATOR, models.GUIDE, models.EVALUATOR)}
    assert part == {models.GENERATOR: "half_b", models.GUIDE: "half_b", models.EVALUATOR: "half_a"}


@pytest.mark.parametrize("name", [models.GUIDE, models.EVALUATOR])
def test_regressor_cards_say_how_good_they_are(name):
    card = zoo.card(name)
    assert set(card["test_mae"]) == set(PROPERTIES) and card["data_licence"] == "CC0"
    assert card["test_mae"]["gap"] < 200 and "meV" in card["test_mae_units"]


def test_models_of_the_wrong_kind_are_refused():
    with pytest.raises(Misuse, match="is no molecule generator"):
        models.generator("tiny64")
    with pytest.raises(Misuse, match="makes no images"):
        zoo.flow(models.GUIDE)


class Elsewhere(torch.nn.Module):
    """A network whose weights are on another device, where its outputs are too; it notes where its inputs are."""

    def __init__(self, out):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1, device="meta"))
        self.out, self.seen = out, []

    def forward(self, *inputs):
        self.seen += [x.device.type for x in inputs]
        return self.out


class Returning(torch.Tensor):
    """A tensor that counts how often it is asked to move."""

    moves: ClassVar[list[torch.device]] = []

    def to(self, *where, **how):
        Returning.moves.append(where[0])
        return self.as_subclass(torch.Tensor)


def test_inputs_go_to_the_networks_device_and_come_back():
    mask = mask_of(torch.tensor([4, 3]))
    Returning.moves.clear()
    velocity = Elsewhere(torch.ones(2, 4, 9).as_subclass(Returning))
    v = MoleculeVelocity(velocity, mask)(torch.zeros(2, 29, 9), torch.tensor(0.5))
    assert velocity.seen == ["meta"] * 3 and v.shape == (2, 29, 9)
    assert Returning.moves == [torch.device("cpu")]
    guide = Elsewhere(dict.fromkeys(PROPERTIES, torch.ones(2).as_subclass(Returning)))
    predict(guide, torch.zeros(2, 29, 3), torch.zeros(2, 29, 5), mask)
    assert guide.seen == ["meta"] * 3
    assert Returning.moves == [torch.device("cpu")] * (1 + len(PROPERTIES))
