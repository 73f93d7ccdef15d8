"""How far rounded molecules are from what was asked: the measure that ends a search and ranks what it found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from headwater.molecule.chemistry.scores import compute_scores
from headwater.molecule.chemistry.soundness import examine, is_sound
from headwater.molecule.model.prediction import predict
from headwater.molecule.structure.molecule import to_molecules
from headwater.molecule.structure.state import MoleculeBatch, round_state
from headwater.molecule.targets.cost import PropertyCost, UserCost
from headwater.molecule.targets.likeness import Likeness
from headwater.molecule.targets.target import Goal


class Grade(IntEnum):
    """What a molecule is, from best to worst; UNSEEN is worse than any molecule.

    UNLIKE: too unlike the original of an edit, or the original itself.
    """

    HIT = 0
    MISSED = 1
    UNLIKE = 2
    UNSOUND = 3
    UNSEEN = 4


class Verdict(NamedTuple):
    """How molecules compare with what was asked, `[b]` each: first by `grade`, then by `value`, the lower the better.

    Attributes
    ----------
    grade
        A `Grade`.
    value
        Ranks molecules of one grade: the sum of the weighted deviations, plus the user's cost.
    deviation
        The largest deviation by the guide and RDKit, in tolerances; at most 1 for a hit.
    """

    grade: Tensor
    value: Tensor
    deviation: Tensor

    @classmethod
    def worst(cls, count: int) -> Verdict:
        """Worse than the verdict on any molecule."""
        value, deviation = torch.full((2, count), torch.inf, dtype=torch.float64)
        return cls(torch.full((count,), int(Grade.UNSEEN)), value, deviation)

    def select(self, index: Tensor) -> Verdict:
        """The verdict on the molecules in `index`."""
        return Verdict(*(part[index] for part in self))

    def put(self, index: Tensor, other: Verdict) -> None:
        """Replace the rows in `index`, in place."""
        for mine, new in zip(self, other, strict=True):
            mine[index] = new

    def is_better(self, other: Verdict) -> Tensor:
        """Which are better than the others', `[b]`; NaN is worse than any number."""
        nearer = (self.value < other.value) | (other.value.isnan() & ~self.value.isnan())
        return (self.grade < other.grade) | ((self.grade == other.grade) & nearer)


@dataclass(frozen=True)
class ScoreTargets:
    """RDKit's scores that are asked for. They are known of a rounded molecule only, and have no gradient.

    Parameters
    ----------
    goals
        Score: what is asked of each molecule, `[b]`.
    weights
        Score: its weight; 1 where it is missing.
    """

    goals: dict[str, Goal]
    weights: dict[str, float]

    def select(self, index: Tensor) -> ScoreTargets:
        """The scores asked of the molecules in `index`."""
        return replace(self, goals={k: goal.select(index) for k, goal in self.goals.items()})

    def deviations(self, m: MoleculeBatch) -> dict[str, Tensor]:
        """Score: the deviation of each molecule `[b]`, in tolerances; infinite where it has no structure."""
        rows = [
            {} if c.structure is None else compute_scores(c.structure, self.goals)
            for c in examine(to_molecules(m))
        ]
        found = {k: torch.tensor([row.get(k, torch.nan) for row in rows]).double() for k in self.goals}
        return {k: self.goals[k].deviation(v).nan_to_num(torch.inf) for k, v in found.items()}


@dataclass(frozen=True)
class TargetDeviation:
    """How far rounded molecules are from what was asked.

    The deviation from a target is in tolerances (`Goal`), by the guide on the rounded molecule or by RDKit. A hit has
    no deviation above `level`, and is sound (`chemistry.soundness.is_sound`) if `sound`. A user's `cost` has no level
    to reach: with one nothing is a hit, and the lowest is wanted.

    Parameters
    ----------
    properties
        The targets with the guide; None without targets.
    mask
        Which atoms exist, `[b, 29]`.
    sound
        Whether only sound molecules count.
    cost
        The user's function; None without one.
    scores
        The scores that are asked for; None without any.
    level
        The deviation that a hit does not exceed, in tolerances.
    likeness
        The original that molecules are to be like; None but for edits.
    """

    properties: PropertyCost | None
    mask: Tensor
    sound: bool = True
    cost: UserCost | None = None
    scores: ScoreTargets | None = None
    level: float = 1.0
    likeness: Likeness | None = None

    def select(self, index: Tensor) -> TargetDeviation:
        """The measure of the molecules in `index`."""
        return replace(
            self,
            properties=None if self.properties is None else self.properties.select(index),
            mask=self.mask[index],
            cost=None if self.cost is None else self.cost.select(index),
            scores=None if self.scores is None else self.scores.select(index),
            likeness=None if self.likeness is None else self.likeness.select(index),
        )

    @torch.no_grad()
    def judge(self, x1: Tensor) -> Verdict:
        """The verdict on states `[b, 29, 9]`, after rounding."""
        m = round_state(x1, self.mask)
        good = is_sound(m) if self.sound else torch.ones(len(m), dtype=torch.bool)
        weighted = [*self._by_guide(m), *self._by_scores(m, good)]
        zero = torch.zeros(len(m), dtype=torch.float64)
        deviation = torch.stack([zero, *(one for _, one in weighted)]).amax(0)
        value = torch.stack([zero, *(weight * one for weight, one in weighted)]).sum(0)
        grade = torch.where(deviation <= self.level, int(Grade.HIT), int(Grade.MISSED))
        if self.cost is not None:
            value = value + self.cost.evaluate_batch(m).double()
            grade = torch.full_like(grade, int(Grade.MISSED))
        if self.likeness is not None:
            alike = torch.zeros_like(good)
            alike[good] = self.likeness.accepts(m.select(good))
            grade = torch.where(alike, grade, int(Grade.UNLIKE))
        return Verdict(torch.where(good, grade, int(Grade.UNSOUND)), value, deviation)

    def _by_guide(self, m: MoleculeBatch) -> list[tuple[float, Tensor]]:
        """Weight and deviation `[b]` from every target that the guide predicts."""
        if self.properties is None:
            return []
        out = predict(self.properties.guide, m.positions, m.one_hot, m.mask)
        weights, goals = self.properties.weights, self.properties.goals
        return [(weights.get(k, 1.0), goal.deviation(out[k].double())) for k, goal in goals.items()]

    def _by_scores(self, m: MoleculeBatch, good: Tensor) -> list[tuple[float, Tensor]]:
        """Weight and deviation `[b]` from every score, of the molecules that count: scoring takes milliseconds."""
        if self.scores is None:
            return []
        found = self.scores.select(good).deviations(m.select(good))
        lost = torch.full((len(m),), torch.inf, dtype=torch.float64)
        return [(self.scores.weights.get(k, 1.0), lost.masked_scatter(good, one)) for k, one in found.items()]

    def __call__(self, x1: Tensor) -> Tensor:
        """The measure of `Stop`: the deviation where a molecule can be a hit, else infinity, `[b]`."""
        v = self.judge(x1)
        return v.deviation.where((v.grade <= Grade.MISSED) & (self.cost is None), torch.inf)
