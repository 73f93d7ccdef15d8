"""Molecules of like size together: a pair of atoms with padding costs a network as much as any."""

from __future__ import annotations

import torch
from torch import Tensor

Group = tuple[Tensor, int]
"""The indices `[k]` of some molecules, and the number of atoms of the largest."""


def group_by_size(mask: Tensor, device: torch.device, size: int = 16) -> list[Group]:
    """Groups of molecules of like size for a network on a device.

    On an accelerator, where many at once count more, they are one group. Sixteen at once are the fastest on a CPU
    (benchmarks/decisions/results/molecule_grouping.md).

    Parameters
    ----------
    mask
        Which atoms exist, `[b, n]`.
    device
        Where the network is.
    size
        Molecules that a network on the CPU sees at once.

    Examples
    --------
    >>> from headwater.molecule.structure.state import atom_mask
    >>> groups = group_by_size(atom_mask(torch.tensor([9, 3] * 16)), torch.device("cpu"))
    >>> [(index.tolist()[:3], atoms) for index, atoms in groups]
    [([1, 3, 5], 3), ([0, 2, 4], 9)]
    """
    atoms = mask.sum(1)
    several = size if device.type == "cpu" else max(len(atoms), 1)
    return [(i, int(atoms[i].max())) for i in torch.split(atoms.argsort(stable=True), several)]


def ungroup(parts: list[Tensor], groups: list[Group]) -> Tensor:
    """What was computed for the groups, in the order of the batch."""
    return torch.cat(parts)[torch.cat([i for i, _ in groups]).argsort()]
