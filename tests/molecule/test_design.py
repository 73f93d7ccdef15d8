"""Designs and draws with the shipped networks at few steps: what comes out, and that the evaluator only judges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from by_hand import METHANE, design_quickly
from torch.testing import assert_close

from headwater.molecule.chemistry.soundness import is_sound
from headwater.molecule.design.design import design, generate, score
from headwater.molecule.design.request import Request
from headwater.molecule.design.screened_control import ScreenedControl, ScreenedDraws
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.structure.molecule import to_batch, to_molecules
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
        recipe=ScreenedControl(steps=4, gradients=2, candidates=2, attempts=1),
    )
    for found in to_molecules(d.molecules):
        assert found.symbols[:4] == fragment.symbols
        assert sorted(found.symbols) == ["C"] * 2 + ["H"] * 6
        assert np.abs(found.positions[:4] - fragment.positions).max() < 1e-4  # where it was
    assert d.fragment_rms is not None and d.fragment_rms.max() < 1e-4


def test_generate_does_not_depend_on_the_batch(networks):
    plain = ScreenedDraws(steps=3, candidates=1, least=1)
    three, last = (generate(count, seed, recipe=plain) for count, seed in ((3, 5), (1, 7)))
    assert_close(three.x1[2], last.x1[0], atol=1e-3, rtol=1e-3)
    assert three.evaluations.tolist() == [6, 6, 6] and three.gradients.sum() == 0


def test_generate_draws_until_a_molecule_is_sound(networks):
    plain = generate(4, 2, atoms=12, recipe=ScreenedDraws(steps=6, candidates=1, least=1))
    chosen = generate(4, 2, atoms=12, recipe=ScreenedDraws(steps=6, candidates=6, least=1))
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

    asked = {"attempts": 2, "sound": True}
    usual, blind = design_quickly(**asked), design_quickly(replace(networks, evaluator=Blank()), **asked)
    assert_close(blind.x1, usual.x1, atol=0, rtol=0)
    assert blind.status == usual.status and bool(blind.evaluator["gap"].isnan().all())
