"""A property to hit: its name, its value in canonical units, its weight; and when it counts as hit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.molecule.model.regressor import PROPERTIES

TOLERANCE = {"alpha": 0.2, "gap": 0.13, "homo": 0.08, "lumo": 0.07, "mu": 0.09, "cv": 0.08}
"""When a property counts as hit, in the units of `units.UNITS`: twice the published error of QM9 regressors."""


@dataclass(frozen=True)
class Target:
    """A property to hit.

    Parameters
    ----------
    property
        One of `PROPERTIES`.
    value
        In canonical units (`units.UNITS`): one for all molecules, or a tensor `[count]` with one for each.
    weight
        How much the deviation from this target counts beside those from others; above 0.

    Raises
    ------
    Misuse
        There is no such property, the value is not finite, or the weight is not positive and finite.
    """

    property: str
    value: float | Tensor
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.property not in PROPERTIES:
            raise Misuse(f"There is no property {self.property!r}.", f"Give one of {', '.join(PROPERTIES)}.")
        if not bool(torch.isfinite(torch.as_tensor(self.value)).all()):
            raise Misuse(f"A target of {self.property} is not a finite number.", "Give a number for each.")
        if not 0 < self.weight < float("inf"):
            raise Misuse(f"The weight of {self.property} is {self.weight}.", "Give a positive number.")
