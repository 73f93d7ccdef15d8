"""What is asked of a plan, as one misfit, and what a plan breaks.

Start and goal are equations, and everything else is an inequality, of which the breach counts and nothing below it:

    start, goal   (x_0 - start) / tolerance and (x_63 - goal) / tolerance
    obstacles     (radius + margin - distance)+ of the robot and each obstacle, at all times and half-way between them
    speed         (length of a step - limit)+
    walls         (margin - distance to the next wall)+, the distance negative inside

A `headwater.Misfit` with y = 0 and sigma_y = 1 holds all of it, so every method that takes a misfit can plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

import headwater as hw

from .data import CELL, MAZE, draw_problem

TOLERANCE = 0.1 * CELL
"""How far from its start and goal a plan may begin and end."""
SLACK = 1.01
"""The share of the limit up to which a step is taken to keep it."""
WALLS = torch.tensor(
    [
        [(c + 0.5) * CELL - 1, (r + 0.5) * CELL - 1]
        for r, row in enumerate(MAZE)
        for c, kind in enumerate(row)
        if kind == "#"
    ]
)
"""The centres of the walls, `[walls, 2]`."""


@dataclass(frozen=True, eq=False)
class Constraints(hw.Operator):
    """The breaches of paths x `[n, 64, 2]`, in units of their tolerance, `[n, breaches]`.

    Attributes
    ----------
    start, goal
        `[n, 2]`.
    obstacles
        Where the obstacles are at the times of the path, `[n, m, 64, 2]`.
    limit
        The longest step between two times, `[n]`.
    radius
        How near the robot may come to the centre of an obstacle.
    margin
        What is kept beyond that, and from walls, in the cost.
    sharpness
        Breaches of inequalities are over this, as start and goal are over a fifth of their tolerance.
    """

    start: Tensor
    goal: Tensor
    obstacles: Tensor
    limit: Tensor
    radius: float = 0.4 * CELL
    margin: float = 0.06 * CELL
    sharpness: float = 0.02 * CELL
    kind, per_problem = "plan", ("start", "goal", "obstacles", "limit")

    def __call__(self, x: Tensor) -> Tensor:
        """The breaches of x, `[n, breaches]`."""
        ends = torch.cat([x[:, 0] - self.start, x[:, -1] - self.goal], 1) / (
            TOLERANCE / 5
        )
        near = self.radius + self.margin - self.find_distances(x, 2)
        fast = find_steps(x) - self.limit[:, None]
        wall = self.margin - measure_walls(refine(x, 2))
        return torch.cat(
            [
                ends,
                *(
                    (part.relu() / self.sharpness).flatten(1)
                    for part in (near, fast, wall)
                ),
            ],
            1,
        )

    def find_distances(self, x: Tensor, fine: int) -> Tensor:
        """From each obstacle, at `fine` times as many times, `[n, m, 63 fine + 1]`."""
        offset = refine(x, fine)[:, None] - refine(self.obstacles.to(x), fine)
        return (offset.square().sum(-1) + 1e-12).sqrt()

    def pose(self) -> hw.Misfit:
        """The misfit: all breaches are to be 0."""
        breaches = self(self.obstacles[:, 0])
        return hw.Misfit(self, torch.zeros_like(breaches), 1.0)

    def find_breaches(self, x: Tensor) -> dict[str, Tensor]:
        """By how much a plan breaks what is asked, `[n]` each; what is 0 or less is kept.

        Without margins, at 8 times as many times. Lengths are in cells, the speed as a share of the limit.
        """
        ends = [x[:, 0] - self.start, x[:, -1] - self.goal]
        return {
            "ends": (torch.stack([end.norm(dim=1) for end in ends]).amax(0) - TOLERANCE)
            / CELL,
            "obstacles": (self.radius - self.find_distances(x, 8).flatten(1).amin(1))
            / CELL,
            "speed": find_steps(x).amax(1) / self.limit - SLACK,
            "walls": -measure_walls(refine(x, 8)).amin(1) / CELL,
        }

    def find_worst(self, x: Tensor) -> Tensor:
        """The largest breach of a plan, `[n]`: 0 or less for one that keeps everything."""
        return torch.stack(list(self.find_breaches(x).values())).amax(0)


@dataclass(frozen=True)
class Worst:
    """`find_worst` as the measure of a `headwater.Stop`, which follows the problems that still run."""

    constraints: Constraints

    def select(self, index: Tensor) -> Worst:
        """The measure of the problems in `index`, `[k]`."""
        return replace(self, constraints=self.constraints.select(index))

    def __call__(self, x: Tensor) -> Tensor:
        """The largest breach, `[n]`."""
        return self.constraints.find_worst(x)


def refine(x: Tensor, fine: int) -> Tensor:
    """Paths `[..., times, 2]` with `fine` - 1 places put evenly between two of them."""
    share = torch.arange(fine, dtype=x.dtype, device=x.device)[:, None] / fine
    between = torch.lerp(x[..., :-1, None, :], x[..., 1:, None, :], share)
    return torch.cat([between.flatten(-3, -2), x[..., -1:, :]], -2)


def find_steps(x: Tensor) -> Tensor:
    """The lengths of the steps of paths x `[n, 64, 2]`, `[n, 63]`."""
    return (torch.diff(x, dim=1).square().sum(-1) + 1e-12).sqrt()


def measure_walls(x: Tensor) -> Tensor:
    """The distance of places `[..., 2]` to the next wall, negative inside; the outer wall counts, `[...]`."""
    q = (x[..., None, :] - WALLS.to(x)).abs() - CELL / 2
    outside = (q.relu().square().sum(-1) + 1e-12).sqrt()
    inner = (outside + q.amax(-1).clamp(max=0)).amin(-1)
    return torch.minimum(inner, 1 - x.abs().amax(-1))


def pose_problems(
    count: int, seed: int, obstacles: int = 2
) -> tuple[Constraints, Tensor]:
    """Random problems, and for each an answer `[count, 64, 2]` that keeps everything."""
    made = [
        draw_problem(
            np.random.default_rng([seed, i]),
            obstacles,
            Constraints.radius,
            2 * Constraints.margin,
        )
        for i in range(count)
    ]
    answers = torch.from_numpy(np.stack([answer for answer, _, _ in made])).float()
    others = torch.from_numpy(np.stack([other for _, other, _ in made])).float()
    limit = torch.tensor([limit for _, _, limit in made])
    return Constraints(answers[:, 0], answers[:, -1], others, limit), answers
