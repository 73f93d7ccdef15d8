"""The generator as a `Flow` for molecules of given sizes: masked atoms, zero centre of mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.prediction import Velocity
from headwater.flows.watched import Check, WatchedVelocity
from headwater.molecule.model.models import find_device
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.groups import group_by_size, ungroup
from headwater.molecule.structure.state import KINDS, SHAPE, atom_mask, project
from headwater.molecule.targets.conditioned import ConditionedVelocity, KnownPart


@dataclass(frozen=True)
class MoleculeSupport:
    """The states of molecules whose rows `mask [b, 29]` exist: zero elsewhere, positions with zero mean.

    >>> MoleculeSupport(atom_mask(torch.tensor([3]))).dimension   # 3 (n - 1) positions and 6 n types and charges
    tensor([24])
    """

    mask: Tensor

    @property
    def dimension(self) -> Tensor:
        """3 (n - 1) + 6 n, `[b]`."""
        n = self.mask.sum(1)
        return 3 * (n - 1) + (KINDS + 1) * n

    def project(self, x: Tensor) -> Tensor:
        """The nearest state of molecules of these sizes, `[b, 29, 9]`."""
        return project(x, self.mask.to(x.device))

    def select(self, index: Tensor) -> MoleculeSupport:
        """The sizes of the molecules in `index`."""
        return MoleculeSupport(self.mask[index.to(self.mask.device)])


@dataclass(frozen=True)
class MoleculeVelocity:
    """The velocity of a network for molecules with the atoms `mask [b, 29]`.

    Padding beyond the largest molecule is not computed. States stay where they are (they are small); only the
    network's inputs go to the network's device.
    """

    network: nn.Module
    mask: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        there = find_device(self.network, x.device)
        groups, t = group_by_size(self.mask, there), t.to(x.dtype).expand(len(x))
        parts = [self._evaluate(x[i, :n], t[i], self.mask[i, :n], there, x.shape[1]) for i, n in groups]
        return ungroup(parts, groups)

    def _evaluate(self, x: Tensor, t: Tensor, mask: Tensor, there: torch.device, length: int) -> Tensor:
        v: Tensor = self.network(x.to(there), t.to(there), mask.to(there))
        return torch.nn.functional.pad(v.to(x.device), (0, 0, 0, length - x.shape[1]))

    def select(self, index: Tensor) -> MoleculeVelocity:
        """The velocity of the molecules in `index`."""
        return MoleculeVelocity(self.network, self.mask[index.to(self.mask.device)])


def molecule_flow(
    network: nn.Module,
    atoms: Sequence[int] | Tensor,
    known: KnownPart | None = None,
    check: Check | None = None,
) -> Flow:
    """The flow of molecules of given sizes, one problem each; events have shape (29, 9).

    Parameters
    ----------
    network
        A `Generator`, or any network(x `[b, n, 9]`, t `[b]`, mask `[b, n]`) that returns a velocity like x.
    atoms
        The number of atoms of each molecule, `[b]`.
    known
        What each molecule is to have; the flow leads to it exactly.
    check
        Asked before every evaluation of the network, see `watch_flow`.

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
    mask = atom_mask(counts)
    velocity: Velocity = MoleculeVelocity(network, mask)
    if check is not None:
        velocity = WatchedVelocity(velocity, check)
    conditioned = velocity if known is None else ConditionedVelocity(velocity, known)
    return Flow(conditioned, SHAPE, support=MoleculeSupport(mask))


@dataclass(frozen=True)
class FeatureShell:
    """x0 with each kind of feature scaled to the norm that noise has: a shell for positions, types and charges.

    D-Flow renormalises the source per feature after its steps (sec. 5.4). As a map from the optimised variable
    z `[b, 29, 9]` to x0 it is part of what is differentiated, so the line search sees it.
    """

    mask: Tensor

    def select(self, index: Tensor) -> FeatureShell:
        """The constraint of the molecules in `index`."""
        return FeatureShell(self.mask[index])

    def __call__(self, z: Tensor) -> Tensor:
        n = self.mask.sum(1)
        x = project(z, self.mask)
        parts = []
        for part, dimension in ((x[..., :3], 3 * (n - 1)), (x[..., 3:-1], KINDS * n), (x[..., -1:], n)):
            norm = part.flatten(1).norm(dim=1).clamp(min=1e-12)
            parts.append(part * (dimension.to(x).sqrt() / norm)[:, None, None])
        return torch.cat(parts, dim=-1)
