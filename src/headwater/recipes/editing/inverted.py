"""Inversion under one condition, solve under another: the edit by an ODE, with an inversion that closes.

x_t for all t  <- the inverted path of x1 under the flow, by a solver that goes back exactly
x <- x_t at t = 1 - strength;  solve the target's flow from there
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import EditResult, Session, pairs_of, refuse
from headwater.solvers.dual_conditional import invert_dual_conditional
from headwater.solvers.fixed import Grid, full_grid, reverse_grid
from headwater.solvers.method import DDIM, Method
from headwater.solvers.reversible import Pair, Reversible

Inversion = Literal["reversible", "fixed-point", "dual-conditional", "plain"]


@dataclass(frozen=True)
class InversionEdit:
    """Inverts the original under the flow, and solves back under the target.

    Without a target it returns the original: to rounding if reversible, to the tolerance where a fixed point
    converged, up to the pull if dual-conditional, up to the error of the method if plain.

    Parameters
    ----------
    inversion
        "reversible" couples two copies of the state, at twice the evaluations of the method each way; "fixed-point"
        solves every step for the state before it; "dual-conditional" does so with the noise drawn to the original;
        "plain" runs the ODE backwards.
    method
        The rule for one step; `DDIM` for a dual-conditional inversion.
    steps
        Steps over all of [0, 1], or the times. Times that are short where the velocity is steep, such as those of
        `logit_grid`, are what a schedule for editing amounts to.
    iterations, tolerance
        Of a fixed point, see `invert_fixed_point`.
    pull
        Of a dual-conditional inversion, see `invert_dual_conditional`.
    coupling
        Of the reversible solver.

    Notes
    -----
    Exact on Gaussians for the map of one law to the other, m' + S'^(1/2) S^(-1/2) (x1 - m) at strength 1, up to the
    error of the solves. An original that is unlikely under the flow has a source point far from a draw, and a
    strongly guided target then makes of it what no sample is like: lower the strength.

    References
    ----------
    Song et al., "Denoising diffusion implicit models", ICLR 2021, section 4.3; McCallum & Foster 2024 and Garibi et
    al. 2024 for the inversions; Li et al. 2025 for that with a reference; Lin et al.,
    "Schedule your edit", NeurIPS 2024, for times that suit inversion.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([1.0])).flow
    >>> target = Gaussian(torch.tensor([5.0]), torch.tensor([2.0])).flow
    >>> x1 = torch.ones(1, 1)
    >>> edit = InversionEdit(steps=24)
    >>> round(edit(flow, x1, [0], target=target, strength=1.0).x1.item(), 2), edit(flow, x1, [0]).x1.item()
    (7.0, 1.0)
    """

    inversion: Inversion = "reversible"
    method: Method = DDIM
    steps: int | Sequence[float] = 24
    iterations: int = 20
    tolerance: float = 1e-5
    pull: float = 0.016
    coupling: float = 0.99

    def __post_init__(self) -> None:
        if self.inversion not in get_args(Inversion):
            raise Misuse(
                f"There is no inversion {self.inversion!r}.", f"Give one of {', '.join(get_args(Inversion))}."
            )
        if not self.pull >= 0:
            raise Misuse(f"The pull is {self.pull:g}.", "Give 0, which pulls nothing, or more.")
        if self.inversion == "dual-conditional" and self.method != DDIM:
            raise Misuse("A dual-conditional inversion goes by DDIM alone.", "Leave the method out.")
        Reversible(self.method, full_grid(self.steps), self.coupling)

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
        """Edited samples x1 `[batch, *event]` of originals `[batch, *event]`; nothing is drawn, no reward taken."""
        refuse("An edit by inversion", reward=reward)
        session, grid = Session.begin(flow, x1, seeds, target, strength), full_grid(self.steps)

        def edit(part: Session, reward: None, rows: Tensor) -> EditResult:
            made = self.edit_pairs if self.inversion == "reversible" else self.edit_states
            return part.result(made(part, grid))

        with torch.no_grad():
            return session.edit_free(edit)

    def edit_pairs(self, session: Session, grid: Grid) -> Tensor:
        """The edit by the coupled solver, whose state is a pair."""
        solver = Reversible(self.method, grid, self.coupling)
        path = solver.trajectory_back(session.flow, session.x1)
        session.evaluations += solver.evaluations
        each = 2 * self.method.evaluations

        def step(rows: Tensor, x: Tensor, k: int) -> Tensor:
            session.count(rows, each)
            pair = solver.step(session.target.select(rows), Pair(x[:, 0], x[:, 1]), grid[k], grid[k + 1])
            return torch.stack([pair.y, pair.z], 1)

        return session.follow(grid, [torch.stack([p.y, p.z], 1) for p in path], step)[:, 0]

    def edit_states(self, session: Session, grid: Grid) -> Tensor:
        """The edit by a fixed point, with or without a reference, or a plain inversion."""
        steps, states = pairs_of(grid), [session.x1]
        if self.inversion == "fixed-point":
            states = list(session.invert(self.method, grid, self.iterations, self.tolerance))
        elif self.inversion == "dual-conditional":
            found = invert_dual_conditional(
                session.flow,
                session.x1,
                pull=self.pull,
                steps=grid,
                iterations=self.iterations,
                tolerance=self.tolerance,
            )
            states = list(session.take(found))
        else:
            for t_next, t in pairs_of(reverse_grid(grid)):
                states.insert(0, self.method.step(session.flow, session.flow.path, states[0], t_next, t))
            session.evaluations += self.method.evaluations * len(steps)

        def step(rows: Tensor, x: Tensor, k: int) -> Tensor:
            session.count(rows, self.method.evaluations)
            part = session.target.select(rows)
            return self.method.step(part, part.path, x, *steps[k])

        return session.follow(grid, states, step)
