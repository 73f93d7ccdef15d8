"""The JSON report beside molecules: what was asked, predicted, checked, what it cost, what every number means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from headwater.cli.molecule.files import Outputs
from headwater.cli.molecule.hits import Hit, known
from headwater.cli.molecule.task import Task
from headwater.cli.shared.machine import versions
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION
from headwater.molecule.chemistry.soundness import Chemistry, summarise
from headwater.molecule.design.target import TOLERANCE
from headwater.molecule.model import models
from headwater.molecule.structure import units

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


def build(
    task: Task, hits: Sequence[Hit], outputs: Outputs, check: str, costs: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of the report, ready for JSON."""
    return {
        "command": f"molecule {task.command}",
        "inputs": [str(path) for path in task.inputs],
        "settings": {**task.settings, "check": check},
        "formula": None if task.formula is None else dict(task.formula),
        "targets": {
            name: {
                "asked": value,
                "weight": task.weights[name],
                "tolerance": TOLERANCE[name],
                "evaluator_test_mae": models.load_test_errors()[name],
            }
            for name, value in task.targets.items()
        },
        "units": units.UNITS,
        "meaning": units.MEANING,
        "warnings": list(task.warnings),
        "models": networks(),
        "versions": all_versions(),
        "files": [str(path) for path in outputs.all],
        "molecules": [entry(h) for h in hits],
        "summary": summarised(hits),
        "calibration": {name: asdict(line) for name, line in RELAXED_CALIBRATION.items()},
        **costs,
        "definitions": DEFINITIONS,
    }


def networks() -> dict[str, str]:
    """The names of the shipped networks, see 'headwater models'."""
    return {"generator": models.GENERATOR, "guide": models.GUIDE, "evaluator": models.EVALUATOR}


def all_versions() -> dict[str, str]:
    """What computed it, the packages of the checks included."""
    found = dict(versions())
    for package in ("rdkit", "tblite", "pyscf"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def entry(hit: Hit) -> dict[str, Any]:
    """One molecule."""
    return {
        "number": hit.number,
        "seed": hit.seed,
        "status": hit.status.name,
        "sentence": hit.status.value,
        **chemistry(hit.chemistry),
        "duplicate_of": hit.duplicate_of,
        "notes": list(hit.notes),
        "asked": dict(hit.asked),
        "guide_before_rounding": dict(hit.relaxed),
        "guide": dict(hit.guide),
        "evaluator": dict(hit.evaluator),
        "hit": hit_of(hit),
        "xtb": _xtb(hit),
        "dft": None if hit.dft is None else {**hit.dft_values, **_rest_of_dft(hit)},
        "gradients": hit.gradients,
        "evaluations": hit.evaluations,
        "fragment_rms": hit.fragment_rms,
    }


def chemistry(c: Chemistry | None) -> dict[str, Any]:
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


def hit_of(hit: Hit) -> bool | None:
    """Whether it is what was asked for; None if nothing was."""
    return hit.sound and hit.miss <= 1 if hit.asked else None


def summarised(hits: Sequence[Hit]) -> dict[str, Any]:
    """Shares of the set, and the errors of the targets."""
    there = [h.chemistry for h in hits if h.chemistry is not None]
    shares = {k: known(v) for k, v in summarise(there).items()} if there else {}
    content: dict[str, Any] = {"molecules": len(hits), "with_coordinates": len(there), **shares}
    asked = {name: None for h in hits for name in h.asked}
    if asked:
        content |= {
            "sound": sum(h.sound for h in hits),
            "hits": sum(bool(hit_of(h)) for h in hits),
            "mae": _mae(hits, asked),
            "mae_of_sound": _mae([h for h in hits if h.sound], asked),
        }
    return content


def _mae(hits: Sequence[Hit], names: Mapping[str, Any]) -> dict[str, float | None]:
    errors = {name: [h.errors[name] for h in hits if name in h.errors] for name in names}
    return {name: known(sum(e) / len(e)) if e else None for name, e in errors.items()}


def _xtb(hit: Hit) -> dict[str, Any] | None:
    found = hit.xtb
    if found is None:
        return None
    return {
        "converged": found.converged,
        "rmsd_angstrom": known(found.rmsd),
        "bond_change": found.bond_change,
        "on_b3lyp_scale": dict(hit.xtb_values),
        "as_written": {k: known(v) for k, v in asdict(found.before).items()},
        "relaxed": {k: known(v) for k, v in asdict(found.after).items()},
        "sentence": found.sentence,
    }


def _rest_of_dft(hit: Hit) -> dict[str, Any]:
    assert hit.dft is not None
    return {"converged": hit.dft.converged, "seconds": known(hit.dft.seconds), "sentence": hit.dft.sentence}
