"""Rewards of molecules: properties by a network, or any function of positions and types; larger is better.

A reward is `reward(positions [b, n, 3] in angstrom, types [b, n, 5], mask [b, n]) -> [b]`, as a cost is. A weighted
sum of them, in standard deviations among draws of the generator, becomes the `cost` of a `Request`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict
from headwater.molecule.model.regressor import PROPERTIES, Regressor
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.cost import UserFunction
from headwater.molecule.targets.design import FREE, design
from headwater.molecule.targets.request import Request
from headwater.problem.batch import select
from headwater.problem.rewards import FIRST_DRAW, RewardSum

DRAWS = 16
"""Draws that standardise rewards."""


@dataclass(frozen=True)
class PropertyReward:
    """A property of molecules as a network predicts it, `[b]`, in its canonical unit.

    Parameters
    ----------
    property
        "alpha" (Bohr^3), "gap", "homo", "lumo" (eV), "mu" (D) or "cv" (cal/(mol K)).
    regressor
        The network; a search is led by `Networks.load().guide`, and judged by `Networks.load().evaluator`.

    Raises
    ------
    Misuse
        If there is no such property.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> reward = hw.molecule.PropertyReward("mu", hw.molecule.Networks.load().guide)
    >>> water = torch.tensor([[[0.0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]])
    >>> reward(water, torch.eye(5)[None, [3, 0, 0]], torch.ones(1, 3, dtype=torch.bool)).shape
    torch.Size([1])
    """

    property: str
    regressor: Regressor

    def __post_init__(self) -> None:
        if self.property not in PROPERTIES:
            raise Misuse(
                f"No network predicts {self.property!r} of a molecule.", suggest(self.property, PROPERTIES)
            )

    def __call__(self, positions: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """The property of positions `[b, n, 3]`, types `[b, n, 5]` and the mask `[b, n]`, `[b]`."""
        return predict(self.regressor, positions, types, mask)[self.property]


@dataclass(frozen=True)
class Atoms:
    """What a reward of molecules sees: positions `[b, n, 3]`, types `[b, n, 5]`, and which exist, `[b, n]`."""

    positions: Tensor
    types: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.mask)


@dataclass(frozen=True)
class AtomsReward:
    """A reward of positions, types and mask as one of `Atoms`, `[b]`."""

    function: UserFunction

    def select(self, index: Tensor) -> AtomsReward:
        """The reward of the molecules in `index`, int64 `[k]`."""
        return AtomsReward(select(self.function, index))

    def __call__(self, atoms: Tensor) -> Tensor:
        """The reward of `Atoms`."""
        a: Atoms = atoms  # type: ignore[assignment] # a `Reward` takes what its flow makes
        return self.function(a.positions, a.types, a.mask)


@dataclass(frozen=True)
class RewardCost:
    """-strength times a sum of rewards, as the cost of a `Request`, `[b]`; `reward_cost` makes it.

    Parameters
    ----------
    total
        The sum, standardised, of `Atoms`.
    strength
        How much it counts, above 0.

    Examples
    --------
    >>> import headwater as hw
    >>> cost = hw.molecule.reward_cost([(1.0, "mu")], hw.molecule.Request(1, atoms=5), strength=2.0, draws=2)
    >>> m = hw.molecule.generate(2, atoms=5, recipe=hw.molecule.Search(steps=2, candidates=1)).molecules
    >>> value = cost(m.positions, m.one_hot, m.mask)
    >>> bool((value + 2 * cost.standard_deviations(m)).abs().max() < 1e-4)
    True
    """

    total: RewardSum
    strength: float

    @property
    def predicted(self) -> bool:
        """Whether a network predicts any of it, so that another one can judge it."""
        return any(is_predicted(reward) for _, reward in self.total.terms)

    def select(self, index: Tensor) -> RewardCost:
        """The cost of the molecules in `index`, int64 `[k]`."""
        return replace(self, total=self.total.select(index))

    def __call__(self, positions: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """The cost of positions `[b, n, 3]`, types `[b, n, 5]` and the mask `[b, n]`, `[b]`."""
        return -self.strength * self._sum(positions, types, mask)

    def standard_deviations(self, m: MoleculeBatch, regressor: Regressor | None = None) -> Tensor:
        """The sum for definite molecules, in standard deviations of the draws, `[b]`.

        With a regressor its predictions take the place of those of the guide: the evaluator never guided. Functions
        of the user count the same in both.
        """
        total = self.total if regressor is None else exchange_regressor(self.total, regressor)
        with torch.no_grad():
            return replace(self, total=total)._sum(m.positions, m.one_hot, m.mask)

    def _sum(self, positions: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        atoms: Tensor = Atoms(positions, types, mask)  # type: ignore[assignment]
        return self.total(atoms)


def exchange_regressor(total: RewardSum, regressor: Regressor) -> RewardSum:
    """A standardised sum in which every property is predicted by another network."""
    return RewardSum(tuple((w, with_regressor(r, regressor)) for w, r in total.terms), total.names)


def is_predicted(reward: Any) -> bool:
    """Whether a standardised reward is a property that a network predicts."""
    return isinstance(reward.reward.function, PropertyReward)


def with_regressor(reward: Any, regressor: Regressor) -> Any:
    """A standardised reward of a property, as another network predicts it; any other reward itself."""
    if not is_predicted(reward):
        return reward
    return replace(reward, reward=AtomsReward(PropertyReward(reward.reward.function.property, regressor)))


def reward_cost(
    rewards: Mapping[str, tuple[float, UserFunction | str]] | Sequence[tuple[float, UserFunction | str]],
    request: Request | None = None,
    *,
    strength: float = 4.0,
    networks: Networks | None = None,
    draws: int = DRAWS,
) -> RewardCost:
    """The cost for a `Request` that asks molecules for a larger reward.

    Each reward counts in standard deviations among sound draws of the generator, so that weights compare.

    Parameters
    ----------
    rewards
        Pairs of a weight and a reward, by name or without one: the name of a property ("gap", "mu", ...), or a
        function `reward(positions, types, mask) -> [b]`, differentiable where it is to guide. A negative weight asks
        for less.
    request
        The request that the cost is for: its atoms, formula and fragment are those of the draws.
    strength
        How much the sum counts beside what keeps the types definite, above 0.
    networks
        By default those that come with Headwater.
    draws
        How many draws standardise the rewards, at least 2.

    Returns
    -------
    cost
        For `dataclasses.replace(request, cost=cost)`.

    Raises
    ------
    Misuse
        If there is no reward or no such property; if a weight is zero, not finite, or a schedule, which a search of
        several draws cannot follow; if the strength is not positive and finite; if a reward is the same for all
        draws.

    Examples
    --------
    >>> import headwater as hw
    >>> polar = hw.molecule.reward_cost({"mu": (1.0, "mu")}, hw.molecule.Request(1, atoms=5), draws=2)
    >>> polar.total.names
    ('mu',)
    """
    if not 0 < strength < math.inf:
        raise Misuse(f"The strength {strength:g} is not positive and finite.", "Give a number such as 4.")
    pairs = list(rewards.values()) if isinstance(rewards, Mapping) else list(rewards)
    if any(callable(weight) for weight, _ in pairs):
        raise Misuse(
            "A search of molecules, with several draws, follows no schedule of weights.", "Give a number."
        )
    networks = networks or Networks.load()
    functions = [PropertyReward(r, networks.guide) if isinstance(r, str) else r for _, r in pairs]
    names = tuple(rewards) if isinstance(rewards, Mapping) else ()
    total = RewardSum(tuple((w, AtomsReward(f)) for (w, _), f in zip(pairs, functions, strict=True)), names)
    plain = replace(request or Request(1), count=draws, seed=FIRST_DRAW, targets=(), cost=None)
    if plain.original is not None:  # the rewards are standardised among any molecules of its size
        plain = replace(plain, original=None, atoms=len(plain.original))
    m = design(plain, networks, recipe=FREE).molecules
    atoms: Tensor = Atoms(m.positions, m.one_hot, m.mask)  # type: ignore[assignment]
    return RewardCost(total.standardise(atoms), strength)
