"""The modified discrete cosine transform as an orthogonal map of a whole recording.

Blocks of N samples; at every border between two blocks the window folds the N samples around it (a rotation of
pairs), then each block has its DCT-IV. The recording's own ends are not folded, so the map is square and orthogonal
for any number of blocks: its adjoint is its inverse, white noise stays white. Shifting by a block shifts the result
by a row. Source: Princen and Bradley, IEEE Trans. ASSP 34 (1986); Malvar, Signal Processing with Lapped Transforms
(1992).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor


@cache
def _dct4(n: int) -> Tensor:
    """The orthonormal DCT-IV matrix sqrt(2/n) cos(pi/n (j + 1/2)(k + 1/2)), its own inverse, in float64."""
    k = torch.arange(n, dtype=torch.float64) + 0.5
    return math.sqrt(2 / n) * torch.cos(math.pi / n * k[:, None] * k)


@cache
def _window(n: int) -> tuple[Tensor, Tensor]:
    """cos and sin of the rotation of each pair: the sine window's rising half w, sqrt(1 - w^2), in float64."""
    angle = math.pi / 2 * (torch.arange(n // 2, dtype=torch.float64) + 0.5 + n / 2) / n
    return angle.sin(), angle.cos()


def _fold(blocks: Tensor, sign: int) -> Tensor:
    """Rotate the pairs of samples that lie at equal distances from each inner border, `[..., blocks, n]`."""
    half = blocks.shape[-1] // 2
    cos, sin = (w.to(blocks) for w in _window(blocks.shape[-1]))
    before, after = blocks[..., :-1, half:].flip(-1), blocks[..., 1:, :half]
    left = cos * before - sign * sin * after  # the basis is odd at the right end of a block
    right = cos * after + sign * sin * before  # and even at the left end
    first = torch.cat([blocks[..., :1, :half], right], dim=-2)
    second = torch.cat([left.flip(-1), blocks[..., -1:, half:]], dim=-2)
    return torch.cat([first, second], dim=-1)


def mdct(x: Tensor, n: int) -> Tensor:
    """The coefficients `[..., blocks, n]` of a recording `[..., blocks n]`.

    >>> x = torch.randn(2, 1024, dtype=torch.float64)
    >>> torch.allclose(inverse_mdct(mdct(x, 64)), x), torch.allclose(mdct(x, 64).norm(), x.norm())
    (True, True)
    """
    return _fold(x.reshape(*x.shape[:-1], -1, n), 1) @ _dct4(n).to(x)


def inverse_mdct(coefficients: Tensor) -> Tensor:
    """The recording `[..., blocks n]` of coefficients `[..., blocks, n]`."""
    return _fold(coefficients @ _dct4(coefficients.shape[-1]).to(coefficients), -1).flatten(-2)
