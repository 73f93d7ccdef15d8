"""Atoms in space as RDKit's molecules: bonds by the table, by the file, or as a chemist would draw them.

`to_rdkit` knows the distance table or the bonds of a file only. `perceive` and `perceive_closed_shell` let RDKit find
the orders where that table is too narrow, as for benzene.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from headwater.extras import import_optional
from headwater.molecule.chemistry.stability import LIMITS, bond_orders, has_clash
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.molecule import Molecule, to_batch

if TYPE_CHECKING:
    from rdkit.Chem import Mol, RWMol

EXTRA = "molecules"


@dataclass(frozen=True)
class PerceptionLimits:
    """How far RDKit's perception goes.

    Parameters
    ----------
    atoms
        The largest molecule that it is given: its time can grow exponentially.
    iterations
        Bond order assignments that it may try.
    conjugated
        How much longer than the table's limit a bond of an order by RDKit may be, angstrom: aromatic ones are.
    """

    atoms: int = 100
    iterations: int = 2000
    conjugated: float = 0.1


def to_rdkit(m: Molecule, *, charges: bool = True) -> Mol:
    """The molecule with its own bonds, else those of the distance table, and one conformer, not sanitised.

    Atoms get no implicit hydrogens: an atom that lacks bonds is a radical.

    Parameters
    ----------
    m : Molecule
        Of any size, elements H C N O F.
    charges : bool
        Whether atoms carry their formal charges; EDM and its successors leave them out.
    """
    return to_rdkit_with_orders(m, bond_orders(to_batch([m], len(m)))[0], charges=charges)


def to_rdkit_with_orders(m: Molecule, orders: torch.Tensor, *, charges: bool) -> Mol:
    """`to_rdkit` with the orders of the table at hand, `[n, n]`."""
    chem = import_optional("rdkit.Chem", EXTRA)
    kinds = (chem.BondType.SINGLE, chem.BondType.DOUBLE, chem.BondType.TRIPLE)
    mol = _atoms(m, m.charges if charges else [0] * len(m))
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)
    near = ((i, j, int(orders[i, j])) for i, j in orders.triu().nonzero().tolist())
    for i, j, order in near if m.bonds is None else m.bonds:
        mol.AddBond(i, j, kinds[order - 1])
    return mol.GetMol()


def _atoms(m: Molecule, charges: Iterable[int]) -> RWMol:
    """Atoms without bonds, with one conformer."""
    chem = import_optional("rdkit.Chem", EXTRA)
    mol: RWMol = chem.RWMol()
    for symbol, charge in zip(m.symbols, charges, strict=True):
        atom = chem.Atom(symbol)
        atom.SetFormalCharge(int(charge))
        mol.AddAtom(atom)
    conformer = chem.Conformer(len(m))
    conformer.Set3D(True)
    conformer.SetPositions(np.ascontiguousarray(m.positions, dtype=np.float64))
    mol.AddConformer(conformer, assignId=True)
    mol.SetProp("_Name", m.name)
    return mol


def sanitise(mol: Mol) -> Mol | None:
    """A sanitised copy, or None where RDKit refuses."""
    chem = import_optional("rdkit.Chem", EXTRA)
    copy: Mol = chem.Mol(mol)
    try:
        with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
            chem.SanitizeMol(copy)
    except ValueError:  # KekulizeException and AtomValenceException are ValueErrors
        return None
    return copy


def perceive(m: Molecule) -> Mol | None:
    """The molecule as a chemist would draw it, sanitised; for depiction and comparison, not for measures.

    Its own bonds if it has any that sanitise; else the distance table's, if without radicals; else those of
    `perceive_closed_shell`; else RDKit's with the total charge of `m`, tried up to `PerceptionLimits.atoms`; else the
    table's with radicals; else None.
    """
    table = sanitise(to_rdkit(m))
    paired = table is not None and not any(a.GetNumRadicalElectrons() for a in table.GetAtoms())
    if table is not None and (paired or m.bonds is not None):
        return table
    return perceive_closed_shell(m) or _determine_bonds(m) or table


def perceive_for_file(m: Molecule) -> Mol:
    """The molecule as a file shall have it: double bonds in place of aromatic ones, and its own formal charges.

    The bonds are those of `perceive`, where these need no other charges than the molecule's; else `to_rdkit`'s, with
    radicals marked where RDKit sanitises them.
    """
    chem = import_optional("rdkit.Chem", EXTRA)
    mol = perceive(m)
    if mol is None or tuple(a.GetFormalCharge() for a in mol.GetAtoms()) != tuple(m.charges):
        mol = sanitise(to_rdkit(m))
    if mol is None:
        return to_rdkit(m)
    chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def _determine_bonds(m: Molecule) -> Mol | None:
    """Bonds and orders by RDKit, which knows no table but radii and valences, sanitised; None if nothing fits."""
    if len(m) > PerceptionLimits.atoms:
        return None
    return _call_rdkit("DetermineBonds", _atoms(m, [0] * len(m)), m.charge)


def _call_rdkit(name: str, mol: Mol, charge: int) -> Mol | None:
    """What a function of RDKit's rdDetermineBonds (after Kim and Kim 2015) makes of a molecule, sanitised."""
    determine = getattr(import_optional("rdkit.Chem.rdDetermineBonds", EXTRA), name)
    try:
        with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
            determine(mol, charge=charge, embedChiral=False, maxIterations=PerceptionLimits.iterations)
    except (ValueError, RuntimeError):  # no assignment fits the charge, or too many were tried
        return None
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)  # the hydrogens are all there: a lone C is not methane
    return sanitise(mol)


