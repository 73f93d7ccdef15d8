"""Grey from colour."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.image.operators.base import require_images
from headwater.problem.operator import LinearOperator

GREY_WEIGHTS = {"luma": (0.299, 0.587, 0.114), "mean": (1 / 3, 1 / 3, 1 / 3)}


@dataclass(frozen=True, eq=False)
class Colorize(LinearOperator):
    """Grey from colour, y = w_R R + w_G G + w_B B: [batch, 3, h, w] -> [batch, 1, h, w].

    The weights add up to 1, so that y keeps the range [-1, 1].

    Parameters
    ----------
    method
        "luma": 0.299, 0.587, 0.114 (ITU-R BT.601, what Pillow's mode L and JPEG use); "mean": 1/3 each.

    Raises
    ------
    Misuse
        On another method, or on an image without three channels.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> red = torch.tensor([1.0, -1.0, -1.0]).reshape(1, 3, 1, 1)
    >>> round(hw.image.Colorize()(red).item(), 3)
    -0.402
    """

    method: str = "luma"
    kind: ClassVar[str] = "colorize"
    channels: ClassVar[int | None] = 3

    def __post_init__(self) -> None:
        if self.method not in GREY_WEIGHTS:
            raise Misuse(
                f"There is no way called {self.method!r} to make a grey image.",
                suggest(self.method, GREY_WEIGHTS),
            )

    @property
    def local(self) -> int:
        """0, as a pixel sees itself."""
        return 0

    def weights(self, like: Tensor) -> Tensor:
        """The weights w, [3, 1, 1], in the type and on the device of `like`."""
        return like.new_tensor(GREY_WEIGHTS[self.method]).reshape(3, 1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        """The grey images `[batch, 1, h, w]` of x `[batch, 3, h, w]`."""
        require_images(x, self)
        return (self.weights(x) * x).sum(1, keepdim=True)

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = (w_R y, w_G y, w_B y): `[batch, 1, h, w]` -> `[batch, 3, h, w]`."""
        return self.weights(y) * y

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """The smallest colour image of that grey, w y / (|w|^2 + ridge), `[batch, 3, h, w]`; tinted, if w is luma."""
        w = self.weights(y)
        return w * y / (w.square().sum() + ridge)

    def norm(self, shape: Sequence[int]) -> Tensor:
        """The length |w| of the weights, `[batch]`."""
        w = self.weights(torch.empty(0, dtype=torch.float64))
        return w.square().sum().sqrt().expand(shape[0])
