"""The equivariant network behind the generator and the regressors.

A molecule is a complete graph. An atom has scalars h `[d]` and vector channels V `[3, c]`; a pair has
features of its distance and of the two atoms' scalars and vectors. One block:

    p_ij = silu(A h_i + B h_j + C rbf(|r_ij|) + sum_x G V_ix * G V_jx)           pair features
    h_i += O sum_j w(p_ij) * (values of h_j)                                     scalar messages, per head
    V_i += sum_j a(p_ij) r_ij / (|r_ij| + 1) + sum_j b(p_ij) * (L V_j)           vector messages
    h_i, V_i <- gated update of (h_i, |V_i|, V_i)

Everything is a function of distances, inner products and linear maps of vectors, so scalars are invariant and
vectors equivariant under rotation and reflection; positions enter by differences and, at the start, relative to the
centre that the caller has put at zero. The pair features follow
SemlaFlow (Irwin et al., arXiv 2406.07266), the gated update PaiNN (Schuett et al., ICML 2021, eq. 9-11).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class TrunkConfig:
    """Sizes of `Trunk`.

    `width` scalars and `vectors` vector channels per atom, `pairs` features per pair, `dots` inner products, `radial`
    functions up to `reach` angstrom; `time`: the blocks are modulated by t; the positions move after `moves` blocks.
    """

    inputs: int = 6
    width: int = 128
    vectors: int = 32
    pairs: int = 32
    dots: int = 8
    heads: int = 8
    blocks: int = 6
    radial: int = 16
    reach: float = 8.0
    time: bool = True
    moves: int = 2


class Pair(NamedTuple):
    """The geometry of all pairs: radial features `[b, n, n, k]`, directions `[b, n, n, 3]`, and the atoms' mask."""

    radial: Tensor
    unit: Tensor
    keep: Tensor


class Radial(nn.Module):
    """Gaussian bumps of a distance, `[...] -> [..., count]`, closer together where bonds are."""

    def __init__(self, count: int, reach: float) -> None:
        super().__init__()
        u = torch.linspace(0.0, 1.0, count)
        centre = reach * (0.5 * u + 0.5 * u**2)
        self.register_buffer("centre", centre, persistent=False)
        self.register_buffer("scale", 0.7 / torch.gradient(centre)[0].square(), persistent=False)

    def forward(self, distance: Tensor) -> Tensor:
        """exp(-scale_k (d - centre_k)^2) for every bump k."""
        return torch.exp(-self.scale * (distance[..., None] - self.centre).square())  # type: ignore[operator]


