"""The velocity network of the shipped image prior: a small U-Net on 2 x 2 pixel patches.

Shape of the compute: pixels are unshuffled to patches at once, so nothing runs at full resolution;
residual blocks at three resolutions (32, 16, 8 for a 64 x 64 window), one attention block at the
coarsest. Time and class enter every block as a scale and a shift.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.nn.time_features import fourier_features
from headwater.nn.unet import Trunk, channels_last


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


class UNet(Trunk):
    """Velocity network `v(x, t, label)` on images.

    x `[batch, channels, height, width]` with sides divisible by `patch * 2**(levels - 1)`,
    t a scalar or `[batch]` in [0, 1], label `[batch]` integers or None for the null label.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config.widths, config.blocks, config.embedding, config.heads)
        self.config = config
        w, e = config.widths, config.embedding
        pixels = config.channels * config.patch**2
        self.time = nn.Sequential(nn.Linear(128, e), nn.SiLU(), nn.Linear(e, e))
        self.label = nn.Embedding(config.classes + 1, e)
        self.stem = nn.Conv2d(pixels, w[0], 3, padding=1)
        self.norm = nn.GroupNorm(w[0] // 16, w[0])
        self.head = nn.Conv2d(w[0], pixels, 3, padding=1)
        channels_last(self)

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
        h = self.trunk(h, e)
        return F.pixel_shuffle(self.head(F.silu(self.norm(h))), self.config.patch)
