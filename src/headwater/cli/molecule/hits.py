"""`Hit`: one molecule of a run with all that is known of it, as table, files and report need it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from headwater.molecule.checks.dft import DftResult
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION, Relaxation, on_b3lyp_scale
from headwater.molecule.chemistry.soundness import Chemistry, examine, find_duplicates
from headwater.molecule.design.design import Design
from headwater.molecule.design.target import TOLERANCE
from headwater.molecule.structure import units
from headwater.molecule.structure.molecule import Molecule, to_molecules
from headwater.optimizers.status import Status

Values = Mapping[str, float | None]
SLUGS = {"Bohr^3": "bohr3", "eV": "eV", "D": "debye", "cal/mol/K": "cal_per_mol_K"}
"""Units as they stand in the names of columns and tags."""


@dataclass(frozen=True, eq=False)
class Hit:
    """A molecule, numbered from 1 in the order of the seeds.

    `molecule` is None if it has no finite coordinates; `relaxed` is the guide's prediction before rounding;
    `duplicate_of` the number of an earlier molecule with the same SMILES; `xtb` and `dft` the checks, None
    where there was none.
    """

    number: int
    seed: int
    molecule: Molecule | None
    status: Status
    asked: Values
    guide: Values
    evaluator: Values
    relaxed: Values
    gradients: int
    evaluations: int
    fragment_rms: float | None = None
    chemistry: Chemistry | None = None
    duplicate_of: int | None = None
    xtb: Relaxation | None = None
    dft: DftResult | None = None

    @property
    def sound(self) -> bool:
        """Whether it is one molecule without radicals and formal charges (`chemistry.sound`)."""
        return self.chemistry is not None and self.chemistry.sound

    @property
    def smiles(self) -> str | None:
        """The structure, by RDKit's perception where the distance table fails; None if there is none."""
        return None if self.chemistry is None else self.chemistry.structure

    @property
    def errors(self) -> dict[str, float]:
        """|evaluator - asked| of every target that has both."""
        return {
            k: abs(v - y)
            for k, y in self.asked.items()
            if y is not None and (v := self.evaluator.get(k)) is not None
        }

    @property
    def miss(self) -> float:
        """The largest of the `errors` in units of its tolerance; infinite if a prediction is missing."""
        if len(self.errors) < len(self.asked):
            return math.inf
        return max((e / TOLERANCE[k] for k, e in self.errors.items()), default=0.0)

    @property
    def xtb_values(self) -> Values:
        """Gap, HOMO, LUMO and dipole after the relaxation, on the scale of B3LYP."""
        if self.xtb is None:
            return {}
        e = on_b3lyp_scale(self.xtb.after, RELAXED_CALIBRATION)
        found = {"gap": e.gap_ev, "homo": e.homo_ev, "lumo": e.lumo_ev, "mu": e.dipole_debye}
        return {k: known(v) for k, v in found.items()}

    @property
    def dft_values(self) -> Values:
        """Gap, HOMO, LUMO and dipole by B3LYP at the geometry as written."""
        d = self.dft
        if d is None:
            return {}
        found = {"gap": d.gap_ev, "homo": d.homo_ev, "lumo": d.lumo_ev, "mu": d.dipole_debye}
        return {k: known(v) for k, v in found.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before using it, in a few words each."""
        said = []
        if self.duplicate_of is not None:
            said.append(f"duplicate of {self.duplicate_of}")
        if self.molecule is None:
            said.append("no coordinates")
        if self.chemistry is not None:
            said += self.chemistry.notes
        if self.xtb is not None:
            said += ["bonds change in xTB"] * self.xtb.bond_change
            said += ["xTB did not converge"] * (not self.xtb.converged)
        said += [self.status.name.lower()] * (self.status in (Status.DIVERGED, Status.CANCELLED))
        return (*said, *(["DFT did not converge"] * (self.dft is not None and not self.dft.converged)))


def known(value: float | Tensor | None) -> float | None:
    """A number of six digits after the point, or None for NaN and infinity, which JSON has not.

    >>> known(0.12345678), known(float("nan"))
    (0.123457, None)
    """
    number = math.nan if value is None else float(value)
    return round(number, 6) if math.isfinite(number) else None


def with_design(hits: Sequence[Hit], design: Design, asked: Mapping[str, float], seed: int) -> list[Hit]:
    """The molecules of a run so far and of one more batch, which is numbered on and examined.

    `seed` is that of the run's first molecule. A molecule of several parts is no duplicate.
    """
    molecules = [m if has_coordinates(m) else None for m in to_molecules(design.molecules)]
    found = iter(examine([m for m in molecules if m is not None]))
    more = [
        Hit(
            len(hits) + i + 1,
            seed + len(hits) + i,
            m,
            design.status[i],
            asked,
            _row(design.guide, i, m is not None),
            _row(design.evaluator, i, m is not None),
            _row(design.relaxed, i, m is not None),
            int(design.gradients[i]),
            int(design.evaluations[i]),
            None if m is None or design.fragment_rms is None else known(design.fragment_rms[i]),
            None if m is None else next(found),
        )
        for i, m in enumerate(molecules)
    ]
    together = [*hits, *more]
    names = [c.structure if (c := h.chemistry) and (c.whole or c.sound) else None for h in together]
    return [
        replace(h, duplicate_of=None if k is None else k + 1)
        for h, k in zip(together, find_duplicates(names), strict=True)
    ]


def has_coordinates(m: Molecule) -> bool:
    """Whether the atoms are somewhere: finite, and not all in one point."""
    return bool(np.isfinite(m.positions).all()) and (len(m) < 2 or bool(np.ptp(m.positions, axis=0).any()))


def ranked(hits: Iterable[Hit]) -> list[Hit]:
    """The best first: sound before unsound, new before duplicates, then by `miss`."""
    there = (h for h in hits if h.molecule is not None)
    return sorted(there, key=lambda h: (not h.sound, h.duplicate_of is not None, h.miss, h.number))


def row(hit: Hit) -> dict[str, str | float | int | None]:
    """A hit as a row of a table; the name of every column with a unit ends with it."""
    c = hit.chemistry
    flat: dict[str, str | float | int | None] = {
        "number": hit.number,
        "seed": hit.seed,
        "formula": None if c is None else c.formula,
        "smiles": hit.smiles,
        "sound": hit.sound,
        "valid": None if c is None else c.valid,
        "stable": None if c is None else c.stable,
        "fragments": None if c is None else c.fragments,
        "duplicate_of": hit.duplicate_of,
    }
    sources = {
        "asked": hit.asked,
        "guide": hit.guide,
        "evaluator": hit.evaluator,
        "xtb": hit.xtb_values,
        "dft": hit.dft_values,
    }
    for name, unit in units.UNITS.items():
        flat |= {
            f"{name}_{source}_{SLUGS[unit]}": values[name]
            for source, values in sources.items()
            if name in values
        }
    if hit.fragment_rms is not None:
        flat["fragment_rms_angstrom"] = hit.fragment_rms
    more: dict[str, Any] = {"status": hit.status.name, "notes": "; ".join(hit.notes)}
    return flat | {"gradients": hit.gradients, "evaluations": hit.evaluations} | more


def tagged(hit: Hit, name: str) -> Molecule:
    """The molecule as it goes into a file: named, with its row as tags."""
    assert hit.molecule is not None
    data = {k: v for k, v in row(hit).items() if v is not None and v != ""}
    return replace(hit.molecule, name=f"{name}-{hit.number}", data=data)


def _row(values: Mapping[str, Tensor], i: int, there: bool) -> dict[str, float | None]:
    """The predictions for one molecule; None for atoms that are nowhere, whatever a network says of them."""
    return {k: known(values[k][i].double()) if there else None for k in units.UNITS if k in values}
