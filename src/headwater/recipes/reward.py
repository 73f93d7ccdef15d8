"""A reward of the sample, raised from the source point: D-Flow for rewards.

    z ~ N(0, I);  x0 <- argmin_x0  -strength r(x1(x0)) + R(x0)

with r in standard deviations among draws of the flow, and R what holds x0 back: |x0 - z|^2 / 2, or the law of |x0|.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch

from headwater.dflow.control import control
from headwater.dflow.prior import ChiPrior, NearDraw
from headwater.dflow.result import Callback, Event, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers import LBFGS, GradientDescent, Optimizer
from headwater.optimizers.status import Status
from headwater.problem.cost import Cost, WeightedSum
from headwater.problem.rewards import Reward, is_scheduled, is_silent, reward_at
from headwater.solvers.differentiation import Strategy
from headwater.solvers.method import DDIM, Method


@dataclass(frozen=True)
class MaximiseReward:
    """Raises a reward by control of the source point, and holds the source point back.

    If r is linear in x0 with a standard deviation of 1 among draws, `hold="draw"` raises it by `strength` standard
    deviations, and the result is a draw of the law p(x1) exp(strength r(x1)).

    Parameters
    ----------
    strength
        How much the reward counts, above 0; about the rise in standard deviations, if the reward is standardised.
    hold
        "draw" adds |x0 - z|^2 / 2 with z the draw of the problem, "chi" minus the log density of |x0|.
    hold_weight
        The factor in front of it.
    gradients
        Most gradients per problem, each a solve and its derivative.
    steps
        Steps of a solve, or its times.
    method
        The rule for one step.
    optimizer
        None means `LBFGS()`; `benchmarks/decisions/reward_recipe.py` compares it with clipped descent.
    stages
        The parts into which the gradients are cut where weights are schedules: a reward stays as it is within a
        stage, so that a line search compares like with like, and each stage begins where the one before ended. None
        means 5, but no stage of a single gradient.

    Raises
    ------
    Misuse
        If the strength is not positive and finite, `hold` is another word, or there are more stages than gradients.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024; Eyring et al., "ReNO", NeurIPS 2024, for rewards and the chi prior.

    Examples
    --------
    x1 = 2 x0, and the reward is x1 / 2: it rises by 3.

    >>> import torch
    >>> from headwater import MIDPOINT, Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([2.0])).flow
    >>> result = MaximiseReward(strength=3.0, steps=24, method=MIDPOINT)(flow, lambda x1: x1[:, 0] / 2, [0])
    >>> round((result.x0 - flow.noise([0])).item(), 2)
    3.0
    """

    strength: float = 4.0
    hold: Literal["draw", "chi"] = "draw"
    hold_weight: float = 1.0
    gradients: int = 10
    steps: int | Sequence[float] = 6
    method: Method = DDIM
    optimizer: Optimizer[Any] | None = None
    stages: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.strength < math.inf:
            raise Misuse(
                f"The strength {self.strength:g} is not positive and finite.",
                "Give about the rise in standard deviations, such as 4; a negative weight asks for less of a reward.",
            )
        if self.hold not in ("draw", "chi"):
            raise Misuse(f"Nothing holds x0 by {self.hold!r}.", "Give draw or chi.")
        if self.stages is not None and not 1 <= self.stages <= self.gradients:
            raise Misuse(
                f"{self.gradients} gradients make no {self.stages} stages.",
                "Give at least one stage, and a gradient for each.",
            )

    @classmethod
    def as_reno(cls) -> MaximiseReward:
        """The settings of ReNO: 50 clipped steps of Nesterov's descent through 4 DDIM steps, with the chi prior.

        It keeps the best point by cost and prior together, where ReNO keeps the best reward.
        """
        descent = GradientDescent(lr=5.0, momentum=0.9, clip=0.1, nesterov=True)
        return cls(1.0, "chi", 0.01, gradients=50, steps=4, method=DDIM, optimizer=descent)

    def __call__(
        self,
        flow: Flow,
        reward: Reward,
        seeds: Sequence[int],
        *,
        gradient: Strategy | None = None,
        callback: Callback | None = None,
        device: torch.device | str = "cpu",
    ) -> Result:
        """Samples with a larger reward, x1 `[len(seeds), *event]`, and their source points.

        Parameters
        ----------
        flow
            The model, with events `[*event]`.
        reward
            x1 `[batch, *event]` -> `[batch]`, larger is better; best a `RewardSum` that `standardise` has made. Its
            schedules are followed.
        seeds
            One per problem: z is `flow.noise(seeds)`, so the sample without the reward is `solve(flow, z)`.
        gradient, callback
            As in `headwater.control`.
        device
            Of the states.

        Returns
        -------
        result
            That of `headwater.control`; its cost is -strength r + R, with the weights of the last stage.

        Raises
        ------
        Misuse
            As `headwater.control`.
        """
        draw = flow.noise(seeds, device=device)
        prior: Cost = NearDraw(draw, self.hold_weight)
        if self.hold == "chi":
            prior = ChiPrior(self.hold_weight, flow.source_dimension)
        watched, results, x0 = Watched(callback), list[Result](), draw
        stages = list(zip(self.rewards(reward), self.split_gradients(reward), strict=True))
        for stage, gradients in stages:
            try:
                found = control(
                    flow,
                    WeightedSum(((-self.strength, stage),)),
                    x0,
                    prior=prior,
                    method=self.method,
                    steps=self.steps,
                    gradients=gradients,
                    optimizer=self.optimizer or LBFGS(),
                    gradient=gradient,
                    callback=watched,
                )
            except Ended as ended:
                if not results:
                    raise
                return end_early(join_stages(results), ended.status)
            results.append(found)
            x0 = found.x0
            if watched.ended is not None and len(results) < len(stages):
                return end_early(join_stages(results), watched.ended)
        return join_stages(results)

    def split_gradients(self, reward: Reward) -> list[int]:
        """The gradients of each stage; one stage for a reward that does not change."""
        count = self.stages or min(5, max(self.gradients // 2, 1))
        count = count if is_scheduled(reward) else 1
        return [self.gradients * (k + 1) // count - self.gradients * k // count for k in range(count)]

    def rewards(self, reward: Reward) -> list[Reward]:
        """The reward of each stage: of the first with the weights of the start, of the last with those of the end.

        A stage whose weights are all zero, which has no gradient, takes those of the next that has others.
        """
        count = len(self.split_gradients(reward))
        if count == 1:
            return [reward_at(reward, 1.0)]
        shares = [k / (count - 1) for k in range(count)]
        heard = [next((s for s in shares[k:] if not is_silent(reward, s)), 1.0) for k in range(count)]
        return [reward_at(reward, share) for share in heard]


class Watched:
    """A callback that remembers whether it has ended its run."""

    def __init__(self, callback: Callback | None) -> None:
        self.callback = callback
        self.ended: Status | None = None

    def __call__(self, event: Event) -> Status | None:
        """What the callback says."""
        self.ended = None if self.callback is None else self.callback(event)
        return self.ended


def end_early(result: Result, status: Status) -> Result:
    """A result whose problems all ended by `status`, whatever their last stage said; DIVERGED stays."""
    kept = (Status.DIVERGED,)
    return replace(result, status=tuple(one if one in kept else status for one in result.status))


def join_stages(results: Sequence[Result]) -> Result:
    """One result of stages that follow each other: the points of the last, the gradients and the trace of all."""
    gradients = torch.stack([found.gradients for found in results]).sum(0)
    return replace(results[-1], gradients=gradients, trace=torch.cat([found.trace for found in results]))
