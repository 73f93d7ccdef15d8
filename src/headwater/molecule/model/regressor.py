"""Properties of a molecule from positions and (relaxed) atom types, invariant to motion and order."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from headwater.molecule.model.network import Trunk, TrunkConfig
from headwater.molecule.structure.units import DEBYE

PROPERTIES = ("alpha", "gap", "homo", "lumo", "mu", "cv")
"""The six properties of D-Flow's QM9 table; units in `units.UNITS`."""
EXTRA = ("zpve", "r2", "u0")
"""Properties learnt beside the six because they sharpen the shared features; not offered to users."""

SUMS = ("alpha", "cv", "zpve", "r2", "u0")
"""Properties that are sums over the atoms."""


@dataclass(frozen=True)
class RegressorConfig:
    """`trunk`, and per property a reference linear in the composition: `reference[name]` six numbers.

    The reference is a constant and a value per atom of each element; networks learn what is left.
    `scale[name]` is the spread of what is left.
    """

    trunk: TrunkConfig
    reference: dict[str, tuple[float, ...]] = field(default_factory=dict)
    scale: dict[str, float] = field(default_factory=dict)


class Regressor(nn.Module):
    """`forward(positions [b, n, 3], types [b, n, 5], mask [b, n])` -> name -> `[b]`.

    alpha and cv are sums over atoms; HOMO and LUMO come from pooled features, the gap is their difference; the
    dipole is |sum q_i r_i + sum p_i| with neutral atomic charges q and atomic dipoles p (as in PaiNN, sec. 5).
    """

    def __init__(self, config: RegressorConfig) -> None:
        super().__init__()
        self.config = config
        d, v = config.trunk.width, config.trunk.vectors
        self.trunk = Trunk(config.trunk)
        self.norm = nn.LayerNorm(d)
        self.atom = nn.Sequential(nn.Linear(d, d), nn.SiLU())
        self.sums = nn.Linear(d, len(SUMS) + 1)  # and the atomic charge
        self.partial = nn.Linear(d, 1)
        self.score = nn.Linear(d, 8)
        self.frontier = nn.Sequential(nn.Linear(10 * d, d), nn.SiLU(), nn.Linear(d, 2))
        self.dipole = nn.Linear(v, 1, bias=False)
        self.shift = nn.Linear(v, 1, bias=False)  # what training moved each atom by, in angstrom
        for name in (*PROPERTIES, *EXTRA):
            line = config.reference.get(name, (0.0,) * 6)
            self.register_buffer(f"reference_{name}", torch.tensor(line), persistent=False)

    def reference(self, name: str, composition: Tensor) -> Tensor:
        """The linear part of a property, `[b, 5]` atoms of each element -> `[b]`."""
        line: Tensor = getattr(self, f"reference_{name}")
        return line[0] + composition @ line[1:]

    def forward(self, positions: Tensor, types: Tensor, mask: Tensor) -> dict[str, Tensor]:
        """The properties `[b]` by name, canonical units, of positions `[b, n, 3]` and types `[b, n, 5]`."""
        keep = mask[..., None].to(positions.dtype)
        size = keep.sum(1, keepdim=True)
        types = types * keep
        positions = (positions - (positions * keep).sum(1, keepdim=True) / size) * keep
        h, V, _ = self.trunk(types, positions, mask)
        with torch.autocast(h.device.type, enabled=False):  # sums over atoms are biased in half precision
            return self.heads(h.to(positions.dtype), V.to(positions.dtype), types, positions, keep)

    def heads(
        self, h: Tensor, V: Tensor, types: Tensor, positions: Tensor, keep: Tensor
    ) -> dict[str, Tensor]:
        """The properties from scalars `[b, n, d]` and vectors `[b, 3, n, v]` of the atoms."""
        size = keep.sum(1, keepdim=True)
        a = self.atom(self.norm(h)) * keep
        s = self.sums(a) * keep
        total = s.sum(1)
        charge = s[..., 5:] - s[..., 5:].sum(1, keepdim=True) / size
        dipole = ((charge * positions + self.dipole(V)[..., 0].permute(0, 2, 1)) * keep).sum(1)
        homo, lumo = self.frontier(self.pool(a, keep, size)).unbind(-1)
        composition, scale = types.sum(1), self.config.scale
        raw = {n: total[:, i] for i, n in enumerate(("alpha", "cv", "zpve", "r2", "u0"))}
        raw |= {"homo": homo, "lumo": lumo}
        out = {n: self.reference(n, composition) + scale.get(n, 1.0) * y for n, y in raw.items()}
        out["gap"] = out["lumo"] - out["homo"]
        out["mu"] = DEBYE * (dipole.square().sum(-1) + 1e-8).sqrt()
        out["partial"] = self.partial(a)[..., 0] * keep[..., 0]
        out["shift"] = self.shift(V)[..., 0].permute(0, 2, 1) * keep
        return out

    def pool(self, a: Tensor, keep: Tensor, size: Tensor) -> Tensor:
        """Eight attention averages, the mean and the scaled sum of the atoms' features, `[b, 10 d]`."""
        score = self.score(a).masked_fill(keep == 0, -1e4).softmax(1)
        several = torch.einsum("bnk,bnd->bkd", score, a).flatten(1)
        total = a.sum(1)
        return torch.cat([several, total / size[:, 0], total / 18], dim=-1)
