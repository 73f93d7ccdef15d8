"""Properties of molecules by a regressor: in groups of like size, on its device."""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.molecule.model.models import find_device
from headwater.molecule.model.regressor import PROPERTIES, Regressor
from headwater.molecule.structure.groups import group_by_size, ungroup
from headwater.molecule.structure.state import MoleculeBatch


def predict(regressor: Regressor, positions: Tensor, types: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """The six properties of molecules with relaxed or one-hot types; padding is not computed.

    Parameters
    ----------
    regressor
        The inputs go to its device; the properties come back to that of the positions.
    positions
        `[b, n, 3]`, angstrom.
    types
        `[b, n, 5]`, weights of the elements.
    mask
        Which atoms exist, `[b, n]`.

    Returns
    -------
    properties
        Name: `[b]`, canonical units.
    """
    there, here = find_device(regressor, positions.device), positions.device
    groups = group_by_size(mask, there)
    parts = [regressor(*(z[i, :n].to(there) for z in (positions, types, mask))) for i, n in groups]
    return {name: ungroup([p[name].to(here) for p in parts], groups) for name in PROPERTIES}


def predict_batch(regressor: Regressor, m: MoleculeBatch, batch: int = 256) -> dict[str, Tensor]:
    """The six properties `[b]` of definite molecules, `batch` at a time, without gradient."""
    if not len(m):
        return {name: m.positions.new_zeros(0) for name in PROPERTIES}
    parts = []
    with torch.no_grad():
        for i in torch.split(torch.arange(len(m)), batch):
            p = m.select(i)
            parts.append(predict(regressor, p.positions, p.one_hot, p.mask))
    return {name: torch.cat([p[name] for p in parts]) for name in PROPERTIES}
