"""A property to hit: its name, the value or the range in canonical units, its weight; and when it counts as hit."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.structure.interval import Asked, Interval
from headwater.molecule.structure.units import SCORES

TOLERANCE = {"alpha": 0.2, "gap": 0.13, "homo": 0.08, "lumo": 0.07, "mu": 0.09, "cv": 0.08} | {
    "qed": 0.05, "logp": 0.2, "sa": 0.2,
}  # fmt: skip
"""When a property counts as hit, in the units of `units.UNITS`: twice the published error of QM9 regressors.

RDKit's scores have no error: theirs is how near a single value is to be.
"""


@dataclass(frozen=True)
class Goal:
    """What molecules are asked for of one property, `[b]` each: the values from `low` to `high` have no deviation.

    A value hits up to a deviation of 1, which is `width` beyond. So a single value hits within its tolerance, and a
    range exactly where it ends.
    """

    low: Tensor
    high: Tensor
    width: Tensor

    def select(self, index: Tensor) -> Goal:
        """The goal of the molecules in `index`."""
        return Goal(self.low[index], self.high[index], self.width[index])

    def deviation(self, value: Tensor) -> Tensor:
        """How far values `[b]` are from the goal, in units of `width`, `[b]`."""
        below, above = self.low.to(value) - value, value - self.high.to(value)
        return torch.maximum(below, above).clamp(min=0) / self.width.to(value)


@dataclass(frozen=True)
class Target:
    """A property to hit.

    Parameters
    ----------
    property
        One that the guide leads to: "alpha" (Bohr^3), "gap", "homo", "lumo" (eV), "mu" (D) or "cv" (cal/(mol K)). Or
        one of RDKit's scores, which choose among draws only: "qed", "logp" or "sa".
    value
        In that unit: one for all molecules, a range, or a tensor `[count]` with one for each.
    weight
        How much the deviation from this target counts beside those from others; above 0.

    Raises
    ------
    Misuse
        There is no such property, the value is no number or not finite, or the weight is not positive and finite.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> gap = hw.molecule.Target("gap", hw.molecule.Interval(5.0, 6.0))
    >>> gap.make_goal(2).deviation(torch.tensor([5.5, 6.13])).round(decimals=2)  # in tolerances of 0.13 eV
    tensor([0., 2.])
    >>> gap.tolerance
    0.13
    """

    property: str
    value: Asked | Tensor
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.property not in (*PROPERTIES, *SCORES):
            known = ", ".join((*PROPERTIES, *SCORES))
            raise Misuse(f"There is no property {self.property!r}.", f"Give one of {known}.")
        if not isinstance(self.value, Real | Interval | Tensor):
            raise Misuse(
                f"A target of {self.property} is {self.value!r}.",
                "Give a number, an Interval, or a tensor with one for each molecule.",
            )
        if not isinstance(self.value, Interval) and not bool(torch.isfinite(self._values()).all()):
            raise Misuse(f"A target of {self.property} is not a finite number.", "Give a number for each.")
        if isinstance(self.value, Interval) and self.value.low == self.value.high:
            raise Misuse(f"A range of {self.property} has no width.", "Give one value instead.")
        if not 0 < self.weight < float("inf"):
            raise Misuse(f"The weight of {self.property} is {self.weight}.", "Give a positive number.")

    def _values(self) -> Tensor:
        """The ends of a range, `[2]`; else the value, a scalar or `[count]`."""
        v = self.value
        return torch.as_tensor([v.low, v.high] if isinstance(v, Interval) else v, dtype=torch.float64)

    @builtins.property  # a field of this class is called property
    def tolerance(self) -> float:
        """How near a single value is to be for a hit, in the unit of the property; beyond a range there is none."""
        return TOLERANCE[self.property]

    def by_guide(self) -> bool:
        """Whether the guide leads to it: not to a score of RDKit."""
        return self.property in PROPERTIES

    def make_goal(self, count: int) -> Goal:
        """The goal of each of `count` molecules: the ends of its range `[count]`, and what hits beside them."""
        tolerance, v = TOLERANCE[self.property], self.value
        if isinstance(v, Interval):
            width = min(tolerance, (v.high - v.low) / 2)
            ends: tuple[Tensor | float, ...] = (v.low + width, v.high - width, width)
        else:
            ends = (v, v, tolerance)
        return Goal(*(torch.as_tensor(x, dtype=torch.float32).expand(count) for x in ends))

    def nearest(self, value: Tensor) -> Tensor:
        """What is asked for of each molecule, of a range the value nearest to `value`.

        float64, broadcast: like `value` of a range, else `[1 or count, 1]`.
        """
        if isinstance(self.value, Interval):
            return value.clamp(self.value.low, self.value.high)
        return self._values().reshape(-1, 1)


def as_asked(t: Target) -> Asked:
    """What a target asks of every molecule, where it asks the same of all."""
    return t.value if isinstance(t.value, Interval) else float(t.value)


def list_asked(targets: Sequence[Target], count: int) -> list[dict[str, Asked]]:
    """Property: what is asked of it, for each of `count` molecules.

    >>> list_asked([Target("gap", torch.tensor([5.0, 6.0])), Target("mu", 1.5)], 2)
    [{'gap': 5.0, 'mu': 1.5}, {'gap': 6.0, 'mu': 1.5}]
    """
    each = {
        t.property: [t.value] * count
        if isinstance(t.value, Interval)
        else t._values().reshape(-1).expand(count).tolist()
        for t in targets
    }
    return [{name: values[i] for name, values in each.items()} for i in range(count)]


def find_deviation(property: str, asked: Asked, value: float) -> float:
    """How far one value is from what was asked, in tolerances; at most 1 for a hit.

    >>> round(find_deviation("gap", 5.0, 5.26), 6), find_deviation("gap", Interval(low=8.0), 9.0)
    (2.0, 0.0)
    """
    goal = Target(property, asked).make_goal(1)
    return float(goal.deviation(torch.tensor([value], dtype=torch.float64))[0])
