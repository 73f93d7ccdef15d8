"""How far rounded molecules are from what was asked: the measure that ends a search and ranks what it found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor

from headwater.molecule.chemistry.soundness import is_sound
from headwater.molecule.design.cost import PropertyCost, UserCost
from headwater.molecule.design.target import TOLERANCE
from headwater.molecule.model.prediction import predict
from headwater.molecule.structure.state import round_state


class Grade(IntEnum):
    """What a molecule is, from best to worst; UNSEEN is worse than any molecule."""

    HIT = 0
    MISSED = 1
    UNSOUND = 2
    UNSEEN = 3


class Verdict(NamedTuple):
    """How molecules compare with what was asked, `[b]` each: first by `grade`, then by `value`, the lower the better.

    Attributes
    ----------
    grade
        A `Grade`.
    value
        Ranks molecules of one grade: the largest weighted deviation, plus the user's cost.
    deviation
        The largest deviation by the guide, in tolerances; at most 1 for a hit.
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
class TargetDeviation:
    """How far rounded molecules are from what was asked.

    The deviation from a target is |f_k - y_k| / tolerance_k, with f the guide on the rounded molecule. A hit has no
    deviation above `level`, and is sound (`chemistry.soundness.is_sound`) if `sound`. A user's `cost` has no level to
    reach: with one nothing is a hit, and the lowest is wanted.

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
    level
        The deviation that a hit does not exceed, in tolerances.
    """

    properties: PropertyCost | None
    mask: Tensor
    sound: bool = True
    cost: UserCost | None = None
    level: float = 1.0

    def select(self, index: Tensor) -> TargetDeviation:
        """The measure of the molecules in `index`."""
        properties = None if self.properties is None else self.properties.select(index)
        cost = None if self.cost is None else self.cost.select(index)
        return TargetDeviation(properties, self.mask[index], self.sound, cost, self.level)

    @torch.no_grad()
    def judge(self, x1: Tensor) -> Verdict:
        """The verdict on states `[b, 29, 9]`, after rounding."""
        m = round_state(x1, self.mask)
        deviation = torch.zeros(len(x1), dtype=torch.float64)
        value = deviation.clone()
        if self.properties is not None:
            out = predict(self.properties.guide, m.positions, m.one_hot, m.mask)
            for k, y in self.properties.values.items():
                one = (out[k] - y).abs().double() / TOLERANCE[k]
                deviation = torch.maximum(deviation, one)
                value = torch.maximum(value, self.properties.weights.get(k, 1.0) * one)
        grade = torch.where(deviation <= self.level, int(Grade.HIT), int(Grade.MISSED))
        if self.cost is not None:
            value = value + self.cost.evaluate_batch(m).double()
            grade = torch.full_like(grade, int(Grade.MISSED))
        if self.sound:
            grade = torch.where(is_sound(m), grade, int(Grade.UNSOUND))
        return Verdict(grade, value, deviation)

    def __call__(self, x1: Tensor) -> Tensor:
        """The measure of `Stop`: the deviation where a molecule can be a hit, else infinity, `[b]`."""
        v = self.judge(x1)
        return v.deviation.where((v.grade != Grade.UNSOUND) & (self.cost is None), torch.inf)
