"""Bonds by distance and the stability of atoms and molecules, as the field measures it.

Bond lengths and margins are those of EDM (Hoogeboom et al., ICML 2022, appendix, tables of typical bond lengths):
an atom is stable if its bond orders add up to its valence, a molecule if all its atoms are. A sound molecule is more:
in one part, without charges, and with no atoms nearer than atoms are (`has_clash`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.state import MoleculeBatch

VALENCE = {"H": 1, "C": 4, "N": 3, "O": 2, "F": 1}
SINGLE = {
    "HH": 74, "HC": 109, "HN": 101, "HO": 96, "HF": 92, "CC": 154, "CN": 147, "CO": 143, "CF": 135,
    "NN": 145, "NO": 140, "NF": 136, "OO": 148, "OF": 142, "FF": 142,
}  # fmt: skip
DOUBLE = {"CC": 134, "CN": 129, "CO": 120, "NN": 125, "NO": 121, "OO": 121}
TRIPLE = {"CC": 120, "CN": 116, "CO": 113, "NN": 110}
"""Typical lengths in pm, pairs in the order of `ELEMENTS`."""
MARGINS = (10, 5, 3)
"""How much longer than typical a single, double, triple bond may be, pm."""


def _limits() -> Tensor:
    """The largest distance of each bond order, `[3, 5, 5]`, angstrom; 0 where there is none."""
    limit = torch.zeros(3, 5, 5, dtype=torch.float64)
    for k, (table, margin) in enumerate(zip((SINGLE, DOUBLE, TRIPLE), MARGINS, strict=True)):
        for pair, length in table.items():
            i, j = (ELEMENTS.index(e) for e in pair)
            limit[k, i, j] = limit[k, j, i] = (length + margin) / 100
    return limit


LIMITS = _limits()


@dataclass(frozen=True)
class ClashLimits:
    """How near atoms of molecules can be.

    In 10,000 molecules of QM9 the nearest atoms without a bond are at 1.60 (two hydrogens), 1.67 (a hydrogen and
    another) and, but for bonds that the table is too narrow for, 1.76 angstrom (two others).

    Parameters
    ----------
    shortest
        No bond is shorter than this times the shortest typical one of its elements.
    hydrogens, hydrogen, others
        No two atoms without a bond are nearer, angstrom: two hydrogens, a hydrogen and another, two others.
    """

    shortest: float = 0.9
    hydrogens: float = 1.4
    hydrogen: float = 1.5
    others: float = 1.7

    def distances(self) -> tuple[Tensor, Tensor]:
        """The least distance of bonded and of other atoms by element, `[5, 5]` each, angstrom."""
        typical = LIMITS - torch.tensor(MARGINS).double()[:, None, None] / 100
        bonded = self.shortest * typical.where(LIMITS > 0, torch.inf).amin(0)
        apart = torch.full((5, 5), self.others, dtype=torch.float64)
        apart[0, :] = apart[:, 0] = self.hydrogen
        apart[0, 0] = self.hydrogens
        return bonded, apart


@lru_cache(maxsize=1)
def _clash_distances(limits: ClashLimits) -> tuple[Tensor, Tensor]:
    return limits.distances()


def bond_orders(m: MoleculeBatch) -> Tensor:
    """Bond orders 0 to 3 between all atoms by distance, `[b, n, n]`, by the table of EDM (Hoogeboom et al. 2022)."""
    distance = torch.cdist(m.positions.double(), m.positions.double())
    limits = LIMITS[:, m.types[:, :, None], m.types[:, None]]
    near = distance < limits
    order = torch.where(
        near[0], 1 + (near[1].long() * (1 + near[2].long())), 0
    )  # a triple bond is also double
    both = m.mask[:, :, None] & m.mask[:, None] & ~torch.eye(m.mask.shape[1], dtype=torch.bool)
    return order * both


def has_valence(m: MoleculeBatch) -> Tensor:
    """Which atoms have exactly their valence, `[b, n]`; False where there is no atom."""
    valence = torch.tensor([VALENCE[e] for e in ELEMENTS])
    return (bond_orders(m).sum(-1) == valence[m.types]) & m.mask


def stability(m: MoleculeBatch) -> tuple[Tensor, Tensor]:
    """The share of stable atoms and whether all are, `[b]` each."""
    stable = has_valence(m)
    return stable.sum(1) / m.mask.sum(1), (stable | ~m.mask).all(1)


def has_clash(m: MoleculeBatch) -> Tensor:
    """Whether two atoms are nearer than in any molecule, `[b]`: the table of bonds knows no shortest length.

    >>> pair = torch.tensor([[[0.0, 0, 0], [0.6, 0, 0]], [[0.0, 0, 0], [0.95, 0, 0]]])
    >>> types = torch.tensor([[0, 3], [0, 3]])
    >>> has_clash(MoleculeBatch(pair, types, 0 * types, types >= 0)).tolist()
    [True, False]
    """
    distance = torch.cdist(m.positions.double(), m.positions.double())
    bonded, apart = (
        least[m.types[:, :, None], m.types[:, None]] for least in _clash_distances(ClashLimits())
    )
    both = m.mask[:, :, None] & m.mask[:, None] & ~torch.eye(m.mask.shape[1], dtype=torch.bool)
    near = distance < torch.where(bond_orders(m) > 0, bonded, apart)
    return (near & both).flatten(1).any(1)


def is_sound_by_table(m: MoleculeBatch) -> Tensor:
    """Whether it is a molecule by the table: all atoms stable, one fragment, no charges, no clash, `[b]`.

    Stable atoms of the table have their neutral valences, so a formal charge would contradict them.
    """
    bonds = bond_orders(m) > 0
    reached = torch.zeros_like(m.mask)
    reached[:, 0] = m.mask[:, 0]
    for _ in range(m.mask.shape[1]):
        reached = reached | (bonds & reached[:, None]).any(-1)
    whole = (reached | ~m.mask).all(1)
    return stability(m)[1] & whole & ((m.charges == 0) | ~m.mask).all(1) & ~has_clash(m)
