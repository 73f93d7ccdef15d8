"""Validity, stability and identity of hand-made molecules, against what a chemist would say."""

import sys

import numpy as np
import pytest
import torch
from by_hand import (
    AMMONIUM,
    BENZENE,
    CH5,
    CO2,
    ETHYLENE,
    GLYCINE,
    HCN,
    METHANE,
    METHYL,
    NITROGEN_4,
    WATER,
    beside,
    embedded,
    molecule,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.molecule.checks import posebusters
from headwater.molecule.checks.posebusters import run_posebusters
from headwater.molecule.chemistry import perception
from headwater.molecule.chemistry import soundness as chemistry
from headwater.molecule.chemistry.perception import perceive
from headwater.molecule.chemistry.soundness import Chemistry, examine, find_duplicates, summarise
from headwater.molecule.io import files
from headwater.molecule.structure.molecule import Molecule, select_atoms, to_batch

Chem = pytest.importorskip("rdkit.Chem")

BY_HAND = {
    "water": (WATER, Chemistry(True, 1.0, True, 1, "O", True, "H2O", 3, True)),
    "methane": (METHANE, Chemistry(True, 1.0, True, 1, "C", True, "CH4", 5, True)),
    "methyl": (METHYL, Chemistry(True, 0.75, False, 1, "[CH3]", True, "CH3", 4, False)),
    "ethylene": (ETHYLENE, Chemistry(True, 1.0, True, 1, "C=C", True, "C2H4", 6, True)),
    "hydrogen cyanide": (HCN, Chemistry(True, 1.0, True, 1, "C#N", True, "CHN", 3, True)),
    "carbon dioxide": (CO2, Chemistry(True, 1.0, True, 1, "O=C=O", True, "CO2", 3, True)),
    "ammonium": (AMMONIUM, Chemistry(True, 0.8, False, 1, "[NH4+]", True, "H4N", 5, False)),
    "ammonium without charge": (NITROGEN_4, Chemistry(False, 0.8, False, 1, None, True, "H4N", 5, False)),
    "glycine": (GLYCINE, Chemistry(True, 0.8, False, 1, "[NH3+]CC(=O)[O-]", True, "C2H5NO2", 10, False)),
    "five hydrogens": (CH5, Chemistry(False, 5 / 6, False, 1, None, True, "CH5", 6, False)),
    "two": (beside(WATER, METHANE), Chemistry(True, 1.0, True, 2, "C", False, "CH6O", 8, False)),
    "two of which one is broken": (
        beside(CH5, METHANE),
        Chemistry(False, 10 / 11, False, 2, None, False, "C2H9", 11, False),
    ),
    "an atom": (molecule("F 0 0 0", (-1,)), Chemistry(True, 0.0, False, 1, "[F-]", True, "F", 1, False)),
    "hydrogen": (
        molecule("H 0 0 0 H 0.74 0 0"),
        Chemistry(True, 1.0, True, 1, "[H][H]", True, "H2", 2, True),
    ),
    "benzene": (
        BENZENE,
        Chemistry(True, 0.5, False, 1, "[CH]1[CH][CH][CH][CH][CH]1", True, "C6H6", 12, True, "c1ccccc1"),
    ),
}
MOLECULES = [m for m, _ in BY_HAND.values()]


def fields(c):
    shares = round(c.atom_stable, 5)
    return c.valid, shares, c.stable, c.fragments, c.smiles, c.whole, c.formula, c.atoms, c.sound, c.perceived


@pytest.mark.parametrize("name", BY_HAND)
def test_chemistry_by_hand(name):
    m, expected = BY_HAND[name]
    assert fields(examine([m])[0]) == fields(expected)


def test_a_batch_is_its_molecules():
    """Neither neighbours nor padding nor the chunk matter."""
    alone = [examine([m])[0] for m in MOLECULES]
    assert [fields(c) for c in examine(to_batch(MOLECULES), at_once=3)] == [fields(c) for c in alone]
    assert examine([]) == []


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(BY_HAND)), st.integers(0, 999))
def test_chemistry_does_not_depend_on_pose_and_order(name, seed):
    m, expected = BY_HAND[name]
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    order = rng.permutation(len(m))
    moved = Molecule(
        tuple(m.symbols[i] for i in order),
        m.positions[order] @ rotation + rng.normal(size=3),
        tuple(m.charges[i] for i in order),
    )
    assert fields(examine([moved])[0]) == fields(expected)


