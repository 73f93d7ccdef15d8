"""What the image benchmarks share: held-out pictures, the five tasks, and scores."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from headwater import Misfit
from headwater.image.metrics.fidelity import psnr, ssim
from headwater.image.metrics.perceptual import perceptual_distance
from headwater.image.model.training_data import load_images
from headwater.image.operators import (
    Blur,
    Identity,
    Inpaint,
    LinearOperator,
    SuperResolution,
    box_mask,
    gaussian_kernel,
    random_mask,
)


def held_out(archive: Path, count: int) -> Tensor:
    """`count` images spread evenly over the archive's sorted names, in [-1, 1]."""
    x, _, _ = load_images([archive], None)
    return x[:: len(x) // count][:count].float() / 127.5 - 1


def tasks() -> dict[str, tuple[LinearOperator, float]]:
    """The five tasks of the comparison: operator and sigma_y in the [-1, 1] range."""
    return {
        "deblur": (Blur(gaussian_kernel(std=1.0)), 0.05),
        "box": (Inpaint(box_mask(64, 64, 20, 20)), 0.05),
        "super-resolution x2": (SuperResolution(2), 0.05),
        "random 70 %": (Inpaint(random_mask(64, 64, missing=0.7, seed=1)), 0.05),
        "denoise": (Identity(), 0.2),
    }


def measure(operator: LinearOperator, sigma_y: float, x: Tensor) -> Misfit:
    """A measurement of each image with noise that depends on its place only."""
    y = operator(x)
    noise = [
        torch.randn(y.shape[1:], generator=torch.Generator().manual_seed(10_000 + i)) for i in range(len(y))
    ]
    y = y + sigma_y * torch.stack(noise)
    return Misfit(operator, operator(operator.adjoint(y)) if isinstance(operator, Inpaint) else y, sigma_y)


def scores(x: Tensor, reference: Tensor) -> dict[str, float]:
    """Mean PSNR (dB), SSIM and EfficientNet-Lite0 perceptual distance."""
    x = x.clamp(-1, 1)
    with torch.no_grad():
        d = torch.cat(
            [perceptual_distance(a, b) for a, b in zip(x.split(25), reference.split(25), strict=True)]
        )
    return {
        "psnr": round(psnr(x, reference).mean().item(), 2),
        "ssim": round(ssim(x, reference).mean().item(), 4),
        "perceptual": round(d.mean().item(), 4),
    }
