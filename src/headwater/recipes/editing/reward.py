"""A reward of a real sample, raised from its own source point: D-Flow as an edit.

y0 <- the source point that the solve carries to x1, by a fixed point for every step
x0 <- argmin_x0  -weight r(x) + |x0 - y0|^2 / 2 + keep sum (1 - strength) (x - x1)^2 / 2,   x = solve(x0)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.control import control
from headwater.dflow.prior import NearDraw
from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.optimizers import LBFGS, Optimizer
from headwater.problem.batch import Each, per_problem
from headwater.problem.cost import Cost, WeightedSum
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import EditResult, Session, begin_by_reward, rms_distance, value_of
from headwater.solvers.differentiation import Strategy
from headwater.solvers.fixed import full_grid
from headwater.solvers.method import DDIM, Method


@dataclass(frozen=True)
class RewardEdit:
    """Raises a reward by control of the original's source point, near it and, where the strength is low, near x1.

    Parameters
    ----------
    weight
        How much the reward counts; about the rise in standard deviations, if the reward is standardised.
    keep
        How much a part of strength 0 is held to the original, in the inverse of data units squared.
    gradients
        Most gradients per problem, each a solve and its derivative.
    method, steps
        The solve, whose own inversion is the start.
    iterations, tolerance
        Of the fixed points, see `invert_fixed_point`.
    optimizer
        None means `LBFGS()`.

    Notes
    -----
    On a Gaussian flow with a linear reward a . x1 and strength 1 the original moves by weight S a: draws become draws
    of p(x1) exp(weight r(x1)). Its x1 is the sample of its x0, so a held part is near the original and not at it.
    Where the inversion does not converge the start is another sample than x1; the `residual` of the result says so.
    It keeps its best point, so the reward is not lowered where the inversion closes.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024; Garibi et al., "ReNoise", ECCV 2024, for the start.

    Examples
    --------
    >>> from headwater import MIDPOINT, Gaussian
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([2.0, 1.0])).flow
    >>> x1 = torch.tensor([[1.0, 0.5]], dtype=torch.float64)
    >>> edit = RewardEdit(weight=1.5, steps=24, method=MIDPOINT)
    >>> result = edit(flow, x1, [0], reward=lambda x: x[:, 0], strength=1.0)
    >>> [round(v, 1) for v in result.x1[0].tolist()]  # 1 + 1.5 * 2^2
    [7.0, 0.5]
    """

    weight: float = 4.0
    keep: float = 1.0
    gradients: int = 10
    method: Method = DDIM
    steps: int | Sequence[float] = 12
    iterations: int = 20
    tolerance: float = 1e-4
    optimizer: Optimizer[Any] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf") or not 0 <= self.keep < float("inf"):
            raise Misuse(
                f"A weight of {self.weight:g} and {self.keep:g} for what is kept do not balance.",
                "Give a positive weight, and 0 or more for what is kept.",
            )
        full_grid(self.steps)

    def __call__(
        self,
        flow: Flow,
        x1: Tensor,
        seeds: Sequence[int],
        *,
        target: Flow | None = None,
        reward: Reward | None = None,
        strength: float | Tensor = 1.0,
        gradient: Strategy | None = None,
        callback: Callback | None = None,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]` and their source points; it draws nothing, and takes no target."""
        session, goal = begin_by_reward(
            "An edit by control of the source", flow, x1, seeds, target, reward, strength
        )
        y0 = session.invert(self.method, full_grid(self.steps), self.iterations, self.tolerance)[0]
        result = control(
            flow,
            WeightedSum(((-self.weight, goal), (1.0, self.distance(session)))),
            y0,
            prior=NearDraw(y0),
            method=self.method,
            steps=self.steps,
            gradients=self.gradients,
            optimizer=self.optimizer or LBFGS(),
            gradient=gradient,
            callback=callback,
        )
        bad = ~torch.isfinite(result.x1).flatten(1).all(1)
        x1 = torch.where(per_problem(bad, session.x1), session.x1, result.x1)
        values = {name: getattr(result, name) for name in result.__dataclass_fields__}
        values |= {"preparation": session.evaluations, "x1": x1}
        return EditResult(
            **values,
            distance=rms_distance(x1, session.x1),
            reward=value_of(goal, x1),
            residual=session.residual,
        )

    def distance(self, session: Session) -> Cost:
        """keep sum (1 - strength) (x - x1)^2 / 2, `[batch]`."""
        weight = (self.keep * (1 - session.strength)).expand_as(session.x1)
        return Each(weighted_distance, original=session.x1, weight=weight)


def weighted_distance(x: Tensor, original: Tensor, weight: Tensor) -> Tensor:
    """Sum of weight (x - original)^2 / 2 over each event, `[batch]`; all are `[batch, *event]`."""
    return 0.5 * (weight * (x - original).square()).flatten(1).sum(1)
