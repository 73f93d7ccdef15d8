"""A flow on a canvas of any size, from a flow of fixed windows.

The velocity at a place of the canvas is the weighted mean of the velocities that the windows covering it
give (MultiDiffusion, Bar-Tal et al., ICML 2023, eq. 5):

    v(x, t) = sum_k w_k P_k^T v_window(P_k x, t) / sum_k w_k

with P_k the crop to window k and w_k a smooth bump, so that no edge of a window shows in the result. The mean is a
velocity field like any other: it can be solved, differentiated and controlled. A window may slide along any of the
last axes: height and width of an image, the frames of a recording.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.prediction import Velocity
from headwater.flows.recompute import recompute
from headwater.problem.batch import select


def place_windows(length: int, size: int, stride: int) -> list[int]:
    """The starts of windows of `size` that cover `length` entries, evenly spaced and at most `stride` apart.

    Examples
    --------
    >>> place_windows(100, 64, 32)
    [0, 18, 36]
    """
    count = math.ceil((length - size) / stride) + 1
    return [round(i * (length - size) / max(count - 1, 1)) for i in range(count)]


def bump(size: int) -> Tensor:
    """The window weight sin^2(pi (i + 1/2) / size) in one dimension, `[size]`, positive everywhere."""
    return torch.sin(math.pi * (torch.arange(size) + 0.5) / size).square()


def enumerate_chunks(x: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """The parts of x `[rows, ...]` of at most `size` rows, each with its start.

    Examples
    --------
    >>> [(k, part.tolist()) for k, part in enumerate_chunks(torch.arange(3), 2)]
    [(0, [0, 1]), (2, [2])]
    """
    return ((k, x[k : k + size]) for k in range(0, len(x), size))


@dataclass(frozen=True)
class WindowedVelocity:
    """The mean velocity of overlapping windows on a canvas `[batch, ...]`.

    Attributes
    ----------
    window
        The velocity of one window.
    size
        The lengths of a window along `axes`.
    corners
        Where the windows begin.
    axes
        The axes along which windows slide, counted from the last.
    chunk
        The most windows that the network sees at a time. If there are more, each chunk is computed again in the
        backward pass, so that a chunk and not the canvas bounds the memory.
    """

    window: Velocity
    size: tuple[int, ...]
    corners: tuple[tuple[int, ...], ...]
    axes: tuple[int, ...] = (-2, -1)
    chunk: int = 32

    def select(self, index: Tensor) -> WindowedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, window=select(self.window, index))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        places = [self._place(corner, x.ndim) for corner in self.corners]
        tiles = torch.cat([x[place] for place in places])
        problem = torch.arange(len(x), device=x.device).repeat(len(places))
        parts = evaluate_windows(self.window, tiles, problem, t, self.chunk)
        weight = self._weight(x)
        total, mass = torch.zeros_like(x), torch.zeros_like(x[:1])
        for place, v in zip(places, parts.chunk(len(places)), strict=True):
            total[place] += weight * v
            mass[place] += weight
        return total / mass  # eq. 5

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


def evaluate_windows(window: Velocity, tiles: Tensor, problem: Tensor, t: Tensor, chunk: int = 32) -> Tensor:
    """The window's velocity on tiles `[tiles, ...]`, the i-th of which belongs to `problem[i]`, in the same shape.

    t is one time, or one for each problem. Of more than `chunk` tiles each chunk is computed again in the backward
    pass, so that a chunk and not all tiles bound the memory.
    """

    def part(rows: Tensor) -> Callable[[Tensor], Tensor]:
        own = select(window, rows)
        return lambda x: own(x, t if t.ndim == 0 else t[rows])

    if len(tiles) <= chunk:
        return part(problem)(tiles)
    chunks = enumerate_chunks(problem, chunk)
    return torch.cat([recompute(part(rows), tiles[k : k + chunk]) for k, rows in chunks])


def extend_to_canvas(
    flow: Flow,
    canvas: Sequence[int],
    *,
    axes: Sequence[int] = (-2, -1),
    stride: int | None = None,
) -> Flow:
    """The flow on a canvas larger than its events; the given flow is that of a window.

    v(x, t) = sum_k w_k P_k^T v_window(P_k x, t) / sum_k w_k, with P_k the crop to window k and w_k a smooth bump.

    Parameters
    ----------
    flow
        The flow of one window, with events `[*event]`.
    canvas
        The lengths of the canvas along `axes`, each at least the window's.
    axes
        The axes along which windows slide, counted from the last.
    stride
        The largest distance between windows, in entries; None means half a window.

    Returns
    -------
    flow
        Its events have the lengths `canvas` along `axes`, and those of the window elsewhere; the path and the range
        are the window's. An evaluation for one problem calls the network once for every 32 windows. The flow itself
        if the canvas has its size.

    Raises
    ------
    Misuse
        If the canvas is smaller than the window, the stride leaves gaps, or the flow has a support.

    References
    ----------
    Bar-Tal et al., "MultiDiffusion", ICML 2023, eq. 5.

    Examples
    --------
    >>> from headwater import Flow
    >>> flow = Flow(lambda x, t: -x, shape=(3, 8, 8))
    >>> canvas = extend_to_canvas(flow, (12, 20))
    >>> x = torch.ones(2, 3, 12, 20)
    >>> canvas.shape, bool(torch.allclose(canvas(x, torch.tensor(0.5)), -x))
    ((3, 12, 20), True)
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
    starts = [place_windows(n, m, stride or max(m // 2, 1)) for n, m in zip(canvas, size, strict=True)]
    corners = tuple(itertools.product(*starts))
    if canvas == size:
        return flow
    if flow.support is not None:
        raise Misuse(
            "The states of this flow lie in a subspace, which its windows do not know.",
            "Use the flow at its own size.",
        )
    shape = list(flow.shape)
    for axis, n in zip(axes, canvas, strict=True):
        shape[axis] = n
    return Flow(WindowedVelocity(flow, size, corners, axes), tuple(shape), flow.path, flow.range)
