"""`DesignedMolecule`: one molecule of a run with all that is known of it, as table, files and report need it."""

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


@dataclass(frozen=True, eq=False, kw_only=True)
class DesignedMolecule:
    """A molecule of a run.

    Attributes
    ----------
    number, seed
        The number from 1, in the order of the seeds.
    molecule
        None if it has no finite coordinates.
    status
        How its search ended.
    asked
        Property: its target, canonical units, as of all values here.
    guide, evaluator
        Property: what each network predicts for the molecule as written.
    relaxed
        Property: the guide's prediction before rounding.
    gradients, evaluations
        Gradient evaluations and forward calls of the generator.
    fragment_rms
        How far the atoms of a fragment are from where they were given, angstrom.
    chemistry
        What the molecule is; None without coordinates.
    duplicate_of
        The number of an earlier molecule with the same SMILES.
    xtb, dft
        The checks; None where there was none.
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
        """Whether it is one molecule without radicals and formal charges (`chemistry.soundness`)."""
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
    def deviation(self) -> float:
        """The largest of the `errors` in units of its tolerance; infinite if a prediction is missing."""
        if len(self.errors) < len(self.asked):
            return math.inf
        return max((e / TOLERANCE[k] for k, e in self.errors.items()), default=0.0)

    @property
    def hit(self) -> bool | None:
        """Whether it is what was asked for, by the evaluator; None if nothing was."""
        return self.sound and self.deviation <= 1 if self.asked else None

    @property
    def xtb_values(self) -> Values:
        """Gap, HOMO, LUMO and dipole after the relaxation, on the scale of B3LYP."""
        if self.xtb is None:
            return {}
        e = on_b3lyp_scale(self.xtb.after, RELAXED_CALIBRATION)
        found = {"gap": e.gap_ev, "homo": e.homo_ev, "lumo": e.lumo_ev, "mu": e.dipole_debye}
        return {k: finite_or_none(v) for k, v in found.items()}

    @property
    def dft_values(self) -> Values:
        """Gap, HOMO, LUMO and dipole by B3LYP at the geometry as written."""
        d = self.dft
        if d is None:
            return {}
        found = {"gap": d.gap_ev, "homo": d.homo_ev, "lumo": d.lumo_ev, "mu": d.dipole_debye}
        return {k: finite_or_none(v) for k, v in found.items()}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before using it, in a few words each."""
        notes = []
        if self.duplicate_of is not None:
            notes.append(f"duplicate of {self.duplicate_of}")
        if self.molecule is None:
            notes.append("no coordinates")
        if self.chemistry is not None:
            notes += self.chemistry.notes
        if self.xtb is not None:
            notes += ["bonds change in xTB"] * self.xtb.bond_change
            notes += ["xTB did not converge"] * (not self.xtb.converged)
        notes += [self.status.name.lower()] * (self.status in (Status.DIVERGED, Status.CANCELLED))
        return (*notes, *(["DFT did not converge"] * (self.dft is not None and not self.dft.converged)))


def finite_or_none(value: float | Tensor | None) -> float | None:
    """A number of six digits after the point, or None for NaN and infinity, which JSON cannot hold.

    >>> finite_or_none(0.12345678), finite_or_none(float("nan"))
    (0.123457, None)
    """
    number = math.nan if value is None else float(value)
    return round(number, 6) if math.isfinite(number) else None


def add_design(
    before: Sequence[DesignedMolecule], design: Design, asked: Mapping[str, float], seed: int
) -> list[DesignedMolecule]:
    """The molecules of a run so far and those of one more batch, numbered on and examined.

    `seed` is that of the run's first molecule. A molecule of several parts never counts as a duplicate.
    """
    molecules = [m if has_coordinates(m) else None for m in to_molecules(design.molecules)]
    chemistry = iter(examine([m for m in molecules if m is not None]))
    new = [
        DesignedMolecule(
            number=len(before) + i + 1,
            seed=seed + len(before) + i,
            molecule=m,
            status=design.status[i],
            asked=asked,
            guide=_select_values(design.guide, i, m),
            evaluator=_select_values(design.evaluator, i, m),
            relaxed=_select_values(design.relaxed, i, m),
            gradients=int(design.gradients[i]),
            evaluations=int(design.evaluations[i]),
            fragment_rms=None
            if m is None or design.fragment_rms is None
            else finite_or_none(design.fragment_rms[i]),
            chemistry=None if m is None else next(chemistry),
        )
        for i, m in enumerate(molecules)
    ]
    together = [*before, *new]
    names = [c.structure if (c := d.chemistry) and (c.whole or c.sound) else None for d in together]
    return [
        replace(d, duplicate_of=None if k is None else k + 1)
        for d, k in zip(together, find_duplicates(names), strict=True)
    ]


def has_coordinates(m: Molecule) -> bool:
    """Whether the atoms are somewhere: finite, and not all in one point."""
    return bool(np.isfinite(m.positions).all()) and (len(m) < 2 or bool(np.ptp(m.positions, axis=0).any()))


def rank(molecules: Iterable[DesignedMolecule]) -> list[DesignedMolecule]:
    """The best first: sound before unsound, new before duplicates, then by the deviation."""
    there = (d for d in molecules if d.molecule is not None)
    return sorted(there, key=lambda d: (not d.sound, d.duplicate_of is not None, d.deviation, d.number))


def to_row(d: DesignedMolecule) -> dict[str, str | float | int | None]:
    """A molecule as a row of a table; the name of every column with a unit ends with it."""
    c = d.chemistry
    flat: dict[str, str | float | int | None] = {
        "number": d.number,
        "seed": d.seed,
        "formula": None if c is None else c.formula,
        "smiles": d.smiles,
        "sound": d.sound,
        "valid": None if c is None else c.valid,
        "stable": None if c is None else c.stable,
        "fragments": None if c is None else c.fragments,
        "duplicate_of": d.duplicate_of,
    }
    sources = {
        "asked": d.asked,
        "guide": d.guide,
        "evaluator": d.evaluator,
        "xtb": d.xtb_values,
        "dft": d.dft_values,
    }
    for name, unit in units.UNITS.items():
        flat |= {
            f"{name}_{source}_{SLUGS[unit]}": values[name]
            for source, values in sources.items()
            if name in values
        }
    if d.fragment_rms is not None:
        flat["fragment_rms_angstrom"] = d.fragment_rms
    more: dict[str, Any] = {"status": d.status.name, "notes": "; ".join(d.notes)}
    return flat | {"gradients": d.gradients, "evaluations": d.evaluations} | more


def add_tags(d: DesignedMolecule, name: str) -> Molecule:
    """The molecule as it goes into a file: named, with its row as tags."""
    assert d.molecule is not None
    data = {k: v for k, v in to_row(d).items() if v is not None and v != ""}
    return replace(d.molecule, name=f"{name}-{d.number}", data=data)


def _select_values(values: Mapping[str, Tensor], i: int, m: Molecule | None) -> dict[str, float | None]:
    """The predictions for one molecule; None for atoms that are nowhere, whatever a network says of them."""
    return {
        k: None if m is None else finite_or_none(values[k][i].double()) for k in units.UNITS if k in values
    }
