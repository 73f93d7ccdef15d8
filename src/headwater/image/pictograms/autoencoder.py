"""The autoencoder of the model `pictograms`: pictures of 128 x 128 pixels to latents of 4 x 16 x 16 and back.

Convolutions only. Pixels are unshuffled to patches at once, so that almost nothing runs at full resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.nn.unet import channels_last


@dataclass(frozen=True)
class AutoencoderConfig:
    """Architecture of `Autoencoder`; what a model card stores to rebuild the network.

    The side of a latent is an eighth of the side `size` of a picture. `narrow`, `middle` and `wide` are the channels
    at 1/2 (decoder only), 1/4 and 1/8 of the resolution; `blocks` is the number of residual blocks at 1/8.
    """

    size: int = 128
    channels: int = 3
    latents: int = 4
    narrow: int = 32
    middle: int = 64
    wide: int = 160
    blocks: int = 2


class Block(nn.Module):
    """Two 3 x 3 convolutions beside a skip; planes `[batch, width, height, width]` to planes of the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(width // 16, width)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(width // 16, width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():  # start near the identity
            self.conv2.weight.mul_(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """x plus what the convolutions add."""
        h = self.conv1(F.silu(self.norm1(x)))
        found: Tensor = x + self.conv2(F.silu(self.norm2(h)))
        return found


class Encoder(nn.Sequential):
    """Pictures `[batch, channels, side, side]` to latents `[batch, latents, side / 8, side / 8]`."""

    def __init__(self, config: AutoencoderConfig) -> None:
        c = config
        super().__init__(
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * c.channels, c.middle, 3, padding=1),
            Block(c.middle),
            nn.Conv2d(c.middle, c.wide, 3, stride=2, padding=1),
            *(Block(c.wide) for _ in range(c.blocks)),
            nn.GroupNorm(c.wide // 16, c.wide),
            nn.SiLU(),
            nn.Conv2d(c.wide, c.latents, 1),
        )


class Decoder(nn.Sequential):
    """Latents `[batch, latents, side / 8, side / 8]` to pictures `[batch, channels, side, side]`, not clamped."""

    def __init__(self, config: AutoencoderConfig) -> None:
        c = config
        super().__init__(
            nn.Conv2d(c.latents, c.wide, 3, padding=1),
            *(Block(c.wide) for _ in range(c.blocks)),
            nn.Conv2d(c.wide, 4 * c.middle, 1),
            nn.PixelShuffle(2),
            Block(c.middle),
            nn.Conv2d(c.middle, 4 * c.narrow, 1),
            nn.PixelShuffle(2),
            Block(c.narrow),
            nn.GroupNorm(c.narrow // 16, c.narrow),
            nn.SiLU(),
            nn.Conv2d(c.narrow, 4 * c.channels, 3, padding=1),
            nn.PixelShuffle(2),
        )


class Autoencoder(nn.Module):
    """Pictures in [-1, 1] to latents of about unit variance, and back.

    Parameters
    ----------
    config
        The architecture.

    Examples
    --------
    >>> net = Autoencoder(AutoencoderConfig(middle=16, wide=16, narrow=16, blocks=1))
    >>> latents = net.encode(torch.zeros(2, 3, 128, 128))
    >>> latents.shape, net.decode(latents).shape
    (torch.Size([2, 4, 16, 16]), torch.Size([2, 3, 128, 128]))
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        channels_last(self)

    def encode(self, x: Tensor) -> Tensor:
        """The latents `[batch, latents, side / 8, side / 8]` of pictures `[batch, channels, side, side]`."""
        z: Tensor = self.encoder(x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """The pictures of latents; differentiable, and not clamped to [-1, 1]."""
        x: Tensor = self.decoder(z.contiguous(memory_format=torch.channels_last))
        return x

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """The latents, and the pictures decoded from the latents plus `noise` (like the latents)."""
        z = self.encode(x)
        return z, self.decode(z + noise)
