"""Bonds, validity, SMILES and quality checks of molecules given as atoms in space; needs RDKit.

The bonds are those of EDM's distance table (`stability.bond_orders`), or of the file that a molecule comes from;
where that table is too narrow, as for benzene, `sound` and `perceived` fall back on RDKit's own perception. Measures
of quality (`summary`) do not, so they compare with the figures of the literature.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
import torch

from headwater.errors import Misuse
from headwater.extras import need
from headwater.molecule.elements import ELEMENTS
from headwater.molecule.formula import hill
from headwater.molecule.molecule import Molecule, batch_of, molecules_of
from headwater.molecule.stability import LIMITS, bond_orders, clashing, sound_by_table, stability
from headwater.molecule.state import Rounded

if TYPE_CHECKING:
    from rdkit.Chem import Mol, RWMol

EXTRA = "molecules"
CHUNK = 512
"""Molecules examined at once: bounds the memory of the distances, changes no result."""
PERCEIVED_ATOMS = 100
"""The largest molecule given to RDKit's perception, whose time can grow exponentially."""
CONJUGATED = 0.1
"""How much longer than the table's limit a bond of an order by RDKit may be, angstrom: aromatic ones are."""
PERCEIVED_ITERATIONS = 2000
"""Bond order assignments that RDKit's perception may try."""


@dataclass(frozen=True)
class Chemistry:
    """What one molecule is, by the distance table, or where it has bonds of its own (from a file) by these.

    Attributes
    ----------
    valid : bool
        RDKit sanitises the molecule: no atom has more bonds than its element and formal charge allow. Missing
        bonds (radicals) and several fragments are valid, as in EDM.
    atom_stable : float
        Share of atoms whose bond orders, by the table, add up to the valence of the neutral element.
    stable : bool
        Whether all atoms are.
    fragments : int
        Number of connected parts.
    smiles : str or None
        Canonical SMILES of the largest fragment, without stereo; None if not valid. What the literature's measures
        compare; `structure` is what a chemist would write.
    whole : bool
        Whether there is one fragment.
    formula : str
        All atoms in Hill's order, without charge.
    atoms : int
        Number of atoms, hydrogens included.
    sound : bool
        Whether it is one molecule without radicals, formal charges and clashes, by the table or else by the table's
        bonds with RDKit's orders (`closed_shell`).
    perceived : str or None
        Canonical SMILES by that perception, where the table alone would call it unsound.
    clash : bool
        Whether two atoms are nearer than atoms of molecules are (`stability.clashing`).
    charged : bool
        Whether an atom has a formal charge: guide and evaluator know none.
    """

    valid: bool
    atom_stable: float
    stable: bool
    fragments: int
    smiles: str | None
    whole: bool
    formula: str
    atoms: int
    sound: bool
    perceived: str | None = None
    clash: bool = False
    charged: bool = False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before using it, in a few words each."""
        said = []
        if not self.sound:
            said += ["not valid"] * (not self.valid) + ["unstable"] * (not self.stable)
            said += [f"{self.fragments} fragments"] * (not self.whole) + ["atoms too close"] * self.clash
        return (*said, *["charged"] * self.charged)

    @property
    def structure(self) -> str | None:
        """The SMILES that a chemist would write: the perceived one where there is one."""
        return self.perceived or self.smiles


def bonded(m: Molecule, *, charges: bool = True) -> Mol:
    """The molecule with its own bonds, else those of the distance table, and one conformer, not sanitised.

    Atoms get no implicit hydrogens: an atom that lacks bonds is a radical.

    Parameters
    ----------
    m : Molecule
        Of any size, elements H C N O F.
    charges : bool
        Whether atoms carry their formal charges; EDM and its successors leave them out.
    """
    return _bonded(m, bond_orders(batch_of([m], len(m)))[0], charges=charges)


def _bonded(m: Molecule, orders: torch.Tensor, *, charges: bool) -> Mol:
    chem = need("rdkit.Chem", EXTRA)
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
    chem = need("rdkit.Chem", EXTRA)
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


def _sanitised(mol: Mol) -> Mol | None:
    """A sanitised copy, or None where RDKit refuses."""
    chem = need("rdkit.Chem", EXTRA)
    copy: Mol = chem.Mol(mol)
    try:
        with need("rdkit.rdBase", EXTRA).BlockLogs():
            chem.SanitizeMol(copy)
    except ValueError:  # KekulizeException and AtomValenceException are ValueErrors
        return None
    return copy


def perceived(m: Molecule) -> Mol | None:
    """The molecule as a chemist would draw it, sanitised; for depiction and comparison, not for measures.

    Its own bonds if it has any that sanitise; else the distance table's, if without radicals; else `closed_shell`;
    else RDKit's perception with the total charge of `m`, tried up to `PERCEIVED_ATOMS` atoms; else the table's with
    radicals; else None.
    """
    table = _sanitised(bonded(m))
    paired = table is not None and not any(a.GetNumRadicalElectrons() for a in table.GetAtoms())
    if table is not None and (paired or m.bonds is not None):
        return table
    return closed_shell(m) or _determined(m) or table


def drawn(m: Molecule) -> Mol:
    """The molecule as a file shall have it: double bonds in place of aromatic ones, and its own formal charges.

    The bonds are those of `perceived`, where these need no other charges than the molecule's; else `bonded`'s.
    """
    chem = need("rdkit.Chem", EXTRA)
    mol = perceived(m)
    if mol is None or tuple(a.GetFormalCharge() for a in mol.GetAtoms()) != tuple(m.charges):
        return bonded(m)
    chem.Kekulize(mol, clearAromaticFlags=True)
    return mol


def _determined(m: Molecule) -> Mol | None:
    """Bonds and orders by RDKit, which knows no table but radii and valences, sanitised; None if nothing fits."""
    if len(m) > PERCEIVED_ATOMS:
        return None
    return _by_rdkit("DetermineBonds", _atoms(m, [0] * len(m)), m.charge)


def _by_rdkit(name: str, mol: Mol, charge: int) -> Mol | None:
    """What a function of RDKit's rdDetermineBonds (after Kim and Kim 2015) makes of a molecule, sanitised."""
    determine = getattr(need("rdkit.Chem.rdDetermineBonds", EXTRA), name)
    try:
        with need("rdkit.rdBase", EXTRA).BlockLogs():
            determine(mol, charge=charge, embedChiral=False, maxIterations=PERCEIVED_ITERATIONS)
    except (ValueError, RuntimeError):  # no assignment fits the charge, or too many were tried
        return None
    for atom in mol.GetAtoms():
        atom.SetNoImplicit(True)  # the hydrogens are all there: a lone C is no methane
    return _sanitised(mol)


