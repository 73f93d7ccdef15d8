"""The velocity network of the music flow: a transformer over frames.

A frame is a row of the state, `[frames, bins]`. Frames see each other by attention with rotary positions (Su et al.,
arXiv 2104.09864), so a shift in time shifts the result; time t scales and shifts every block (Peebles and Xie, DiT,
ICCV 2023), from one projection that the blocks share but for an offset (Chen et al., PixArt-alpha, 2023).

The output is preconditioned (Karras et al., NeurIPS 2022): for data of unit variance on the Cond-OT path the
velocity is v = (2 t - 1) x / D + F / sqrt(D), D = t^2 + (1 - t)^2, and F has unit variance at every t.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.fourier import fourier_features


@dataclass(frozen=True)
class FramesConfig:
    """Architecture of `Frames`; what a model card stores to rebuild the network."""

    bins: int = 256
    width: int = 384
    depth: int = 6
    heads: int = 6
    expansion: int = 4


def rotated(x: Tensor) -> Tensor:
    """Rotary positions of queries or keys `[..., frames, channels]`, wavelengths from 2 pi to 1000 frames."""
    frames, half = x.shape[-2], x.shape[-1] // 2
    rate = torch.logspace(0, -2.2, half, device=x.device)
    angle = torch.arange(frames, device=x.device)[:, None] * rate
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Block(nn.Module):
    """Attention and a gated layer, each on a normalised input that time scales, shifts and gates."""

    def __init__(self, c: FramesConfig) -> None:
        super().__init__()
        self.heads = c.heads
        self.offset = nn.Parameter(torch.zeros(6, c.width))
        self.qkv = nn.Linear(c.width, 3 * c.width, bias=False)
        self.out = nn.Linear(c.width, c.width, bias=False)
        self.near = nn.Conv1d(c.width, c.width, 3, padding=1, groups=c.width)
        self.wide = nn.Linear(c.width, c.expansion * c.width)
        self.narrow = nn.Linear(c.expansion * c.width, c.width, bias=False)
        with torch.no_grad():  # start near the identity
            self.out.weight.mul_(0.1)
            self.narrow.weight.mul_(0.1)

    def attend(self, h: Tensor) -> Tensor:
        b, n, _ = h.shape
        q, k, v = self.qkv(h).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = (rotated(F.rms_norm(z, z.shape[-1:])) for z in (q, k))
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(seen)  # type: ignore[no-any-return]

    def forward(self, h: Tensor, e: Tensor) -> Tensor:
        m: Tensor = e.reshape(len(e), 6, 1, -1) + self.offset[:, None]
        g: Tensor = F.rms_norm(h, h.shape[-1:]) * (1 + m[:, 0]) + m[:, 1]
        g = g + self.near(g.transpose(1, 2)).transpose(1, 2)
        h = h + (1 + m[:, 2]) * self.attend(g)
        g = F.rms_norm(h, h.shape[-1:]) * (1 + m[:, 3]) + m[:, 4]
        g = self.narrow(F.gelu(self.wide(g), approximate="tanh"))
        return h + (1 + m[:, 5]) * g


class Frames(nn.Module):
    """`forward(x [b, frames, bins], t [b] or scalar)` is the velocity v(x, t)."""

    def __init__(self, config: FramesConfig) -> None:
        super().__init__()
        self.config = c = config
        self.time = nn.Sequential(nn.Linear(128, c.width), nn.SiLU(), nn.Linear(c.width, 6 * c.width))
        self.stem = nn.Linear(c.bins, c.width)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c.depth))
        self.head = nn.Linear(c.width, c.bins)
        with torch.no_grad():
            self.head.weight.mul_(0.1)

    def inner(self, x: Tensor, t: Tensor) -> Tensor:
        """F of the preconditioning."""
        s = t[:, None, None]
        h = self.stem(x / spread(s).sqrt())
        e = self.time(fourier_features(t, 128).to(x.dtype))
        for block in self.blocks:
            h = block(h, e)
        return self.head(F.rms_norm(h, h.shape[-1:]))  # type: ignore[no-any-return]

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.expand(len(x)) if t.ndim == 0 else t
        s = t[:, None, None]
        d = spread(s)
        return (2 * s - 1) * x / d + self.inner(x, t) / d.sqrt()


def spread(t: Tensor) -> Tensor:
    """D(t) = t^2 + (1 - t)^2, the variance of x_t for data of unit variance."""
    return t.square() + (1 - t).square()


def matching_loss(net: Frames, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """Mean squared error of F, one value per window: D(t) times that of the velocity."""
    s = t[:, None, None]
    d = spread(s)
    x = (1 - s) * x0 + s * x1
    target = (x1 - x0 - (2 * s - 1) * x / d) * d.sqrt()
    return (net.inner(x, t).float() - target).square().flatten(1).mean(1)
