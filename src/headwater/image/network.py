"""The velocity network of the shipped image prior: a small U-Net on 2 x 2 pixel patches.

Shape of the compute: pixels are unshuffled to patches at once, so nothing runs at full resolution;
residual blocks at three resolutions (32, 16, 8 for a 64 x 64 window), one attention block at the
coarsest. Time and class enter every block as a scale and a shift.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.fourier import fourier_features


@dataclass(frozen=True)
class UNetConfig:
    """Architecture of `UNet`; what a model card stores to rebuild the network.

    `widths[i]` channels and `blocks[i]` residual blocks at resolution `size / patch / 2**i`;
    label `classes` (one past the last class) is the null label.
    """

    size: int = 64
    channels: int = 3
    patch: int = 2
    widths: tuple[int, ...] = (48, 96, 192)
    blocks: tuple[int, ...] = (1, 1, 2)
    classes: int = 202
    embedding: int = 256
    heads: int = 4


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions around a residual, modulated by the embedding (scale and shift)."""

    def __init__(self, c_in: int, c_out: int, embedding: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(c_in // 16, c_in)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2 = nn.GroupNorm(c_out // 16, c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * c_out)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()
        with torch.no_grad():  # start near the identity; exact zeros would breed denormals on CPUs
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor, e: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        return self.skip(x) + h  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Multi-head self-attention over the pixels of the coarsest resolution, as a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(width // 16, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        a = F.scaled_dot_product_attention(q, k, v)
        return x + self.out(a.transpose(-1, -2).reshape(b, c, h, w))  # type: ignore[no-any-return]


class UNet(nn.Module):
    """Velocity network `v(x, t, label)` on images.

    x `[batch, channels, height, width]` with sides divisible by `patch * 2**(levels - 1)`,
    t a scalar or `[batch]` in [0, 1], label `[batch]` integers or None for the null label.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        w, e = config.widths, config.embedding
        pixels = config.channels * config.patch**2
        self.time = nn.Sequential(nn.Linear(128, e), nn.SiLU(), nn.Linear(e, e))
        self.label = nn.Embedding(config.classes + 1, e)
        self.stem = nn.Conv2d(pixels, w[0], 3, padding=1)
        self.down = nn.ModuleList(
            nn.ModuleList(ResBlock(width, width, e) for _ in range(n))
            for width, n in zip(w, config.blocks, strict=True)
        )
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(w))
        self.attention = Attention(w[-1], config.heads)
        self.middle = ResBlock(w[-1], w[-1], e)
        self.up = nn.ModuleList(ResBlock(2 * width, width, e) for width in w)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(w))
        self.norm = nn.GroupNorm(w[0] // 16, w[0])
        self.head = nn.Conv2d(w[0], pixels, 3, padding=1)

    def embed(self, t: Tensor, label: Tensor | None, batch: int) -> Tensor:
        """The embedding of time and label, `[batch, embedding]`."""
        t = t.expand(batch) if t.ndim == 0 else t
        if label is None:
            label = torch.full((batch,), self.config.classes, device=t.device)
        e = self.time(fourier_features(t, 128)) + self.label(label)
        return F.silu(e)

    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        e = self.embed(t, label, len(x))
        h = self.stem(F.pixel_unshuffle(x, self.config.patch))
        skips = []
        for i, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                h = block(h, e)
            skips.append(h)
            if i < len(self.shrink):
                h = self.shrink[i](h)
        h = self.middle(self.attention(h), e)
        for i in reversed(range(len(self.up))):
            h = self.up[i](torch.cat([h, skips[i]], dim=1), e)
            if i > 0:
                h = F.interpolate(self.grow[i - 1](h), scale_factor=2.0, mode="nearest")
        return F.pixel_shuffle(self.head(F.silu(self.norm(h))), self.config.patch)
