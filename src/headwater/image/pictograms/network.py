"""The velocity network of the model `pictograms`: a U-Net on latents, told the time, a text and a style."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.nn.time_features import fourier_features
from headwater.nn.unet import Trunk, channels_last


@dataclass(frozen=True)
class PictogramConfig:
    """Architecture of `PictogramNet`; what a model card stores to rebuild the network.

    Latents are `[latents, side, side]`, the embedding of a text has `text` numbers, and there are `styles` icon sets;
    style number `styles` is any of them. `widths[i]` channels and `blocks[i]` residual blocks at `side / 2**i`.
    """

    latents: int = 4
    side: int = 16
    text: int = 384
    styles: int = 7
    widths: tuple[int, ...] = (48, 128, 272)
    blocks: tuple[int, ...] = (1, 2, 2)
    embedding: int = 256
    heads: int = 4


class PictogramNet(Trunk):
    """Velocity network `v(x, t, text, style)` on latents.

    With F the U-Net and s = t^2 + (1 - t)^2,

        v = (2 t - 1) / s x + F(x / sqrt(s), t, text, style) / sqrt(s).

    For data of unit variance the first term is the best linear guess of x1 - x0 from x_t, x_t / sqrt(s) has unit
    variance, and so has what is left for F to learn: the preconditioning of Karras et al. on the Cond-OT path.

    Parameters
    ----------
    config
        The architecture.

    References
    ----------
    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", NeurIPS 2022, section 5.

    Examples
    --------
    >>> net = PictogramNet(PictogramConfig(widths=(16, 32), blocks=(1, 1), embedding=16))
    >>> net(torch.zeros(2, 4, 16, 16), torch.tensor(0.5)).shape
    torch.Size([2, 4, 16, 16])
    """

    def __init__(self, config: PictogramConfig) -> None:
        super().__init__(config.widths, config.blocks, config.embedding, config.heads)
        self.config = config
        w, e = config.widths, config.embedding
        self.time = nn.Sequential(nn.Linear(128, e), nn.SiLU(), nn.Linear(e, e))
        self.text = nn.Sequential(nn.Linear(config.text, 2 * e), nn.SiLU(), nn.Linear(2 * e, e))
        self.style = nn.Embedding(config.styles + 1, e)
        self.stem = nn.Conv2d(config.latents, w[0], 3, padding=1)
        # a drawing is centred: where a pixel is says much about it
        self.place = nn.Parameter(0.02 * torch.randn(1, w[0], config.side, config.side))
        self.norm = nn.GroupNorm(w[0] // 16, w[0])
        self.head = nn.Conv2d(w[0], config.latents, 3, padding=1)
        channels_last(self)

    def embed(self, t: Tensor, text: Tensor | None, style: Tensor | None, batch: int) -> Tensor:
        """The embedding of time, text and style, `[batch, embedding]`."""
        if text is None:
            text = torch.zeros(batch, self.config.text, device=t.device)
        if style is None:
            style = torch.full((batch,), self.config.styles, device=t.device)
        # the numbers of an embedding of unit length get unit variance
        e = self.text(self.config.text**0.5 * text) + self.style(style)
        return F.silu(e + self.time(fourier_features(t, 128)))

    def forward(
        self, x: Tensor, t: Tensor, text: Tensor | None = None, style: Tensor | None = None
    ) -> Tensor:
        """The velocity of latents x `[batch, latents, side, side]` at t `[]` or `[batch]`.

        `text` are embeddings `[batch, text]`, zeros or None for no text; `style` are numbers of icon sets `[batch]`,
        `styles` or None for any.
        """
        t = t.expand(len(x)).to(x.dtype)
        e = self.embed(t, text, style, len(x))
        square = (t.square() + (1 - t).square())[:, None, None, None]
        h = self.stem((x / square.sqrt()).contiguous(memory_format=torch.channels_last)) + self.place
        h = self.head(F.silu(self.norm(self.trunk(h, e))))
        skip = (2 * t - 1)[:, None, None, None] / square
        v: Tensor = skip * x + h.to(x.dtype) / square.sqrt()
        return v