def test_edm_leaves_charges_out():
    """EDM's molecules carry no formal charges: an ammonium nitrogen has one bond too many."""
    assert [c.valid for c in examine([AMMONIUM, GLYCINE, WATER], charges=False)] == [False, False, True]
    assert examine([molecule("F 0 0 0", (-1,))], charges=False)[0].smiles == "[F]"


def test_rdkit_is_silent(capfd):
    perceive(CH5)
    examine(MOLECULES)
    assert capfd.readouterr() == ("", "")


def test_summary_by_hand():
    found = examine([WATER, WATER, METHANE, CH5, METHYL, beside(WATER, METHANE)])
    report = summarise(found, {"O", "CC"})
    atoms = 3 + 3 + 5 + 6 + 4 + 8
    expected = {
        "atom_stable": (atoms - 1 - 1) / atoms,  # the carbons of CH5 and CH3
        "molecule_stable": 4 / 6,
        "valid": 5 / 6,
        "unique": 3 / 5,  # O, C, [CH3]
        "novel": 2 / 3,
        "single_fragment": 5 / 6,
        "valid_and_unique": 3 / 6,
    }
    assert report == pytest.approx(expected, abs=1e-6)
    assert report["valid_and_unique"] == pytest.approx(report["valid"] * report["unique"])


def test_summary_at_the_edges():
    nothing = summarise(examine([CH5]), set())
    assert nothing["valid"] == nothing["unique"] == nothing["novel"] == nothing["valid_and_unique"] == 0
    assert "novel" not in summarise(examine([WATER])) and summarise(examine([WATER]), set())["novel"] == 1
    with pytest.raises(Misuse, match="no molecules"):
        summarise([])


@given(st.lists(st.sampled_from(["C", "O", "N", None]), max_size=12))
def test_duplicates_point_to_the_first(found):
    for i, first in enumerate(find_duplicates(found)):
        earlier = [j for j in range(i) if found[j] is not None and found[j] == found[i]]
        assert first == (earlier[0] if earlier else None)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "posebusters", None)
    with pytest.raises(Misuse, match=r"pip install headwater\[posebusters\]"):
        run_posebusters([WATER])
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with pytest.raises(Misuse, match=r"needs the package rdkit. Run: pip install headwater\[molecules\]"):
        examine([WATER])


def test_rdkit_is_imported_late():
    """Nothing of RDKit or PoseBusters is bound when the modules are loaded."""
    for module in (chemistry, files, perception, posebusters):
        bound = {
            str(getattr(v, "__module__", "") or getattr(v, "__name__", "")) for v in vars(module).values()
        }
        assert not any(name.split(".")[0] in ("rdkit", "posebusters", "pandas") for name in bound)


def test_charges_may_be_tensors_of_a_batch():
    batch = to_batch([GLYCINE, WATER])
    moved = type(batch)(batch.positions.double(), batch.types.int().long(), batch.charges.int(), batch.mask)
    assert [c.smiles for c in examine(moved.select(torch.tensor([1, 0])))] == ["O", "[NH3+]CC(=O)[O-]"]


@pytest.mark.parametrize(
    "text",
    [
        "C[C@H](O)F",
        "C[C@@H](O)F",
        "C/C=C/F",
        "C/C=C\\F",
        "N[C@@H](C)C(=O)O",
        "[H]/N=C/C",
        "CC(C)=O",
        "c1ccccc1",
    ],
)
def test_smiles_have_the_stereo_of_the_positions_in_any_order(text):
    m = embedded(text)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(len(m))
        c = examine([select_atoms(m, order)])[0]
        assert c.structure == Chem.CanonSmiles(text)
        assert not set("@/") & set(c.smiles)  # what the literature's measures compare has no stereo


def test_each_rule_has_its_own_verdict():
    """Carbon dioxide with bonds of 1.16: the table sees triple ones; benzene: single ones. RDKit knows better."""
    short = molecule("C 0 0 0 O 0 0 1.16 O 0 0 -1.16")
    found = examine([CO2, short, BENZENE, molecule("N 0 0 0 N 0 0 1.098"), METHYL, GLYCINE])
    assert [c.sound_by_table for c in found] == [True, False, False, True, False, False]
    assert [c.sound_by_rdkit for c in found] == [True, True, True, True, False, False]
    assert [c.sound for c in found] == [True, True, True, True, False, False]
    assert [c.notes for c in found] == [(), (), (), (), ("open valences",), ("charged",)]
    assert [c.structure for c in found[:4]] == ["O=C=O", "O=C=O", "c1ccccc1", "N#N"]
    assert examine([CH5])[0].notes == ("wrong valences",)
