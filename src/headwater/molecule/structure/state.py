"""A molecule as a point of the flow: positions, relaxed types and a formal charge per atom, in one tensor.

`x [batch, 29, 9]`: columns 0-2 the position in angstrom with zero mean over the atoms that exist, 3-7 the one-hot
type times `TYPE_SCALE` (order `ELEMENTS`), 8 the formal charge times `CHARGE_SCALE`. Rows of atoms that do not
exist are zero. The scales set when types are decided against positions (EDM, sec. 3.3, uses 0.25 for types).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from headwater.molecule.structure.elements import ELEMENTS, MAX_ATOMS

KINDS = len(ELEMENTS)
SHAPE = (MAX_ATOMS, 3 + KINDS + 1)
TYPE_SCALE = 0.5
CHARGE_SCALE = 0.25


def atom_mask(atoms: Tensor, length: int = MAX_ATOMS) -> Tensor:
    """Which rows exist, `[b] -> [b, length]`.

    >>> atom_mask(torch.tensor([1, 2]), 3)
    tensor([[ True, False, False],
            [ True,  True, False]])
    """
    return torch.arange(length, device=atoms.device) < atoms[:, None]


def centre(positions: Tensor, mask: Tensor) -> Tensor:
    """Positions with zero mean over the atoms that exist, zero elsewhere."""
    keep = mask[..., None].to(positions.dtype)
    return (positions - (positions * keep).sum(1, keepdim=True) / keep.sum(1, keepdim=True)) * keep


def project(x: Tensor, mask: Tensor) -> Tensor:
    """The nearest state to x `[b, n, 9]`: centred positions, zero rows where there is no atom.

    An orthogonal projection.
    """
    return torch.cat([centre(x[..., :3], mask), x[..., 3:] * mask[..., None]], dim=-1)


def encode_state(positions: Tensor, types: Tensor, charges: Tensor, mask: Tensor) -> Tensor:
    """The state of molecules, `[b, n, 9]`.

    Parameters
    ----------
    positions
        `[b, n, 3]`, angstrom; centred here.
    types, charges
        Elements as numbers into `ELEMENTS`, and formal charges, `[b, n]` integers.
    mask
        Which atoms exist, `[b, n]`.
    """
    return project(torch.cat([positions, encode_types(types, charges).to(positions)], dim=-1), mask)


def encode_types(types: Tensor, charges: Tensor) -> Tensor:
    """The type and charge columns of a state, `[b, n, 6]`."""
    hot = F.one_hot(types, KINDS).float() * TYPE_SCALE
    return torch.cat([hot, charges[..., None].float() * CHARGE_SCALE], dim=-1)


def relaxed_types(x: Tensor) -> Tensor:
    """The types of a state as weights, `[b, n, 5]`; one-hot for data."""
    return x[..., 3 : 3 + KINDS] / TYPE_SCALE


@dataclass(frozen=True)
class MoleculeBatch:
    """Molecules with definite atoms, padded to `n` rows each; `to_batch` makes it.

    Parameters
    ----------
    positions
        `[b, n, 3]`, angstrom, zero where there is no atom.
    types
        The elements, int64 `[b, n]`: 0 to 4 for H, C, N, O, F.
    charges
        Formal charges, int64 `[b, n]`.
    mask
        Which atoms exist, bool `[b, n]`.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> hydrogen = hw.molecule.Molecule(("H", "H"), np.array([[0, 0, 0], [0.74, 0, 0]]), (0, 0))
    >>> batch = hw.molecule.to_batch([hydrogen], length=3)
    >>> batch.mask.tolist(), batch.one_hot.shape
    ([[True, True, False]], torch.Size([1, 3, 5]))
    """

    positions: Tensor
    types: Tensor
    charges: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)

    def select(self, index: Tensor) -> MoleculeBatch:
        """The molecules in `index`, int64 `[k]` or bool `[b]`."""
        return MoleculeBatch(self.positions[index], self.types[index], self.charges[index], self.mask[index])

    @property
    def one_hot(self) -> Tensor:
        """The types as `[b, n, 5]`, zero where there is no atom."""
        return F.one_hot(self.types, KINDS).to(self.positions.dtype) * self.mask[..., None]


def round_state(x: Tensor, mask: Tensor) -> MoleculeBatch:
    """The molecules nearest to states `[b, n, 9]`: the largest type, the nearest of the charges -1, 0, 1.

    >>> atom, one = torch.tensor([[3]]), torch.tensor([[True]])
    >>> m = round_state(encode_state(torch.zeros(1, 1, 3), atom, torch.tensor([[-1]]), one), one)
    >>> m.types.item(), m.charges.item()
    (3, -1)
    """
    types = x[..., 3 : 3 + KINDS].argmax(-1) * mask
    charges = (x[..., 3 + KINDS] / CHARGE_SCALE).round().clamp(-1, 1).long() * mask
    return MoleculeBatch(centre(x[..., :3], mask), types, charges, mask)
