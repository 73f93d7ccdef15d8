"""The network of plans: a small transformer over the times of a path, and the flow from its weights."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import headwater as hw
from headwater.nn.time_features import fourier_features

from .data import TIMES

WEIGHTS = Path(__file__).with_name("plans.safetensors")
TOGETHER = 4
"""Times of the path that make one token."""


class Block(nn.Module):
    """Attention over tokens `[batch, tokens, width]`, then a layer on each, both steered by the time."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(
            nn.LayerNorm(width, elementwise_affine=False) for _ in range(2)
        )
        self.steer = nn.Linear(width, 4 * width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layer = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        """h with what attention and layer add."""
        scale1, shift1, scale2, shift2 = self.steer(e)[:, None].chunk(4, -1)
        g = torch.addcmul(shift1, self.norms[0](h), 1 + scale1)
        q, k, v = self.qkv(g).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        h = h + self.out(
            F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        )
        more: Tensor = self.layer(torch.addcmul(shift2, self.norms[1](h), 1 + scale2))
        return h + more


class PlanNetwork(nn.Module):
    """The velocity v(x, t) of paths x `[batch, 64, 2]`, t a scalar or `[batch]`.

    Places enter as they are and as waves of the lengths 4 to 0.25, so that walls are easy to tell.
    """

    waves: Tensor

    def __init__(self, width: int = 80, depth: int = 4, heads: int = 4) -> None:
        super().__init__()
        self.register_buffer(
            "waves",
            math.pi * torch.tensor([0.5, 1.0, 2.0, 3.5, 7.0, 8.0]),
            persistent=False,
        )
        self.time = nn.Sequential(
            nn.Linear(64, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.enter = nn.Linear(TOGETHER * 2 * 13, width)
        self.place = nn.Parameter(0.1 * torch.randn(TIMES // TOGETHER, width))
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, TOGETHER * 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """v `[batch, 64, 2]`."""
        e = self.time(fourier_features(t.reshape(-1).expand(len(x)), 64))
        angle = x[..., None] * self.waves
        features = torch.cat([x[..., None], angle.sin(), angle.cos()], -1)
        h = self.enter(features.reshape(len(x), TIMES // TOGETHER, -1)) + self.place
        for block in self.blocks:
            h = block(h, e)
        v: Tensor = self.leave(self.norm(h))
        return v.reshape(x.shape)


def make_flow(network: nn.Module) -> hw.Flow:
    """The flow of a trained network, on paths `[batch, 64, 2]`."""
    return hw.Flow(network.eval().requires_grad_(False), (TIMES, 2))


@lru_cache(maxsize=1)
def load_flow(file: Path = WEIGHTS) -> hw.Flow:
    """The flow of the weights beside this file, or of others."""
    network = PlanNetwork()
    network.load_state_dict(
        {name: value.float() for name, value in load_file(file).items()}
    )
    return make_flow(network)
