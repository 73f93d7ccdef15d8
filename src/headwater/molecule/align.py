"""Pair noise with data: the permutation and rotation of x1 nearest to x0.

Equivariant optimal transport (Klein et al., NeurIPS 2023; EquiFM, Song et al., NeurIPS 2023): the straight paths of
flow matching then cross less and need fewer steps. Only x1 is moved, so x0 stays N(0, I); the data law is unchanged
as far as it does not depend on order and orientation.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.extras import need
from headwater.molecule.state import KINDS, relaxed_types


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
    linear_sum_assignment = need("scipy.optimize", "molecules").linear_sum_assignment

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


TRIES, SWEEPS = 12, 3
"""Random orientations that `matched` starts from, and its alternations of order and rotation from each."""


def matched(
    x0: Tensor, x1: Tensor, atoms: Tensor, y: Tensor, placed: Tensor, typed: Tensor, seeds: list[int]
) -> tuple[Tensor, Tensor]:
    """x0 reordered and rotated so that what the flow makes of it, x1, resembles what is known; and how badly, `[b]`.

    Known are the types `y[..., 3:]` of the rows `typed [b, n]` and the relative positions `y[..., :3]` of the rows
    `placed`; x0 in another order and orientation is the same draw of the source, and the flow is equivariant. With
    aligned training, noise already decides which atom becomes what: types forced on the wrong rows fit nothing.

    The misfit is -log of the weights of the known types plus the squared distances from the known places, angstrom^2;
    infinite where x1 is not finite, and there x0 stays as it is.
    """
    out, misfit = x0.clone(), torch.full((len(x0),), torch.inf)
    for i, n in enumerate(atoms.tolist()):
        if not bool(torch.isfinite(x1[i, :n]).all()):
            continue
        misfit[i], order, turn = _match(x1[i, :n], y[i, :n], placed[i, :n], typed[i, :n], seeds[i])
        out[i, :n] = x0[i, order]
        out[i, :n, :3] = out[i, :n, :3] @ turn.T
    return out, misfit


def _match(x1: Tensor, y: Tensor, placed: Tensor, typed: Tensor, seed: int) -> tuple[float, Tensor, Tensor]:
    """The misfit of one molecule, the order of its rows and its rotation."""
    kinds = y[:, 3 : 3 + KINDS].argmax(-1)
    weights = relaxed_types(x1).clamp(1e-3, 1.0).log()
    surprise = torch.where(typed[:, None], -weights[:, kinds].T, 0.0)  # [row, atom]
    if not bool(placed.any()):
        order = _assigned(surprise)
        return float(surprise[torch.arange(len(order)), order].sum()), order, torch.eye(3)
    g = torch.Generator().manual_seed(seed)
    best: tuple[float, Tensor, Tensor] | None = None
    for _ in range(TRIES):
        turn = rotations(torch.randn(1, 8, 3, generator=g), torch.randn(1, 8, 3, generator=g))[0]
        centre = x1[torch.randint(len(x1), (1,), generator=g), :3]
        for _ in range(SWEEPS):
            there = (x1[:, :3] - centre) @ turn.T
            far = torch.cdist(y[:, :3], there).square() * placed[:, None]
            order = _assigned(surprise + far)
            near = x1[order][placed, :3]
            centre = near.mean(0, keepdim=True)
            turn = rotations(y[None, placed, :3], (near - centre)[None])[0]
        cost = float((surprise + far)[torch.arange(len(order)), order].sum())
        if best is None or cost < best[0]:
            best = (cost, order, turn)
    assert best is not None
    return best


def _assigned(cost: Tensor) -> Tensor:
    """The atom of each row, by the Hungarian method."""
    return torch.from_numpy(need("scipy.optimize", "molecules").linear_sum_assignment(cost.numpy())[1])
