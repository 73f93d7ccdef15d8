"""Pictures on the canvas of a model's windows: cropped, extended, and where something is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from headwater.flows.cover import Cover, CoveredVelocity
from headwater.flows.flow import Flow
from headwater.flows.watched import WatchedVelocity
from headwater.problem.operator import Operator


@dataclass(frozen=True)
class Crop:
    """The picture's part `[..., height, width]` of a canvas of `canvas` (height, width); linear."""

    height: int
    width: int
    canvas: tuple[int, int]
    local: int = 0
    stride: int = 1

    def __call__(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]

    def adjoint(self, y: Tensor) -> Tensor:
        """The picture y `[..., height, width]` on the canvas, zero beyond it."""
        return pad(y, (0, self.canvas[1] - self.width, 0, self.canvas[0] - self.height))


def covers_of(flow: Flow) -> tuple[Cover, ...]:
    """The covers of a flow that solves damage alone: one for all problems, or one for each; else none."""
    velocity = flow.velocity
    while isinstance(velocity, WatchedVelocity):
        velocity = velocity.velocity
    return velocity.covers if isinstance(velocity, CoveredVelocity) else ()


def cover_of(flow: Flow) -> Cover | None:
    """The one cover of a flow that solves damage alone (`cover_damage`), else None."""
    covers = covers_of(flow)
    assert len(covers) < 2  # a batch of several is taken apart before its pictures are finished
    return covers[0] if covers else None


def pad_to(mask: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The mask `[..., height, width]` on a canvas, False beyond it."""
    return pad(mask, (0, canvas[1] - mask.shape[-1], 0, canvas[0] - mask.shape[-2]))


def known_pixels(operator: Operator, shape: Sequence[int]) -> Tensor | None:
    """The pixels of x of this shape that y shows as they are, bool `[1 or samples, 1, height, width]`.

    None if the operator has no such method. Only a mask knows pixels fully: a mask of grey pixels (a chain) still
    wants their colour.
    """
    method: Any = getattr(operator, "known_pixels", None)
    return None if method is None else method(shape)


def extend(image: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The image `[..., height, width]` extended to the canvas by repeating its last row and column."""
    below, right = canvas[0] - image.shape[-2], canvas[1] - image.shape[-1]
    return pad(image, (0, right, 0, below), mode="replicate")


def surround(damaged: Tensor, margin: int = 32) -> tuple[slice, slice]:
    """The rows and columns from `margin` pixels before the damage to as many behind it, of bool `[height, width]`.

    Examples
    --------
    >>> damaged = torch.zeros(100, 200, dtype=torch.bool)
    >>> damaged[40:50, 180:190] = True
    >>> surround(damaged)
    (slice(8, 82, None), slice(148, 200, None))
    """
    places = [torch.nonzero(damaged.any(axis)).flatten() for axis in (1, 0)]
    if not len(places[0]):
        return slice(None), slice(None)
    first, last = ([int(place[k]) for place in places] for k in (0, -1))
    rows, columns = (
        slice(max(i - margin, 0), min(j + 1 + margin, n))
        for i, j, n in zip(first, last, damaged.shape, strict=True)
    )
    return rows, columns


def extend_mirrored(image: Tensor, canvas: tuple[int, int]) -> Tensor:
    """The image `[..., height, width]` extended to the canvas by its mirror images, whose noise is like its own.

    Examples
    --------
    >>> extend_mirrored(torch.tensor([[1.0, 2.0, 3.0]]), (1, 7)).tolist()
    [[1.0, 2.0, 3.0, 3.0, 2.0, 1.0, 1.0]]
    """
    for axis, length in zip((-2, -1), canvas, strict=True):
        n = image.shape[axis]
        k = torch.arange(length, device=image.device) % (2 * n)
        image = image.index_select(axis, torch.minimum(k, 2 * n - 1 - k))
    return image
