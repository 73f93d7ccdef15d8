"""The generator: a denoiser of molecules whose velocity is a flow over positions, types and charges.

On the Cond-OT path x_t = t x1 + (1 - t) x0. Positions are preconditioned (Karras et al., NeurIPS 2022, table 1,
in the time of this path): xhat = c_skip x_t + c_out F with

    c_skip = t s^2 / D,   c_out = s (1 - t) / sqrt(D),   D = t^2 s^2 + (1 - t)^2,   s = std of a coordinate.

Types and charges are predicted as probabilities: Bayes' rule adds the log likelihood of the noisy value to the
network's logits, and the denoiser is the mean over the classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.molecule.model.network import Trunk, TrunkConfig, bound_norm
from headwater.molecule.structure.state import CHARGE_SCALE, KINDS, TYPE_SCALE, centre


@dataclass(frozen=True)
class Preconditioning:
    """How positions and types are scaled before and after the network; the shipped generator was trained with these.

    Parameters
    ----------
    spread
        s, the standard deviation of a centred coordinate in QM9, angstrom.
    largest
        Bound of |F| of an atom, whose mean square is about 3 by construction.
    edge
        Types are not asked nearer than this to t = 1, where their velocity has a pole.
    """

    spread: float = 1.4
    largest: float = 12.0
    edge: float = 0.01

    def variance(self, t: Tensor) -> Tensor:
        """D(t) = t^2 s^2 + (1 - t)^2, the variance of a coordinate of x_t; shape as t."""
        return (t * self.spread).square() + (1 - t).square()


class Generator(nn.Module):
    """`forward(x [b, n, 9], t [b] or scalar, mask [b, n])` is the velocity v(x, t), zero mean in the positions."""

    def __init__(self, config: TrunkConfig) -> None:
        super().__init__()
        self.config, self.scaling = config, Preconditioning()
        self.trunk = Trunk(config)
        self.norm = nn.LayerNorm(config.width)
        self.classes = nn.Linear(config.width, KINDS + 3)
        self.shift = nn.Linear(config.vectors, 1, bias=False)

    def heads(self, x: Tensor, t: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """F of the positions `[b, n, 3]`, and the log odds of types `[b, n, 5]` and charges `[b, n, 3]`."""
        p, z = x[..., :3], x[..., 3:]
        h, V, moved = self.trunk(z, p, mask, t)
        shift = self.shift(V)[..., 0].permute(0, 2, 1).to(p.dtype)
        logits = self.classes(self.norm(h)).to(p.dtype)
        s = t[:, None, None]
        late = (1 - s).clamp(min=self.scaling.edge).square()
        # Bayes: log p(class) + log N(z; t class, (1 - t)^2), terms equal for all classes left out
        types = logits[..., :KINDS] + s * TYPE_SCALE * z[..., :KINDS] / late
        level = CHARGE_SCALE * torch.tensor([-1.0, 0.0, 1.0], device=x.device, dtype=p.dtype)
        charges = logits[..., KINDS:] + (s * level * z[..., KINDS:] - 0.5 * (s * level).square()) / late
        f = bound_norm(moved.to(p.dtype) - p + shift, self.scaling.largest, axis=-1)
        return centre(f, mask), types, charges

    def forward(self, x: Tensor, t: Tensor, mask: Tensor) -> Tensor:
        """v(x, t) = (E[x1 | x_t = x] - x) / (1 - t), `[b, n, 9]`; positions by their preconditioned network."""
        t = t.expand(len(x)) if t.ndim == 0 else t
        f, types, charges = self.heads(x, t, mask)
        s = t[:, None, None]
        d = self.scaling.variance(s)
        spread = self.scaling.spread
        v = ((s * spread**2 - (1 - s)) * x[..., :3] + spread * d.sqrt() * f) / d
        level = CHARGE_SCALE * torch.tensor([-1.0, 0.0, 1.0], device=x.device, dtype=x.dtype)
        charge = (charges.softmax(-1) * level).sum(-1, keepdim=True)
        xhat = torch.cat([TYPE_SCALE * types.softmax(-1), charge], dim=-1)
        u = (xhat - x[..., 3:]) / (1 - s).clamp(min=self.scaling.edge)
        return torch.cat([centre(v, mask), u * mask[..., None]], dim=-1)


def matching_losses(
    net: nn.Module, x0: Tensor, x1: Tensor, types: Tensor, charges: Tensor, t: Tensor, mask: Tensor
) -> dict[str, Tensor]:
    """Per molecule: mean squared error of F, cross-entropy of types and of charges, `[b]` each."""
    s = t[:, None, None]
    x = (1 - s) * x0 + s * x1
    f, type_logits, charge_logits = net.heads(x, t, mask)  # type: ignore[operator]
    scaling = Preconditioning()
    spread, d = scaling.spread, scaling.variance(s)
    target = (x1[..., :3] - s * spread**2 / d * x[..., :3]) * d.sqrt() / (spread * (1 - s))
    size = mask.sum(1)
    square = ((f - target).square().mean(-1) * mask).sum(1) / size
    type_nll = F.cross_entropy(type_logits.transpose(1, 2), types, reduction="none")
    charge_nll = F.cross_entropy(charge_logits.transpose(1, 2), charges + 1, reduction="none")
    return {
        "positions": square,
        "types": (type_nll * mask).sum(1) / size,
        "charges": (charge_nll * mask).sum(1) / size,
    }
