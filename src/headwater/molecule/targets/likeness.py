"""The original of an edit, and whether a molecule is like it without being the original itself."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.molecule.chemistry.similarity import compute_similarity, find_scaffold, remove_stereo
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.structure.molecule import Molecule, select_atoms, sort_atoms, to_batch, to_molecules
from headwater.molecule.structure.state import MoleculeBatch, encode_state


@dataclass(frozen=True)
class Likeness:
    """What molecules are to be like: an original, which is the same for all of a batch.

    Parameters
    ----------
    smiles
        The structure of the original.
    state
        Its state `[b, 29, 9]`, atoms sorted, so that their order in a file changes nothing.
    least
        The least Tanimoto similarity (`chemistry.similarity`).
    """

    smiles: str
    state: Tensor
    least: float

    @classmethod
    def to_original(cls, original: Molecule, count: int, least: float) -> Likeness:
        """The likeness of `count` molecules to an original.

        Raises
        ------
        Misuse
            The original is not sound, or RDKit is not installed.
        """
        m = to_batch([select_atoms(original, sort_atoms(original))])
        state = encode_state(m.positions, m.types, m.charges, m.mask)
        return cls(find_structure(original), state.expand(count, -1, -1), least)

    def select(self, index: Tensor) -> Likeness:
        """The likeness of the molecules in `index`, int64 or bool."""
        return replace(self, state=self.state[index])

    def similarity(self, m: MoleculeBatch) -> Tensor:
        """Tanimoto's similarity of definite molecules to the original, float64 `[b]`; NaN without a structure."""
        found = [self._compare(c.structure) for c in examine(to_molecules(m))]
        return torch.tensor([s for s, _ in found], dtype=torch.float64)

    def keeps_scaffold(self, m: MoleculeBatch) -> Tensor:
        """Which have the Murcko scaffold of the original, bool `[b]`; an original without a ring has an empty one."""
        own = find_scaffold(self.smiles)
        found = [
            c.structure is not None and find_scaffold(c.structure) == own for c in examine(to_molecules(m))
        ]
        return torch.tensor(found, dtype=torch.bool)

    def accepts(self, m: MoleculeBatch) -> Tensor:
        """Which are like the original, and not the original or a stereoisomer of it, bool `[b]`."""
        found = [self._compare(c.structure) for c in examine(to_molecules(m))]
        return torch.tensor([s >= self.least and not same for s, same in found], dtype=torch.bool)

    def _compare(self, structure: str | None) -> tuple[float, bool]:
        """The similarity of a structure, and whether it is the original's but for stereochemistry."""
        if structure is None:
            return float("nan"), False
        return compute_similarity(structure, self.smiles), remove_stereo(structure) == remove_stereo(
            self.smiles
        )


def find_structure(original: Molecule) -> str:
    """The SMILES of an original that can be edited.

    Raises
    ------
    Misuse
        It is not sound: broken, charged, or in several parts.
    """
    (c,) = examine([original])
    if not c.sound or c.structure is None:
        why = ", ".join(c.notes) or "no structure"
        raise Misuse(
            f"The original is not one sound molecule: {why}.", "Give a whole, neutral one with all hydrogens."
        )
    return c.structure
