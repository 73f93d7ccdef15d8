"""The generator as a `Flow` for molecules of given sizes: masked atoms, zero centre of mass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.molecule.model.models import device_of
from headwater.molecule.structure.elements import MAX_ATOMS
from headwater.molecule.structure.state import KINDS, SHAPE, alike, back, mask_of, project


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
        """The nearest state of molecules of these sizes."""
        return project(x, self.mask.to(x.device))

    def select(self, index: Tensor) -> Atoms:
        """The sizes of the molecules in `index`."""
        return Atoms(self.mask[index.to(self.mask.device)])


@dataclass(frozen=True)
class MoleculeVelocity:
    """The velocity of a network for molecules with these atoms; padding beyond the largest is not computed.

    States stay where they are (they are small); only the network's inputs go to the network's device.
    """

    network: nn.Module
    mask: Tensor

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        there = device_of(self.network, x.device)
        groups, t = alike(self.mask, there), t.to(x.dtype).expand(len(x))
        return back(
            [self._of(x[i, :n], t[i], self.mask[i, :n], there, x.shape[1]) for i, n in groups], groups
        )

    def _of(self, x: Tensor, t: Tensor, mask: Tensor, there: torch.device, length: int) -> Tensor:
        v: Tensor = self.network(x.to(there), t.to(there), mask.to(there))
        return torch.nn.functional.pad(v.to(x.device), (0, 0, 0, length - x.shape[1]))

    def select(self, index: Tensor) -> MoleculeVelocity:
        """The velocity of the molecules in `index`."""
        return MoleculeVelocity(self.network, self.mask[index.to(self.mask.device)])


@dataclass(frozen=True)
class Known:
    """What is given of a molecule: `y = A(state)`, with A the part that is known.

    `placed [b, n]` atoms have known positions relative to each other (their mean is removed, since the place of a
    fragment in the whole molecule is open); `typed [b, n]` have known types and charges. A is a masked, centred
    crop: an orthogonal projection, so it is its own adjoint and pseudo-inverse.
    """

    y: Tensor
    placed: Tensor
    typed: Tensor

    @classmethod
    def of(cls, state: Tensor, placed: Tensor, typed: Tensor) -> Known:
        """The known part of a state."""
        blank = cls(torch.zeros_like(state), placed, typed)
        return cls(blank.part(state), placed, typed)

    def select(self, index: Tensor) -> Known:
        """What is known of the molecules in `index`."""
        return Known(self.y[index], self.placed[index], self.typed[index])

    def part(self, x: Tensor) -> Tensor:
        """A x, shape as x."""
        keep = self.placed[..., None].to(x)
        mean = (x[..., :3] * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True).clamp(min=1)
        return torch.cat([(x[..., :3] - mean) * keep, x[..., 3:] * self.typed[..., None]], dim=-1)


@dataclass(frozen=True)
class Held:
    """A velocity that leads to the known part: v' = v - A v + (y - A x) / (1 - t).

    That is the velocity of the denoiser xhat' = xhat - A xhat + y, which replaces what is known (the range-null
    space decomposition of DDNM, Wang et al., ICLR 2023, for a projection A). Every Runge-Kutta step to t = 1 of
    Euler's or the midpoint method ends at A x1 = y exactly, whatever x0 is; the rest is free for the control.
    """

    velocity: MoleculeVelocity
    known: Known

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v, k = self.velocity(x, t), self.known
        left = (1 - t).clamp(min=1e-5).to(x).reshape(-1, 1, 1)
        return v - k.part(v) + (k.y - k.part(x)) / left

    def select(self, index: Tensor) -> Held:
        """The velocity of the molecules in `index`."""
        return Held(self.velocity.select(index), self.known.select(index))


def molecule_flow(network: nn.Module, atoms: Sequence[int] | Tensor, known: Known | None = None) -> Flow:
    """The flow of molecules with so many atoms each, one problem per entry; events have shape (29, 9).

    With `known`, all of them have the known part.

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
    velocity = MoleculeVelocity(network, mask)
    return Flow(velocity if known is None else Held(velocity, known), SHAPE, support=Atoms(mask))


@dataclass(frozen=True)
class Renormalised:
    """x0 with each kind of feature scaled to the norm that noise has: a shell for positions, types and charges.

    D-Flow renormalises the source per feature after its steps (sec. 5.4); as a map from the optimised variable to x0
    it is part of what is differentiated, so the line search sees it.
    """

    mask: Tensor

    def select(self, index: Tensor) -> Renormalised:
        """The constraint of the molecules in `index`."""
        return Renormalised(self.mask[index])

    def __call__(self, z: Tensor) -> Tensor:
        n = self.mask.sum(1)
        x = project(z, self.mask)
        parts = []
        for part, dimension in ((x[..., :3], 3 * (n - 1)), (x[..., 3:-1], KINDS * n), (x[..., -1:], n)):
            norm = part.flatten(1).norm(dim=1).clamp(min=1e-12)
            parts.append(part * (dimension.to(x).sqrt() / norm)[:, None, None])
        return torch.cat(parts, dim=-1)
