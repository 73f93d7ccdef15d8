"""Blur kernels: odd-sized float64 arrays that add up to 1."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headwater.errors import Misuse


def gaussian_kernel(std: float, size: int | None = None) -> Tensor:
    """A round Gaussian sampled at the pixel centres and normalised, float64 [size, size].

    Parameters
    ----------
    std
        Standard deviation in pixels, positive.
    size
        Odd edge length in pixels; by default 2 ceil(3 std) + 1.

    Raises
    ------
    Misuse
        The standard deviation is not positive and finite, or the size is not odd and at least 1.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.image.gaussian_kernel(1.0).shape, round(hw.image.gaussian_kernel(1.0).sum().item(), 12)
    (torch.Size([7, 7]), 1.0)
    """
    if not 0 < std < math.inf:
        raise Misuse(
            f"A Gaussian of standard deviation {std} does not blur.", "Give a positive standard deviation."
        )
    size = 2 * math.ceil(3 * std) + 1 if size is None else size
    if not isinstance(size, int) or size < 1:
        raise Misuse(f"A kernel of {size} pixels is none.", "Give an odd whole number from 1 on.")
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    line = torch.exp(-0.5 * (offset / std).square())
    return as_kernel(torch.outer(line, line))[0]


def motion_kernel(length: float, angle: float = 0.0) -> Tensor:
    """A straight stroke of even strength: the blur of a camera that moved, float64 [size, size].

    Parameters
    ----------
    length
        Length of the stroke in pixels, at least 1 (which does not blur).
    angle
        Direction in degrees, counter-clockwise from the horizontal.

    Raises
    ------
    Misuse
        The stroke is shorter than a pixel, or it or the angle is not finite.

    Notes
    -----
    The share of a pixel is the length of the stroke inside it, found from 64 samples per pixel of length.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.image.motion_kernel(3).round(decimals=3).tolist()[1]
    [0.333, 0.333, 0.333]
    """
    if not 1 <= length < math.inf:
        raise Misuse(f"A stroke of {length} pixels is too short.", "Give a length of at least one pixel.")
    if not math.isfinite(angle):
        raise Misuse(f"A stroke has no direction of {angle} degrees.", "Give a finite angle.")
    size = 2 * math.ceil((length - 1) / 2) + 1
    samples = 64 * math.ceil(length)
    along = length * ((torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5)
    column = (size // 2 + along * math.cos(math.radians(angle))).round().long()
    row = (size // 2 - along * math.sin(math.radians(angle))).round().long()
    return as_kernel(torch.bincount(row * size + column, minlength=size**2).reshape(size, size))[0]


def as_kernel(kernel: Tensor) -> Tensor:
    """Check a kernel [kh, kw] or [batch, kh, kw] and make it add up to 1: float64 [1 or batch, kh, kw].

    Dividing by the sum keeps the brightness of an image, whatever its range.

    Raises
    ------
    Misuse
        On another shape, on an even size (it would shift the image by half a pixel), on NaN or Inf, and on a
        kernel that adds up to zero.

    Examples
    --------
    >>> as_kernel(torch.ones(1, 5)).tolist()
    [[[0.2, 0.2, 0.2, 0.2, 0.2]]]
    """
    kernel = torch.as_tensor(kernel)
    if kernel.ndim not in (2, 3) or not kernel.numel():
        raise Misuse(
            f"A kernel of shape {list(kernel.shape)} is not an image of a blurred point.",
            "Give a kernel [height, width], or [batch, height, width] with one for each problem.",
        )
    kernel = kernel.double().reshape(-1, *kernel.shape[-2:])
    kh, kw = kernel.shape[-2:]
    if kh % 2 == 0 or kw % 2 == 0:
        raise Misuse(
            f"The kernel is {kh} x {kw}, which has no middle pixel.",
            "Give odd sizes, for example by adding a row or column of zeros.",
        )
    if not bool(kernel.isfinite().all()):
        raise Misuse("The kernel holds NaN or Inf.", "Give finite numbers.")
    total = kernel.sum((-2, -1), keepdim=True)
    if bool((total.abs() <= 1e-6 * kernel.abs().sum((-2, -1), keepdim=True)).any()):
        raise Misuse(
            "The kernel adds up to zero, so it keeps no brightness.",
            "Give a kernel with a positive sum; it is divided by that sum.",
        )
    return kernel / total