def closed_shell(m: Molecule) -> Mol | None:
    """The table's bonds with RDKit's orders, if that is one molecule without formal charges and radicals; else None.

    The table's orders fail where bonds are between single and double, as in benzene. Which atoms are bonded it
    decides here too: RDKit's own bonds are up to 1.3 times as long as the sum of covalent radii, and broken molecules
    would pass.

    >>> angle = np.arange(6) * np.pi / 3
    >>> ring = np.stack([np.cos(angle), np.sin(angle), 0 * angle], 1)
    >>> benzene = Molecule(("C",) * 6 + ("H",) * 6, np.concatenate([1.395 * ring, 2.48 * ring]), (0,) * 12)
    >>> smiles(closed_shell(benzene))
    'c1ccccc1'
    """
    chem = need("rdkit.Chem", EXTRA)
    if any(m.charges) or len(m) > PERCEIVED_ATOMS:
        return None
    batch = batch_of([m], len(m))
    mol = None if bool(clashing(batch)[0]) else _ordered(m, bond_orders(batch)[0])
    if mol is None or len(chem.GetMolFrags(mol)) > 1:
        return None
    plain = all(a.GetFormalCharge() == 0 and a.GetNumRadicalElectrons() == 0 for a in mol.GetAtoms())
    return mol if plain and _short_enough(mol) else None


