"""Restoring an image of any size: from an operator, a measurement and its noise to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.control import Result
from headwater.cost import Misfit
from headwater.errors import Misuse, suggest
from headwater.flow import Flow
from headwater.image.operators import LinearOperator, Operator
from headwater.image.window import windowed
from headwater.presets import PRESETS, Limits

ROUNDING = 2 / 255 / 12**0.5
"""Standard deviation of the rounding of an 8-bit file, in the range [-1, 1]: the least noise there is."""


@dataclass(frozen=True)
class Restoration:
    """What `restore` returns: `images` `[samples, channels, height, width]` in the data range, clamped, with
    known pixels put back where the measurement is noiseless; `result` of the control run (on its canvas, see
    `crop`); the `flow` and `misfit` it ran with."""

    images: Tensor
    result: Result
    flow: Flow
    misfit: Misfit

    def crop(self, x1: Tensor) -> Tensor:
        """The picture's part of a state on the canvas."""
        height, width = self.images.shape[-2:]
        return x1[..., :height, :width]


@dataclass(frozen=True, eq=False)
class Cropped:
    """An operator that sees the picture's part of a larger canvas."""

    operator: Operator
    height: int
    width: int

    def __call__(self, x: Tensor) -> Tensor:
        return self.operator(x[..., : self.height, : self.width])

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.residual(x[..., : self.height, : self.width], y)

    def count(self, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.count(y)

    def select(self, index: Tensor) -> Cropped:
        """The operator of the problems in `index`."""
        return Cropped(self.operator.select(index), self.height, self.width)


def restore(
    flow: Flow,
    operator: Operator,
    y: Tensor,
    sigma_y: float,
    *,
    size: tuple[int, int],
    guess: Tensor | None = None,
    seeds: Sequence[int] = (0,),
    preset: str = "default",
    limits: Limits | None = None,
) -> Restoration:
    """Find images x with A(x) = y up to noise of standard deviation `sigma_y`, one per seed.

    flow: the prior on its window. y `[1, ...]`: the measurement in the data range of the flow. `sigma_y` in the
    same units; 0 is read as the rounding error of an 8-bit file (`ROUNDING`). size: (height, width) of x, any.
    guess `[1, channels, height, width]`: a rough image, by default the operator's pseudo-inverse.

    Raises
    ------
    Misuse
        On an unknown preset, negative noise or a measurement that does not fit the operator and size.
    """
    if preset not in PRESETS:
        raise Misuse(f"There is no preset named {preset!r}.", suggest(preset, PRESETS))
    if sigma_y < 0:
        raise Misuse(f"The noise level {sigma_y} is negative.", "Give the noise std in data units, 0 or more.")
    raise NotImplementedError
