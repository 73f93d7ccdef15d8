"""Bonds, validity and SMILES of hand-made molecules, against what a chemist would say."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.errors import Misuse
from headwater.molecule import chemistry, files
from headwater.molecule.chemistry import (
    Chemistry,
    bonded,
    duplicates,
    examine,
    perceived,
    posebusters_pass,
    smiles,
    summary,
)
from headwater.molecule.molecule import Molecule, batch_of

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import AllChem  # noqa: E402


def molecule(text, charges=None):
    words = text.split()
    rows = [words[i : i + 4] for i in range(0, len(words), 4)]
    symbols = tuple(row[0] for row in rows)
    positions = np.array([[float(x) for x in row[1:]] for row in rows])
    return Molecule(symbols, positions, charges or (0,) * len(symbols))


TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def hydride(element, length, count=4, charge=0):
    positions = np.vstack([np.zeros(3), TETRAHEDRON[:count] * length])
    return Molecule((element,) + ("H",) * count, positions, (charge,) + (0,) * count)


def beside(a, b, distance=8.0):
    return Molecule(
        a.symbols + b.symbols, np.vstack([a.positions, b.positions + distance]), a.charges + b.charges
    )


WATER = molecule("O 0 0 0 H 0.96 0 0 H -0.24 0.93 0")
METHANE = hydride("C", 1.09)
METHYL = hydride("C", 1.09, 3)
AMMONIUM = hydride("N", 1.02, charge=1)
NITROGEN_4 = hydride("N", 1.02)
ETHYLENE = molecule(
    "C 0 0 0.665 C 0 0 -0.665 H 0 0.923 1.238 H 0 -0.923 1.238 H 0 0.923 -1.238 H 0 -0.923 -1.238"
)
HCN = molecule("H 0 0 -1.068 C 0 0 0 N 0 0 1.149")
CO2 = molecule("C 0 0 0 O 0 0 1.162 O 0 0 -1.162")
CH5 = molecule("C 0 0 0 H 1.09 0 0 H -1.09 0 0 H 0 1.09 0 H 0 -1.09 0 H 0 0 1.09")
GLYCINE = molecule(  # the zwitterion; the neutral oxygen comes first
    """N -1.110 -0.086 -0.262 C 0.095 0.016 0.649 C 1.376 0.100 -0.214 O 1.070 0.061 -1.384 O 2.505 0.192 0.405
    H -1.720 0.729 -0.230 H -1.593 -0.982 -0.207 H -0.626 -0.062 -1.200 H -0.038 0.917 1.252 H 0.096 -0.879 1.276""",
    (1, 0, 0, 0, -1, 0, 0, 0, 0, 0),
)
ANGLES = np.arange(6) * np.pi / 3
BENZENE = Molecule(
    ("C",) * 6 + ("H",) * 6,
    np.array([[r * np.cos(a), r * np.sin(a), 0] for r in (1.397, 2.484) for a in ANGLES]),
    (0,) * 12,
)

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


def test_a_batch_is_its_molecules(monkeypatch):
    """Neither neighbours nor padding nor the chunk matter."""
    alone = [examine([m])[0] for m in MOLECULES]
    monkeypatch.setattr(chemistry, "CHUNK", 3)
    assert [fields(c) for c in examine(batch_of(MOLECULES))] == [fields(c) for c in alone]
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


def test_bonded_has_orders_charges_and_positions():
    mol = bonded(GLYCINE)
    orders = {
        frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())): b.GetBondTypeAsDouble() for b in mol.GetBonds()
    }
    assert len(orders) == 9 and orders[frozenset((2, 3))] == 2 and orders[frozenset((2, 4))] == 1
    assert [a.GetFormalCharge() for a in mol.GetAtoms()] == list(GLYCINE.charges)
    assert np.array_equal(mol.GetConformer().GetPositions(), GLYCINE.positions)
    (_, order) = sorted(b.GetBondTypeAsDouble() for b in bonded(HCN).GetBonds())
    assert order == 3


def test_bonded_takes_molecules_of_any_size_but_not_of_any_element():
    chain = Molecule(("C",) * 60, np.outer(np.arange(60) * 1.5, [1.0, 0, 0]), (0,) * 60)
    assert bonded(chain).GetNumBonds() == 59
    with pytest.raises(Misuse, match="element Cl"):
        bonded(molecule("Cl 0 0 0 H 1.27 0 0"))


def test_perceived_sees_benzene_where_the_table_does_not(monkeypatch):
    assert examine([BENZENE])[0].smiles == "[CH]1[CH][CH][CH][CH][CH]1"
    assert smiles(perceived(BENZENE)) == "c1ccccc1"
    monkeypatch.setattr(chemistry, "PERCEIVED_ATOMS", 11)
    assert smiles(perceived(BENZENE)) == "[CH]1[CH][CH][CH][CH][CH]1"


def test_perceived_agrees_with_the_table_or_gives_up():
    found = {name: perceived(m) for name, (m, _) in BY_HAND.items()}
    for name in ("water", "methyl", "ethylene", "hydrogen cyanide", "carbon dioxide", "ammonium", "glycine"):
        assert smiles(found[name]) == BY_HAND[name][1].smiles
    assert found["five hydrogens"] is None


def test_perceived_uses_the_total_charge():
    """Without a charge on the nitrogen the table fails; with the charge elsewhere the total still tells."""
    wrong = Molecule(AMMONIUM.symbols, AMMONIUM.positions, (0, 1, 0, 0, 0))
    assert examine([wrong])[0].smiles is None
    assert smiles(perceived(wrong)) == "[NH4+]"


def embedded(text):
    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    charges = tuple(a.GetFormalCharge() for a in mol.GetAtoms())
    return Molecule(tuple(a.GetSymbol() for a in mol.GetAtoms()), mol.GetConformer().GetPositions(), charges)


@pytest.mark.parametrize(
    "text",
    ["CCO", "CC(C)=O", "CNC(C)=O", "c1cc[nH]c1", "Cc1ccco1", "OC1CC1", "FC(F)F", "N#CC1CN1", "C1CC1C#C"],
)
def test_smiles_are_rdkits_own(text):
    mol = perceived(embedded(text))
    assert smiles(mol) == Chem.CanonSmiles(text)
    assert mol.GetNumAtoms() == Chem.AddHs(Chem.MolFromSmiles(text)).GetNumAtoms()


def test_rdkit_is_silent(capfd):
    perceived(CH5)
    examine(MOLECULES)
    assert capfd.readouterr() == ("", "")


def test_summary_by_hand():
    found = examine([WATER, WATER, METHANE, CH5, METHYL, beside(WATER, METHANE)])
    report = summary(found, {"O", "CC"})
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
    nothing = summary(examine([CH5]), set())
    assert nothing["valid"] == nothing["unique"] == nothing["novel"] == nothing["valid_and_unique"] == 0
    assert "novel" not in summary(examine([WATER])) and summary(examine([WATER]), set())["novel"] == 1
    with pytest.raises(Misuse, match="no molecules"):
        summary([])


@given(st.lists(st.sampled_from(["C", "O", "N", None]), max_size=12))
def test_duplicates_point_to_the_first(found):
    for i, first in enumerate(duplicates(found)):
        earlier = [j for j in range(i) if found[j] is not None and found[j] == found[i]]
        assert first == (earlier[0] if earlier else None)


def test_posebusters_tells_good_from_bad(capfd):
    pytest.importorskip("posebusters")
    ethanol = embedded("CCO")
    squeezed = Molecule(ethanol.symbols, ethanol.positions * [1, 1, 0.3], ethanol.charges)
    good, apart, bad, broken = posebusters_pass([ethanol, beside(ethanol, WATER), squeezed, CH5])
    assert good["pass"] and all(good.values())
    assert not apart["all_atoms_connected"] and apart["sanitization"]
    assert not bad["pass"]
    assert not broken["sanitization"] and not broken["pass"]
    assert good.keys() == apart.keys() == bad.keys() == broken.keys()
    assert all(type(v) is bool for row in (good, apart, bad, broken) for v in row.values())
    assert capfd.readouterr() == ("", "")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "posebusters", None)
    with pytest.raises(Misuse, match=r"pip install headwater\[posebusters\]"):
        posebusters_pass([WATER])
    monkeypatch.setitem(sys.modules, "rdkit.Chem", None)
    with pytest.raises(Misuse, match=r"needs the package rdkit. Run: pip install headwater\[molecules\]"):
        examine([WATER])


def test_rdkit_is_imported_late():
    """Nothing of RDKit or PoseBusters is bound when the modules are loaded."""
    for module in (chemistry, files):
        bound = {
            str(getattr(v, "__module__", "") or getattr(v, "__name__", "")) for v in vars(module).values()
        }
        assert not any(name.split(".")[0] in ("rdkit", "posebusters", "pandas") for name in bound)


def test_charges_may_be_tensors_of_a_batch():
    batch = batch_of([GLYCINE, WATER])
    moved = type(batch)(batch.positions.double(), batch.types.int().long(), batch.charges.int(), batch.mask)
    assert [c.smiles for c in examine(moved.select(torch.tensor([1, 0])))] == ["O", "[NH3+]CC(=O)[O-]"]