def _short_enough(mol: Mol) -> bool:
    """Whether no bond is longer than the table's limit of its order by more than `CONJUGATED`."""
    chem = need("rdkit.Chem", EXTRA)
    mol, places = chem.Mol(mol), mol.GetConformer().GetPositions()
    chem.Kekulize(mol, clearAromaticFlags=True)
    for b in mol.GetBonds():
        i, j = b.GetBeginAtomIdx(), b.GetEndAtomIdx()
        kinds = (ELEMENTS.index(mol.GetAtomWithIdx(k).GetSymbol()) for k in (i, j))
        limit = LIMITS[(int(b.GetBondTypeAsDouble()) - 1, *kinds)]
        if np.linalg.norm(places[i] - places[j]) > float(limit) + CONJUGATED:
            return False
    return True


def _ordered(m: Molecule, bonds: torch.Tensor) -> Mol | None:
    """The molecule with these bonds, their orders by RDKit, sanitised; None if no orders fit."""
    chem = need("rdkit.Chem", EXTRA)
    mol = _atoms(m, [0] * len(m))
    for i, j in bonds.triu().nonzero().tolist():
        mol.AddBond(i, j, chem.BondType.SINGLE)
    return _by_rdkit("DetermineBondOrders", mol, m.charge)


def sound(m: Rounded) -> torch.Tensor:
    """Whether each is one molecule without radicals, formal charges and clashes, `[b]`: by table or `closed_shell`.

    Zwitterions such as nitro groups are not: with charges at hand, perception explains what is merely broken. The
    table alone would refuse benzene and a fifth of QM9's aromatic molecules. Without RDKit it decides alone.
    """
    good = sound_by_table(m)
    if find_spec("rdkit") is None:
        return good
    left = torch.nonzero(~good & torch.isfinite(m.positions).all((1, 2))).flatten()
    for i, molecule in zip(left.tolist(), molecules_of(m.select(left)), strict=True):
        good[i] = closed_shell(molecule) is not None
    return good


def smiles(mol: Mol) -> str:
    """Canonical SMILES of a sanitised molecule, hydrogens implied where they can be.

    >>> from rdkit import Chem
    >>> smiles(Chem.AddHs(Chem.MolFromSmiles("OC")))
    'CO'
    """
    chem = need("rdkit.Chem", EXTRA)
    with need("rdkit.rdBase", EXTRA).BlockLogs():
        return str(chem.MolToSmiles(chem.RemoveHs(mol, sanitize=False)))


def examine(batch: Rounded | Sequence[Molecule], *, charges: bool = True) -> list[Chemistry]:
    """The chemistry of each molecule: stability by the distance table; validity and SMILES by its own bonds, if any.

    Parameters
    ----------
    batch : Rounded or sequence of Molecule
        Molecules of H, C, N, O, F; as a sequence, of any size.
    charges : bool
        Whether validity and SMILES respect formal charges. False is EDM's convention, in which an ammonium
        nitrogen is invalid; published validities are of that kind.

    Examples
    --------
    >>> water = Molecule(("O", "H", "H"), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0))
    >>> examine([water])[0].smiles
    'O'
    """
    if not len(batch):
        return []
    given = None if isinstance(batch, Rounded) else batch
    if not isinstance(batch, Rounded):
        batch = batch_of(batch, max(len(m) for m in batch))
    out = []
    for start in range(0, len(batch), CHUNK):
        index = slice(start, start + CHUNK)
        part = Rounded(
            batch.positions[index].cpu(),
            batch.types[index].cpu(),
            batch.charges[index].cpu(),
            batch.mask[index].cpu(),
        )
        shares, good, near = stability(part)[0], sound_by_table(part), clashing(part)
        for m, orders, mask, share, by_table, clash in zip(
            given[index] if given else molecules_of(part),
            bond_orders(part),
            part.mask,
            shares.tolist(),
            good.tolist(),
            near.tolist(),
            strict=True,
        ):
            mol = _bonded(m, orders[mask][:, mask], charges=charges)
            found = None if by_table else closed_shell(m)
            judged = _chemistry(mol, share, found, sound=by_table)
            out.append(replace(judged, clash=clash, charged=any(m.charges)))
    return out


