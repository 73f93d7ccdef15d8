"""The first stage of training: the autoencoder.

The loss of a picture x with latents z = e(x), noise n ~ N(0, s^2 I) and y = d(z + n) is

    mean |y - x| + mean (y - x)^2 + g mean |grad (y - x)| + p P(y, x) + m sum_c (mean_c^2 + (var_c - 1)^2),

P the distance of normalised EfficientNet-Lite0 features (strides 2, 4 and 8) of a random crop, mean_c and var_c the
moments of a channel of the latents over the batch. The noise makes the latents smooth, and the moments keep the
encoder from escaping it: together they stand in for the divergence of a variational autoencoder, and give the flow
latents of unit variance.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.image.metrics.perceptual import features
from headwater.image.pictograms.autoencoder import Autoencoder, AutoencoderConfig
from headwater.nn.training import Batch, Run


@dataclass(frozen=True)
class Weights:
    """The weights of the terms of the loss, the std `noise` of the latents' noise, and the side of the crop."""

    gradient: float = 0.5
    perceptual: float = 0.2
    moments: float = 0.01
    noise: float = 0.1
    crop: int = 64


def to_range(pixels: Tensor) -> Tensor:
    """Pixels uint8 as float32 in [-1, 1].

    Examples
    --------
    >>> to_range(torch.tensor([0, 255], dtype=torch.uint8))
    tensor([-1.,  1.])
    """
    return pixels.float() / 127.5 - 1


def gradient_distance(y: Tensor, x: Tensor) -> Tensor:
    """The mean absolute difference of the differences between neighbours, across and down.

    Examples
    --------
    A constant offset leaves the gradient as it is.

    >>> gradient_distance(torch.ones(1, 3, 4, 4), torch.zeros(1, 3, 4, 4)).item()
    0.0
    """
    error = y - x
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def feature_distance(y: Tensor, x: Tensor) -> Tensor:
    """The mean squared distance of normalised features at strides 2, 4 and 8, pictures at their own size."""
    side = y.shape[-1]
    with torch.no_grad():
        goal = [F.normalize(f.float(), eps=1e-6) for f in islice(features(x, side), 3)]
    found = [F.normalize(f.float(), eps=1e-6) for f in islice(features(y, side), 3)]
    gaps = [(a - b).square().sum(1).mean() for a, b in zip(found, goal, strict=True)]
    return torch.stack(gaps).mean()


def moment_penalty(z: Tensor) -> Tensor:
    """How far the channels of latents `[batch, channels, h, w]` are from mean 0 and variance 1.

    Examples
    --------
    >>> z = torch.tensor([-1.0, 1.0]).reshape(1, 1, 1, 2)
    >>> moment_penalty(z).item(), moment_penalty(z + 1).item()
    (0.0, 1.0)
    """
    mean, variance = z.mean((0, 2, 3)), z.var((0, 2, 3), correction=0)
    return (mean.square() + (variance - 1).square()).sum()


def loss_of(net: nn.Module, batch: Batch, weights: Weights | None = None) -> Tensor:
    """The loss of the autoencoder on `x` `[batch, 3, h, w]`, `noise` like its latents and `corner` int `[1, 2]`."""
    w = weights or Weights()
    x = batch["x"]
    z, y = net(x, w.noise * batch["noise"])
    z, y = z.float(), y.float()
    error = y - x
    loss: Tensor = error.abs().mean() + error.square().mean() + w.moments * moment_penalty(z)
    loss = loss + w.gradient * gradient_distance(y, x)
    if w.perceptual:
        top, left = batch["corner"][0].tolist()
        window = (..., slice(top, top + w.crop), slice(left, left + w.crop))
        loss = loss + w.perceptual * feature_distance(y[window], x[window])
    return loss


def batches_of(pixels: Tensor, batch: int, config: AutoencoderConfig) -> Iterator[Batch]:
    """Endless batches of what `loss_of` takes, from pictures uint8 `[n, 3, size, size]`, half of them mirrored."""
    side = config.size // 8
    while True:
        x = to_range(pixels[torch.randint(len(pixels), (batch,))])
        mirrored = torch.rand(batch, 1, 1, 1) < 0.5
        yield {
            "x": torch.where(mirrored, x.flip(-1), x).contiguous(memory_format=torch.channels_last),
            "noise": torch.randn(batch, config.latents, side, side),
            "corner": torch.randint(max(config.size - Weights.crop, 0) + 1, (batch, 2)),
        }


@torch.no_grad()
def reconstruction(net: Autoencoder, pixels: Tensor, noise: float = 0.0) -> Tensor:
    """The pictures uint8 `[n, 3, h, w]` encoded and decoded, in [-1, 1]; `noise` is added to the latents."""
    g = torch.Generator().manual_seed(0)
    found = []
    for part in torch.split(pixels, 32):
        z = net.encode(to_range(part).to(next(net.parameters()).device))
        found.append(net.decode(z + noise * torch.randn(z.shape, generator=g).to(z)).clamp(-1, 1).cpu())
    return torch.cat(found)


def held_out_figures(net: nn.Module, pixels: Tensor) -> dict[str, float]:
    """Mean absolute error and PSNR in dB of the reconstruction, and the PSNR with noise 0.2 on the latents."""
    assert isinstance(net, Autoencoder)
    x = to_range(pixels)
    figures = {}
    for key, noise in (("psnr", 0.0), ("psnr_noise_0.2", 0.2)):
        error = reconstruction(net, pixels, noise) - x
        figures[key] = round(float((10 * torch.log10(4 / error.square().flatten(1).mean(1))).mean()), 3)
        if not noise:
            figures["held_out"] = round(float(error.abs().mean()), 5)
    return figures


def new_run(config: AutoencoderConfig, device: torch.device) -> Run:
    """A run of the autoencoder at its beginning, with random weights."""
    return Run(lambda: Autoencoder(config), {"config": dataclasses.asdict(config)}, device)
