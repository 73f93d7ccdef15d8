"""The JSON report beside molecules: what was asked, predicted, checked, what it cost, what every number means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from headwater.cli.molecule.designed import DesignedMolecule, finite_or_none
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION
from headwater.molecule.chemistry.soundness import Chemistry, summarise
from headwater.molecule.design.request import Request
from headwater.molecule.design.target import TOLERANCE
from headwater.molecule.model import models
from headwater.molecule.structure import units

PACKAGES = ("rdkit", "tblite", "pyscf")
"""What a report names the versions of, beside Headwater's own."""
PREDICTED = {
    "evaluator": "prediction for the molecule as written, by a network trained on other molecules than guide and "
    "generator (half_a of QM9); it never guides",
    "guide": "prediction for the molecule as written, by the network that guided the search",
    "valid": "RDKit sanitises the molecule with its formal charges and with the bonds of its file, or else of EDM's "
    "distance table",
    "stable": "the bond orders of every atom, by that table, add up to the valence of its neutral element",
    "atom_stable": "share of such atoms",
    "fragments": "parts that no bond connects",
    "smiles": "canonical SMILES of the largest fragment, without stereo; by RDKit's perception where that table is "
    "too narrow, as for aromatic rings",
    "smiles_by_table": "the same by the bonds that decide on valid; the literature's measures compare these",
    "sound": "one molecule without radicals and formal charges: stable and of one fragment by that table, or by "
    "RDKit's perception",
    "units": "of all properties in this report",
}
DEFINITIONS = PREDICTED | {
    "guide_before_rounding": "the guide's prediction while types were still relaxed",
    "asked": "the targets",
    "hit": "a sound molecule, for which the evaluator is within the tolerance of every target",
    "tolerance": "twice the published error of QM9 regressors",
    "evaluator_test_mae": "the evaluator's own mean absolute error on QM9's test part",
    "mae": "mean |evaluator - asked| over all molecules with a prediction, unsound ones included",
    "mae_of_sound": "the same over the sound molecules",
    "duplicate_of": "number of the first molecule with the same SMILES",
    "unique": "share of distinct SMILES by the table, of the valid molecules",
    "xtb": "GFN2-xTB, relaxed from the molecule as written; on_b3lyp_scale maps its values with the lines of "
    "calibration, b3lyp = slope * xtb + intercept; rmsd over all atoms between the two geometries",
    "dft": "B3LYP/6-31G(2df,p), QM9's level of theory, at the geometry as written",
    "gradients": "gradient evaluations of this molecule: each a forward solve and a vector-Jacobian product",
    "evaluations": "forward calls of the generator for this molecule",
    "fragment_rms": "rms distance of the fragment's atoms from where they were given, angstrom",
    "seconds": "of the design; the checks' are seconds_of_checks",
    "seed": "molecule i of a run has the seed of the run + i - 1; its draws are the same in any batch, up to "
    "rounding, which control can amplify to another molecule",
}


def describe_request(request: Request) -> dict[str, Any]:
    """Formula and targets, with the tolerance of each and the evaluator's own error."""
    errors = models.load_test_errors() if request.targets else {}
    return {
        "formula": None if request.formula is None else dict(request.formula),
        "targets": {
            t.property: {
                "asked": t.value,
                "weight": t.weight,
                "tolerance": TOLERANCE[t.property],
                "evaluator_test_mae": errors[t.property],
            }
            for t in request.targets
        },
    }


def describe_models() -> dict[str, Any]:
    """The units of the properties, what they mean, and the networks that predict them, see 'headwater models'."""
    names = {"generator": models.GENERATOR, "guide": models.GUIDE, "evaluator": models.EVALUATOR}
    return {"units": units.UNITS, "meaning": units.MEANING, "models": names}


def describe_calibration() -> dict[str, Any]:
    """The lines that bring xTB's values to the scale of B3LYP."""
    return {name: asdict(line) for name, line in RELAXED_CALIBRATION.items()}


def describe(d: DesignedMolecule) -> dict[str, Any]:
    """One molecule."""
    return {
        "number": d.number,
        "seed": d.seed,
        "status": d.status.name,
        "sentence": d.status.value,
        **describe_chemistry(d.chemistry),
        "duplicate_of": d.duplicate_of,
        "notes": list(d.notes),
        "asked": dict(d.asked),
        "guide_before_rounding": dict(d.relaxed),
        "guide": dict(d.guide),
        "evaluator": dict(d.evaluator),
        "hit": d.hit,
        "xtb": _describe_xtb(d),
        "dft": _describe_dft(d),
        "gradients": d.gradients,
        "evaluations": d.evaluations,
        "fragment_rms": d.fragment_rms,
    }


def describe_chemistry(c: Chemistry | None) -> dict[str, Any]:
    """Formula, SMILES and soundness; None for a molecule that has no coordinates."""
    fields = {
        "formula": "formula",
        "atoms": "atoms",
        "smiles": "structure",
        "smiles_by_table": "smiles",
        "sound": "sound",
        "valid": "valid",
        "stable": "stable",
        "atom_stable": "atom_stable",
        "fragments": "fragments",
    }
    return {name: None if c is None else getattr(c, field) for name, field in fields.items()}


def summarise_chemistry(chemistry: Sequence[Chemistry]) -> dict[str, float | None]:
    """The field's measures of a set of molecules; none of an empty set."""
    return {k: finite_or_none(v) for k, v in summarise(chemistry).items()} if chemistry else {}


def summarise_designed(molecules: Sequence[DesignedMolecule]) -> dict[str, Any]:
    """Shares of the set, and the errors of the targets."""
    there = [d.chemistry for d in molecules if d.chemistry is not None]
    shares = summarise_chemistry(there)
    content: dict[str, Any] = {"molecules": len(molecules), "with_coordinates": len(there), **shares}
    asked = {name: None for d in molecules for name in d.asked}
    if asked:
        content |= {
            "sound": sum(d.sound for d in molecules),
            "hits": sum(bool(d.hit) for d in molecules),
            "mae": _mean_errors(molecules, asked),
            "mae_of_sound": _mean_errors([d for d in molecules if d.sound], asked),
        }
    return content


def _mean_errors(molecules: Sequence[DesignedMolecule], names: Mapping[str, Any]) -> dict[str, float | None]:
    errors = {name: [d.errors[name] for d in molecules if name in d.errors] for name in names}
    return {name: finite_or_none(sum(e) / len(e)) if e else None for name, e in errors.items()}


def _describe_xtb(d: DesignedMolecule) -> dict[str, Any] | None:
    xtb = d.xtb
    if xtb is None:
        return None
    return {
        "converged": xtb.converged,
        "rmsd_angstrom": finite_or_none(xtb.rmsd),
        "bond_change": xtb.bond_change,
        "on_b3lyp_scale": dict(d.xtb_values),
        "as_written": {k: finite_or_none(v) for k, v in asdict(xtb.before).items()},
        "relaxed": {k: finite_or_none(v) for k, v in asdict(xtb.after).items()},
        "sentence": xtb.sentence,
    }


def _describe_dft(d: DesignedMolecule) -> dict[str, Any] | None:
    dft = d.dft
    if dft is None:
        return None
    rest = {"converged": dft.converged, "seconds": finite_or_none(dft.seconds), "sentence": dft.sentence}
    return {**d.dft_values, **rest}
