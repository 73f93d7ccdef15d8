"""Small networks far from their initial weights, and states and molecules for them."""

import pytest
import torch
from core_laws import F64, normal

from headwater.molecule.model.generator import Generator
from headwater.molecule.model.network import Trunk, TrunkConfig
from headwater.molecule.model.regressor import Regressor, RegressorConfig
from headwater.molecule.structure.state import KINDS, atom_mask, project

SIZES = {"width": 16, "vectors": 8, "pairs": 8, "dots": 4, "heads": 4, "blocks": 3, "radial": 6}
GENERATES = TrunkConfig(inputs=6, **SIZES)
READS = TrunkConfig(inputs=5, **SIZES, time=False, moves=0)
REFERENCE = {
    n: tuple(normal(6, seed=i).tolist()) for i, n in enumerate(("alpha", "cv", "homo", "lumo", "u0"))
}
ATOMS = torch.tensor([5, 1, 3, 2, 7])
MASK = atom_mask(ATOMS, 7)


def perturbed(build, seed=0, amount=0.1):
    """A network in float64, far from its initial weights, where the updates are near the identity."""
    torch.manual_seed(seed)
    net = build().to(F64)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(amount * torch.randn_like(p))
    return net.requires_grad_(False)


TRUNK = perturbed(lambda: Trunk(GENERATES))
GENERATOR = perturbed(lambda: Generator(GENERATES))
REGRESSOR = perturbed(lambda: Regressor(RegressorConfig(READS, REFERENCE, {"alpha": 2.0, "cv": 0.5})))


def orthogonal(determinant, seed=0):
    """A random orthogonal matrix: a rotation for +1, a rotation and a reflection for -1."""
    q, r = torch.linalg.qr(normal(3, 3, seed=seed))
    q = q * r.diagonal().sign()
    return q if torch.det(q) * determinant > 0 else -q


def moved_by(turn, x):
    """A state with its positions turned."""
    return torch.cat([x[..., :3] @ turn.T, x[..., 3:]], dim=-1)


def noisy(mask=MASK, seed=1):
    """States on the way: centred Gaussian positions, types and charges."""
    return project(1.4 * normal(*mask.shape, 9, seed=seed), mask)


def orders(mask=MASK, seed=2):
    """A random order of the atoms that exist, per molecule; the padding stays."""
    g = torch.Generator().manual_seed(seed)
    order = torch.arange(mask.shape[1]).repeat(len(mask), 1)
    for row, k in zip(order, mask.sum(1).tolist(), strict=True):
        row[:k] = torch.randperm(k, generator=g)
    return order


def taken(x, order, dim=1):
    """`x` with its atoms (along `dim`) in a new order."""
    return torch.stack([row.index_select(dim - 1, o) for row, o in zip(x, order, strict=True)])


def molecules(seed=3):
    """Positions that are not centred, relaxed types (rows of weights, not one-hot) and the mask."""
    types = (2 * normal(*MASK.shape, KINDS, seed=seed + 1)).softmax(-1)
    return 1.3 * normal(*MASK.shape, 3, seed=seed), types, MASK


def spread_of(x):
    return float(x.std())


either_hand = pytest.mark.parametrize("hand", [1, -1], ids=["rotation", "reflection"])
TIMES = torch.tensor([0.0, 0.3, 0.6, 0.95, 0.99], dtype=F64)