def _chemistry(mol: Mol, share: float, perceived: Mol | None, *, sound: bool) -> Chemistry:
    chem = need("rdkit.Chem", EXTRA)
    fragments = len(chem.GetMolFrags(mol))
    text = None
    sane = _sanitised(mol)
    if sane is not None:
        parts = chem.GetMolFrags(sane, asMols=True, sanitizeFrags=False)
        text = smiles(max(parts, key=lambda part: part.GetNumAtoms()))  # the first of equals, as EDM
    return Chemistry(
        valid=sane is not None,
        atom_stable=share,
        stable=share == 1,
        fragments=fragments,
        smiles=text,
        whole=fragments == 1,
        formula=hill(Counter(a.GetSymbol() for a in mol.GetAtoms())),
        atoms=mol.GetNumAtoms(),
        sound=sound or perceived is not None,
        perceived=None if perceived is None else smiles(perceived),
    )


def summary(found: Sequence[Chemistry], known_smiles: Collection[str] | None = None) -> dict[str, float]:
    """The field's measures of a set of molecules, each a share in [0, 1]; of an empty set a share is 0.

    - `atom_stable`: stable atoms, of all atoms
    - `molecule_stable`: molecules all of whose atoms are stable, of all
    - `valid`: molecules that RDKit sanitises, of all
    - `unique`: distinct SMILES of the largest fragments, of the valid molecules
    - `novel`: distinct SMILES not in `known_smiles`, of the distinct ones; absent without `known_smiles`
    - `single_fragment`: connected molecules, of all
    - `valid_and_unique`: distinct SMILES, of all: valid x unique

    Parameters
    ----------
    found : sequence of Chemistry
        From `examine`, at least one.
    known_smiles : collection of str, optional
        SMILES of the training set, written by `examine` or by RDKit's canonical writer without stereo.
    """
    if not found:
        raise Misuse("There are no molecules to summarise.", "Give at least one.")
    valid = [c.smiles for c in found if c.smiles is not None]
    distinct = set(valid)
    out = {
        "atom_stable": sum(c.atom_stable * c.atoms for c in found) / sum(c.atoms for c in found),
        "molecule_stable": sum(c.stable for c in found) / len(found),
        "valid": len(valid) / len(found),
        "unique": len(distinct) / max(len(valid), 1),
        "single_fragment": sum(c.whole for c in found) / len(found),
        "valid_and_unique": len(distinct) / len(found),
    }
    if known_smiles is not None:
        out["novel"] = len(distinct - set(known_smiles)) / max(len(distinct), 1)
    return out


def duplicates(found: Sequence[str | None]) -> list[int | None]:
    """For each SMILES the index of the first equal one before it; None for new ones and for None.

    >>> duplicates(["C", "O", "C", None, None, "C"])
    [None, None, 0, None, None, 0]
    """
    first: dict[str, int] = {}
    out: list[int | None] = []
    for i, text in enumerate(found):
        seen = i if text is None else first.setdefault(text, i)
        out.append(seen if seen < i else None)
    return out


def posebusters_pass(molecules: Iterable[Molecule]) -> list[dict[str, bool]]:
    """PoseBusters' checks of single molecules (its configuration "mol"), and `pass`, whether all of them hold.

    Each molecule is judged as `perceived` sees it, else with the bonds of the table. A check that could not be run
    counts as failed. About 0.2 s a molecule: the energy check embeds 50 conformers. That check compares with
    the mean energy of the ensemble, which is near 0 for tiny rigid molecules: HCN and CO2 fail it.

    Raises
    ------
    Misuse
        The extra is not installed: `pip install headwater[posebusters]`.
    """
    judge = need("posebusters", "posebusters").PoseBusters(config="mol", max_workers=0)
    out = []
    for m in molecules:
        mol = perceived(m) or bonded(m)
        with _quiet():
            row = judge.bust(mol).iloc[0]
        checks = {
            str(name): bool(held) for name, held in row.isin([True]).items()
        }  # a missing value is not in
        out.append({**checks, "pass": all(checks.values())})
    return out


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence PoseBusters: a failed check is a result, not a warning.

    It sends RDKit's messages to Python's logger, switches them on by itself and reads some of them, so only
    the handler that prints them is shut.
    """
    handler, logger = need("rdkit", EXTRA).log_handler, logging.getLogger("posebusters")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    handler.addFilter(_nothing)
    try:
        yield
    finally:
        handler.removeFilter(_nothing)
        logger.setLevel(level)


def _nothing(_: logging.LogRecord) -> bool:
    return False
