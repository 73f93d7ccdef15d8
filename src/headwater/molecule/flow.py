"""The generator as a `Flow` for molecules of given sizes: masked atoms, zero centre of mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flow import Flow
from headwater.molecule.elements import MAX_ATOMS
from headwater.molecule.state import KINDS, SHAPE, mask_of, project


@dataclass(frozen=True)
class Atoms:
    """The states of molecules whose rows `mask [b, 29]` exist: zero elsewhere, positions with zero mean.

    >>> Atoms(mask_of(torch.tensor([3]))).dimension   # 3 (n - 1) positions and 6 n types and charges
    tensor([24])
    """

    mask: Tensor

    @property
    def dimension(self) -> Tensor:
        """3 (n - 1) + 6 n, `[b]`."""
        n = self.mask.sum(1)
        return 3 * (n - 1) + (KINDS + 1) * n

    def project(self, x: Tensor) -> Tensor:
        return project(x, self.mask.to(x.device))

    def select(self, index: Tensor) -> Atoms:
        return Atoms(self.mask[index.to(self.mask.device)])


@dataclass(frozen=True)
class MoleculeVelocity:
    """The velocity of a network for molecules with these atoms; padding beyond the largest is not computed."""

    network: nn.Module
    mask: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        n = int(self.mask.sum(1).max())
        mask = self.mask[:, :n].to(x.device)
        v: Tensor = self.network(x[:, :n], t.to(x.dtype), mask)
        return torch.nn.functional.pad(v, (0, 0, 0, x.shape[1] - n))

    def select(self, index: Tensor) -> MoleculeVelocity:
        return MoleculeVelocity(self.network, self.mask[index.to(self.mask.device)])


def molecule_flow(network: nn.Module, atoms: Sequence[int] | Tensor) -> Flow:
    """The flow of molecules with so many atoms each, one problem per entry; events have shape (29, 9).

    Raises
    ------
    Misuse
        If a number of atoms is below 2 or above 29.
    """
    counts = torch.as_tensor(atoms)
    if not len(counts) or not bool(((counts >= 2) & (counts <= MAX_ATOMS)).all()):
        raise Misuse(
            f"Molecules of {counts.tolist()} atoms cannot be generated.", f"Give 2 to {MAX_ATOMS} atoms each."
        )
    mask = mask_of(counts)
    return Flow(MoleculeVelocity(network, mask), SHAPE, support=Atoms(mask))


@dataclass(frozen=True)
class Renormalised:
    """x0 with each kind of feature scaled to the norm that noise has: a shell for positions, types and charges.

    D-Flow renormalises the source per feature after its steps (sec. 5.4); as a map from the optimised variable to x0
    it is part of what is differentiated, so the line search sees it.
    """

    mask: Tensor

    def select(self, index: Tensor) -> Renormalised:
        return Renormalised(self.mask[index])

    def __call__(self, z: Tensor) -> Tensor:
        n = self.mask.sum(1)
        x = project(z, self.mask)
        parts = []
        for part, dimension in ((x[..., :3], 3 * (n - 1)), (x[..., 3:-1], KINDS * n), (x[..., -1:], n)):
            norm = part.flatten(1).norm(dim=1).clamp(min=1e-12)
            parts.append(part * (dimension.to(x).sqrt() / norm)[:, None, None])
        return torch.cat(parts, dim=-1)
