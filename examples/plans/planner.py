"""What all planners share: some plans for each problem are drawn, and the best is kept."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

import headwater as hw

from .costs import Constraints

SEEDS = 100_000
"""Plans of one seed have their own draws up to this number."""


def choose(x: Tensor, constraints: Constraints, draws: int) -> Tensor:
    """The best of the `draws` plans x `[n draws, 64, 2]` of each problem, `[n, 64, 2]`."""
    worst = constraints.find_worst(x).nan_to_num(torch.inf)
    best = worst.reshape(-1, draws).argmin(1)
    return x.reshape(-1, draws, *x.shape[1:])[torch.arange(len(best)), best]


def repeat(constraints: Constraints, draws: int) -> Constraints:
    """The constraints of every problem, `draws` times."""
    held = {
        name: getattr(constraints, name).repeat_interleave(draws, 0)
        for name in constraints.per_problem
    }
    return replace(constraints, **held)


class Planner:
    """What makes some plans for each problem, and keeps the best."""

    draws: int

    def draw_plans(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """`draws` plans of every problem, `[n draws, 64, 2]`."""
        raise NotImplementedError

    def __call__(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """The best plan of every problem, `[n, 64, 2]`."""
        plans = self.draw_plans(flow, constraints, seed)
        return choose(plans, repeat(constraints, self.draws), self.draws)