class Block(nn.Module):
    """One round of messages and one update (module docstring).

    Messages are sums over about 18 atoms; `share` brings them to the size of what they are added to.
    """

    share: ClassVar[float] = 0.25

    def __init__(self, c: TrunkConfig) -> None:
        super().__init__()
        d, v, p, heads = c.width, c.vectors, c.pairs, c.heads
        self.config = c
        self.norm = nn.LayerNorm(d)
        self.ends = nn.Linear(d, 2 * p + d)
        self.inner = nn.Linear(v, c.dots, bias=False)
        self.pairs = nn.Linear(c.radial + c.dots, p)
        self.weights = nn.Linear(p, 2 * heads + v)
        self.out = nn.Linear(d, d)
        self.turn = nn.Linear(v, v, bias=False)
        self.two = nn.Linear(v, 2 * v, bias=False)
        self.norm2 = nn.LayerNorm(d)
        self.up = nn.Linear(d + 2 * v, 2 * d)
        self.down = nn.Linear(2 * d, d + v)
        if c.time:
            self.modulation = nn.Linear(d, 4 * d)
        with torch.no_grad():  # near the identity at the start
            self.out.weight.mul_(0.3)
            self.down.weight.mul_(0.3)

    def forward(self, h: Tensor, V: Tensor, pair: Pair, e: Tensor | None) -> tuple[Tensor, Tensor]:
        """h `[b, n, d]` and V `[b, 3, n, v]` after the round; `e` `[b, d]` are the features of the time."""
        d = self.config.width
        one = [None] * 4 if e is None else self.modulation(e)[:, None].chunk(4, dim=-1)
        V = bound_norm(V)
        scalar, vector = self.messages(modulate(self.norm(h), *one[:2]), V, pair)
        h, V = h + self.share * self.out(scalar), V + self.share * vector
        left, right = self.two(V).chunk(2, dim=-1)
        norm = (left.square().sum(1) + 1e-6).sqrt()
        g = torch.cat([modulate(self.norm2(h), *one[2:]), norm, (left * right).sum(1)], dim=-1)
        g = self.down(F.silu(self.up(g)))
        return h + g[..., :d], V + right * g[:, None, :, d:]

    def messages(self, g: Tensor, V: Tensor, pair: Pair) -> tuple[Tensor, Tensor]:
        """What each atom receives: scalars `[b, n, d]` and vectors `[b, 3, n, v]`."""
        c = self.config
        b, n, d = g.shape
        heads, v = c.heads, c.vectors
        left, right, values = self.ends(g).split([c.pairs, c.pairs, d], dim=-1)
        inner = self.inner(V)
        dots = torch.einsum("bxip,bxjp->bijp", inner, inner)
        p = F.silu(self.pairs(torch.cat([pair.radial, dots], dim=-1)) + left[:, :, None] + right[:, None])
        ws, wv, wr = self.weights(p).split([heads, heads, v], dim=-1)
        values = (values * pair.keep).reshape(b, n, heads, d // heads).transpose(1, 2)
        scalar = torch.matmul(ws.permute(0, 3, 1, 2), values).transpose(1, 2).reshape(b, n, d)
        turned = (self.turn(V) * pair.keep[:, None]).reshape(b, 3, n, heads, v // heads)
        turned = turned.permute(0, 3, 2, 1, 4).reshape(b, heads, n, -1)
        moved = torch.matmul(wv.permute(0, 3, 1, 2), turned).reshape(b, heads, n, 3, v // heads)
        along = torch.matmul(pair.unit.transpose(-1, -2), wr)  # [b, n, 3, v]
        return scalar, moved.permute(0, 3, 2, 1, 4).reshape(b, 3, n, v) + along.permute(0, 2, 1, 3)


def modulate(g: Tensor, scale: Tensor | None, shift: Tensor | None) -> Tensor:
    """g (1 + scale) + shift; g itself without a time."""
    return g if scale is None or shift is None else torch.addcmul(shift, g, 1 + scale)


def bound_norm(V: Tensor, limit: float = 10.0, axis: int = 1) -> Tensor:
    """V / (1 + (|V| / limit)^4)^(1/4): vectors shorter than the limit hardly change, none exceeds it.

    Inner products feed the weights of the next vectors; without a bound a strange input grows doubly exponentially
    over the blocks (typical norms are about 1, the 99th percentile 4.5).
    """
    square = V.square().sum(axis, keepdim=True) / limit**2
    return V * (1 + square.square()).pow(-0.25)


class Trunk(nn.Module):
    """Scalars and vectors of the atoms of molecules.

    `forward(features [b, n, inputs], positions [b, n, 3], mask [b, n], t [b] or None)` gives h `[b, n, width]`,
    V `[b, 3, n, vectors]` and the positions, moved by the blocks if `move`.
    """

    def __init__(self, c: TrunkConfig) -> None:
        super().__init__()
        self.config = c
        self.embed = nn.Linear(c.inputs, c.width)
        self.radial = Radial(c.radial, c.reach)
        self.begin = nn.Linear(1, c.vectors, bias=False)
        self.when = [round(c.blocks * (k + 1) / (c.moves + 1)) - 1 for k in range(c.moves)]
        self.steps = nn.ModuleList(nn.Linear(c.vectors, 1, bias=False) for _ in range(c.moves))
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.blocks))
        if c.time:
            self.clock = nn.Sequential(
                nn.Linear(64, c.width), nn.SiLU(), nn.Linear(c.width, c.width), nn.SiLU()
            )

    def pair(self, x: Tensor, mask: Tensor) -> Pair:
        """Radial features, and directions r_ij / (|r_ij| + 1) to atoms that exist."""
        keep = mask[..., None].to(x.dtype)
        r = x[:, :, None] - x[:, None]
        distance = (r.square().sum(-1) + 1e-8).sqrt()
        unit = r / (distance + 1)[..., None] * keep[:, None]
        return Pair(self.radial(distance), unit, keep)

    def forward(
        self, features: Tensor, x: Tensor, mask: Tensor, t: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scalars, vectors and moved positions, see the class."""
        e = None if t is None else self.clock(clock_features(t, 64))
        h = self.embed(features)
        size = mask.sum(1)[:, None, None]
        V = self.begin((x / 3)[..., None]).permute(0, 2, 1, 3)
        keep = mask[..., None].to(x.dtype)
        pair = self.pair(x, mask)
        for i, block in enumerate(self.blocks):
            h, V = block(h, V, pair, e)
            if i in self.when:
                x = x + self.steps[self.when.index(i)](V)[..., 0].permute(0, 2, 1) * keep
                x = x - (x * keep).sum(1, keepdim=True) / size * keep
                pair = self.pair(x, mask)
        return h, V, x


def clock_features(t: Tensor, count: int) -> Tensor:
    """Sine and cosine features of the time, `[batch] -> [batch, count]`, 1 to 100 radians over [0, 1]."""
    frequency = torch.exp(torch.linspace(0.0, math.log(100.0), count // 2, device=t.device))
    angle = t[:, None] * frequency.to(t.dtype)
    return torch.cat([angle.cos(), angle.sin()], dim=1)
