"""Pair noise with data: the permutation and rotation of x1 nearest to x0.

Equivariant optimal transport (Klein et al., NeurIPS 2023; EquiFM, Song et al., NeurIPS 2023): the straight paths of
flow matching then cross less and need fewer steps. Only x1 is moved, so x0 stays N(0, I); the data law is unchanged
as far as it does not depend on order and orientation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.extras import import_optional
from headwater.molecule.structure.state import relaxed_types


def rotations(x: Tensor, y: Tensor) -> Tensor:
    """Proper rotations R `[b, 3, 3]` that minimise |x - y R^T| (Kabsch 1976), x and y `[b, n, 3]` centred."""
    u, _, vh = torch.linalg.svd(x.transpose(1, 2) @ y)
    sign = torch.det(u @ vh)
    scale = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    turn: Tensor = (u * scale[:, None]) @ vh
    return turn


def align_to_noise(x0: Tensor, x1: Tensor, atoms: Tensor, rounds: int = 2) -> tuple[Tensor, Tensor]:
    """x1 rotated and reordered towards x0: alternates the assignment of atoms and the rotation.

    Parameters
    ----------
    x0, x1
        States `[b, n, 9]`, padded.
    atoms
        The number of atoms of each molecule, `[b]`.
    rounds
        Of the alternation.

    Returns
    -------
    x1, order
        The state moved, and the order of its atoms, `[b, n]`.

    References
    ----------
    Assignment: Kuhn 1955 (the Hungarian method); rotation: Kabsch 1976.
    """
    linear_sum_assignment = import_optional("scipy.optimize", "molecules").linear_sum_assignment

    b, n = x1.shape[:2]
    order = torch.arange(n).repeat(b, 1)
    p0, p1 = x0[..., :3], x1[..., :3].clone()
    for _ in range(rounds):
        costs = -(p0 @ p1.transpose(1, 2))  # |p0 - p1|^2 but for terms that no order changes
        for i, (cost, k) in enumerate(zip(costs.numpy(), atoms.tolist(), strict=True)):
            order[i, :k] = torch.from_numpy(linear_sum_assignment(cost[:k, :k])[1])
        near = p1.gather(1, order[..., None].expand(-1, -1, 3))
        p1 = p1 @ rotations(p0, near).transpose(1, 2)  # Kabsch for this order
    x1 = torch.cat([p1, x1[..., 3:]], dim=-1)
    return x1.gather(1, order[..., None].expand(-1, -1, x1.shape[-1])), order


def align_noise(x0: Tensor, x1: Tensor, atoms: Tensor) -> Tensor:
    """x0 reordered and rotated towards x1, `[b, n, 9]`: `align_to_noise` the other way round.

    x0 moved so is the same draw of the source, whose law knows no order and no orientation.
    """
    moved, order = align_to_noise(x0, x1, atoms)
    out = x0.clone()
    for i, n in enumerate(atoms.tolist()):
        back = order[i, :n].argsort()
        turn = rotations(x1[i : i + 1, :n, :3], moved[i : i + 1, back, :3])[0]
        out[i, :n] = x0[i, back]
        out[i, :n, :3] = out[i, :n, :3] @ turn.T
    return out


def match_types(
    x0: Tensor, x1: Tensor, atoms: Tensor, kinds: Tensor, typed: Tensor, placed: Tensor
) -> tuple[Tensor, Tensor]:
    """x0 reordered so that what the flow makes of it, x1, has atoms of known types in their rows; and the misfit.

    x0 in another order is the same draw of the source, and the flow is equivariant. With aligned training, noise
    already decides which atom becomes what: types forced on the wrong rows fit nothing.

    Parameters
    ----------
    x0, x1
        Source points and their samples, `[b, n, 9]`.
    atoms
        The number of atoms of each molecule, `[b]`.
    kinds, typed
        The known types as numbers and the rows in which they are known, `[b, n]` each.
    placed
        Rows that keep their place in the order, since their atoms do, `[b, n]`.

    Returns
    -------
    x0, misfit
        The source points in their new order, and -log of the weights of the known types, `[b]`. It is infinite where
        x1 is not finite; there x0 stays as it is.
    """
    out, misfit = x0.clone(), torch.full((len(x0),), torch.inf)
    for i, n in enumerate(atoms.tolist()):
        if not bool(torch.isfinite(x1[i, :n]).all()):
            continue
        free = torch.nonzero(~placed[i, :n]).flatten()
        weights = relaxed_types(x1[i, free]).clamp(1e-3, 1.0).log()
        surprise = torch.where(typed[i, free, None], -weights[:, kinds[i, free]].T, 0.0)  # [row, atom]
        order = _assign_atoms(surprise)  # the order that makes the known types likeliest
        misfit[i] = surprise[torch.arange(len(free)), order].sum()
        out[i, free] = x0[i, free[order]]
    return out, misfit


def _assign_atoms(cost: Tensor) -> Tensor:
    """The atom of each row, by the Hungarian method."""
    return torch.from_numpy(
        import_optional("scipy.optimize", "molecules").linear_sum_assignment(cost.numpy())[1]
    )
