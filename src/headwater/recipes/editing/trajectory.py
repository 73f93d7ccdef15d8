"""A reward raised by a control at every step of the original's own trajectory (Chang, Kim & Ye 2025).

    x_t for all t  <- the trajectory that the solve carries to x1, by a fixed point for every step
    minimise over u_k:  -weight r(x_K) + sum_k h_k |u_k|^2 / 2,   x_k+1 = F(x_k) + h_k u_k,   from t = 1 - strength

Its optimum has u_k = weight p_k, with p_k the adjoint of the reward, the costate of Pontryagin's principle. It is
found by `control`, to which the controls w_k = sqrt(h_k) u_k are a source point with the prior |w|^2 / 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.prior import GaussianPrior
from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import select
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import ROUNDING, EditResult, begin_by_reward, pairs_of
from headwater.solvers.differentiation import Direct
from headwater.solvers.fixed import Grid, full_grid
from headwater.solvers.method import DDIM, EULER, Method


@dataclass(frozen=True)
class TrajectoryEdit:
    """Raises a reward by controls along the original's trajectory, each part only from the time 1 - strength on.

    Parameters
    ----------
    weight
        How much the reward counts against the controls' energy.
    gradients
        Most gradients per problem, each a solve and its derivative.
    method, steps
        The solve, whose own inversion is the trajectory.
    iterations, tolerance
        Of the fixed points, see `invert_fixed_point`.

    Notes
    -----
    On a Gaussian flow of N(m, s^2 I) with a linear reward a . x1 the original moves by weight a times the integral of
    s^2 / (alpha^2 s^2 + sigma^2) from 1 - strength to 1, as the steps become short. A late control changes x1 as an
    adversary would, where the flow no longer corrects it: raise the strength, or the weight less. It holds the graph
    of a whole solve in memory.

    References
    ----------
    Chang, Kim & Ye, "Training-free reward-guided image editing via trajectory optimal control", 2025.

    Examples
    --------
    With s = 1 and strength 1/2 the integral is pi / 4, and the move about pi.

    >>> from headwater import Gaussian
    >>> flow, x1 = Gaussian(torch.zeros(1), torch.ones(1)).flow, torch.ones(1, 1)
    >>> result = TrajectoryEdit(weight=4.0, steps=96)(flow, x1, [0], reward=lambda x: x[:, 0], strength=0.5)
    >>> round(result.x1.item() - 1)
    3
    """

    weight: float = 4.0
    gradients: int = 10
    method: Method = DDIM
    steps: int | Sequence[float] = 12
    iterations: int = 20
    tolerance: float = 1e-4

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise Misuse(f"A weight of {self.weight:g} raises nothing.", "Give a positive weight.")
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
        callback: Callback | None = None,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]`; nothing is drawn, no target taken."""
        session, goal = begin_by_reward(
            "An edit by trajectory control", flow, x1, seeds, target, reward, strength
        )
        grid = full_grid(self.steps)
        y0 = session.invert(self.method, grid, self.iterations, self.tolerance)[0]
        steered = SteeredSolve(flow, y0, session.strength, grid, self.method)
        w = x1.new_zeros(len(x1), len(grid) - 1, *flow.shape)
        still = Flow(lambda x, t: 0 * x, tuple(w.shape[1:]))  # the controls themselves are what is sought
        result = control(
            still,
            SteeredReward(steered, goal, -self.weight),
            w,
            prior=GaussianPrior(),
            method=EULER,
            steps=1,
            gradients=self.gradients,
            gradient=Direct(),
            callback=callback,
        )
        with torch.no_grad():
            edited = steered(result.x1)
        session.evaluations += steered.evaluations
        return replace(
            session.result(edited, reward=goal),
            cost=result.cost,
            status=result.status,
            gradients=result.gradients,
            nfe_per_gradient=steered.evaluations,
            trace=result.trace,
        )


@dataclass(frozen=True, eq=False)
class SteeredSolve:
    """x1 `[batch, *event]` of controls w `[batch, K, *event]`: x_k+1 = F(x_k) + sqrt(h_k) w_k where free."""

    flow: Flow
    start: Tensor
    strength: Tensor
    grid: Grid
    method: Method

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for one solve."""
        return self.method.evaluations * (len(self.grid) - 1)

    def select(self, index: Tensor) -> SteeredSolve:
        """That of the problems in `index`, int64 `[k]`."""
        where = index.to(self.start.device)
        return replace(
            self, flow=self.flow.select(index), start=self.start[where], strength=self.strength[where]
        )

    def __call__(self, w: Tensor) -> Tensor:
        x = self.start
        for k, (t, t_next) in enumerate(pairs_of(self.grid)):
            free = (self.strength >= 1 - t - ROUNDING).to(x)
            x = self.method.step(self.flow, self.flow.path, x, t, t_next)
            x = x + self.flow.project((t_next - t).sqrt().to(x) * free * w[:, k])
        return x


@dataclass(frozen=True, eq=False)
class SteeredReward:
    """weight r(x1(w)) `[batch]` of controls w `[batch, K, *event]`."""

    solve: SteeredSolve
    reward: Reward
    weight: float

    def select(self, index: Tensor) -> SteeredReward:
        """That of the problems in `index`, int64 `[k]`."""
        return replace(self, solve=self.solve.select(index), reward=select(self.reward, index))

    def __call__(self, w: Tensor) -> Tensor:
        return self.weight * self.reward(self.solve(w))
