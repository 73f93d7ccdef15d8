"""One flow for a canvas of any size, from a flow of fixed windows.

The velocity at a pixel of the canvas is the weighted mean of the velocities that the windows covering it
propose (MultiDiffusion, Bar-Tal et al., ICML 2023, eq. 5):

    v(x, t) = sum_k w_k P_k^T v_window(P_k x, t) / sum_k w_k

with P_k the crop of window k and w_k a smooth bump, so that no window has an edge in the result. The mean is
a velocity field like any other: it is solved, differentiated and controlled as one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flow import Flow, Velocity
from headwater.gradient import recomputed
from headwater.select import select


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
    """The averaged velocity on a canvas `[batch, channels, height, width]`.

    `corners` are the (top, left) of the windows that are evaluated; a pixel that none of them covers stays
    where it is. The network sees at most `chunk` windows at a time; if there are more, each chunk is computed
    again in the backward pass, so that memory is bounded by a chunk and not by the canvas.
    """

    window: Velocity
    size: tuple[int, int]
    corners: tuple[tuple[int, int], ...]
    chunk: int = 32

    def select(self, index: Tensor) -> Windowed:
        """The velocity of the problems in `index`."""
        return replace(self, window=select(self.window, index))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        h, w = self.size
        tiles = torch.cat([x[..., i : i + h, j : j + w] for i, j in self.corners])
        problem = torch.arange(len(x), device=x.device).repeat(len(self.corners))
        several = len(tiles) > self.chunk
        parts = [
            recomputed(self._part(rows, t), tiles[k : k + self.chunk])
            if several
            else self._part(rows, t)(tiles)
            for k, rows in enumerate_chunks(problem, self.chunk)
        ]
        weight = (bump(h)[:, None] * bump(w)[None, :]).to(x)
        total, mass = torch.zeros_like(x), torch.zeros_like(x[:1, :1])
        for (i, j), v in zip(self.corners, torch.cat(parts).chunk(len(self.corners)), strict=True):
            total[..., i : i + h, j : j + w] += weight * v
            mass[..., i : i + h, j : j + w] += weight
        return total / mass.clamp(min=1e-20)

    def _part(self, problem: Tensor, t: Tensor) -> Callable[[Tensor], Tensor]:
        """The window's velocity on some tiles, the i-th belonging to `problem[i]`."""
        window = select(self.window, problem)
        return lambda tiles: window(tiles, t if t.ndim == 0 else t[problem])

    def covered(self, height: int, width: int) -> Tensor:
        """Bool `[height, width]`: the pixels that some window covers."""
        mask = torch.zeros(height, width, dtype=torch.bool)
        for i, j in self.corners:
            mask[i : i + self.size[0], j : j + self.size[1]] = True
        return mask


def windowed(
    flow: Flow, height: int, width: int, *, stride: int | None = None, damaged: Tensor | None = None
) -> Flow:
    """The flow on a canvas of `height` x `width` pixels, each side at least the window's.

    `stride` is the largest distance between windows (default half a window). With `damaged`, a bool mask
    `[height, width]`, only the windows that see a damaged pixel are evaluated.

    >>> flow = Flow(lambda x, t: -x, shape=(3, 8, 8))
    >>> canvas = windowed(flow, 12, 20)
    >>> x = torch.randn(2, 3, 12, 20)
    >>> bool(torch.allclose(canvas(x, torch.tensor(0.5)), -x, atol=1e-6))
    True

    Raises
    ------
    Misuse
        If the canvas is smaller than the window, the stride leaves gaps, or nothing is damaged.
    """
    channels, h, w = flow.shape
    if height < h or width < w:
        raise Misuse(
            f"The canvas {height} x {width} is smaller than the model's window {h} x {w}.",
            "Embed the image in a larger canvas and crop inside the operator.",
        )
    if stride is not None and not 1 <= stride <= min(h, w):
        raise Misuse(
            f"Windows of {h} x {w} every {stride} pixels do not cover the canvas.",
            f"Give a stride of 1 to {min(h, w)}.",
        )
    rows = positions(height, h, stride or max(h // 2, 1))
    columns = positions(width, w, stride or max(w // 2, 1))
    corners = tuple((i, j) for i in rows for j in columns)
    if damaged is not None:
        corners = tuple((i, j) for i, j in corners if bool(damaged[i : i + h, j : j + w].any()))
        if not corners:
            raise Misuse("The mask marks no pixel as damaged.", "Mark the pixels to restore.")
    if corners == ((0, 0),) and (height, width) == (h, w):
        return flow
    return Flow(Windowed(flow, (h, w), corners), (channels, height, width), flow.path, flow.range)
