"""Whole recipes: a flow and a misfit in, a `Result` out. `paper` is D-Flow as published, `default` is ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.dflow.control import Callback, Event, Result, control
from headwater.dflow.start import blend
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.optimizers import LBFGS
from headwater.optimizers.status import Status
from headwater.problem.batch import rows
from headwater.problem.cost import Misfit, discrepancy
from headwater.recipes.estimate import estimate
from headwater.solvers import invert, logit_grid, solve
from headwater.solvers.differentiation import Strategy

TAU = 1.05
"""The discrepancy level: with n measurements the true x1 has rms 1 +- 1/sqrt(2n), in units of sigma_y."""


@dataclass(frozen=True)
class Limits:
    """What a user may say about any recipe; None means the recipe's own choice.

    `steps` of the solver; `gradients`, the limit of gradient evaluations per problem; `tau`, the discrepancy level;
    `gradient`, the strategy (memory); `callback` as in `control`.

    Raises
    ------
    Misuse
        If `steps` or `gradients` is below 1.
    """

    steps: int | None = None
    gradients: int | None = None
    tau: float | None = None
    gradient: Strategy | None = None
    callback: Callback | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "gradients"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise Misuse(f"The limit {name} = {value} leaves nothing to do.", "Give at least 1.")

    @property
    def level(self) -> float:
        """`tau`, or the usual one."""
        return TAU if self.tau is None else self.tau


def paper(
    flow: Flow, misfit: Misfit, seeds: Sequence[int], *, guess: Tensor, limits: Limits | None = None
) -> Result:
    """D-Flow with the settings of the paper: midpoint 6, L-BFGS, blend a = 0.1 of the inverted observation."""
    o = limits or Limits()
    steps = o.steps or 6
    z = flow.noise(seeds, device=guess.device)
    y0 = invert(flow, guess.expand_as(z), steps=steps)
    result = control(
        flow,
        misfit,
        blend(y0, z, 0.1),
        stop=discrepancy(misfit, o.level),
        steps=steps,
        gradients=o.gradients or 200,
        optimizer=LBFGS(),
        gradient=o.gradient,
        callback=o.callback,
    )
    return replace(result, preparation=2 * steps)


def default(
    flow: Flow,
    misfit: Misfit,
    seeds: Sequence[int],
    *,
    guess: Tensor,
    limits: Limits | None = None,
    fresh: float = 1.0,
    carry: bool = False,
) -> Result:
    """D-Flow from the inversion of a fast estimate, on a time grid fit for images.

    1. `estimate`: one pass of the denoiser (32 evaluations) gives an x1 near the noise level; `fresh` is the share of
       new noise in it.
    2. Its inversion is the start: close to the answer, where plain noise, or a blend with a poor back-projection,
       is still far off after 100 gradients. It is solved on a grid half again as fine as the control's
       `logit_grid(8)`, so that the coarser way back damps what the flow finds implausible.
    3. L-BFGS with a first step of 0.005 per coordinate down to the discrepancy.

    The way to x0 and back loses a little of the estimate, e. With `carry` that is added again: the samples are
    x1 = solve(x0) + e - solve(invert(e)), e itself at the start (events of the callback show solve(x0) alone). It is
    for measurements finer than the coarse solver.

    What each part brings is measured in `benchmarks/results/default.md`, and that of `carry` in
    `benchmarks/decisions/results/audio_recipe.md`.
    """
    o = limits or Limits()
    steps, times = o.steps or 8, 32
    watch = _Watch(misfit, o.callback)
    x1 = estimate(flow, misfit, guess, seeds, steps=times, fresh=fresh, watch=watch)
    back, grid = logit_grid(3 * steps // 2), logit_grid(steps)
    x0 = invert(flow, x1, steps=back)
    rest = x1 - solve(flow, x0, steps=grid) if carry else torch.zeros_like(x1)
    goal = Carried(misfit.operator, misfit.y, misfit.sigma_y, rest) if carry else misfit
    result = control(
        flow,
        goal,
        x0,
        stop=discrepancy(goal, o.level),
        steps=grid,
        gradients=o.gradients or 60,
        optimizer=LBFGS(first_step=0.005),
        gradient=o.gradient,
        callback=o.callback,
    )
    spent = watch.times + 2 * (len(back) - 1) + 2 * steps * carry
    return replace(result, x1=result.x1 + rest, preparation=spent, status=watch.ends(result.status))


@dataclass(frozen=True)
class Carried(Misfit):
    """The misfit of x1 + rest, for a known `rest` `[batch, *event]`."""

    rest: Tensor

    def select(self, index: Tensor) -> Carried:
        """The misfit of the problems in `index`."""
        m = super().select(index)
        return Carried(m.operator, m.y, m.sigma_y, rows(self.rest, index))

    def standardised(self, x1: Tensor) -> Tensor:
        """(A (x1 + rest) - y) / sigma_y, flattened."""
        return super().standardised(x1 + self.rest)


@dataclass
class _Watch:
    """The callback, told of the estimate as round 0; the control that follows ends at its first evaluation.

    `times` counts those of the estimate; `ended` is the status that cut it short.
    """

    misfit: Misfit
    callback: Callback | None
    times: int = 0
    ended: Status | None = None

    def __call__(self, x1: Tensor) -> bool:
        self.times += 1
        if self.callback is not None:
            everyone, cost = torch.arange(len(x1)), self.misfit(x1).to(torch.float64)
            rms = self.misfit.rms(x1).to(torch.float64)
            self.ended = self.callback(Event(0, everyone, cost, rms, x1, cost))
        return self.ended is not None

    def ends(self, status: tuple[Status, ...]) -> tuple[Status, ...]:
        """What became of the problems: of half an estimate none has reached its goal, whatever its misfit."""
        return tuple(self.ended if self.ended and s is not Status.DIVERGED else s for s in status)


PRESETS: dict[str, Callable[..., Result]] = {"default": default, "paper": paper}