def perceive_closed_shell(m: Molecule) -> Mol | None:
    """The table's bonds with RDKit's orders, if that is one molecule without formal charges and radicals; else None.

    The table's orders fail where bonds are between single and double, as in benzene. Which atoms are bonded it
    decides here too: RDKit's own bonds are up to 1.3 times as long as the sum of covalent radii, and broken molecules
    would pass.

    >>> angle = np.arange(6) * np.pi / 3
    >>> ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    >>> benzene = Molecule(("C",) * 6 + ("H",) * 6, np.concatenate([1.395 * ring, 2.48 * ring]), (0,) * 12)
    >>> smiles(perceive_closed_shell(benzene))
    'c1ccccc1'
    """
    chem = import_optional("rdkit.Chem", EXTRA)
    if any(m.charges) or len(m) > PerceptionLimits.atoms:
        return None
    batch = to_batch([m], len(m))
    mol = None if bool(has_clash(batch)[0]) else _determine_orders(m, bond_orders(batch)[0])
    if mol is None or len(chem.GetMolFrags(mol)) > 1:
        return None
    plain = all(a.GetFormalCharge() == 0 and a.GetNumRadicalElectrons() == 0 for a in mol.GetAtoms())
    return mol if plain and _short_enough(mol) else None


def _short_enough(mol: Mol) -> bool:
    """Whether no bond is longer than the table's limit of its order by more than `PerceptionLimits.conjugated`."""
    chem = import_optional("rdkit.Chem", EXTRA)
    mol, places = chem.Mol(mol), mol.GetConformer().GetPositions()
    chem.Kekulize(mol, clearAromaticFlags=True)
    for b in mol.GetBonds():
        i, j = b.GetBeginAtomIdx(), b.GetEndAtomIdx()
        kinds = (ELEMENTS.index(mol.GetAtomWithIdx(k).GetSymbol()) for k in (i, j))
        limit = LIMITS[(int(b.GetBondTypeAsDouble()) - 1, *kinds)]
        if np.linalg.norm(places[i] - places[j]) > float(limit) + PerceptionLimits.conjugated:
            return False
    return True


def _determine_orders(m: Molecule, bonds: torch.Tensor) -> Mol | None:
    """The molecule with these bonds, their orders by RDKit, sanitised; None if no orders fit."""
    chem = import_optional("rdkit.Chem", EXTRA)
    mol = _atoms(m, [0] * len(m))
    for i, j in bonds.triu().nonzero().tolist():
        mol.AddBond(i, j, chem.BondType.SINGLE)
    return _call_rdkit("DetermineBondOrders", mol, m.charge)


def smiles(mol: Mol) -> str:
    """Canonical SMILES of a sanitised molecule, hydrogens implied where they can be.

    >>> from rdkit import Chem
    >>> smiles(Chem.AddHs(Chem.MolFromSmiles("OC")))
    'CO'
    """
    chem = import_optional("rdkit.Chem", EXTRA)
    with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
        return str(chem.MolToSmiles(chem.RemoveHs(mol, sanitize=False)))


def isomeric_smiles(mol: Mol) -> str:
    """Canonical SMILES of a sanitised molecule with the stereochemistry of its positions.

    >>> corners = np.array([[0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5
    >>> places = corners * np.array([[0], [1.09], [1.35], [1.4], [1.45]])
    >>> both = (Molecule(("C", "H", "F", "O", "N"), places * [s, 1, 1], (0, 0, 0, -1, -1)) for s in (1, -1))
    >>> [isomeric_smiles(sanitise(to_rdkit(m))) for m in both]
    ['[N-][C@H]([O-])F', '[N-][C@@H]([O-])F']
    """
    chem = import_optional("rdkit.Chem", EXTRA)
    with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
        copy = chem.Mol(mol)
        chem.AssignStereochemistryFrom3D(copy)
        text = str(chem.MolToSmiles(chem.RemoveHs(copy, sanitize=False)))
        again = chem.MolFromSmiles(text)  # read once more, it no longer depends on the order of the atoms
        return text if again is None else str(chem.MolToSmiles(again))
