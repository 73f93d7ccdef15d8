"""Restoring an image of any size: from an operator, a measurement and its noise to a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.errors import Misuse, suggest
from headwater.flows.flow import Flow
from headwater.flows.windowed import Windowed, windowed
from headwater.image.io.files import check_range
from headwater.image.operators import Inpaint, LinearOperator, Operator
from headwater.problem.cost import Misfit
from headwater.recipes.warm_start import PRESETS, Limits

RESOLUTION = 0.02
"""The finest misfit, in the range [-1, 1], that a solve of a few steps is asked to resolve (2.5 grey levels)."""


@dataclass(frozen=True)
class Restoration:
    """What `restore` returns: `images` `[samples, channels, height, width]` in the data range, clamped, with
    known pixels put back where the measurement is noiseless or no window was solved; `result` of the control
    run (on its canvas, see `crop`); the `flow` and `misfit` it ran with.
    """

    images: Tensor
    result: Result
    flow: Flow
    misfit: Misfit

    def crop(self, x1: Tensor) -> Tensor:
        """The picture's part of a state on the canvas; pixels that no window solves are as in `images`."""
        height, width = self.images.shape[-2:]
        return torch.where(
            _covered(self.flow, height, width).to(x1.device), x1[..., :height, :width], self.images[:1]
        )


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
    range_known: bool = False,
) -> Restoration:
    """Find images x with A(x) = y up to noise of standard deviation `sigma_y`, one per seed.

    flow: the prior on its window. y `[1, ...]`: the measurement in the data range of the flow. `sigma_y` in the
    same units, 0 for a noiseless measurement. Below `RESOLUTION` the flow is controlled down to that, and what
    is left of the misfit is removed in one linear step where the operator is linear (see `agree`). size: (height,
    width) of x, any. guess `[1, channels, height, width]`: a rough image, by default the operator's pseudo-inverse.
    A y that looks like [0, 1] or [0, 255] is refused unless `range_known`.

    Raises
    ------
    Misuse
        On an unknown preset, negative or infinite noise, no seed, or a measurement that does not fit the operator
        and size.
    """
    if preset not in PRESETS:
        raise Misuse(f"There is no preset named {preset!r}.", suggest(preset, PRESETS))
    if not 0 <= sigma_y < float("inf"):
        raise Misuse(f"The noise level {sigma_y} is not 0 or more.", "Give the noise std in data units.")
    if len(seeds) == 0 or len(y) not in (1, len(seeds)):
        raise Misuse(
            f"There are {len(seeds)} seeds for {len(y)} measurements.",
            "Give at least one seed, and one measurement for all of them.",
        )
    low, high = flow.range or (-float("inf"), float("inf"))
    if flow.range and y.ndim == 4 and y.shape[1] in (1, 3) and not range_known:
        check_range(y, low, high)
    height, width = size
    shape = (1, flow.shape[0], height, width)
    guess = rough(operator, y, shape) if guess is None else guess
    # only a mask tells all about its known pixels; a mask of grey pixels (a chain) still wants their colour
    damaged = operator.damaged(shape) if isinstance(operator, Inpaint) else None
    canvas = embed(flow, height, width, damaged)
    seen = _only_covered(operator, canvas, height, width)
    y = y.expand(len(seeds), *y.shape[1:])
    misfit = Misfit(on_canvas(seen, canvas.shape[1:], height, width), y, max(sigma_y, RESOLUTION))
    result = PRESETS[preset](canvas, misfit, seeds, guess=fill(guess, canvas.shape[1:]), limits=limits)
    images = result.x1[..., :height, :width]
    images = agree(images, operator, y.to(images), sigma_y, _covered(canvas, height, width))
    return Restoration(images.clamp(low, high), result, canvas, misfit)


def agree(images: Tensor, operator: Operator, y: Tensor, sigma_y: float, covered: Tensor) -> Tensor:
    """The images, agreeing with y as well as its noise allows.

    Known pixels of a mask are those of y where the noise is below `RESOLUTION` or no window covers them. Other
    linear operators: argmin_x |x - images|^2 / RESOLUTION^2 + |A x - y|^2 / sigma_y^2 below `RESOLUTION`, the
    nearest exact solution if sigma_y = 0. An exact solution of a noisy deblurring would be mostly noise.
    """
    if isinstance(operator, Inpaint):
        fixed = torch.full_like(covered, True) if sigma_y < RESOLUTION else ~covered
        return torch.where(operator.mask & fixed.to(images.device), y, images)
    if sigma_y < RESOLUTION and isinstance(operator, LinearOperator):
        gap = operator.residual(images, y)
        return images - operator.pseudo_inverse(gap, ridge=(sigma_y / RESOLUTION) ** 2)
    return images


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
    return windowed(flow, canvas, damaged=mask)


def on_canvas(operator: Operator, canvas: tuple[int, ...], height: int, width: int) -> Operator | Cropped:
    """The operator on the canvas; itself if the picture fills it."""
    if (height, width) == tuple(canvas):
        return operator
    if isinstance(operator, LinearOperator):
        return LinearCropped(operator, height, width, (canvas[0], canvas[1]))
    return Cropped(operator, height, width)


def _covered(canvas: Flow, height: int, width: int) -> Tensor:
    """Bool `[height, width]`: the pixels of the picture that some window solves."""
    if not isinstance(canvas.velocity, Windowed):
        return torch.ones(height, width, dtype=torch.bool)
    return canvas.velocity.covered(canvas.shape[1:])[:height, :width]


def _only_covered(operator: Operator, canvas: Flow, height: int, width: int) -> Operator:
    """A mask operator that asks nothing of known pixels that no solved window covers."""
    if not isinstance(operator, Inpaint):
        return operator
    return Inpaint(operator.mask & _covered(canvas, height, width).to(operator.mask.device))


def fill(image: Tensor, canvas: tuple[int, ...]) -> Tensor:
    """The image extended to the canvas by repeating its last row and column."""
    below, right = canvas[0] - image.shape[-2], canvas[1] - image.shape[-1]
    return torch.nn.functional.pad(image, (0, right, 0, below), mode="replicate")
