"""The body of a U-Net on planes `[batch, channels, height, width]`, shared by the networks of images and of music.

Residual blocks at resolutions that halve, one attention block at the coarsest. An embedding (of time, class ...)
enters every block as a scale and a shift.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def channels_last(net: nn.Module) -> None:
    """Lay out the weights with channels last, the layout in which convolutions on CPUs are fastest."""
    for p in net.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=torch.channels_last)


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions beside a skip, modulated by the embedding (scale and shift).

    `[batch, c_in, height, width]` and `[batch, embedding]` to `[batch, c_out, height, width]`; channels are multiples
    of 16.
    """

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
        """Planes `[batch, c_out, height, width]` from x and the embedding e."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(e)[:, :, None, None].chunk(2, dim=1)
        h = self.conv2(F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale)))
        found: Tensor = self.skip(x) + h
        return found


class Attention(nn.Module):
    """Multi-head self-attention over the pixels of a plane `[batch, width, height, width]`, added to it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(width // 16, width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """x plus what attention adds, in the shape of x."""
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).reshape(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        a = F.scaled_dot_product_attention(q, k, v)
        seen: Tensor = self.out(a.transpose(-1, -2).reshape(b, c, h, w))
        return x + seen


class Trunk(nn.Module):
    """`trunk(h, e)`: planes `[batch, widths[0], height, width]` and embeddings `[batch, embedding]` to planes like h.

    Parameters
    ----------
    widths
        Channels at 2^-i of the resolution, for i = 0, 1 ...; height and width are divisible by 2^(levels - 1).
    blocks
        Residual blocks on the way down at each of them; on the way up there is one.
    embedding
        The length of an embedding.
    heads
        Heads of the attention at the coarsest resolution.

    References
    ----------
    Ronneberger et al., "U-Net", MICCAI 2015; Ho et al., "DDPM", NeurIPS 2020, appendix B.
    """

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], embedding: int, heads: int) -> None:
        super().__init__()
        w, e = widths, embedding
        self.down = nn.ModuleList(
            nn.ModuleList(ResBlock(width, width, e) for _ in range(n))
            for width, n in zip(w, blocks, strict=True)
        )
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in itertools.pairwise(w))
        self.attention = Attention(w[-1], heads)
        self.middle = ResBlock(w[-1], w[-1], e)
        self.up = nn.ModuleList(ResBlock(2 * width, width, e) for width in w)
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(w))

    def trunk(self, h: Tensor, e: Tensor) -> Tensor:
        """Planes like h `[batch, widths[0], height, width]`: down, through the middle, and up again."""
        skips = []
        for i, blocks in enumerate(self.down):
            assert isinstance(blocks, nn.ModuleList)
            for block in blocks:
                h = block(h, e)
            skips.append(h)
            if i < len(self.shrink):
                h = self.shrink[i](h)
        h = self.middle(self.attention(h), e)
        for i in reversed(range(len(self.up))):
            h = self.up[i](torch.cat([h, skips[i]], dim=1), e)
            if i > 0:
                h = F.interpolate(self.grow[i - 1](h), scale_factor=2.0, mode="nearest")
        return h
