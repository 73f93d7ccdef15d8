"""One flow for a canvas of any size, from a flow of fixed windows.

The velocity at a place of the canvas is the weighted mean of the velocities that the windows covering it
propose (MultiDiffusion, Bar-Tal et al., ICML 2023, eq. 5):

    v(x, t) = sum_k w_k P_k^T v_window(P_k x, t) / sum_k w_k

with P_k the crop of window k and w_k a smooth bump, so that no window has an edge in the result. The mean is
a velocity field like any other: it is solved, differentiated and controlled as one. A window may slide along any of
the last axes: height and width of an image, the frames of a recording.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, Velocity
from headwater.flows.recompute import recompute
from headwater.problem.batch import select


def positions(length: int, size: int, stride: int) -> list[int]:
    """Starts of windows of `size` that cover `length`, evenly spaced and at most `stride` apart.

    >>> positions(100, 64, 32)
    [0, 18, 36]
    """
    count = math.ceil((length - size) / stride) + 1
    return [round(i * (length - size) / max(count - 1, 1)) for i in range(count)]


def bump(size: int) -> Tensor:
    """The window weight sin^2(pi (i + 1/2) / size) in one dimension, `[size]`."""
    return torch.sin(math.pi * (torch.arange(size) + 0.5) / size).square()


def enumerate_chunks(x: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """The parts of at most `size` rows, each with its start.

    >>> [(k, part.tolist()) for k, part in enumerate_chunks(torch.arange(3), 2)]
    [(0, [0, 1]), (2, [2])]
    """
    return ((k, x[k : k + size]) for k in range(0, len(x), size))


@dataclass(frozen=True)
class Windowed:
    """The averaged velocity on a canvas `[batch, ...]` along `axes`, counted from the last.

    `size` of a window along these axes; `corners` are where the windows that are evaluated begin; a place that none
    of them covers stays as it is. The network sees at most `chunk` windows at a time; if there are more, each chunk
    is computed again in the backward pass, so that memory is bounded by a chunk and not by the canvas.
    """

    window: Velocity
    size: tuple[int, ...]
    corners: tuple[tuple[int, ...], ...]
    axes: tuple[int, ...] = (-2, -1)
    chunk: int = 32

    def select(self, index: Tensor) -> Windowed:
        """The velocity of the problems in `index`."""
        return replace(self, window=select(self.window, index))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        places = [self._place(corner, x.ndim) for corner in self.corners]
        tiles = torch.cat([x[place] for place in places])
        problem = torch.arange(len(x), device=x.device).repeat(len(places))
        several = len(tiles) > self.chunk
        parts = [
            recompute(self._part(rows, t), tiles[k : k + self.chunk])
            if several
            else self._part(rows, t)(tiles)
            for k, rows in enumerate_chunks(problem, self.chunk)
        ]
        weight = self._weight(x)
        total, mass = torch.zeros_like(x), torch.zeros_like(x[:1])
        for place, v in zip(places, torch.cat(parts).chunk(len(places)), strict=True):
            total[place] += weight * v
            mass[place] += weight
        return total / mass.clamp(min=1e-20)

    def _place(self, corner: tuple[int, ...], dimensions: int) -> tuple[slice, ...]:
        """The index of a window."""
        place = [slice(None)] * dimensions
        for axis, start, size in zip(self.axes, corner, self.size, strict=True):
            place[axis] = slice(start, start + size)
        return tuple(place)

    def _weight(self, like: Tensor) -> Tensor:
        """The product of the bumps along the axes, broadcastable to a window."""
        weight = torch.ones(())
        for axis, size in zip(self.axes, self.size, strict=True):
            weight = weight * bump(size).reshape(-1, *[1] * (-1 - axis))
        return weight.to(like)

    def _part(self, problem: Tensor, t: Tensor) -> Callable[[Tensor], Tensor]:
        """The window's velocity on some tiles, the i-th belonging to `problem[i]`."""
        window = select(self.window, problem)
        return lambda tiles: window(tiles, t if t.ndim == 0 else t[problem])

    def inside(self, corner: tuple[int, ...]) -> tuple[slice, ...]:
        """The index of a window in a mask of the canvas."""
        return tuple(slice(i, i + n) for i, n in zip(corner, self.size, strict=True))

    def covered(self, canvas: Sequence[int]) -> Tensor:
        """Bool `canvas`, the lengths along the axes: what some window covers."""
        mask = torch.zeros(*canvas, dtype=torch.bool)
        for corner in self.corners:
            mask[self.inside(corner)] = True
        return mask


def windowed(
    flow: Flow,
    canvas: Sequence[int],
    *,
    axes: Sequence[int] = (-2, -1),
    stride: int | None = None,
    damaged: Tensor | None = None,
) -> Flow:
    """The flow on a canvas of these lengths along `axes`, each at least the window's.

    `stride` is the largest distance between windows (default half a window). With `damaged`, a bool mask of the
    canvas, only the windows that see damage are evaluated.

    >>> flow = Flow(lambda x, t: -x, shape=(3, 8, 8))
    >>> canvas = windowed(flow, (12, 20))
    >>> x = torch.randn(2, 3, 12, 20)
    >>> bool(torch.allclose(canvas(x, torch.tensor(0.5)), -x, atol=1e-6))
    True

    Raises
    ------
    Misuse
        If the canvas is smaller than the window, the stride leaves gaps, or nothing is damaged.
    """
    axes, canvas = tuple(axes), tuple(canvas)
    size = tuple(flow.shape[axis] for axis in axes)

    def words(lengths: Sequence[int]) -> str:
        return " x ".join(map(str, lengths))

    if any(n < m for n, m in zip(canvas, size, strict=True)):
        raise Misuse(
            f"The canvas {words(canvas)} is smaller than the model's window {words(size)}.",
            "Embed the sample in a larger canvas and crop inside the operator.",
        )
    if stride is not None and not 1 <= stride <= min(size):
        raise Misuse(
            f"Windows of {words(size)} every {stride} do not cover the canvas.",
            f"Give a stride of 1 to {min(size)}.",
        )
    starts = [positions(n, m, stride or max(m // 2, 1)) for n, m in zip(canvas, size, strict=True)]
    corners = tuple(itertools.product(*starts))
    if damaged is not None:
        seen = Windowed(flow, size, corners, axes)
        corners = tuple(c for c in corners if bool(damaged[seen.inside(c)].any()))
        if not corners:
            raise Misuse("The mask marks nothing as damaged.", "Mark what is to be restored.")
    if canvas == size:
        return flow
    shape = list(flow.shape)
    for axis, n in zip(axes, canvas, strict=True):
        shape[axis] = n
    return Flow(Windowed(flow, size, corners, axes), tuple(shape), flow.path, flow.range)
