"""The velocity network of the music flow: a U-Net on the plane of time and frequency.

A state is `[frames, bins]`. Convolutions share their weights along both axes, so how a partial goes on and what an
attack looks like is learned once for all pitches; an offset for every band says where on the frequency axis a place
is.

The output is preconditioned (Karras et al., NeurIPS 2022): for data of unit variance on the Cond-OT path the
velocity is v = (2 t - 1) x / D + F / sqrt(D), D = t^2 + (1 - t)^2, and F has unit variance at every t.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.nn.time_features import fourier_features
from headwater.nn.unet import Trunk, channels_last


@dataclass(frozen=True)
class PlaneConfig:
    """Architecture of `Plane`; what a model card stores to rebuild the network.

    `patch` frames x bins are one place of the plane; `widths[i]` channels and `blocks[i]` residual blocks on the way
    down at 2^-i of its resolution.
    """

    bins: int = 512
    patch: tuple[int, int] = (2, 4)
    widths: tuple[int, ...] = (32, 64, 128, 256)
    blocks: tuple[int, ...] = (1, 1, 1, 2)
    embedding: int = 256
    heads: int = 4


class Plane(Trunk):
    """`forward(x [b, frames, bins], t [b] or scalar)` is the velocity v(x, t).

    Frames and bins are divisible by `patch * 2**(levels - 1)`.
    """

    def __init__(self, config: PlaneConfig) -> None:
        super().__init__(config.widths, config.blocks, config.embedding, config.heads)
        self.config = c = config
        width, e, values = c.widths[0], c.embedding, c.patch[0] * c.patch[1]
        self.time = nn.Sequential(nn.Linear(128, e), nn.SiLU(), nn.Linear(e, e), nn.SiLU())
        self.stem = nn.Conv2d(2 * values, width, 3, padding=1)
        self.band = nn.Parameter(torch.zeros(width, 1, c.bins // c.patch[1]))
        self.norm = nn.GroupNorm(width // 16, width)
        self.head = nn.Conv2d(width, values, 3, padding=1)
        with torch.no_grad():
            self.head.weight.mul_(0.1)
        channels_last(self)

    def inner(self, x: Tensor, t: Tensor) -> Tensor:
        """F of the preconditioning `[b, frames, bins]`. The input enters twice, once compressed: it spans 60 dB."""
        x = self.to_patches(x / marginal_variance(t[:, None, None]).sqrt())
        e = self.time(fourier_features(t, 128).to(x.dtype))
        h = torch.cat([x, torch.asinh(8 * x) / 2], dim=1).contiguous(memory_format=torch.channels_last)
        h = self.trunk(self.stem(h) + self.band, e)
        return self.from_patches(self.head(F.silu(self.norm(h))))

    def to_patches(self, x: Tensor) -> Tensor:
        """A state as a plane `[b, values of a patch, frames / patch, bins / patch]`."""
        a, b = self.config.patch
        n, frames, bins = x.shape
        x = x.reshape(n, frames // a, a, bins // b, b).permute(0, 2, 4, 1, 3)
        return x.reshape(n, a * b, frames // a, bins // b)

    def from_patches(self, h: Tensor) -> Tensor:
        """The inverse of `to_patches`."""
        a, b = self.config.patch
        n, _, rows, columns = h.shape
        return h.reshape(n, a, b, rows, columns).permute(0, 3, 1, 4, 2).reshape(n, rows * a, columns * b)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """The velocity `[b, frames, bins]`."""
        t = t.expand(len(x)) if t.ndim == 0 else t
        s = t[:, None, None]
        d = marginal_variance(s)
        return (2 * s - 1) * x / d + self.inner(x, t) / d.sqrt()


def marginal_variance(t: Tensor) -> Tensor:
    """D(t) = t^2 + (1 - t)^2, the variance of x_t for data of unit variance."""
    return t.square() + (1 - t).square()


def matching_loss(net: Plane, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """Mean squared error of F, one value per window: D(t) times that of the velocity."""
    s = t[:, None, None]
    d = marginal_variance(s)
    x = (1 - s) * x0 + s * x1
    target = (x1 - x0 - (2 * s - 1) * x / d) * d.sqrt()
    return (net.inner(x, t).float() - target).square().flatten(1).mean(1)
