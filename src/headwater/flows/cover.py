"""A flow on the damaged part of a large picture: the windows that see damage, on the pixels that they cover.

The state of these pixels is `[batch, channels, 1, pixels]`, a picture of one row. What lies beyond them takes part in
nothing, so a hole costs the same time and memory in a picture of any size. The velocity is the weighted mean of the
windows, as in `windowed`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.prediction import Velocity
from headwater.flows.windowed import bump, evaluate_windows, place_windows
from headwater.problem.batch import select, select_rows

Place = tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Cover:
    """Windows over the damage of a canvas, and the pixels that they cover.

    Attributes
    ----------
    canvas, window
        Height and width.
    corners
        Top and left of every window.
    index
        The covered pixels, int64 `[pixels]`: their places in the flattened canvas, rising.

    Examples
    --------
    >>> damaged = torch.zeros(40, 60, dtype=torch.bool)
    >>> damaged[10, 20] = True
    >>> cover = Cover.over(damaged, (8, 8))
    >>> cover.corners, len(cover.index)
    (((6, 16),), 64)
    """

    canvas: tuple[int, int]
    window: tuple[int, int]
    corners: tuple[tuple[int, int], ...]
    index: Tensor

    @classmethod
    def over(cls, damaged: Tensor, window: tuple[int, int]) -> Cover:
        """Windows over what is damaged, bool `[height, width]`, each group of neighbouring damage with its own grid.

        Raises
        ------
        Misuse
            If nothing is damaged.
        """
        if not bool(damaged.any()):
            raise Misuse("The mask marks nothing as damaged.", "Mark the part that is to be restored.")
        damaged, canvas = damaged.cpu(), (damaged.shape[0], damaged.shape[1])
        grids = (place_over_box(box, window, canvas) for box in find_groups(damaged, window))
        corners = tuple(
            corner
            for corner in dict.fromkeys(itertools.chain.from_iterable(grids))
            if bool(damaged[place_of(corner, window)].any())
        )
        covered = torch.zeros(canvas, dtype=torch.bool)
        for corner in corners:
            covered[place_of(corner, window)] = True
        return cls(canvas, window, corners, covered.flatten().nonzero().flatten())

    @property
    def places(self) -> Tensor:
        """Where the pixels of every window are among those covered, int64 `[windows, h * w]`."""
        (h, w), width = self.window, self.canvas[1]
        inside = torch.arange(h)[:, None] * width + torch.arange(w)
        starts = torch.tensor([top * width + left for top, left in self.corners])
        return torch.searchsorted(self.index, starts[:, None] + inside.flatten())

    @property
    def box(self) -> Place:
        """The rows and columns of the canvas from the first window to the last."""
        tops, lefts = zip(*self.corners, strict=True)
        return (
            slice(min(tops), max(tops) + self.window[0]),
            slice(min(lefts), max(lefts) + self.window[1]),
        )

    def cut_out(self) -> Cover:
        """The same cover on a canvas that is its box alone."""
        (rows, columns), width = self.box, self.canvas[1]
        canvas = (rows.stop - rows.start, columns.stop - columns.start)
        index = (self.index // width - rows.start) * canvas[1] + self.index % width - columns.start
        corners = tuple((top - rows.start, left - columns.start) for top, left in self.corners)
        return Cover(canvas, self.window, corners, index)

    def pack(self, x: Tensor) -> Tensor:
        """The covered pixels `[..., 1, pixels]` of pictures x `[..., *canvas]`."""
        return x.flatten(-2)[..., self.index.to(x.device)].unsqueeze(-2)

    def unpack(self, packed: Tensor, onto: Tensor) -> Tensor:
        """Pictures `[batch, c, *canvas]`: a copy of `onto` `[1 or batch, c, *canvas]` with these pixels put in."""
        pictures = onto.to(packed).expand(len(packed), *onto.shape[1:])
        pictures = pictures.clone(memory_format=torch.contiguous_format)
        pictures.view(*pictures.shape[:-2], -1)[..., self.index.to(packed.device)] = packed.squeeze(-2)
        return pictures


def place_of(corner: tuple[int, int], window: tuple[int, int]) -> Place:
    """The rows and columns of the window at `corner`."""
    return slice(corner[0], corner[0] + window[0]), slice(corner[1], corner[1] + window[1])


def find_groups(damaged: Tensor, window: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """The first and last row and column of each group of damage; groups are half a window or more apart."""
    high, wide = (max(n // 2, 1) for n in window)
    seen = max_pool2d(damaged[None].float(), (high, wide), ceil_mode=True)[0]
    cells = [(row, column) for row, column in seen.nonzero().tolist()]
    groups: dict[int, list[tuple[int, int]]] = {}
    for cell, number in zip(cells, label_neighbours(cells), strict=True):
        groups.setdefault(number, []).append(cell)
    boxes = []
    for group in groups.values():
        rows, columns = zip(*group, strict=True)
        top, left = high * min(rows), wide * min(columns)
        part = damaged[top : high * (max(rows) + 1), left : wide * (max(columns) + 1)]
        down, right = part.any(1).nonzero(), part.any(0).nonzero()
        ends = (top + int(down[0]), top + int(down[-1]), left + int(right[0]), left + int(right[-1]))
        boxes.append(ends)
    return boxes


def label_neighbours(cells: Sequence[tuple[int, int]]) -> list[int]:
    """The group of each cell, counted from 0; cells that touch, at a corner also, are of one group.

    >>> label_neighbours([(0, 0), (1, 1), (5, 5)])
    [0, 0, 1]
    """
    label: dict[tuple[int, int], int] = {}
    left = dict.fromkeys(cells)
    for number, first in enumerate(cells):
        waiting = [first] if first in left else []
        while waiting:
            cell = waiting.pop()
            if cell in left:
                del left[cell]
                label[cell] = number
                waiting += neighbours(cell)
    order = {number: i for i, number in enumerate(dict.fromkeys(label[c] for c in cells))}
    return [order[label[c]] for c in cells]


def neighbours(cell: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """The eight cells around one."""
    return ((cell[0] + i, cell[1] + j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j)


def place_over_box(
    box: tuple[int, int, int, int], window: tuple[int, int], canvas: tuple[int, int]
) -> Iterator[tuple[int, int]]:
    """Corners of windows, half a window apart at most, over a box of damage and a quarter of a window around it."""
    starts: list[list[int]] = []
    for first, last, size, length in zip(box[::2], box[1::2], window, canvas, strict=True):
        margin = size // 4
        extent = min(max(last - first + 1 + 2 * margin, size), length)
        begin = min(max((first + last + 1 - extent) // 2, 0), length - extent)
        starts.append([begin + at for at in place_windows(extent, size, max(size // 2, 1))])
    tops, lefts = starts
    return itertools.product(tops, lefts)


@dataclass(frozen=True)
class CoveredVelocity:
    """The mean velocity of the windows of a cover, on the pixels that they cover `[batch, channels, 1, pixels]`.

    Attributes
    ----------
    window
        The velocity of one window.
    covers
        The windows: one cover for all problems, or one for each, with equally many windows and pixels.
    places
        `cover.places` of each, int64 `[1 or batch, windows, h * w]`.
    """

    window: Velocity
    covers: tuple[Cover, ...]
    places: Tensor

    def select(self, index: Tensor) -> CoveredVelocity:
        """The velocity of the problems in `index` `[k]`."""
        covers: tuple[Cover, ...] = select_rows(self.covers, index)
        return CoveredVelocity(select(self.window, index), covers, select_rows(self.places, index))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        (batch, channels, _, pixels), (h, w) = x.shape, self.covers[0].window
        places = self.places.to(x.device)
        count = places.shape[1]
        tiles = gather_windows(x, places).movedim(2, 0).reshape(-1, channels, h, w)
        problem = torch.arange(batch, device=x.device).repeat(count)
        v = evaluate_windows(self.window, tiles, problem, t).reshape(count, batch, channels, -1)
        weight = (bump(h)[:, None] * bump(w)).flatten().to(x)
        total = add_windows((v * weight).movedim(0, 2), places, pixels)
        return total / add_windows(weight.expand(len(places), 1, count, -1), places, pixels)


def gather_windows(x: Tensor, places: Tensor) -> Tensor:
    """The windows `[batch, c, windows, h * w]` of covered pixels x `[batch, c, 1, pixels]`, at their `places`."""
    index = places.flatten(1)[:, None].expand(*x.shape[:2], -1)
    return x[:, :, 0].gather(2, index).reshape(*x.shape[:2], *places.shape[1:])


def add_windows(windows: Tensor, places: Tensor, pixels: int) -> Tensor:
    """The sum of windows `[batch, c, windows, h * w]` on the covered pixels, `[batch, c, 1, pixels]`."""
    batch, channels = windows.shape[:2]
    index = places.flatten(1)[:, None].expand(batch, channels, -1)
    return windows.new_zeros(batch, channels, pixels).scatter_add(2, index, windows.flatten(2))[:, :, None]


def cover_damage(flow: Flow, damaged: Tensor) -> Flow:
    """The flow on the pixels around damage, bool `[height, width]`, from the flow of a window `[channels, h, w]`.

    Raises
    ------
    Misuse
        If nothing is damaged.

    Examples
    --------
    >>> damaged = torch.zeros(40, 60, dtype=torch.bool)
    >>> damaged[10, 20] = True
    >>> cover_damage(Flow(lambda x, t: -x, (3, 8, 8)), damaged).shape
    (3, 1, 64)
    """
    cover = Cover.over(damaged, (flow.shape[1], flow.shape[2]))
    shape = (flow.shape[0], 1, len(cover.index))
    return Flow(CoveredVelocity(flow, (cover,), cover.places[None]), shape, flow.path, flow.range)


def put_covers_side_by_side(flows: Sequence[Flow]) -> Flow:
    """The flow of a batch whose i-th problem is that of the i-th flow of `cover_damage`, each around its own damage.

    Their windows have one velocity, that of the first.

    Raises
    ------
    Misuse
        The flows have another number of covered pixels, or of windows, than the first.

    Examples
    --------
    >>> damaged = torch.zeros(2, 40, 60, dtype=torch.bool)
    >>> damaged[0, 10, 20] = damaged[1, 30, 50] = True
    >>> flow = Flow(lambda x, t: -x, (3, 8, 8))
    >>> both = put_covers_side_by_side([cover_damage(flow, one) for one in damaged])
    >>> both(torch.ones(2, 3, 1, 64), torch.tensor(0.5)).shape, both.velocity.covers[1].corners
    (torch.Size([2, 3, 1, 64]), ((26, 46),))
    """
    velocities = [flow.velocity for flow in flows]
    places = [v.places for v in velocities if isinstance(v, CoveredVelocity)]
    covers = [cover for v in velocities if isinstance(v, CoveredVelocity) for cover in v.covers]
    first = velocities[0]
    alike = len({(p.shape, len(c.index)) for p, c in zip(places, covers, strict=True)}) == 1
    if not isinstance(first, CoveredVelocity) or len(covers) != len(flows) or not alike:
        raise Misuse("The flows cover different numbers of pixels.", "Solve their problems one by one.")
    return replace(flows[0], velocity=replace(first, covers=tuple(covers), places=torch.cat(places)))
