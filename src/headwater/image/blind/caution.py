"""How far a picture is believed whose kernel was found: it is limited by the photo and mixed with it, or left out.

A kernel that is too wide sharpens too far, and bright and dark rims stand beside the edges. They are cut where they
leave the range that the photo has nearby. The error of a picture with a wrong kernel and that of the blurred photo
differ, so a mixture has less than their mean (the squared error is convex), and with most weight on the better of the
two mostly less than either.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from headwater.errors import Misuse
from headwater.image.blind.blur import POINT
from headwater.image.operators.blur import Blur


@dataclass(frozen=True)
class Caution:
    """x = w clip(x1) + (1 - w) y, and x = y where the kernel is a point or does not explain y.

    clip limits each channel of x1 to the least and greatest value of y within a quarter of the kernel's size.
    A kernel k with more than `point` in one pixel is no blur. The pair (x1, k) does not explain y where

        rms(k * x1 - y) > sqrt(sigma^2 + excess^2)

    over the 5 % of pixels, away from the border, where x1 is steepest: of a sharp photo every k but the point
    swallows detail, which no x1 brings back. x1 must be an estimate, such as `ANSWER`; one that was controlled until
    it agrees with y does so with any kernel.

    Parameters
    ----------
    weight
        w, from 0 to 1.
    point
        Of the kernel, in its largest entry.
    excess
        In data units, of a range of 2.

    Raises
    ------
    Misuse
        A number is out of its range.

    Notes
    -----
    The numbers were chosen on 40 pictures that `benchmarks/blind_deblur.py` does not use.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> from headwater.image.blind import Caution
    >>> y = torch.linspace(-1, 1, 64).expand(1, 1, 8, 64)
    >>> blur = hw.image.Blur(hw.image.gaussian_kernel(1.0, 5))
    >>> x, left = Caution(weight=0.5)(y + 0.01, y, blur, 0.02)
    >>> round((x - y)[0, 0, 4, 32].item(), 4), left.tolist()  # half of the change
    (0.005, [False])
    >>> Caution()(-y, y, blur, 0.02)[1].tolist()  # explains nothing
    [True]
    """

    weight: float = 0.7
    point: float = POINT
    excess: float = 0.05

    def __post_init__(self) -> None:
        if not (0 <= self.weight <= 1 and 0 < self.point <= 1 and 0 < self.excess < math.inf):
            raise Misuse(
                f"A weight of {self.weight}, a point of {self.point} and an excess of {self.excess} are no caution.",
                "Give a weight from 0 to 1, a point up to 1, and a positive excess.",
            )

    def refuses(self, kernel: Tensor) -> Tensor:
        """Whether kernels `[batch, n, n]` are no blur, bool `[batch]`."""
        return kernel.flatten(1).amax(1) > self.point

    def unexplained(self, x1: Tensor, y: Tensor, blur: Blur) -> Tensor:
        """rms(k * x1 - y) of x1 `[batch, c, h, w]` and y `[1 or batch, c, h, w]` at the edges of x1, `[batch]`.

        Pixels that see what lies beyond the border do not count, if there are others.
        """
        rest, grey, r = blur(x1) - y, x1.mean(1), blur.kernel.shape[-1] // 2
        slope = torch.zeros_like(grey)
        slope[:, 1:] += grey.diff(dim=-2).square()
        slope[..., 1:] += grey.diff(dim=-1).square()
        height, width = grey.shape[-2:]
        if min(height, width) > 2 * r:
            rest, slope = rest[..., r : height - r, r : width - r], slope[:, r : height - r, r : width - r]
        steepest = slope.flatten(1).topk(math.ceil(0.05 * slope[0].numel())).indices
        return rest.square().mean(1).flatten(1).gather(1, steepest).mean(1).sqrt()

    def __call__(self, x1: Tensor, y: Tensor, blur: Blur, noise: float) -> tuple[Tensor, Tensor]:
        """The pictures x `[batch, c, h, w]`, and which of them are y as it was, bool `[batch]`.

        Parameters
        ----------
        x1, y
            Estimates `[batch, c, h, w]` and the photo `[1 or batch, c, h, w]`.
        blur
            With the kernels that were found.
        noise
            sigma, the standard deviation of the noise of y in data units.
        """
        limit = math.hypot(noise, self.excess)
        left = self.refuses(blur.kernel) | (self.unexplained(x1, y, blur) > limit)
        limited = limit_to_neighbours(x1, y, (blur.kernel.shape[-1] + 1) // 4)
        mixed = self.weight * limited + (1 - self.weight) * y
        return torch.where(left[:, None, None, None], y, mixed), left


def limit_to_neighbours(x: Tensor, y: Tensor, radius: int) -> Tensor:
    """x `[batch, c, h, w]` clipped to the range that y `[1 or batch, c, h, w]` has up to `radius` pixels away.

    Examples
    --------
    >>> y = torch.tensor([[[[0.0, 0.0, 1.0, 1.0, 1.0]]]])
    >>> limit_to_neighbours(2 * y - 0.5, y, 1).flatten().tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0]
    """
    size = 2 * radius + 1
    high, low = (max_pool2d(z, size, stride=1, padding=radius) for z in (y, -y))
    return torch.minimum(torch.maximum(x, -low), high)
