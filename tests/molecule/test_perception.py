"""Bonds of hand-made molecules, against what a chemist would draw."""

import numpy as np
import pytest
from by_hand import AMMONIUM, BENZENE, CH5, CO2, ETHYLENE, GLYCINE, HCN, METHYL, WATER, embedded, molecule

from headwater.errors import Misuse
from headwater.molecule.chemistry import perception
from headwater.molecule.chemistry.perception import perceive, smiles, to_rdkit
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.structure.molecule import Molecule

Chem = pytest.importorskip("rdkit.Chem")


def test_bonded_has_orders_charges_and_positions():
    mol = to_rdkit(GLYCINE)
    orders = {
        frozenset((b.GetBeginAtomIdx(), b.GetEndAtomIdx())): b.GetBondTypeAsDouble() for b in mol.GetBonds()
    }
    assert len(orders) == 9 and orders[frozenset((2, 3))] == 2 and orders[frozenset((2, 4))] == 1
    assert [a.GetFormalCharge() for a in mol.GetAtoms()] == list(GLYCINE.charges)
    assert np.array_equal(mol.GetConformer().GetPositions(), GLYCINE.positions)
    (_, order) = sorted(b.GetBondTypeAsDouble() for b in to_rdkit(HCN).GetBonds())
    assert order == 3


def test_bonded_takes_molecules_of_any_size_but_not_of_any_element():
    chain = Molecule(("C",) * 60, np.outer(np.arange(60) * 1.5, [1.0, 0, 0]), (0,) * 60)
    assert to_rdkit(chain).GetNumBonds() == 59
    with pytest.raises(Misuse, match="element Cl"):
        to_rdkit(molecule("Cl 0 0 0 H 1.27 0 0"))


def test_perceived_sees_benzene_where_the_table_does_not(monkeypatch):
    assert examine([BENZENE])[0].smiles == "[CH]1[CH][CH][CH][CH][CH]1"
    assert smiles(perceive(BENZENE)) == "c1ccccc1"
    monkeypatch.setattr(perception.PerceptionLimits, "atoms", 11)
    assert smiles(perceive(BENZENE)) == "[CH]1[CH][CH][CH][CH][CH]1"


def test_perceived_agrees_with_the_table_or_gives_up():
    for m in (WATER, METHYL, ETHYLENE, HCN, CO2, AMMONIUM, GLYCINE):
        assert smiles(perceive(m)) == examine([m])[0].smiles
    assert perceive(CH5) is None


def test_perceived_uses_the_total_charge():
    """Without a charge on the nitrogen the table fails; with the charge elsewhere the total still tells."""
    wrong = Molecule(AMMONIUM.symbols, AMMONIUM.positions, (0, 1, 0, 0, 0))
    assert examine([wrong])[0].smiles is None
    assert smiles(perceive(wrong)) == "[NH4+]"


@pytest.mark.parametrize(
    "text",
    ["CCO", "CC(C)=O", "CNC(C)=O", "c1cc[nH]c1", "Cc1ccco1", "OC1CC1", "FC(F)F", "N#CC1CN1", "C1CC1C#C"],
)
def test_smiles_are_rdkits_own(text):
    mol = perceive(embedded(text))
    assert smiles(mol) == Chem.CanonSmiles(text)
    assert mol.GetNumAtoms() == Chem.AddHs(Chem.MolFromSmiles(text)).GetNumAtoms()
