"""`Molecule`: one molecule as files and chemistry see it; and the way to and from a batch of states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.errors import Misuse
from headwater.molecule.structure.elements import ELEMENTS, MAX_ATOMS
from headwater.molecule.structure.state import MoleculeBatch, atom_mask, centre


@dataclass(frozen=True)
class Molecule:
    """Atoms with definite elements and their places.

    Parameters
    ----------
    symbols
        The elements; the models know H, C, N, O and F.
    positions
        `[n, 3]`, angstrom.
    charges
        Formal charges, one for each atom.
    name
        It travels with the molecule through files.
    data
        Tags with their text or number, which travel with it, too.
    bonds
        Those that a file states, as (atom, atom, order 1 to 3), atoms counted from 0; None: the distances say it.

    Raises
    ------
    Misuse
        Symbols, positions and charges are not of the same atoms, or a bond is not between two of them.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0), name="water")
    >>> len(water), water.charge
    (3, 0)
    """

    symbols: tuple[str, ...]
    positions: NDArray[np.float64]
    charges: tuple[int, ...]
    name: str = ""
    data: dict[str, str | float | int] = field(default_factory=dict)
    bonds: tuple[tuple[int, int, int], ...] | None = None

    def __post_init__(self) -> None:
        n, found = len(self.symbols), np.shape(self.positions)
        if found != (n, 3) or len(self.charges) != n:
            raise Misuse(
                f"{n} symbols, positions {list(found)} and {len(self.charges)} charges are not of the same atoms.",
                "Give n symbols, positions [n, 3] in angstrom and n formal charges.",
            )
        for i, j, order in self.bonds or ():
            if i == j or not (0 <= i < n and 0 <= j < n and order in (1, 2, 3)):
                raise Misuse(
                    f"The bond {(i, j, order)} is not between two of {n} atoms.",
                    "Give (atom, atom, order 1 to 3), atoms counted from 0.",
                )

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def charge(self) -> int:
        """The total charge."""
        return sum(self.charges)


def sort_atoms(m: Molecule) -> NDArray[np.int64]:
    """The atoms by element, then by x, y and z, `[n]`: an order that does not depend on the one they have.

    >>> sort_atoms(Molecule(("O", "H", "H"), np.array([[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0)))
    array([2, 1, 0])
    """
    return np.lexsort((*m.positions.T[::-1], np.array(m.symbols)))


def select_atoms(m: Molecule, rows: NDArray[np.int64]) -> Molecule:
    """The molecule of these atoms `[k]`, in this order, without bonds and data."""
    symbols, charges = (tuple(part[i] for i in rows) for part in (m.symbols, m.charges))
    return Molecule(symbols, m.positions[rows], charges, m.name)


def to_molecules(batch: MoleculeBatch) -> list[Molecule]:
    """The molecules of a batch, without its padding.

    Parameters
    ----------
    batch
        Positions `[b, n, 3]`, angstrom.

    Returns
    -------
    molecules
        Those of its rows, `b` of them, without names, data and bonds.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> hydrogen = hw.molecule.Molecule(("H", "H"), np.array([[0, 0, 0], [0.74, 0, 0]]), (0, 0))
    >>> hw.molecule.to_molecules(hw.molecule.to_batch([hydrogen]))[0].symbols
    ('H', 'H')
    """
    out = []
    for positions, types, charges, mask in zip(
        batch.positions, batch.types, batch.charges, batch.mask, strict=True
    ):
        symbols = tuple(ELEMENTS[i] for i in types[mask].tolist())
        out.append(Molecule(symbols, positions[mask].double().cpu().numpy(), tuple(charges[mask].tolist())))
    return out


def to_batch(molecules: Sequence[Molecule], length: int = MAX_ATOMS) -> MoleculeBatch:
    """Molecules side by side, padded to `length` atoms and centred.

    Parameters
    ----------
    molecules
        Of H, C, N, O and F.
    length
        Rows for each; by default 29, the size of the largest molecule of QM9.

    Returns
    -------
    batch
        Positions `[b, length, 3]`, angstrom, with zero mean over the atoms that exist.

    Raises
    ------
    Misuse
        A molecule has no atom, more than `length`, an element that is not one of `ELEMENTS`, or positions that are
        not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> hydrogen = hw.molecule.Molecule(("H", "H"), np.array([[0, 0, 0], [0.74, 0, 0]]), (0, 0))
    >>> batch = hw.molecule.to_batch([hydrogen])
    >>> batch.positions.shape, batch.mask.sum(1).tolist()
    (torch.Size([1, 29, 3]), [2])
    """
    for m in molecules:
        check_molecule(m, length)
    mask = atom_mask(torch.tensor([len(m) for m in molecules]), length)
    positions = torch.zeros(len(molecules), length, 3)
    types, charges = torch.zeros_like(mask, dtype=torch.long), torch.zeros_like(mask, dtype=torch.long)
    for i, m in enumerate(molecules):
        positions[i, : len(m)] = torch.from_numpy(np.asarray(m.positions)).float()
        types[i, : len(m)] = torch.tensor([ELEMENTS.index(s) for s in m.symbols])
        charges[i, : len(m)] = torch.tensor(m.charges)
    return MoleculeBatch(centre(positions, mask), types, charges, mask)


def has_coordinates(m: Molecule) -> bool:
    """Whether the atoms are somewhere: finite, and not all in one point."""
    return bool(np.isfinite(m.positions).all()) and (len(m) < 2 or bool(np.ptp(m.positions, axis=0).any()))


def check_molecule(m: Molecule, length: int = MAX_ATOMS) -> None:
    """Refuse a molecule that the models cannot hold."""
    name = f"The molecule {m.name!r}" if m.name else "The molecule"
    strange = sorted(set(m.symbols) - set(ELEMENTS))
    if strange:
        raise Misuse(f"{name} has the element {strange[0]}.", f"The models know {', '.join(ELEMENTS)} only.")
    if not 0 < len(m) <= length:
        raise Misuse(f"{name} has {len(m)} atoms.", f"Give 1 to {length}, hydrogens included.")
    if not np.isfinite(m.positions).all():
        raise Misuse(f"{name} has positions that are not finite.", "Give coordinates in angstrom.")


def check_positions(positions: NDArray[np.float64], what: str) -> None:
    """Refuse positions `[n, 3]` that are not finite or all zero; planar molecules are fine."""
    if not np.isfinite(positions).all():
        raise Misuse(f"{what} has coordinates that are not finite.", "Give coordinates in angstrom.")
    if len(positions) > 1 and not positions.any():
        raise Misuse(f"{what} has no coordinates: all are zero.", "Give a structure in three dimensions.")


def one_line(text: str) -> str:
    r"""Text with every run of white space as one space.

    >>> one_line("two\nlines")
    'two lines'
    """
    return " ".join(text.split())
