"""Rewards: what a sample should be more of. Larger is better; a cost is minus a reward.

A reward is any callable `reward(x1) -> [batch]` of samples x1 `[batch, *event]`, differentiable where it guides. One
with data per problem declares it as a cost does (`Each`, `select` or `WholeBatch`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import select
from headwater.problem.cost import WeightedSum

Reward = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class RewardSum:
    """sum_i w_i r_i(x1), `[batch]`, of rewards with their weights and names.

    Parameters
    ----------
    terms
        The pairs (w_i, r_i), each r_i x1 `[batch, *event]` -> `[batch]`. A negative weight asks for less.
    names
        One name for each term, for reports; by default those of the functions.

    Raises
    ------
    Misuse
        If there is no term, a weight is zero, NaN or infinite, or the names are not one for each term.

    Examples
    --------
    >>> total = RewardSum(((1.0, lambda x: x.sum(1)), (-2.0, lambda x: x.square().sum(1))))
    >>> total(torch.tensor([[1.0, 2.0]])).item()  # 3 - 2 * 5
    -7.0
    """

    terms: tuple[tuple[float, Reward], ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.terms:
            raise Misuse("There is no reward.", "Give at least one pair (weight, reward).")
        for weight, _ in self.terms:
            if not math.isfinite(weight) or weight == 0:
                raise Misuse(
                    f"The weight {weight:g} of a reward is zero or not finite.",
                    "Give a number such as 1, or -1 for less of it.",
                )
        names = self.names or tuple(getattr(r, "__name__", type(r).__name__) for _, r in self.terms)
        if len(names) != len(self.terms):
            raise Misuse(f"There are {len(names)} names for {len(self.terms)} rewards.", "Give one for each.")
        object.__setattr__(self, "names", names)

    def select(self, index: Tensor) -> RewardSum:
        """The sum for the problems in `index`, int64 `[k]`."""
        return RewardSum(tuple((w, select(r, index)) for w, r in self.terms), self.names)

    def __call__(self, x1: Tensor) -> Tensor:
        """The sum at x1 `[batch, *event]`, `[batch]`."""
        return WeightedSum(self.terms)(x1)

    def values(self, x1: Tensor) -> dict[str, Tensor]:
        """Each reward at x1 `[batch, *event]`, without its weight, `[batch]`, by name; no gradient."""
        with torch.no_grad():
            return {name: r(x1).detach() for name, (_, r) in zip(self.names, self.terms, strict=True)}

    def standardise(self, draws: Tensor) -> RewardSum:
        """The sum in which each reward is in standard deviations of its values at draws `[n, *event]` of a flow.

        Rewards of different units then have weights that compare: 1 asks for a standard deviation of each.

        Raises
        ------
        Misuse
            If a reward is not finite at a draw, the same at all of them, or there are fewer than two.
        """
        terms = tuple(
            (w, standardise_reward(r, draws, n)) for n, (w, r) in zip(self.names, self.terms, strict=True)
        )
        return RewardSum(terms, self.names)


@dataclass(frozen=True)
class StandardisedReward:
    """(r(x1) - mean) / spread, `[batch]`, of a reward.

    Parameters
    ----------
    reward
        r, x1 `[batch, *event]` -> `[batch]`.
    mean, spread
        Those of r among samples of a flow.

    Examples
    --------
    >>> StandardisedReward(lambda x: x[:, 0], mean=1.0, spread=2.0)(torch.tensor([[7.0]])).item()
    3.0
    """

    reward: Reward
    mean: float
    spread: float

    def select(self, index: Tensor) -> StandardisedReward:
        """The reward of the problems in `index`, int64 `[k]`."""
        return StandardisedReward(select(self.reward, index), self.mean, self.spread)

    def __call__(self, x1: Tensor) -> Tensor:
        """The standardised reward at x1 `[batch, *event]`, `[batch]`."""
        return (self.reward(x1) - self.mean) / self.spread


def standardise_reward(reward: Reward, draws: Tensor, name: str = "reward") -> StandardisedReward:
    """A reward in standard deviations of its values at draws `[n, *event]`.

    Parameters
    ----------
    reward
        x1 `[batch, *event]` -> `[batch]`.
    draws
        Samples of a flow `[n, *event]`, two or more.
    name
        What a refusal calls the reward.

    Raises
    ------
    Misuse
        If it does not return one value per draw, is not finite at a draw, is the same at all of them, or there are
        fewer than two.

    Examples
    --------
    >>> standardise_reward(lambda x: x[:, 0], torch.tensor([[1.0], [3.0]])).mean
    2.0
    """
    with torch.no_grad():
        values = reward(draws)
    if not isinstance(values, Tensor) or values.shape != (len(draws),):
        got = f"shape {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise Misuse(
            f"The reward {name!r} returned {got} for {len(draws)} samples.",
            "Return one number per sample: reduce over all axes but the first.",
        )
    values = values.to(torch.float64)
    spread = float(values.std()) if len(values) > 1 else math.nan
    if not math.isfinite(spread):
        raise Misuse(
            f"The reward {name!r} has no spread among {len(values)} draws, or is not finite.",
            "Give two or more draws, and a reward that is finite at all of them.",
        )
    if spread <= 1e-9 * float(values.abs().max()) or spread == 0:
        raise Misuse(
            f"The reward {name!r} is the same for all draws, so nothing tells how to raise it.",
            "Give a reward that differs between samples.",
        )
    return StandardisedReward(reward, float(values.mean()), spread)
