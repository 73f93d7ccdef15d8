"""Inpainting: some pixels are known, the others say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import require_images
from headwater.image.operators.masks import as_mask
from headwater.problem.operator import LinearOperator, difference, require_problems


@dataclass(frozen=True, eq=False)
class Inpaint(LinearOperator):
    """The known pixels of the image, y = m * x; y is 0 (mid-grey), of no meaning, where m is False.

    Parameters
    ----------
    mask
        True = known: [h, w], or [1 or batch, 1, h, w], or anything that `masks.as_mask` takes.

    Raises
    ------
    Misuse
        If no pixel is known, if the mask is not one value per pixel, or has another size than the image.

    Notes
    -----
    `residual` is zero at missing pixels whatever y holds there, and `count` leaves them out.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> A = hw.image.Inpaint(torch.tensor([[True, False]]))
    >>> A(torch.ones(1, 1, 1, 2)).tolist()
    [[[[1.0, 0.0]]]]
    >>> A.damaged((1, 1, 1, 2)).tolist()
    [[[[False, True]]]]
    """

    mask: Tensor
    kind: ClassVar[str] = "inpaint"
    per_problem: ClassVar[tuple[str, ...]] = ("mask",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "mask", as_mask(self.mask))

    @property
    def local(self) -> int:
        """0, as a pixel sees itself."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """The known pixels m * x of x, `[batch, c, h, w]`."""
        require_images(x, self)
        return self._keep(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y = m * y, `[batch, c, h, w]`."""
        return self._keep(y)

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """The known pixels of y, m * y / (1 + ridge), `[batch, c, h, w]`."""
        return self._keep(y) / (1 + ridge)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """The difference at known pixels, m * (x - y), `[batch, c, h, w]`."""
        require_images(x, self)
        return self._keep(difference(x, y))

    def known_pixels(self, shape: Sequence[int]) -> Tensor:
        """The mask: y shows these pixels of x as they are, in all channels, and says nothing of the others.

        Bool `[1 or batch, 1, height, width]`; `shape` is that of x.
        """
        self._require_size(shape)
        return self.mask

    def damaged(self, shape: Sequence[int]) -> Tensor:
        """The missing pixels, bool [1 or batch, 1, h, w]."""
        self._require_size(shape)
        return ~self.mask

    def count(self, y: Tensor) -> Tensor:
        """Known pixels times channels, int64 [batch]."""
        return (self.mask.flatten(1).sum(1) * y.shape[1]).to(y.device).expand(y.shape[0])

    def norm(self, shape: Sequence[int]) -> Tensor:
        """Always 1, `[batch]`: at least one pixel is known."""
        return torch.ones(shape[0], dtype=torch.float64)

    def _keep(self, x: Tensor) -> Tensor:
        self._require_size(x.shape)
        require_problems(self.mask.shape[0], x, "mask")
        return torch.where(self.mask.to(x.device), x, torch.zeros((), dtype=x.dtype, device=x.device))

    def _require_size(self, shape: Sequence[int]) -> None:
        (h, w), (height, width) = self.mask.shape[-2:], shape[-2:]
        if (h, w) != (height, width):
            raise Misuse(
                f"The mask is {h} x {w} pixels but the image is {height} x {width}.",
                "Give a mask of the image's size.",
            )
