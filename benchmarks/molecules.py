"""What the molecule benchmarks share: QM9's halves, quality of molecules, targets drawn from the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial

import torch
from torch import Tensor

from common import kept
from common import options as common_options
from headwater.molecule.chemistry.soundness import examine, is_sound, summarise
from headwater.molecule.model.data import Molecules, load, sample, split
from headwater.molecule.model.models import Networks
from headwater.molecule.model.regressor import PROPERTIES
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.design import Design, design
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.target import TOLERANCE

MILLI = ("gap", "homo", "lumo")
UNITS = {"alpha": "Bohr^3", "gap": "meV", "homo": "meV", "lumo": "meV", "mu": "D", "cv": "cal/mol/K"}
PUBLISHED = {
    "regressor's own error (published)": (0.10, 64, 39, 36, 0.043, 0.040),
    "number of atoms (published)": (3.86, 866, 426, 813, 1.05, 1.97),
    "EDM, conditional (published)": (2.76, 655, 356, 584, 1.11, 1.10),
    "GeoLDM, conditional (published)": (2.37, 587, 340, 522, 1.11, 1.03),
    "D-Flow (from memory of the paper)": (1.39, 344, 182, 330, 0.300, 0.784),
}
"""MAE in `UNITS`, in the order of `PROPERTIES`; other networks, other judges: for orientation."""


options = partial(common_options, data="qm9")
"""The common command line with --qm9, the folder of the parsed data set."""


def spent(d: Design, asked: Mapping[str, Tensor], seconds: float) -> dict[str, float]:
    """How many molecules hit, soundly, and what one cost: columns of every table of designs.

    A hit is within the tolerance of all targets by the evaluator; `reached`, by the guide, which ended the search.
    """
    good, count = is_sound(d.molecules), len(d.deviation)
    near = torch.stack([(d.evaluator[k] - y).abs() <= TOLERANCE[k] for k, y in asked.items()]).all(0)
    return {
        "hit %": round(100 * float((near & good).double().mean()), 1),
        "reached %": round(100 * float(((d.deviation <= 1) & good).double().mean()), 1),
        "sound %": round(100 * float(good.double().mean()), 1),
        "gradients": round(float(d.gradients.float().mean()), 1),
        "NFE": round(float(d.evaluations.float().mean())),
        "seconds a molecule": round(seconds / count, 2),
    }


def design_with(request: Request, settings: Mapping[str, object], networks: Networks | None = None) -> Design:
    """`design` with some fields of the request or of the recipe changed, or the `rounding_weight`."""
    left = dict(settings)
    asked = {f.name: left.pop(f.name) for f in fields(Request) if f.name in left}
    weight = float(left.pop("rounding_weight", 1.0))
    return design(
        replace(request, **asked), networks, recipe=SearchThenControl(**left), rounding_weight=weight
    )


def join_designs(parts: Sequence[Design]) -> Design:
    """Designs end to end."""

    def join(values: list[object]) -> object:
        first = values[0]
        if isinstance(first, dict):
            return {k: torch.cat([v[k] for v in values]) for k in first}
        if isinstance(first, tuple):
            return tuple(s for v in values for s in v)
        if isinstance(first, MoleculeBatch):
            names = [f.name for f in fields(MoleculeBatch)]
            return MoleculeBatch(**{n: torch.cat([getattr(v, n) for v in values]) for n in names})
        return None if first is None else torch.cat(values)

    return Design(**{f.name: join([getattr(p, f.name) for p in parts]) for f in fields(Design)})


def milli(name: str) -> float:
    """What turns canonical units into those of the tables: meV for energies."""
    return 1000.0 if name in MILLI else 1.0


def from_data(molecules: Molecules, count: int, seed: int = 0) -> Tensor:
    """Rows of half_b whose targets and numbers of atoms are asked for."""
    index = split("half_b")
    return index[torch.randperm(len(index), generator=torch.Generator().manual_seed(seed))[:count]]


def quality(batch: MoleculeBatch, known: set[str] | None = None) -> dict[str, float]:
    """Stability, validity, uniqueness (and novelty) of molecules, and how many are sound, percent."""
    found = examine(batch, charges=False)
    shares = summarise(found, known) | {"sound": sum(c.sound for c in found) / len(found)}
    return {k: round(100 * v, 1) for k, v in shares.items()}


def mae(name: str, values: Tensor, asked: Tensor) -> float:
    """Mean absolute error in the units of the tables."""
    return round(float((values - asked).abs().mean()) * milli(name), 3)


__all__ = [
    "MILLI",
    "PROPERTIES",
    "PUBLISHED",
    "UNITS",
    "design_with",
    "from_data",
    "join_designs",
    "kept",
    "load",
    "mae",
    "milli",
    "options",
    "quality",
    "sample",
    "spent",
    "split",
]
