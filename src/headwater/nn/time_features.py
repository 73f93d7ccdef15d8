"""The time as features of a network."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def fourier_features(t: Tensor, count: int) -> Tensor:
    """Sine and cosine features of the time t in [0, 1], `[batch] -> [batch, count]`.

    Frequencies are spaced geometrically from 1 to 1000 radians per unit of time; `count` is even.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017, section 3.5.

    Examples
    --------
    >>> fourier_features(torch.zeros(1), 4)
    tensor([[1., 1., 0., 0.]])
    """
    frequency = torch.exp(
        torch.linspace(0.0, math.log(1000.0), count // 2, device=t.device, dtype=torch.float32)
    ).to(t.dtype)  # computed in float32: in half precision neighbouring frequencies would coincide
    angle = t[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)
