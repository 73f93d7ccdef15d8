"""Rewards in closed form, of pictures x `[batch, 3, h, w]` in [-1, 1], grey ones `[batch, 1, h, w]` where said."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from headwater.errors import Misuse

LUMA = (0.299, 0.587, 0.114)
"""The weights of red, green and blue in the luma of ITU-R BT.601."""


def luma(x: Tensor) -> Tensor:
    """The luma `[batch, h, w]` of pictures `[batch, 3, h, w]` or `[batch, 1, h, w]`, in their range.

    Raises
    ------
    Misuse
        If x is no batch of pictures with one or three channels.

    Examples
    --------
    >>> round(luma(torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)).item(), 3)
    0.299
    """
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise Misuse(
            f"A reward of pictures got the shape {list(x.shape)}.",
            "Give [batch, 3, h, w] or [batch, 1, h, w].",
        )
    weights = x.new_tensor(LUMA if x.shape[1] == 3 else (1.0,))
    return torch.einsum("bchw,c->bhw", x, weights)


@dataclass(frozen=True)
class Palette:
    """-mean over pixels of min_k |p - c_k|^2 / 12, `[batch]`: 0 for a picture in the colours c_k, at least -1.

    Every pixel goes to its nearest colour. How much of the picture each colour takes is left open.

    Parameters
    ----------
    colours
        c_k as (red, green, blue), each in [-1, 1].

    Raises
    ------
    Misuse
        If there is no colour, or one is not three numbers in [-1, 1].

    Examples
    --------
    >>> red_or_white = Palette(((1.0, -1.0, -1.0), (1.0, 1.0, 1.0)))
    >>> red_or_white(torch.ones(1, 3, 2, 2)).item(), round(red_or_white(-torch.ones(1, 3, 2, 2)).item(), 3)
    (-0.0, -0.333)
    """

    colours: tuple[tuple[float, float, float], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "colours", tuple(tuple(c) for c in self.colours))
        good = [len(c) == 3 and all(-1 <= v <= 1 for v in c) for c in self.colours]
        if not good or not all(good):
            raise Misuse(
                f"The colours {self.colours} are not triples of numbers in [-1, 1].",
                "Give at least one (red, green, blue), with black at -1 and white at 1.",
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, 3, h, w]`, `[batch]`; a `Misuse` of pictures in grey."""
        if x.ndim != 4 or x.shape[1] != 3:
            raise Misuse(
                f"A palette is of colour pictures, not of {list(x.shape)}.", "Give [batch, 3, h, w]."
            )
        colours = x.new_tensor(self.colours)
        square = (x[:, None] - colours[None, :, :, None, None]).square().sum(2)
        return -square.amin(1).mean((1, 2)) / 12


@dataclass(frozen=True)
class Brightness:
    """The mean luma, `[batch]`; with a target minus the square of the distance to it.

    Parameters
    ----------
    target
        A luma in [-1, 1]; None asks for as much as possible.

    Raises
    ------
    Misuse
        If the target is outside of [-1, 1].

    Examples
    --------
    >>> Brightness()(torch.full((1, 3, 2, 2), 0.5)).item(), Brightness(1.0)(torch.full((1, 3, 2, 2), 0.5)).item()
    (0.5, -0.25)
    """

    target: float | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not -1 <= self.target <= 1:
            raise Misuse(
                f"The brightness {self.target:g} is outside of [-1, 1].", "Give -1 for black, 1 for white."
            )

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, 3 or 1, h, w]`, `[batch]`."""
        return approach(luma(x).mean((1, 2)), self.target)


@dataclass(frozen=True)
class Contrast:
    """The standard deviation of the luma, `[batch]`; with a target minus the square of the distance to it.

    Parameters
    ----------
    target
        A standard deviation in [0, 1]; None asks for as much as possible.

    Raises
    ------
    Misuse
        If the target is outside of [0, 1].

    Examples
    --------
    >>> half = torch.cat([-torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2)], 3)
    >>> Contrast()(half).item()
    1.0
    """

    target: float | None = None

    def __post_init__(self) -> None:
        if self.target is not None and not 0 <= self.target <= 1:
            raise Misuse(f"The contrast {self.target:g} is outside of [0, 1].", "Give 0 for a flat picture.")

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, 3 or 1, h, w]`, `[batch]`."""
        # The floor keeps the gradient of the root finite at a flat picture.
        variance = luma(x).flatten(1).var(1, correction=0)
        return approach((variance + 1e-12).sqrt(), self.target)


@dataclass(frozen=True)
class Symmetry:
    """-mean |x - mirrored x|^2 / 4, `[batch]`: 0 for a picture that is its own mirror image, at least -1.

    Parameters
    ----------
    axis
        "horizontal" compares left and right, "vertical" top and bottom, "both" is the mean of the two.

    Raises
    ------
    Misuse
        If the axis is another word.

    Examples
    --------
    >>> x = torch.tensor([0.0, 1.0, 0.0]).expand(1, 1, 3, 3)
    >>> Symmetry()(x).item(), Symmetry("vertical")(x.mT).item()
    (-0.0, -0.0)
    """

    axis: Literal["horizontal", "vertical", "both"] = "horizontal"

    def __post_init__(self) -> None:
        if self.axis not in ("horizontal", "vertical", "both"):
            raise Misuse(f"There is no symmetry {self.axis!r}.", "Give horizontal, vertical or both.")

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, channels, h, w]`, `[batch]`."""
        axes = {"horizontal": (-1,), "vertical": (-2,), "both": (-1, -2)}[self.axis]
        gaps = [(x - x.flip(axis)).square().flatten(1).mean(1) for axis in axes]
        return -torch.stack(gaps).mean(0) / 4


@dataclass(frozen=True)
class Sharpness:
    """log10 of the mean square of the luma's Laplacian, `[batch]`: how much finest detail there is.

    The Laplacian is that of four neighbours, inside the border. Noise is sharp, too.

    Examples
    --------
    >>> board = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).repeat(1, 1, 2, 2)
    >>> round(Sharpness()(board).item(), 3)  # log10(8^2)
    1.806
    """

    def __call__(self, x: Tensor) -> Tensor:
        """The reward of x `[batch, 3 or 1, h, w]` with h, w >= 3, `[batch]`."""
        y = luma(x)
        laplacian = y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:] - 4 * y[:, 1:-1, 1:-1]
        return (laplacian.square().mean((1, 2)) + 1e-8).log() / math.log(10)


def approach(value: Tensor, target: float | None) -> Tensor:
    """The value `[batch]` itself, or minus the square of its distance to a target.

    Examples
    --------
    >>> approach(torch.tensor([1.0]), None).item(), approach(torch.tensor([1.0]), 3.0).item()
    (1.0, -4.0)
    """
    return value if target is None else -(value - target).square()
