"""Validity, stability and identity of molecules given as atoms in space, and the field's measures of many.

The bonds are those of EDM's distance table (`stability.bond_orders`), or of the file that a molecule comes from.
Where that table is too narrow, as for benzene, `is_sound` falls back on RDKit's orders (`perception.closed_shell`).
Measures of quality (`summarise`) do not, so they compare with the figures of the literature.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import (
    EXTRA,
    isomeric_smiles,
    perceive_closed_shell,
    sanitise,
    smiles,
    to_rdkit_with_orders,
)
from headwater.molecule.chemistry.stability import bond_orders, has_clash, is_sound_by_table, stability
from headwater.molecule.structure.formula import hill_formula
from headwater.molecule.structure.molecule import Molecule, to_batch, to_molecules
from headwater.molecule.structure.state import MoleculeBatch

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True)
class Chemistry:
    """What one molecule is, by the distance table, or where it has bonds of its own (from a file) by these.

    `headwater.molecule.chemistry.soundness.examine` makes one for each molecule of a batch.

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
        bonds with RDKit's orders (`perceive_closed_shell`).
    perceived : str or None
        Canonical SMILES by that perception, where the table alone would call it unsound.
    clash : bool
        Whether two atoms are nearer than atoms of molecules are (`stability.has_clash`).
    charged : bool
        Whether an atom has a formal charge: guide and evaluator know none.
    sound_by_table : bool
        Whether it is sound by the table alone.
    sound_by_rdkit : bool
        Whether it is sound by the table's bonds with RDKit's orders.
    isomeric : str or None
        Canonical SMILES with the stereochemistry of the positions.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> from headwater.molecule.chemistry.soundness import examine
    >>> radical = hw.molecule.Molecule(("O", "H"), np.array([[0, 0, 0], [0.96, 0, 0]]), (0, 0))  # [n, 3], angstrom
    >>> (found,) = examine([radical])
    >>> found.formula, found.valid, found.sound, found.notes
    ('HO', True, False, ('open valences',))
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
    sound_by_table: bool = False
    sound_by_rdkit: bool = False
    isomeric: str | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before using it, in a few words each."""
        said = []
        if not self.sound:
            said += ["wrong valences"] * (not self.valid)
            said += ["open valences"] * (self.valid and not self.stable and not self.charged)
            said += [f"{self.fragments} fragments"] * (not self.whole) + ["atoms too close"] * self.clash
        return (*said, *["charged"] * self.charged)

    @property
    def structure(self) -> str | None:
        """The SMILES that a chemist would write, with stereo, and the perceived one where there is one."""
        return self.isomeric or self.perceived or self.smiles


def is_sound(m: MoleculeBatch) -> torch.Tensor:
    """Whether each is one molecule without radicals, formal charges and clashes.

    A table of distances decides, or else RDKit's bond orders on the bonds of the table (`perceive_closed_shell`).

    Zwitterions such as nitro groups are not: with charges at hand, perception explains what is merely broken. The
    table alone would refuse benzene and a fifth of QM9's aromatic molecules. Without RDKit it decides alone.

    Parameters
    ----------
    m
        Molecules of H, C, N, O, F: positions `[b, n, 3]`, angstrom.

    Returns
    -------
    sound
        Bool `[b]`.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0))
    >>> radical = hw.molecule.Molecule(("O", "H"), np.array([[0, 0, 0], [0.96, 0, 0]]), (0, 0))
    >>> hw.molecule.is_sound(hw.molecule.to_batch([water, radical])).tolist()
    [True, False]
    """
    good = is_sound_by_table(m)
    if find_spec("rdkit") is None:
        return good
    left = torch.nonzero(~good & torch.isfinite(m.positions).all((1, 2))).flatten()
    for i, molecule in zip(left.tolist(), to_molecules(m.select(left)), strict=True):
        good[i] = perceive_closed_shell(molecule) is not None
    return good


def examine(
    batch: MoleculeBatch | Sequence[Molecule], *, charges: bool = True, at_once: int = 512
) -> list[Chemistry]:
    """The chemistry of each molecule: stability by the distance table; validity and SMILES by its own bonds, if any.

    Parameters
    ----------
    batch : MoleculeBatch or sequence of Molecule
        Molecules of H, C, N, O, F; as a sequence, of any size.
    charges : bool
        Whether validity and SMILES respect formal charges. False is EDM's convention, in which an ammonium
        nitrogen is invalid; published validities are of that kind.
    at_once : int
        Molecules examined at once: bounds the memory of the distances, changes no result.

    Returns
    -------
    found
        One `Chemistry` for each.

    Raises
    ------
    Misuse
        A molecule has no atom, other elements or positions that are not finite; `at_once` is below 1; or RDKit is
        not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0))
    >>> [what.structure for what in hw.molecule.examine([water])]
    ['O']
    """
    if at_once < 1:
        raise Misuse(f"{at_once} molecules cannot be examined at once.", "Give at least 1.")
    if not len(batch):
        return []
    given = None if isinstance(batch, MoleculeBatch) else batch
    if not isinstance(batch, MoleculeBatch):
        batch = to_batch(batch, max(len(m) for m in batch))
    out = []
    for start in range(0, len(batch), at_once):
        index = slice(start, start + at_once)
        part = MoleculeBatch(
            batch.positions[index].cpu(),
            batch.types[index].cpu(),
            batch.charges[index].cpu(),
            batch.mask[index].cpu(),
        )
        shares, good, near = stability(part)[0], is_sound_by_table(part), has_clash(part)
        for m, orders, mask, share, by_table, clash in zip(
            given[index] if given else to_molecules(part),
            bond_orders(part),
            part.mask,
            shares.tolist(),
            good.tolist(),
            near.tolist(),
            strict=True,
        ):
            mol = to_rdkit_with_orders(m, orders[mask][:, mask], charges=charges)
            judged = _chemistry(mol, share, perceive_closed_shell(m), by_table=by_table)
            out.append(replace(judged, clash=clash, charged=any(m.charges)))
    return out


def _chemistry(mol: Mol, share: float, perceived: Mol | None, *, by_table: bool) -> Chemistry:
    chem = import_optional("rdkit.Chem", EXTRA)
    fragments = len(chem.GetMolFrags(mol))
    sane = sanitise(mol)
    largest = None
    if sane is not None:
        parts = chem.GetMolFrags(sane, asMols=True, sanitizeFrags=False)
        largest = max(parts, key=lambda part: part.GetNumAtoms())  # the first of equals, as EDM
    drawn = largest if by_table or perceived is None else perceived
    return Chemistry(
        valid=sane is not None,
        atom_stable=share,
        stable=share == 1,
        fragments=fragments,
        smiles=None if largest is None else smiles(largest),
        whole=fragments == 1,
        formula=hill_formula(Counter(a.GetSymbol() for a in mol.GetAtoms())),
        atoms=mol.GetNumAtoms(),
        sound=by_table or perceived is not None,
        sound_by_table=by_table,
        sound_by_rdkit=perceived is not None,
        perceived=None if by_table or perceived is None else smiles(perceived),
        isomeric=None if drawn is None else isomeric_smiles(drawn),
    )


def summarise(found: Sequence[Chemistry], known_smiles: Collection[str] | None = None) -> dict[str, float]:
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


def find_duplicates(found: Sequence[str | None]) -> list[int | None]:
    """For each SMILES the index of the first equal one before it; None for new ones and for None.

    >>> find_duplicates(["C", "O", "C", None, None, "C"])
    [None, None, 0, None, None, 0]
    """
    first: dict[str, int] = {}
    out: list[int | None] = []
    for i, text in enumerate(found):
        seen = i if text is None else first.setdefault(text, i)
        out.append(seen if seen < i else None)
    return out
