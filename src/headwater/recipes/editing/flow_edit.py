"""FlowEdit: the difference of two velocities moves the original, without an inversion (Kulikov et al. 2024, alg. 1).

e <- x1
for t in times from 1 - strength:
    z ~ N(0, I);  x <- alpha_t x1 + sigma_t z;  x' <- e + x - x1
    e <- e + dt (v_target(x', t) - v(x, t))
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import EditResult, Session, pairs_of, refuse
from headwater.solvers.fixed import full_grid


@dataclass(frozen=True)
class FlowEdit:
    """Moves the original along the target's velocity less its own, averaged over fresh noise.

    Parameters
    ----------
    average
        Draws of noise at each step.
    steps
        Steps over all of [0, 1], or the times.

    Notes
    -----
    Without a target nothing moves. Where the target is the flow shifted by m, the original is shifted by m, exactly
    at any number of steps on a straight path, if the strength is 1; below it by less. It costs two evaluations a draw
    and step. Details whose velocity differs little stay; a shape that has to go often stays as well.

    References
    ----------
    Kulikov et al., "FlowEdit: Inversion-free text-based editing using pre-trained flow models", ICCV 2025, alg. 1.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([1.0])).flow
    >>> target = Gaussian(torch.tensor([5.0]), torch.tensor([1.0])).flow
    >>> round(FlowEdit(steps=3)(flow, torch.ones(1, 1), [0], target=target, strength=1.0).x1.item(), 4)
    6.0
    """

    average: int = 1
    steps: int | Sequence[float] = 24

    def __post_init__(self) -> None:
        if self.average < 1:
            raise Misuse(f"An average over {self.average} draws is none.", "Give at least 1.")
        full_grid(self.steps)

    def __call__(
        self,
        flow: Flow,
        x1: Tensor,
        seeds: Sequence[int],
        *,
        target: Flow | None = None,
        reward: Reward | None = None,
        strength: float | Tensor = 0.75,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]` of originals `[batch, *event]`; it takes no reward."""
        refuse("FlowEdit", reward=reward)
        session, grid = Session.begin(flow, x1, seeds, target, strength), full_grid(self.steps)
        steps = pairs_of(grid)

        def step(rows: Tensor, e: Tensor, k: int) -> Tensor:
            (t, t_next), before = steps[k], session.flow.select(rows)
            after, original, move = session.target.select(rows), session.x1[rows], torch.zeros_like(e)
            for _ in range(self.average):
                x = flow.path.interpolate(session.draw(rows), original, t)
                move = move + (after(e + x - original, t) - before(x, t)) / self.average
            session.count(rows, 2 * self.average)
            return e + (t_next - t).to(e) * move

        with torch.no_grad():
            return session.result(session.follow(grid, [session.x1] * len(grid), step))
