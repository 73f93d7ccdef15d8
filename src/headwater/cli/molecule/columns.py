"""A molecule of a run as a row of the table, and as the tags of a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from headwater.cli.molecule.designed import DesignedMolecule, finite_or_none
from headwater.molecule.chemistry.soundness import Chemistry
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Interval
from headwater.molecule.structure.molecule import Molecule

Row = dict[str, str | float | int | None]
SLUGS = {"Bohr^3": "bohr3", "eV": "eV", "D": "debye", "cal/mol/K": "cal_per_mol_K"}
"""Units as they stand in the names of columns and tags."""
CHEMISTRY = {
    "formula": "formula",
    "atoms": "atoms",
    "smiles": "structure",
    "smiles_edm": "smiles",
    "sound": "sound",
    "sound_by_table": "sound_by_table",
    "sound_by_rdkit": "sound_by_rdkit",
    "valid_edm": "valid",
    "stable_edm": "stable",
    "atom_stable_edm": "atom_stable",
    "fragments": "fragments",
}
"""Columns of table and report: what of a `Chemistry` they show. Those that end in edm follow EDM's rules."""


def describe_chemistry(c: Chemistry | None) -> Row:
    """Formula, SMILES and soundness, each rule by its name; None for a molecule that has no coordinates."""
    return {name: None if c is None else getattr(c, field) for name, field in CHEMISTRY.items()}


def name_column(property: str, source: str) -> str:
    """The column of a property by a source; it ends with the unit, if there is one.

    >>> name_column("gap", "guide"), name_column("qed", "asked")
    ('gap_guide_eV', 'qed_asked')
    """
    return "_".join(part for part in (property, source, SLUGS.get(units.UNITS.get(property, ""), "")) if part)


def to_row(d: DesignedMolecule) -> Row:
    """A molecule as a row of a table."""
    row: Row = {"number": d.number, "seed": d.seed, "hit": d.hit, "found_by": d.found_by}
    row |= describe_chemistry(d.chemistry) | {"duplicate_of": d.duplicate_of}
    sources = {"guide": d.guide, "evaluator": d.evaluator, "rdkit": d.scores}
    sources |= {name.lower(): found for name, found in d.checks.items()}
    sources |= {"disagreement": d.disagreement} if d.checks else {}
    for property in (*units.UNITS, *d.scores):
        row |= _describe_asked(d, property)
        row |= {
            name_column(property, s): found[property] for s, found in sources.items() if property in found
        }
    if d.xtb is not None:
        row["strain_kcal_per_mol"] = d.strain
    if d.fragment_rms is not None:
        row["fragment_rms_angstrom"] = d.fragment_rms
    if d.scaffold_kept is not None:
        row |= {"similarity": d.similarity, "scaffold_kept": d.scaffold_kept}
    row |= {"deviation_tolerances": finite_or_none(d.deviation) if d.asked else None}
    row |= {"cost": d.cost} if d.has_cost else {}
    row |= {"status": d.ending[0], "notes": "; ".join(d.notes)}
    return row | {"gradients": d.gradients, "evaluations": d.evaluations}


def add_tags(d: DesignedMolecule, name: str) -> Molecule:
    """The molecule as it goes into a file: named, with its row as tags."""
    assert d.molecule is not None
    data = {k: v for k, v in to_row(d).items() if v is not None and v != ""}
    return replace(d.molecule, name=f"{name}-{d.number}", data=data)


def _describe_asked(d: DesignedMolecule, property: str) -> Row:
    """What was asked of a property: one column, or two for the ends of a range."""
    asked = d.asked.get(property)
    if asked is None:
        return {}
    if not isinstance(asked, Interval):
        return {name_column(property, "asked"): asked}
    return {name_column(property, f"asked_{end}"): value for end, value in describe_ends(asked).items()}


def describe_ends(asked: Interval) -> Mapping[str, float | None]:
    """The ends of a range by name, an open one as None, which JSON can hold.

    >>> describe_ends(Interval(low=8.0))
    {'low': 8.0, 'high': None}
    """
    return {k: v if math.isfinite(v) else None for k, v in (("low", asked.low), ("high", asked.high))}
