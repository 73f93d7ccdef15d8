"""Whole recipes: a flow and a misfit in, a `Result` out. `paper` is D-Flow as published, `default` is ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headwater.control import Callback, Result, control
from headwater.cost import Misfit, discrepancy
from headwater.flow import Flow
from headwater.gradient import Strategy
from headwater.optimize import LBFGS
from headwater.solve import invert
from headwater.source import blend


@dataclass(frozen=True)
class Limits:
    """What a user may say about any recipe; None means the recipe's own choice.

    `steps` of the solver, `gradients` the limit of gradient evaluations per problem, `tau` the discrepancy
    level, `gradient` the strategy (memory), `callback` as in `control`.
    """

    steps: int | None = None
    gradients: int | None = None
    tau: float = 1.0
    gradient: Strategy | None = None
    callback: Callback | None = None


class Preset(Protocol):
    """A recipe; `guess` is a rough image made from the measurement, `[batch or 1, *event]`."""

    def __call__(
        self, flow: Flow, misfit: Misfit, seeds: Sequence[int], *, guess: Tensor, limits: Limits
    ) -> Result:
        """Control one problem per seed."""


def paper(
    flow: Flow, misfit: Misfit, seeds: Sequence[int], *, guess: Tensor, limits: Limits | None = None
) -> Result:
    """D-Flow with the settings of the paper: midpoint 6, L-BFGS, blend a = 0.1 of the inverted observation."""
    o = limits or Limits()
    steps = o.steps or 6
    z = flow.noise(seeds, device=guess.device)
    y0 = invert(flow, guess.expand_as(z), steps=steps)
    return control(
        flow,
        misfit,
        blend(y0, z, 0.1),
        stop=discrepancy(misfit, o.tau),
        steps=steps,
        gradients=o.gradients or 200,
        optimizer=LBFGS(),
        gradient=o.gradient,
        callback=o.callback,
    )


default = paper

PRESETS: dict[str, Callable[..., Result]] = {"default": default, "paper": paper}
