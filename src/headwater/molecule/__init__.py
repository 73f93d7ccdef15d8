"""Molecules: a QM9 flow, property regressors, targets, chemistry checks, files and pictures.

>>> import headwater as hw
>>> target = hw.molecule.Target("gap", 8.0)  # eV
>>> found = hw.molecule.design(hw.molecule.Request(2, targets=(target,)))
>>> found.evaluator["gap"].shape
torch.Size([2])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.doors import open_door

if TYPE_CHECKING:
    from headwater.molecule.exports import *  # noqa: F403

__getattr__, __dir__ = open_door(__name__)
