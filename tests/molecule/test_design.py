"""Designs and draws with the shipped networks at few steps: what comes out, and that the evaluator only judges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from by_hand import METHANE, design_quickly, embedded
from torch.testing import assert_close

from headwater.molecule.chemistry.soundness import examine, is_sound
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.structure.interval import Interval
from headwater.molecule.structure.molecule import select_atoms, to_batch, to_molecules
from headwater.molecule.targets.design import FREE, design, generate, score
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import Search, SearchThenControl
from headwater.molecule.targets.target import Target
from headwater.optimizers.status import Status


def test_a_batch_of_two_is_two_of_one(networks):
    both = design_quickly()
    for i in range(2):
        one = design_quickly(count=1, seed=3 + i)
        assert_close(one.x0[0], both.x0[i], atol=2e-3, rtol=1e-2)
        assert_close(one.x1[0], both.x1[i], atol=5e-3, rtol=1e-2)
        assert torch.equal(one.molecules.types[0], both.molecules.types[i])
        assert one.molecules.mask.sum() == both.molecules.mask[i].sum()
        assert one.gradients[0] == both.gradients[i]
        assert one.deviation[0] == pytest.approx(both.deviation[i].item(), rel=0.01)


def test_what_is_reported_belongs_to_the_rounded_molecule(networks):
    d = design_quickly()
    guide, evaluator = score(d.molecules)
    for name in PROPERTIES:
        assert_close(d.guide[name], guide[name])
        assert_close(d.evaluator[name], evaluator[name])
    again = score(to_batch(to_molecules(d.molecules)))[1]  # by way of files
    assert_close(again["alpha"], d.evaluator["alpha"], rtol=1e-3, atol=1e-2)
    assert bool((d.guide["gap"] != d.evaluator["gap"]).all())  # two networks


def test_a_formula_and_a_fragment_come_out(networks):
    m = METHANE
    fragment = replace(
        m, symbols=m.symbols[:4], positions=np.add(m.positions[:4], (1.0, 2.0, 3.0)), charges=(0,) * 4
    )
    d = design(
        Request(2, 0, fragment=fragment, formula={"C": 2, "H": 6}),
        recipe=SearchThenControl(steps=4, gradients=2, candidates=2, attempts=1),
    )
    for found in to_molecules(d.molecules):
        assert found.symbols[:4] == fragment.symbols
        assert sorted(found.symbols) == ["C"] * 2 + ["H"] * 6
        assert np.abs(found.positions[:4] - fragment.positions).max() < 1e-4  # where it was
    assert d.fragment_rms is not None and d.fragment_rms.max() < 1e-4


def phenyl(open_at=0):
    """Benzene without the hydrogen at one of its carbons."""
    rows = [i for i in range(12) if i != 6 + open_at]
    return select_atoms(embedded("c1ccccc1"), np.array(rows))


C7H8O = {"C": 7, "H": 8, "O": 1}


@pytest.mark.parametrize("open_at", [0, 5])
def test_a_fragment_grows_to_a_formula_wherever_it_is_open(open_at, networks):
    """Where the new atoms got elements without asking what becomes of them, one draw in a hundred was sound."""
    request = Request(1, 1, fragment=phenyl(open_at), formula=C7H8O)
    d = design(request, recipe=Search())
    found = examine(to_molecules(d.molecules))
    assert [c.sound for c in found] == [True] and bool(d.reached.all())
    assert [c.formula for c in found] == ["C7H8O"]


def ethyl():
    """Ethane without a hydrogen at each of its carbons: two places to grow at."""
    return select_atoms(embedded("CC"), np.array([0, 1, 2, 3, 5, 6]))


@pytest.mark.parametrize(
    ("fragment", "asked"),
    [(phenyl, {"formula": C7H8O}), (ethyl, {"atoms": 12}), (ethyl, {"formula": {"C": 4, "H": 8, "O": 1}})],
)
def test_the_order_of_the_atoms_of_a_fragment_changes_nothing(fragment, asked, networks):
    """Orders of one file: the same new atoms, and the fragment's in the order of the file."""
    one, recipe = fragment(), Search(candidates=1, steps=4)
    k, first = len(one), design(Request(2, 1, fragment=one, **asked), recipe=recipe)
    for seed in (1, 2):
        order = np.random.default_rng(seed).permutation(k)
        other = design(Request(2, 1, fragment=select_atoms(one, order), **asked), recipe=recipe)
        rows = torch.cat([torch.from_numpy(order), torch.arange(k, 29)])
        assert_close(other.x0, first.x0[:, rows], atol=0, rtol=0)
        assert_close(other.x1, first.x1[:, rows], atol=1e-5, rtol=0)
        assert_close(other.molecules.positions, first.molecules.positions[:, rows], atol=1e-5, rtol=0)
        assert torch.equal(other.molecules.types, first.molecules.types[:, rows])


def test_draws_and_gradients_are_told_apart(networks):
    """A target that a draw meets, and one that only control comes nearer to."""
    hit = design_quickly(targets=(Target("gap", Interval(low=0.5)),))
    assert bool(hit.reached.all()) and not bool(hit.by_gradient.any())
    asked = {"targets": (Target("gap", 100.0),), "candidates": 1, "steps": 2}
    draws, control = design_quickly(**asked, gradients=0), design_quickly(**asked, gradients=5)
    nearer = control.deviation < draws.deviation
    assert bool(nearer.any()) and control.by_gradient.tolist() == nearer.tolist()


def test_generate_does_not_depend_on_the_batch(networks):
    plain = Search(steps=3, candidates=1, least=1)
    three, last = (generate(count, seed, recipe=plain) for count, seed in ((3, 5), (1, 7)))
    assert_close(three.x1[2], last.x1[0], atol=1e-3, rtol=1e-3)
    assert three.evaluations.tolist() == [6, 6, 6] and three.gradients.sum() == 0


def test_generate_draws_until_a_molecule_is_sound(networks):
    plain = generate(4, 2, atoms=12, recipe=replace(FREE, steps=6, candidates=1, least=1))
    chosen = generate(4, 2, atoms=12, recipe=replace(FREE, steps=6, candidates=6, least=1))
    first, good = is_sound(plain.molecules), is_sound(chosen.molecules)
    assert not bool(first.all()) and bool((good | ~first).all()) and int(good.sum()) > int(first.sum())
    assert_close(chosen.x1[first], plain.x1[first], atol=1e-3, rtol=1e-3)  # sound at once: it stays
    assert chosen.reached.tolist() == good.tolist() and plain.evaluations.tolist() == [12] * 4
    assert [s is Status.REACHED for s in chosen.status] == good.tolist()


def test_the_evaluator_never_guides(networks):
    """A judge that knows nothing changes no molecule."""

    class Blank(torch.nn.Module):
        def forward(self, positions, types, mask):
            return {name: torch.full((len(mask),), torch.nan) for name in PROPERTIES}

    asked = {"attempts": 2, "sound": True, "count": 1, "gradients": 1}
    usual, blind = design_quickly(**asked), design_quickly(replace(networks, evaluator=Blank()), **asked)
    assert_close(blind.x1, usual.x1, atol=0, rtol=0)
    assert blind.status == usual.status and bool(blind.evaluator["gap"].isnan().all())
