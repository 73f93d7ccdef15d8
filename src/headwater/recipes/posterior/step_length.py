"""How a chain finds its step length: dual averaging towards an acceptance, during burn-in only.

With a_t the acceptance probability of step t, a its target, s the length:

    H_t = (1 - 1 / (t + t0)) H_(t-1) + (a - a_t) / (t + t0)
    log s_(t+1) = log(10 s_1) - sqrt(t) / g H_t
    log m_t = t^-k log s_(t+1) + (1 - t^-k) log m_(t-1)

The chain goes on with m once the burn-in is over (Hoffman & Gelman, JMLR 15, 2014, section 3.2.1, whose g, t0 and k
are used).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from headwater.recipes.posterior.chains import ChainState

RATE, DELAY, DECAY = 0.05, 10.0, 0.75
"""g, t0 and k of the paper."""


@dataclass(frozen=True, kw_only=True)
class TunedState(ChainState):
    """Chains with step lengths of their own.

    Attributes
    ----------
    log_step, log_mean
        log s, for the next step of the burn-in, and log m, for what comes after it; float64 `[chains]`.
    shortfall
        H, float64 `[chains]`.
    tuned
        Steps t of the adaptation, int64 `[chains]`.
    """

    log_step: Tensor
    log_mean: Tensor
    shortfall: Tensor
    tuned: Tensor


S = TypeVar("S", bound=TunedState)


def step_fields(step: float, like: Tensor) -> dict[str, Tensor]:
    """The fields before the first step, whose length is `step`; `like` is float64 `[chains]`."""
    log = torch.full_like(like, math.log(step))
    return {
        "log_step": log,
        "log_mean": log,
        "shortfall": torch.zeros_like(like),
        "tuned": torch.zeros_like(like, dtype=torch.int64),
    }


def step_length(state: TunedState, adapt: bool) -> Tensor:
    """The length of the next step of every chain, float64 `[chains]`."""
    return (state.log_step if adapt else state.log_mean).exp()


def tune(state: S, probability: Tensor, target: float, first: float, longest: float) -> S:
    """The state with its step lengths adapted after a step of acceptance `probability` `[chains]`.

    Parameters
    ----------
    state
        Before the adaptation.
    probability
        The acceptance probability of the step.
    target
        Which one is wanted.
    first, longest
        The first step length, and the longest.
    """
    t = (state.tuned + 1).to(torch.float64)
    share = 1 / (t + DELAY)
    shortfall = (1 - share) * state.shortfall + share * (target - probability)
    log_step = (math.log(10 * first) - t.sqrt() / RATE * shortfall).clamp(max=math.log(longest))
    weight = t**-DECAY
    log_mean = weight * log_step + (1 - weight) * state.log_mean
    return replace(state, log_step=log_step, log_mean=log_mean, shortfall=shortfall, tuned=state.tuned + 1)
