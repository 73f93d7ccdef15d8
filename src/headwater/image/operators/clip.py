"""Clipping: a sensor that saturates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import require_images
from headwater.problem.operator import Operator, difference


@dataclass(frozen=True, eq=False)
class Clip(Operator):
    """Exposure and saturation, y = clamp(u, low, high) with u = pivot + gain (x - pivot).

    Parameters
    ----------
    low
        The smallest value that the sensor gives, in units of y.
    high
        The largest one.
    gain
        Positive exposure; 2 loses everything in the upper half.
    pivot
        The value of x that the exposure leaves alone: 0, mid-grey, as in the literature; -1, black, for a
        camera.
    slack
        How near to a limit, in units of y, a measured pixel already counts as clipped; give about 3 sigma_y
        when y is noisy.

    Raises
    ------
    Misuse
        If low < high, a finite gain > 0 or slack >= 0 is violated.

    Notes
    -----
    The gradient of A is the exact subgradient: `gain` inside [low, high], 0 outside. It cannot bring
    a pixel back that lies outside, so `residual` is not A(x) - y but::

        min(u - high, 0)  where y >= high - slack,
        max(u - low, 0)   where y <= low + slack,
        u - y             elsewhere,

    which is zero exactly where A(x) = y (slack = 0) and has a gradient wherever it is not zero.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> A = hw.image.Clip(gain=2.0)
    >>> x = torch.tensor([0.25, 0.75]).reshape(1, 1, 1, 2)
    >>> A(x).flatten().tolist()
    [0.5, 1.0]
    >>> A.residual(torch.tensor([0.5, 0.9]).reshape(1, 1, 1, 2), A(x)).flatten().tolist()
    [0.5, 0.0]
    """

    low: float = -1.0
    high: float = 1.0
    gain: float = 1.0
    pivot: float = 0.0
    slack: float = 0.0
    kind: ClassVar[str] = "declip"

    def __post_init__(self) -> None:
        if not (self.low < self.high and 0 < self.gain < float("inf") and self.slack >= 0):
            raise Misuse(
                f"Clipping to [{self.low}, {self.high}] with gain {self.gain} and slack {self.slack} "
                "measures nothing.",
                "Give low < high, a positive gain and a slack of at least zero.",
            )

    @property
    def local(self) -> int:
        """0, as a pixel sees itself."""
        return 0

    def expose(self, x: Tensor) -> Tensor:
        """The value u = pivot + gain (x - pivot) before it saturates, in the shape of x `[batch, c, h, w]`."""
        require_images(x, self)
        return self.pivot + self.gain * (x - self.pivot)

    def __call__(self, x: Tensor) -> Tensor:
        """The saturated exposure clamp(u, low, high) of x, `[batch, c, h, w]`."""
        return self.expose(x).clamp(self.low, self.high)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """One-sided at clipped pixels: only an x on the wrong side of the limit is penalised. `[batch, c, h, w]`."""
        u = self.expose(x)
        inside = difference(u, y)
        bright = torch.where(y >= self.high - self.slack, (u - self.high).clamp(max=0), inside)
        return torch.where(y <= self.low + self.slack, (u - self.low).clamp(min=0), bright)
