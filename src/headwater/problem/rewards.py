"""Rewards: what a sample should be more of. Larger is better; a cost is minus a reward.

A reward is any callable `reward(x1) -> [batch]` of samples x1 `[batch, *event]`, differentiable where it guides. One
with data per problem declares it as a cost does (`Each`, `select` or `WholeBatch`). Weights of a sum may be schedules
over the optimisation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import CannotRestrict, select, select_rows
from headwater.problem.cost import WeightedSum

FIRST_DRAW = 3_000_000_000
"""The first seed of draws that standardise rewards, far from those that people ask for; torch keeps 32 bits of it."""

Reward = Callable[[Tensor], Tensor]
Weight = float | Callable[[float], float]
"""A number, or a schedule: what it is when a share of the gradients, 0 to 1, has been spent."""


@dataclass(frozen=True)
class Ramp:
    """A weight that goes from `start` to `end` in a straight line, while a share of the gradients is spent.

    Parameters
    ----------
    start, end
        The weight before and after.
    begin, finish
        The shares of the gradients between which it moves, 0 <= begin < finish <= 1.

    Raises
    ------
    Misuse
        If a weight is not finite, or the shares are not in this order.

    Examples
    --------
    >>> late = Ramp(0.0, 2.0, begin=0.5)
    >>> [late(share) for share in (0.0, 0.5, 0.75, 1.0)]
    [0.0, 0.0, 1.0, 2.0]
    """

    start: float
    end: float
    begin: float = 0.0
    finish: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start) and math.isfinite(self.end)):
            raise Misuse(
                f"A weight cannot go from {self.start:g} to {self.end:g}.", "Give two finite numbers."
            )
        if not 0 <= self.begin < self.finish <= 1:
            raise Misuse(
                f"A weight cannot move between the shares {self.begin:g} and {self.finish:g} of the gradients.",
                "Give 0 <= begin < finish <= 1.",
            )

    def __call__(self, share: float) -> float:
        """The weight when this share of the gradients, 0 to 1, has been spent."""
        done = min(max((share - self.begin) / (self.finish - self.begin), 0.0), 1.0)
        return self.start + (self.end - self.start) * done


SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Where a schedule is tried when it is given."""


def weight_at(weight: Weight, share: float) -> float:
    """A weight when this share of the gradients has been spent.

    Examples
    --------
    >>> weight_at(2.0, 0.5), weight_at(Ramp(0.0, 2.0), 0.5)
    (2.0, 1.0)
    """
    return float(weight(share)) if callable(weight) else float(weight)


def check_weight(weight: Weight) -> None:
    """Refuse a weight that is zero throughout, or not finite somewhere."""
    values = [weight_at(weight, share) for share in SHARES]
    if not all(math.isfinite(value) for value in values) or not any(values):
        what = "schedule" if callable(weight) else f"weight {values[0]:g}"
        raise Misuse(
            f"The {what} of a reward is zero or not finite.", "Give a number such as 1, or -1 for less of it."
        )


