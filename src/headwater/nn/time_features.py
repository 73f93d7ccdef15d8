"""The time as features of a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fourier_features(t: Tensor, count: int) -> Tensor:
    """Sine and cosine features of the time, `[batch] -> [batch, count]`.

    Frequencies are spaced geometrically from 1 to 1000 radians over t in [0, 1].
    """
    frequency = torch.exp(
        torch.linspace(0.0, math.log(1000.0), count // 2, device=t.device, dtype=torch.float32)
    ).to(t.dtype)
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)
