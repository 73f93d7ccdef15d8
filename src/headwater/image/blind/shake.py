"""Kernels of shaken cameras, and a law of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.gaussian import Gaussian
from headwater.image.operators.kernels import as_kernel


def shake_kernel(size: int, length: float, seed: int, bend: float = 0.25) -> Tensor:
    """The blur of a camera that moved along a random path, float64 `[size, size]`.

    The path has even speed; its direction is a random walk. It is centred on its mean, and every point is
    shared among the four pixels around it.

    Parameters
    ----------
    size
        Odd edge length in pixels.
    length
        Of the path in pixels, at most the size.
    seed
        The kernel depends on it alone.
    bend
        Standard deviation of the turn, in radians, at each of 64 points.

    Raises
    ------
    Misuse
        The size is not odd, or the length is not from 0 to the size.

    References
    ----------
    Boracchi & Foi, "Modeling the performance of image restoration from motion blur", IEEE TIP 21 (2012), for random
    trajectories as blurs.

    Examples
    --------
    >>> import headwater as hw
    >>> kernel = hw.image.shake_kernel(9, 5.0, seed=0)
    >>> kernel.shape, round(kernel.sum().item(), 6)
    (torch.Size([9, 9]), 1.0)
    """
    if size < 1 or size % 2 == 0 or not 0 <= length <= size:
        raise Misuse(
            f"A path of {length} pixels does not fit into a kernel of {size}.",
            "Give an odd size, and a length from 0 to it.",
        )
    count, g = 64, torch.Generator().manual_seed(seed)
    first = 2 * math.pi * torch.rand(1, generator=g, dtype=torch.float64)
    angle = first + bend * torch.randn(count, generator=g, dtype=torch.float64).cumsum(0)
    steps = torch.stack([angle.sin(), angle.cos()], 1) * length / count
    place = steps.cumsum(0)
    place = place - place.mean(0)
    pixel = torch.arange(size, dtype=torch.float64) - size // 2
    down, right = ((1 - (pixel - place[:, [i]]).abs()).clamp(min=0) for i in (0, 1))
    return as_kernel(torch.einsum("ni,nj->ij", down, right))[0]


def kernel_prior(size: int, count: int = 500, seed: int = 0) -> Flow:
    """A Gaussian law of the kernels of shaken cameras, as a flow of w = 2 k / max(k) - 1, events `[size^2]`.

    It has the mean and the covariance of `count` kernels with lengths up to 4/5 of the size. It stands where BlindDPS
    has a network: it knows where kernels lie, not that they are thin lines.

    Parameters
    ----------
    size
        Odd edge length in pixels.
    count
        Kernels that the law is fitted to.
    seed
        Of the first; kernel i has seed + i.

    Raises
    ------
    Misuse
        As `shake_kernel`.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.image.kernel_prior(5, count=50).shape
    (25,)
    """
    kernels = torch.stack([shake_kernel(size, 0.8 * size * (i + 1) / count, seed + i) for i in range(count)])
    w = 2 * kernels.flatten(1) / kernels.flatten(1).amax(1, keepdim=True) - 1
    covariance = torch.cov(w.mT) + 1e-4 * torch.eye(size**2, dtype=torch.float64)
    return Gaussian(w.mean(0), covariance).flow


def kernel_logits(w: Tensor) -> Tensor:
    """The logarithm of the kernel of w `[batch, p]`, (w + 1) / 2 where positive, with sum 1, `[batch, p]`."""
    k = ((w + 1) / 2).clamp(min=1e-6)
    return (k / k.sum(1, keepdim=True)).log()
