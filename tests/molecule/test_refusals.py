"""What the Python API of molecules refuses, what it makes of nothing, and what its writers return."""

import math

import numpy as np
import pytest
import torch

import headwater as hw
from headwater import Misuse
from headwater.molecule.io.files import WRITERS, read_molecules
from headwater.molecule.structure.molecule import Molecule, to_batch
from headwater.molecule.targets.design import score
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.target import Target

WATER = Molecule(("O", "H", "H"), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0), "water")


@pytest.mark.parametrize("suffix", WRITERS)
@pytest.mark.parametrize("kind", [str, lambda path: path], ids=["str", "Path"])
def test_writers_return_the_file(tmp_path, suffix, kind):
    path = tmp_path / f"water{suffix}"
    assert WRITERS[suffix](kind(path), [WATER]) == path
    assert read_molecules(path)[0].symbols == WATER.symbols


def test_no_molecules_have_no_properties():
    """What is left of a filter may be nothing."""
    batch = to_batch([WATER])
    none = batch.select(torch.tensor([False]))
    for found, wanted in zip(score(none), score(batch), strict=True):
        assert sorted(found) == sorted(wanted) and all(v.shape == (0,) for v in found.values())
    assert hw.molecule.examine(none) == [] and hw.molecule.is_sound(none).tolist() == []


def test_examine_is_at_the_door():
    assert hw.molecule.examine([WATER])[0].sound
    with pytest.raises(Misuse, match="0 molecules"):
        hw.molecule.examine([WATER], at_once=0)


TWO = ("H", "H"), np.array([[0, 0, 0], [0.74, 0, 0]]), (0, 0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Molecule(("H",), TWO[1], (0,)),
        lambda: Molecule(TWO[0], TWO[1], (0,)),
        lambda: Molecule(TWO[0], TWO[1].ravel(), (0, 0)),
        lambda: Molecule(*TWO, bonds=((0, 2, 1),)),
        lambda: Molecule(*TWO, bonds=((0, -1, 1),)),
        lambda: Molecule(*TWO, bonds=((0, 0, 1),)),
        lambda: Molecule(*TWO, bonds=((0, 1, 4),)),
    ],
    ids=["symbols", "charges", "positions", "beyond", "negative", "one atom", "order"],
)
def test_the_parts_of_a_molecule_are_of_the_same_atoms(make):
    with pytest.raises(Misuse):
        make()


GAP = Target("gap", 7.0)


@pytest.mark.parametrize(
    "asked",
    [
        {"count": 2.5},
        {"count": 1, "seed": 0.5},
        {"count": 1, "atoms": 9.5},
        {"count": 1, "atoms": torch.tensor([9.5])},
        {"count": 2, "atoms": torch.full((1, 2), 9)},
        {"count": 1, "targets": GAP},
        {"count": 1, "targets": ("gap",)},
    ],
    ids=str,
)
def test_a_request_is_of_whole_numbers_and_targets(asked):
    with pytest.raises(Misuse):
        Request(**asked)
    assert Request(np.int64(1), atoms=np.int64(9), targets=[GAP])


@pytest.mark.parametrize("value", ["7", None, math.nan, [7.0]], ids=str)
def test_a_target_is_a_number(value):
    with pytest.raises(Misuse, match="target of gap"):
        Target("gap", value)
    assert Target("gap", np.float32(7.0)).make_goal(2).low.tolist() == [7.0, 7.0]
