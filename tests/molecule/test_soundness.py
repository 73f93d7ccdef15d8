"""Which molecules are sound."""

from dataclasses import replace

import numpy as np
from by_hand import METHANE

from headwater.molecule.chemistry.soundness import examine, is_sound
from headwater.molecule.chemistry.stability import has_clash, is_sound_by_table
from headwater.molecule.structure.molecule import Molecule, to_batch


def test_two_waters_and_a_charged_methane_are_unsound():
    water = Molecule(
        ("O", "H", "H"), np.array([[0.0, 0, 0], [0.757, 0.587, 0], [-0.757, 0.587, 0]]), (0,) * 3
    )
    two = Molecule(water.symbols * 2, np.concatenate([water.positions, water.positions + 4]), (0,) * 6)
    charged = replace(METHANE, charges=(1, 0, 0, 0, 0))
    assert is_sound(to_batch([water, two, METHANE, charged])).tolist() == [True, False, True, False]


def test_benzene_is_sound_though_the_table_refuses_it():
    """Aromatic bonds are longer than the table's double ones; without a hydrogen it is a radical and unsound."""
    angle = np.arange(6) * np.pi / 3
    ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    benzene = Molecule(("C",) * 6 + ("H",) * 6, np.concatenate([1.395 * ring, 2.48 * ring]), (0,) * 12)
    radical = replace(
        benzene, symbols=benzene.symbols[:11], positions=benzene.positions[:11], charges=(0,) * 11
    )
    both = to_batch([benzene, radical])
    assert is_sound_by_table(both).tolist() == [False, False] and is_sound(both).tolist() == [True, False]


def test_orders_must_fit_the_lengths():
    """RDKit would close three heavy atoms without hydrogens to a ring with a triple bond."""
    ring = Molecule(("C", "C", "O"), np.array([[0, 0, 0], [1.47, 0, 0], [0.735, 1.2, 0]]), (0,) * 3)
    assert is_sound(to_batch([ring])).tolist() == [False]


def test_molecules_with_atoms_too_close_are_unsound():
    """The table of bonds has no shortest length, and two molecules may be pushed into each other."""
    short = np.array([[0.0, 0, 0], [0.757, 0.587, 0], [-0.45, 0.35, 0]])  # O-H of 0.57 angstrom
    squeezed = Molecule(("O", "H", "H"), short, (0,) * 3)
    both = to_batch([squeezed, METHANE])
    assert has_clash(both).tolist() == [True, False] and is_sound(both).tolist() == [False, True]
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
    assert is_sound(to_batch([ethane, near])).tolist() == [True, False]
    assert examine([near])[0].notes == ("atoms too close",) and examine([near])[0].stable
