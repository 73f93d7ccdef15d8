"""Pair noise with data: the permutation and rotation of x1 nearest to x0.

Equivariant optimal transport (Klein et al., NeurIPS 2023; EquiFM, Song et al., NeurIPS 2023): the straight paths of
flow matching then cross less and need fewer steps. Only x1 is moved, so x0 stays N(0, I); the data law is unchanged
as far as it does not depend on order and orientation.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rotations(x: Tensor, y: Tensor) -> Tensor:
    """Proper rotations R `[b, 3, 3]` that minimise |x - y R^T| (Kabsch 1976), x and y `[b, n, 3]` centred."""
    u, _, vh = torch.linalg.svd(x.transpose(1, 2) @ y)
    sign = torch.det(u @ vh)
    scale = torch.stack([torch.ones_like(sign), torch.ones_like(sign), sign], dim=-1)
    turn: Tensor = (u * scale[:, None]) @ vh
    return turn


def aligned(x0: Tensor, x1: Tensor, atoms: Tensor, rounds: int = 2) -> tuple[Tensor, Tensor]:
    """x1 rotated and reordered towards x0, and the order `[b, n]`; states of `atoms [b]` atoms, padded.

    Alternates the assignment of atoms (Hungarian method) and the rotation.
    """
    from scipy.optimize import linear_sum_assignment

    b, n = x1.shape[:2]
    order = torch.arange(n).repeat(b, 1)
    p0, p1 = x0[..., :3], x1[..., :3].clone()
    for _ in range(rounds):
        costs = -(p0 @ p1.transpose(1, 2))
        for i, (cost, k) in enumerate(zip(costs.numpy(), atoms.tolist(), strict=True)):
            order[i, :k] = torch.from_numpy(linear_sum_assignment(cost[:k, :k])[1])
        near = p1.gather(1, order[..., None].expand(-1, -1, 3))
        p1 = p1 @ rotations(p0, near).transpose(1, 2)
    x1 = torch.cat([p1, x1[..., 3:]], dim=-1)
    return x1.gather(1, order[..., None].expand(-1, -1, x1.shape[-1])), order
