"""h-Edit: the noise of the original's own stochastic path, replayed under a changed condition and tilted by a reward.

    for all t:  x_t <- alpha_t x1 + sigma_t z_t, each z_t a draw of its own        (edit-friendly noise maps)
                d_t <- x_t' - mean(x_t),  the noise that carries x_t to x_t'
    e <- x_t at t = 1 - strength
    for t up to 1:  e <- mean(e) + w (mean_target(e) - mean(e)) + d_t              reconstruction and condition
                    e <- e + s_t^2 strength_r grad r(xhat(e, t'))                  Doob's h-transform

With h(x, t) = E[exp(lambda r(x1)) | x_t = x], which is taken at the denoiser, the second line is the drift
g^2 grad log h of the process that ends in p(x1) exp(lambda r(x1)). For a few steps TurboEdit raises w above 1, and
takes every mean as if the time were earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.rewards import Reward, reward_at
from headwater.recipes.editing.edit import EditResult, Session, pairs_of, reward_gradient
from headwater.solvers.fixed import full_grid
from headwater.solvers.stochastic import Ancestral, Transition


@dataclass(frozen=True)
class HEdit:
    """Replays the original's noise under the target, and adds the drift of a reward.

    With neither it returns the original, to rounding, in any number of steps. With a target alone it is the edit by
    edit-friendly noise maps; with a `guidance` or a `shift` that of TurboEdit, for a few steps.

    Parameters
    ----------
    weight
        lambda, how much the reward counts; about the rise in standard deviations, if the reward is standardised.
    noise
        The share of the ancestral noise, above 0: the maps that carry the original, and the drift of the reward.
    guidance
        w, how far along the difference of the two conditions; above 1 for a few steps. Other than 1 it costs a third
        evaluation a step.
    shift
        How much earlier the time t is taken to be, as (1 - shift) t; from 0 to below 1.
    steps
        Steps over all of [0, 1], or the times.

    Notes
    -----
    On a Gaussian flow with a linear reward a . x1 and strength 1 every original moves by lambda S a, which makes of
    draws of p draws of p exp(lambda r), as the steps become short. Elsewhere h at the denoiser is a guess that gets
    better as t nears 1. A reward costs one gradient of the network a step. On Gaussians that differ in their mean the
    move of a target is w times that of w = 1.

    References
    ----------
    Nguyen et al., "h-Edit: Effective and flexible diffusion-based editing via Doob's h-transform", CVPR 2025;
    Huberman-Spiegelglas et al., "An edit friendly DDPM noise space", CVPR 2024, algorithm 1; Deutch et al.,
    "TurboEdit: Text-based image editing using few-step diffusion models", SIGGRAPH Asia 2024.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> flow, x1 = Gaussian(torch.zeros(1), torch.tensor([1.0])).flow, torch.ones(1, 1)
    >>> round(HEdit(steps=3)(flow, x1, [0], strength=1.0).x1.item(), 4)
    1.0
    >>> result = HEdit(weight=2.0, steps=200)(flow, x1, [0], reward=lambda x: x[:, 0], strength=1.0)
    >>> round(result.x1.item(), 1)
    3.0
    """

    weight: float = 4.0
    noise: float = 1.0
    steps: int | Sequence[float] = 24
    guidance: float = 1.0
    shift: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf") or not 0 < self.noise <= 1:
            raise Misuse(
                f"A weight of {self.weight:g} with noise {self.noise:g} edits nothing.",
                "Give a positive weight, and a noise above 0, at most 1.",
            )
        if not 0 < self.guidance < float("inf") or not 0 <= self.shift < 1:
            raise Misuse(
                f"A guidance of {self.guidance:g} with times shifted by {self.shift:g} is no edit.",
                "Give a positive guidance, 1 for none, and a shift from 0 to below 1.",
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
        strength: float | Tensor = 0.75,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]` of originals `[batch, *event]`."""
        session, grid = Session.begin(flow, x1, seeds, target, strength), full_grid(self.steps)
        steps, law, goal = pairs_of(grid), Ancestral(self.noise), reward and reward_at(reward, 1.0)
        taken = [((1 - self.shift) * a, (1 - self.shift) * b) for a, b in steps]
        draws = [session.draw(torch.arange(len(x1))) for _ in steps]
        states = [flow.path.interpolate(z, session.x1, t) for z, (t, _) in zip(draws, steps, strict=True)]
        states.append(session.x1)

        def law_at(part: Flow, x: Tensor, k: int) -> Transition:
            t, t_next = taken[k]
            with torch.no_grad():
                return law.transition(part.path, x, part(x, t), t.clamp(*part.path.span), t_next)

        def step(rows: Tensor, e: Tensor, k: int) -> Tensor:
            before, after = session.flow.select(rows), session.target.select(rows)
            original = states[k][rows]
            noise = states[k + 1][rows] - law_at(before, original, k).mean
            found = law_at(after, e, k)
            session.count(rows, 2)
            mean = found.mean
            if self.guidance != 1 and target is not None:
                plain = law_at(before, e, k).mean
                mean = plain + self.guidance * (mean - plain)
                session.count(rows)
            e = mean + noise
            if goal is None or found.std == 0:
                return e
            session.count(rows)
            slope = reward_gradient(goal, rows, after, e, steps[k][1])
            return e + (self.weight * found.std**2).to(e) * slope

        return session.result(session.follow(grid, states, step), reward=reward)
