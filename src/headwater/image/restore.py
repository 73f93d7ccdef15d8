"""Restoring an image of any size: from an operator, a measurement and its noise to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.control import Result
from headwater.cost import Misfit
from headwater.errors import Misuse, suggest
from headwater.flow import Flow
from headwater.image.operators import Inpaint, LinearOperator, Operator
from headwater.image.window import Windowed, windowed
from headwater.presets import PRESETS, Limits

RESOLUTION = 0.02
"""The finest misfit, in the range [-1, 1], that a solve of a few steps is asked to resolve (2.5 grey levels)."""


@dataclass(frozen=True)
class Restoration:
    """What `restore` returns: `images` `[samples, channels, height, width]` in the data range, clamped, with
    known pixels put back where the measurement is noiseless; `result` of the control run (on its canvas, see
    `crop`); the `flow` and `misfit` it ran with.
    """

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

    def _crop(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]

    def __call__(self, x: Tensor) -> Tensor:
        return self.operator(self._crop(x))

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.residual(self._crop(x), y)

    def count(self, y: Tensor) -> Tensor:
        """As the operator's."""
        return self.operator.count(y)

    def select(self, index: Tensor) -> Cropped:
        """The operator of the problems in `index`."""
        return replace(self, operator=self.operator.select(index))


@dataclass(frozen=True, eq=False)
class LinearCropped(Cropped):
    """The same for a linear operator; the adjoint embeds in a canvas of `canvas` (height, width)."""

    canvas: tuple[int, int]

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y on the canvas, zero outside the picture."""
        assert isinstance(self.operator, LinearOperator)
        below, right = self.canvas[0] - self.height, self.canvas[1] - self.width
        return torch.nn.functional.pad(self.operator.adjoint(y), (0, right, 0, below))


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
    same units, 0 for a noiseless measurement: the flow is then controlled down to `RESOLUTION`, and what is left
    of the misfit is removed by the nearest exact solution where the operator is linear. size: (height, width) of
    x, any. guess `[1, channels, height, width]`: a rough image, by default the operator's pseudo-inverse.

    Raises
    ------
    Misuse
        On an unknown preset, negative noise or a measurement that does not fit the operator and size.
    """
    if preset not in PRESETS:
        raise Misuse(f"There is no preset named {preset!r}.", suggest(preset, PRESETS))
    if not sigma_y >= 0:
        raise Misuse(f"The noise level {sigma_y} is not 0 or more.", "Give the noise std in data units.")
    height, width = size
    shape = (1, flow.shape[0], height, width)
    guess = rough(operator, y, shape) if guess is None else guess
    damaged = operator.damaged(shape)
    canvas = embed(flow, height, width, damaged)
    seen = operator if damaged is None else _only_covered(operator, canvas, damaged)
    misfit = Misfit(on_canvas(seen, canvas.shape[1:], height, width), y, max(sigma_y, RESOLUTION))
    result = PRESETS[preset](canvas, misfit, seeds, guess=fill(guess, canvas.shape[1:]), limits=limits)
    images = result.x1[..., :height, :width]
    if damaged is not None and sigma_y < RESOLUTION:
        images = torch.where(damaged, images, y.to(images))
    elif sigma_y < RESOLUTION and isinstance(operator, LinearOperator):
        images = operator.project(images, y.expand(len(images), *y.shape[1:]))
    low, high = flow.range or (-float("inf"), float("inf"))
    return Restoration(images.clamp(low, high), result, canvas, misfit)


def rough(operator: Operator, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A rough image `shape` from the measurement: its pseudo-inverse, itself if it is an image, else zero."""
    if isinstance(operator, LinearOperator):
        return operator.pinv(y)
    return y if tuple(y.shape[1:]) == shape[1:] else y.new_zeros(shape)


def embed(flow: Flow, height: int, width: int, damaged: Tensor | None) -> Flow:
    """The windowed flow on the smallest canvas that holds the picture; only the windows that see damage."""
    canvas = (max(height, flow.shape[1]), max(width, flow.shape[2]))
    if canvas == flow.shape[1:]:
        return flow
    mask = None
    if damaged is not None:
        mask = torch.zeros(canvas, dtype=torch.bool)
        mask[:height, :width] = damaged.any(0)[0]
    return windowed(flow, *canvas, damaged=mask)


def on_canvas(operator: Operator, canvas: tuple[int, ...], height: int, width: int) -> Operator | Cropped:
    """The operator on the canvas; itself if the picture fills it."""
    if (height, width) == tuple(canvas):
        return operator
    if isinstance(operator, LinearOperator):
        return LinearCropped(operator, height, width, (canvas[0], canvas[1]))
    return Cropped(operator, height, width)


def _only_covered(operator: Operator, canvas: Flow, damaged: Tensor) -> Operator:
    """A mask operator that asks nothing of known pixels that no solved window covers."""
    if not (isinstance(operator, Inpaint) and isinstance(canvas.velocity, Windowed)):
        return operator
    covered = canvas.velocity.covered(*canvas.shape[1:])[: damaged.shape[-2], : damaged.shape[-1]]
    return Inpaint(operator.mask & covered.to(operator.mask.device))


def fill(image: Tensor, canvas: tuple[int, ...]) -> Tensor:
    """The image extended to the canvas by repeating its last row and column."""
    below, right = canvas[0] - image.shape[-2], canvas[1] - image.shape[-1]
    return torch.nn.functional.pad(image, (0, right, 0, below), mode="replicate")
