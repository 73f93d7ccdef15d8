"""A maze, paths through it, and planning problems that are known to have an answer.

A path is a state `[64, 2]`: where the robot is at 64 times, in a square maze of 7 x 7 cells that spans [-1, 1].
There is more than one way from most cells to most others.

A path is a shortest way under random lengths of the steps from cell to cell, with its corners cut, run through at a
random speed; half of the robots stop once on their way.
"""

from __future__ import annotations

import heapq

import numpy as np
import torch
from torch import Tensor

MAZE = (
    "...#...",
    ".#...#.",
    ".#.#.#.",
    "...#...",
    ".#...#.",
    ".#.#.#.",
    "...#...",
)
CELL = 2 / len(MAZE)
"""The width of a cell."""
TIMES = 64
FREE = [(r, c) for r, row in enumerate(MAZE) for c, kind in enumerate(row) if kind == "."]


def centre_of(cell: tuple[int, int]) -> np.ndarray:
    """The centre `[2]` of a cell (row, column) as x and y."""
    return np.array([cell[1] + 0.5, cell[0] + 0.5]) * CELL - 1


def find_way(
    start: tuple[int, int], goal: tuple[int, int], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """The cells of a shortest way, where every step from cell to cell has a random length (Dijkstra, 1959)."""
    length = {cell: rng.uniform(1, 4) for cell in FREE}
    queue, before, done = [(0.0, start, start)], {}, set()
    while queue:
        far, cell, last = heapq.heappop(queue)
        if cell in done:
            continue
        done.add(cell)
        before[cell] = last
        if cell == goal:
            break
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            beside = (cell[0] + step[0], cell[1] + step[1])
            if beside in length and beside not in done:
                heapq.heappush(queue, (far + length[beside], beside, cell))
    way = [goal]
    while way[-1] != start:
        way.append(before[way[-1]])
    return way[::-1]


def cut_corners(line: np.ndarray, rounds: int = 3) -> np.ndarray:
    """A polyline `[n, 2]` with its corners cut and its ends kept (Chaikin, 1974); it stays in the corridor."""
    for _ in range(rounds):
        a, b = line[:-1], line[1:]
        inner = np.stack([0.75 * a + 0.25 * b, 0.25 * a + 0.75 * b], 1).reshape(-1, 2)
        line = (
            np.concatenate([line[:1], inner[1:-1], line[-1:]]) if len(inner) > 2 else line
        )
    return line


def run_along(line: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """64 places `[64, 2]` on a polyline, at a smooth random speed, half of them with a stop."""
    k = np.arange(TIMES - 1)
    wave = sum(
        rng.normal(0, 0.5) * np.cos(np.pi * f * k / (TIMES - 1)) for f in (1, 2, 3)
    )
    speed = np.exp(wave)
    if rng.random() < 0.5:
        first = rng.integers(4, TIMES - 24)
        speed[first : first + rng.integers(8, 20)] *= 0.02
    speed = np.convolve(np.pad(speed, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    share = np.concatenate([[0], np.cumsum(speed)]) / speed.sum()
    along = np.concatenate(
        [[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
    )
    return np.stack([np.interp(share * along[-1], along, line[:, i]) for i in (0, 1)], 1)


def draw_path(
    rng: np.random.Generator, ends: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """A random path `[64, 2]`, between two given places if there are some."""
    if ends is None:
        cells = [FREE[i] for i in rng.choice(len(FREE), 2, replace=False)]
        first, last = (
            centre_of(cell) + rng.uniform(-0.25, 0.25, 2) * CELL for cell in cells
        )
        ends = first, last
    start, goal = ((int((y + 1) / CELL), int((x + 1) / CELL)) for x, y in ends)
    way = [centre_of(cell) for cell in find_way(start, goal, rng)]
    return run_along(cut_corners(np.stack([ends[0], *way[1:-1], ends[1]])), rng)


def draw_paths(count: int, seed: int) -> Tensor:
    """Paths `[count, 64, 2]`, float32; about 0.5 ms each."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(np.stack([draw_path(rng) for _ in range(count)])).float()


def draw_problem(
    rng: np.random.Generator, obstacles: int, radius: float, margin: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """A path that is an answer `[64, 2]`, obstacles on their way `[m, 64, 2]`, and the limit of the step.

    Obstacles follow paths, and leave the answer alone; but each hits another path between the same two places, one
    without an obstacle in mind. The limit is 1.2 times the longest step of the answer.
    """
    while True:
        answer = draw_path(rng)
        if np.linalg.norm(answer[-1] - answer[0]) > 4 * CELL:
            break
    ends = answer[0], answer[-1]
    found: list[np.ndarray] = []
    while len(found) < obstacles:
        other, careless = draw_path(rng), draw_path(rng, ends)
        clear = np.linalg.norm(other - answer, axis=1).min() > radius + margin
        if clear and np.linalg.norm(other - careless, axis=1).min() < radius / 2:
            found.append(other)
    return (
        answer,
        np.stack(found),
        1.2 * float(np.linalg.norm(np.diff(answer, axis=0), axis=1).max()),
    )
