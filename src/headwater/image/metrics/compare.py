"""All that is measured of an image whose truth is known."""

from __future__ import annotations

import math

from torch import Tensor

from headwater.errors import Misuse
from headwater.image.metrics.fidelity import WINDOW, psnr, ssim


def compare(image: Tensor, reference: Tensor) -> dict[str, float | None]:
    """PSNR (dB), SSIM and perceptual distance of one image `[1, 3, h, w]`; None where one cannot be had.

    SSIM needs images of 11 x 11 pixels or more, the perceptual distance an optional package.

    >>> import torch
    >>> compare(torch.full((1, 3, 8, 8), 0.2), torch.zeros(1, 3, 8, 8))["psnr"]
    20.0
    """
    values: dict[str, float | None] = {"psnr": finite(psnr(image, reference)), "ssim": None}
    if min(image.shape[-2:]) >= WINDOW:
        values["ssim"] = finite(ssim(image, reference))
    try:
        from headwater.image.metrics.perceptual import perceptual_distance

        values["perceptual"] = finite(perceptual_distance(image, reference))
    except Misuse:  # its package is an extra
        values["perceptual"] = None
    return values


def finite(value: Tensor) -> float | None:
    """A number of six digits after the point; None for NaN and infinity, which JSON has not."""
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None
