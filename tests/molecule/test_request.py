"""Requests, numbers of atoms, and what is contradictory."""

from dataclasses import replace

import pytest
import torch
from by_hand import METHANE, design_quickly
from torch.testing import assert_close

from headwater import Misuse, zoo
from headwater.molecule.model import models
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.targets.sizes import draw_atoms, load_ranges
from headwater.molecule.targets.target import Target


def test_numbers_of_atoms_follow_the_data_and_the_target():
    free = draw_atoms(range(2000)).double()
    counts = torch.tensor(zoo.read_card(models.GENERATOR)["counts"], dtype=torch.float64)
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
    r = load_ranges()
    assert set(r) == set(PROPERTIES)
    assert 2.5 < r["gap"][0] < 4 and 9 < r["gap"][1] < 12 and 0 <= r["mu"][0] < 0.1


@pytest.mark.parametrize(
    "change, words",
    [
        ({"count": 0}, "asks for nothing"),
        ({"chi_weight": -1.0, "renormalise": False}, "Give 0 or a positive"),
        ({"rounding_weight": float("nan")}, "Give 0 or a positive"),
        ({"atoms": torch.tensor([8, 40])}, "Give 2 to 29"),
        ({"formula": {"C": 2, "H": 6}, "atoms": torch.tensor([8, 9])}, "8, 9 are asked for"),
        ({"fragment": METHANE, "atoms": torch.tensor([9, 4])}, "leaves none to generate of 4"),
        ({"fragment": replace(METHANE, charges=(1, 0, 0, 0, 0)), "sound": True}, "without formal charges"),
        ({"atoms": 30}, "Give 2 to 29"),
        ({"atoms": 1}, "Give 2 to 29"),
        ({"gradients": -1}, "cannot be taken"),
        ({"chi_weight": 1.0}, "renormalise=False"),
        ({"formula": {"S": 1, "H": 4}}, "has the element S"),
        ({"targets": (Target("gap", 1.0), Target("gap", 2.0))}, "the same property"),
        ({"targets": (Target("gap", torch.ones(3)),)}, "3 values are given for 2"),
        ({"formula": {"C": 2, "H": 6}, "atoms": 9}, "Give one of the two"),
        ({"fragment": METHANE, "atoms": 5}, "leaves none to generate"),
        ({"fragment": METHANE, "formula": {"C": 2, "H": 2, "O": 3}}, "4 H but the formula only 2"),
    ],
)
def test_contradictory_requests_are_refused(change, words):
    with pytest.raises(Misuse, match=words):
        design_quickly(**change)


def test_unknown_properties_are_refused():
    with pytest.raises(Misuse, match="Give one of alpha"):
        Target("pka", 2.0)


@pytest.mark.parametrize(
    "value, weight", [(float("nan"), 1.0), (torch.tensor([1.0, torch.inf]), 1.0), (6.0, 0.0), (6.0, -1.0)]
)
def test_targets_are_numbers_with_positive_weights(value, weight):
    with pytest.raises(Misuse, match="Give a"):
        Target("gap", value, weight)
