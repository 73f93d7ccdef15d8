"""The costs of a molecule's state x1: its properties, how far its types are from definite, a user's function.

Every cost takes x1 `[b, 29, 9]` and returns `[b]`. All of them hold data per molecule and follow the running problems
by `select`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.molecule.model.prediction import predict
from headwater.molecule.model.regressor import Regressor
from headwater.molecule.structure.state import KINDS, MoleculeBatch, relaxed_types
from headwater.molecule.targets.target import Goal
from headwater.problem.batch import select
from headwater.text import counted

UserFunction = Callable[[Tensor, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class PropertyCost:
    """The squared deviation from the targets, `[b]`.

        C(x1) = sum_k w_k d_k(f_k(x1))^2 / 2

    with f the guide on relaxed types and d the deviation in tolerances (`Goal`).

    Parameters
    ----------
    guide
        The regressor that guides the search.
    goals
        Property: what is asked of each molecule, canonical units.
    weights
        Property: w_k; 1 where it is missing.
    mask
        Which atoms exist, `[b, 29]`.
    """

    guide: Regressor
    goals: dict[str, Goal]
    weights: dict[str, float]
    mask: Tensor

    def select(self, index: Tensor) -> PropertyCost:
        """The cost of the molecules in `index`."""
        goals = {k: goal.select(index) for k, goal in self.goals.items()}
        return replace(self, goals=goals, mask=self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        out = predict(self.guide, x1[..., :3], relaxed_types(x1), self.mask)
        return sum(  # type: ignore[return-value]
            0.5 * self.weights.get(k, 1.0) * goal.deviation(out[k]).square() for k, goal in self.goals.items()
        )


@dataclass(frozen=True)
class RoundingPenalty:
    """How far the types are from definite: |types - rounded types|^2 summed over the atoms `mask [b, 29]`, `[b]`."""

    mask: Tensor

    def select(self, index: Tensor) -> RoundingPenalty:
        """The penalty of the molecules in `index`."""
        return RoundingPenalty(self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        p = relaxed_types(x1)
        hot = torch.nn.functional.one_hot(p.argmax(-1), KINDS).to(p)
        return ((p - hot).square().sum(-1) * self.mask).sum(1)


@dataclass(frozen=True)
class UserCost:
    """A user's `cost(positions [b, n, 3] in angstrom, types [b, n, 5], mask [b, n]) -> [b]`.

    Data of its own for each molecule is declared with `Each` (see `problem.batch`). What the function raises passes
    through, with a note that says on how many molecules it failed.
    """

    function: UserFunction
    mask: Tensor

    def select(self, index: Tensor) -> UserCost:
        """The cost of the molecules in `index`."""
        return UserCost(select(self.function, index), self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        return self._evaluate(x1[..., :3], relaxed_types(x1))

    def evaluate_batch(self, m: MoleculeBatch) -> Tensor:
        """The cost of definite molecules, `[b]`."""
        return self._evaluate(m.positions, m.one_hot)

    def _evaluate(self, positions: Tensor, types: Tensor) -> Tensor:
        if not torch.is_grad_enabled():  # the function may differentiate all the same, as forces do
            with torch.enable_grad():
                return self._evaluate(*(x.detach().requires_grad_() for x in (positions, types))).detach()
        try:
            return self.function(positions, types, self.mask)
        except Exception as error:
            error.add_note(
                f"The cost failed on {counted(len(positions), 'molecule')}. Make it work for any positions, "
                "relaxed and definite types, and any number of molecules."
            )
            raise