@dataclass(frozen=True)
class RewardSum:
    """sum_i w_i r_i(x1), `[batch]`, of rewards with their weights and names.

    Parameters
    ----------
    terms
        The pairs (w_i, r_i), each r_i x1 `[batch, *event]` -> `[batch]`. A negative weight asks for less. A weight
        may be a schedule, such as a `Ramp`: a function of the share of the gradients that has been spent, 0 to 1.
        `MaximiseReward` follows it; the sum itself counts with what is reached in the end.
    names
        One name for each term, for reports; by default those of the functions.

    Raises
    ------
    Misuse
        If there is no term, a weight is zero, NaN or infinite, all weights end at zero, or the names are not one for
        each term.

    Examples
    --------
    >>> total = RewardSum(((1.0, lambda x: x.sum(1)), (-2.0, lambda x: x.square().sum(1))))
    >>> total(torch.tensor([[1.0, 2.0]])).item()  # 3 - 2 * 5
    -7.0
    """

    terms: tuple[tuple[Weight, Reward], ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.terms:
            raise Misuse("There is no reward.", "Give at least one pair (weight, reward).")
        for weight, _ in self.terms:
            check_weight(weight)
        if not any(weight_at(weight, 1.0) for weight, _ in self.terms):
            raise Misuse(
                "All weights are zero in the end, so nothing is rewarded.",
                "Let one of them end above or below zero.",
            )
        names = self.names or tuple(getattr(r, "__name__", type(r).__name__) for _, r in self.terms)
        if len(names) != len(self.terms):
            raise Misuse(f"There are {len(names)} names for {len(self.terms)} rewards.", "Give one for each.")
        object.__setattr__(self, "names", names)

    def select(self, index: Tensor) -> RewardSum:
        """The sum for the problems in `index`, int64 `[k]`."""
        return RewardSum(tuple((w, select(r, index)) for w, r in self.terms), self.names)

    @property
    def scheduled(self) -> bool:
        """Whether a weight changes while the gradients are spent, here or in a reward of the sum."""
        return any(callable(weight) or is_scheduled(reward) for weight, reward in self.terms)

    def is_silent(self, share: float) -> bool:
        """Whether nothing is rewarded when this share of the gradients has been spent."""
        return all(is_silent(reward, share) or not weight_at(w, share) for w, reward in self.terms)

    def at(self, share: float) -> Reward:
        """The sum with the weights of a share of the gradients, 0 to 1; what counts nothing there is left out."""
        now = [(weight_at(weight, share), reward_at(reward, share)) for weight, reward in self.terms]
        return WeightedSum(tuple(term for term in now if term[0]) or tuple(now[:1]))

    def __call__(self, x1: Tensor) -> Tensor:
        """The sum at x1 `[batch, *event]`, `[batch]`, with the weights of the end."""
        return self.at(1.0)(x1)

    def values(self, x1: Tensor) -> dict[str, Tensor]:
        """Each reward at x1 `[batch, *event]`, without its weight, `[batch]`, by name; no gradient."""
        with torch.no_grad():
            return {name: r(x1).detach() for name, (_, r) in zip(self.names, self.terms, strict=True)}

    def standardise(self, draws: Tensor, problems: int | None = None) -> RewardSum:
        """The sum in which each reward is in standard deviations of its values at draws `[n, *event]` of a flow.

        Rewards of different units then have weights that compare: 1 asks for a standard deviation of each. Where a
        reward has data per problem, give the number of `problems`: each has its own mean and standard deviation.

        Raises
        ------
        Misuse
            As `standardise_reward`.
        """
        terms = tuple(
            (w, standardise_reward(r, draws, n, problems))
            for n, (w, r) in zip(self.names, self.terms, strict=True)
        )
        return RewardSum(terms, self.names)


def is_scheduled(reward: Reward) -> bool:
    """Whether a reward changes while the gradients are spent; one without `scheduled` does not.

    Examples
    --------
    >>> is_scheduled(RewardSum(((Ramp(0.0, 1.0), torch.sum),))), is_scheduled(torch.sum)
    (True, False)
    """
    return bool(getattr(reward, "scheduled", False))


def reward_at(reward: Reward, share: float) -> Reward:
    """A reward with the weights of a share of the gradients, 0 to 1; itself, if it does not change."""
    found: Reward = reward.at(share) if is_scheduled(reward) else reward  # type: ignore[attr-defined]
    return found


def is_silent(reward: Reward, share: float) -> bool:
    """Whether all weights of a reward are zero when this share of the gradients, 0 to 1, has been spent.

    Examples
    --------
    >>> late = RewardSum(((Ramp(0.0, 1.0, begin=0.5), torch.sum),))
    >>> is_silent(late, 0.5), is_silent(late, 0.75), is_silent(torch.sum, 0.0)
    (True, False, False)
    """
    method = getattr(reward, "is_silent", None)
    return False if method is None else bool(method(share))


@dataclass(frozen=True)
class RewardThrough:
    """A reward of what a decoder makes, r(D(z)) `[batch]`, with the schedules of its weights.

    Parameters
    ----------
    reward
        r, x `[batch, ...]` -> `[batch]`.
    decode
        D, z `[batch, *event]` -> x; it is asked once for all terms of a sum.

    Examples
    --------
    >>> from headwater import Ramp, RewardSum
    >>> reward = RewardThrough(RewardSum(((Ramp(0.0, 1.0), lambda x: x[:, 0]),)), lambda z: 2 * z)
    >>> reward.at(0.5)(torch.tensor([[3.0]])).item(), reward(torch.tensor([[3.0]])).item()
    (3.0, 6.0)
    """

    reward: Reward
    decode: Callable[[Tensor], Tensor]

    @property
    def scheduled(self) -> bool:
        """Whether a weight changes while the gradients are spent."""
        return is_scheduled(self.reward)

    def at(self, share: float) -> Reward:
        """The reward with the weights of a share of the gradients, 0 to 1."""
        return RewardThrough(reward_at(self.reward, share), self.decode)

    def is_silent(self, share: float) -> bool:
        """Whether nothing is rewarded when this share of the gradients has been spent."""
        return is_silent(self.reward, share)

    def select(self, index: Tensor) -> RewardThrough:
        """The reward of the problems in `index`, int64 `[k]`."""
        return RewardThrough(select(self.reward, index), select(self.decode, index))

    def __call__(self, z: Tensor) -> Tensor:
        """The reward of what is made of z `[batch, *event]`, `[batch]`."""
        return self.reward(self.decode(z))


@dataclass(frozen=True)
class StandardisedReward:
    """(r(x1) - mean) / spread, `[batch]`, of a reward.

    Parameters
    ----------
    reward
        r, x1 `[batch, *event]` -> `[batch]`.
    mean, spread
        Those of r among samples of a flow; one number for all problems, or `[batch]` with one for each.

    Examples
    --------
    >>> StandardisedReward(lambda x: x[:, 0], mean=1.0, spread=2.0)(torch.tensor([[7.0]])).item()
    3.0
    """

    reward: Reward
    mean: float | Tensor
    spread: float | Tensor

    @property
    def scheduled(self) -> bool:
        """Whether a weight changes while the gradients are spent."""
        return is_scheduled(self.reward)

    def at(self, share: float) -> Reward:
        """The reward with the weights of a share of the gradients, 0 to 1, in the same units."""
        return StandardisedReward(reward_at(self.reward, share), self.mean, self.spread)

    def is_silent(self, share: float) -> bool:
        """Whether nothing is rewarded when this share of the gradients has been spent."""
        return is_silent(self.reward, share)

    def select(self, index: Tensor) -> StandardisedReward:
        """The reward of the problems in `index`, int64 `[k]`."""
        mean, spread = select_rows(self.mean, index), select_rows(self.spread, index)
        return StandardisedReward(select(self.reward, index), mean, spread)

    def __call__(self, x1: Tensor) -> Tensor:
        """The standardised reward at x1 `[batch, *event]`, `[batch]`."""
        value = self.reward(x1)
        mean, spread = (v.to(value) if isinstance(v, Tensor) else v for v in (self.mean, self.spread))
        return (value - mean) / spread


def standardise_reward(
    reward: Reward, draws: Tensor, name: str = "reward", problems: int | None = None
) -> StandardisedReward:
    """A reward in standard deviations of its values at draws `[n, *event]`.

    Parameters
    ----------
    reward
        x1 `[batch, *event]` -> `[batch]`.
    draws
        Samples of a flow `[n, *event]`, two or more.
    name
        What a refusal calls the reward.
    problems
        How many problems the reward has data for; each then has its own mean and spread, over all draws. None for a
        reward that is the same for all problems.

    Raises
    ------
    Misuse
        If it does not return one value per draw, is not finite at a draw, is the same at all of them, or there are
        fewer than two; if it has data per problem, and their number is not given.

    Examples
    --------
    >>> standardise_reward(lambda x: x[:, 0], torch.tensor([[1.0], [3.0]])).mean
    2.0
    """
    if problems is None:
        check_shared(reward, draws, name)
        mean, spread = measure_spread(reward, draws, name)
        return StandardisedReward(reward, mean, spread)
    each = [select(reward, torch.full((len(draws),), i)) for i in range(problems)]
    found = torch.tensor([measure_spread(r, draws, name) for r in each], dtype=torch.float64)
    return StandardisedReward(reward, found[:, 0], found[:, 1])


def check_shared(reward: Reward, draws: Tensor, name: str) -> None:
    """Refuse a reward with data per problem, by its values at draws `[n, *event]`, whose problems are others."""
    try:
        first = select(reward, torch.zeros(len(draws), dtype=torch.int64))
    except CannotRestrict:
        return
    if first is reward:
        return
    with torch.no_grad():
        expected = first(draws)  # by the data of the first problem
        if not isinstance(expected, Tensor):
            return  # `measure_spread` refuses it
        try:
            shared = torch.allclose(reward(draws), expected, rtol=1e-3, atol=1e-5, equal_nan=True)
        except (Misuse, RuntimeError):  # rows for other problems than the draws
            shared = False
    if not shared:
        raise Misuse(
            f"The reward {name!r} has data per problem, and the draws are none of these problems.",
            "Give problems=..., their number, to standardise.",
        )


def check_shape(values: Any, samples: int, name: str) -> Tensor:
    """The values of a reward, checked to be one for each of its samples, `[samples]`."""
    if not isinstance(values, Tensor) or values.shape != (samples,):
        got = f"shape {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise Misuse(
            f"The reward {name!r} returned {got} for {samples} samples.",
            "Return one number per sample: reduce over all axes but the first.",
        )
    return values


def measure_spread(reward: Reward, draws: Tensor, name: str) -> tuple[float, float]:
    """Mean and standard deviation of a reward at draws `[n, *event]`, checked to be of use."""
    with torch.no_grad():
        values = check_shape(reward(draws), len(draws), name).to(torch.float64)
    spread = float(values.std()) if len(values) > 1 else math.nan
    if not math.isfinite(spread):
        raise Misuse(
            f"The reward {name!r} has no spread among {len(values)} draws, or is not finite.",
            "Give two or more draws, and a reward that is finite at all of them.",
        )
    if spread <= 1e-6 * float(values.abs().max()):  # above the rounding of float32
        raise Misuse(
            f"The reward {name!r} is the same for all draws, so nothing tells how to raise it.",
            "Give a reward that differs between samples.",
        )
    return float(values.mean()), spread
