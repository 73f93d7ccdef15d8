"""What a search for molecules minimises, and what ends it."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from headwater.molecule.targets.deviation import TargetDeviation
from headwater.molecule.targets.record import Draws
from headwater.problem.batch import select
from headwater.problem.cost import Cost


@dataclass(frozen=True)
class DesignObjective:
    """What a search minimises and what ends it, `[b]` each: the `cost` of x1, and the `deviation` of its rounding.

    `bounded`: the cost can come down to 0, as that of targets can; the lowest of a user's function is not known.
    """

    cost: Cost
    deviation: TargetDeviation
    bounded: bool = True

    @property
    def mask(self) -> Tensor:
        """Which atoms exist, `[b, 29]`."""
        return self.deviation.mask

    def select(self, index: Tensor) -> DesignObjective:
        """The objective of the molecules in `index`."""
        return DesignObjective(select(self.cost, index), self.deviation.select(index), self.bounded)

    def __call__(self, x1: Tensor) -> Tensor:
        return self.cost(x1)

    def judge(self, x0: Tensor, x1: Tensor) -> Draws:
        """The points with their costs and verdicts."""
        return Draws(x0, x1, self.cost(x1).double(), self.deviation.judge(x1))
