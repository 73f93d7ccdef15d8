"""The JSON report beside molecules: what was asked, predicted, checked, what it cost, what every number means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from headwater.cli.molecule.columns import describe_chemistry, describe_ends
from headwater.cli.molecule.designed import DesignedMolecule, finite_or_none, round_checks
from headwater.molecule.checks.physics import Physics
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION
from headwater.molecule.chemistry.soundness import Chemistry, summarise
from headwater.molecule.model import models
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Asked, Interval
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.target import TOLERANCE, as_asked

PACKAGES = ("rdkit", "tblite", "pyscf")
"""What a report names the versions of, beside Headwater's own."""
PREDICTED = {
    "evaluator": "prediction for the molecule as written, by a network trained on other molecules than guide and "
    "generator (half_a of QM9); it never guides",
    "guide": "prediction for the molecule as written, by the network that guided the search",
    "smiles": "canonical SMILES of the largest fragment, with the stereochemistry of the positions; by RDKit's "
    "perception where EDM's table is too narrow, as for aromatic rings",
    "smiles_edm": "canonical SMILES without stereo, by the bonds that decide on valid_edm; the literature's measures "
    "compare these",
    "sound": "one molecule without radicals, formal charges and atoms too close: sound_by_table or sound_by_rdkit",
    "sound_by_table": "so by the bond orders of EDM's distance table",
    "sound_by_rdkit": "so by that table's bonds with RDKit's orders, which knows aromatic rings and cumulated bonds",
    "valid_edm": "RDKit sanitises the molecule with its formal charges and with the bonds of its file, or else of "
    "EDM's distance table",
    "stable_edm": "the bond orders of every atom, by that table, add up to the valence of its neutral element",
    "atom_stable_edm": "share of such atoms",
    "fragments": "parts that no bond connects",
    "units": "of all properties in this report",
}
CHECKED = {
    "xtb": "GFN2-xTB, relaxed from the molecule as written; on_b3lyp_scale maps its values with the lines of "
    "calibration, b3lyp = slope * xtb + intercept; rmsd over all atoms between the two geometries; strain is the "
    "energy that the relaxation sets free",
    "disagreement": "the value by DFT, or else by xTB on the scale of B3LYP, minus the evaluator's, in units",
}
DEFINITIONS = PREDICTED | {
    "guide_before_rounding": "the guide's prediction while types were still relaxed",
    "asked": "the targets; of a range its ends",
    "hit": "a sound molecule, for which the evaluator (of a score RDKit) is within the tolerance of every value and "
    "inside every range, and which no check contradicts",
    "contradicted": "a check that was made is more than two mean errors of xTB away from the evaluator and from what "
    "was asked, the strain is above 20 kcal/mol, or bonds change in xTB; the notes say which",
    "tolerance": "twice the published error of QM9 regressors; of RDKit's scores how near a single value is to be",
    "deviation": "sum over the targets of weight times distance in tolerances; of a range from the values inside it "
    "that are a tolerance away from its ends",
    "standard_deviations": "the weighted sum of the rewards, each in its mean and standard deviation among draws, by "
    "the guide, which led to it, and by the evaluator, which never guides; functions of FILE.py count the same in "
    "both, and without a property there is no evaluator",
    "cost": "the value of the function of --cost, with --reward minus the strength times that sum, for the molecule "
    "as written, its atoms definite; the lower the better. It has no goal: hit does not ask for it, and no molecule "
    "misses it",
    "status": "how the search ended; SPENT with a cost, for which all draws and gradients are spent, as it has no "
    "value to reach",
    "rank": "place from 1: sound molecules, new ones, those that no check contradicts, those that DFT computed; then "
    "by the deviation, by DFT where it has a value, plus the cost, plus the disagreement of the checks in mean "
    "errors of xTB, plus the strain in units of 20 kcal/mol",
    "found_by": "draw: a random draw of the source that was sound and near enough; gradient: D-Flow from a draw",
    "evaluator_test_mae": "the evaluator's own mean absolute error on QM9's test part",
    "mae": "mean distance of the evaluator from what was asked over all molecules with a prediction, unsound ones "
    "included",
    "mae_of_sound": "the same over the sound molecules",
    "duplicate_of": "number of the first molecule with the same SMILES",
    "unique": "share of distinct SMILES by the table, of the valid molecules",
    "rdkit": units.SCORES,
    **CHECKED,
    "dft": "B3LYP/6-31G(2df,p), QM9's level of theory, at the geometry as written",
    "gradients": "gradient evaluations of this molecule: each a forward solve and a vector-Jacobian product",
    "evaluations": "forward calls of the generator for this molecule",
    "fragment_rms": "rms distance of the fragment's atoms from where they were given, angstrom",
    "similarity": "Tanimoto's, of Morgan fingerprints of radius 2 and 2048 bits, to the original of an edit",
    "scaffold_kept": "whether Murcko's scaffold, the rings and what links them, is that of the original",
    "original": "the molecule that was edited, and what both networks predict for it",
    "seconds": "of the design; the checks' are seconds_of_checks",
    "solved_together": "jobs whose molecules were searched for at once; `seconds` is the time of all, "
    "`seconds_of_its_share` that of searching by their number",
    "seed": "molecule i of a run has the seed of the run + i - 1, unless duplicates are left out; its draws are the "
    "same in any batch, up to rounding, which control can amplify to another molecule",
}


def describe_request(request: Request) -> dict[str, Any]:
    """Formula and targets, with the tolerance of each and the evaluator's own error."""
    errors = models.load_test_errors() if request.targets else {}
    return {
        "formula": None if request.formula is None else dict(request.formula),
        "targets": {
            t.property: {
                "asked": describe_asked(as_asked(t)),
                "weight": t.weight,
                "tolerance": TOLERANCE[t.property],
                "evaluator_test_mae": errors.get(t.property),
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


def describe_asked(asked: Asked) -> float | Mapping[str, float | None]:
    """A value, or the ends of a range, ready for JSON."""
    return describe_ends(asked) if isinstance(asked, Interval) else asked


def describe(d: DesignedMolecule, rank: int | None) -> dict[str, Any]:
    """One molecule."""
    return {
        "number": d.number,
        "seed": d.seed,
        "rank": rank,
        "status": d.ending[0],
        "sentence": d.ending[1],
        "found_by": d.found_by,
        **describe_chemistry(d.chemistry),
        "duplicate_of": d.duplicate_of,
        "notes": list(d.notes),
        "asked": {k: describe_asked(v) for k, v in d.asked.items()},
        "guide_before_rounding": dict(d.relaxed),
        "guide": dict(d.guide),
        "evaluator": dict(d.evaluator),
        "rdkit": dict(d.scores),
        "hit": d.hit,
        "deviation": finite_or_none(d.deviation) if d.asked else None,
        **({"cost": d.cost} if d.has_cost else {}),
        "xtb": describe_xtb(d.physics),
        "dft": _describe_dft(d),
        "disagreement": d.disagreement,
        "contradicted": d.contradicted,
        "gradients": d.gradients,
        "evaluations": d.evaluations,
        "fragment_rms": d.fragment_rms,
        **({} if d.scaffold_kept is None else {"similarity": d.similarity, "scaffold_kept": d.scaffold_kept}),
    }


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


def describe_xtb(physics: Physics) -> dict[str, Any] | None:
    """What xTB says of a molecule; None where it was not computed."""
    xtb = physics.xtb
    if xtb is None:
        return None
    return {
        "converged": xtb.converged,
        "rmsd_angstrom": finite_or_none(xtb.rmsd),
        "bond_change": xtb.bond_change,
        "strain_kcal_per_mol": finite_or_none(physics.strain),
        "on_b3lyp_scale": dict(round_checks(physics)["xTB"]),
        "as_written": {k: finite_or_none(v) for k, v in asdict(xtb.before).items()},
        "relaxed": {k: finite_or_none(v) for k, v in asdict(xtb.after).items()},
        "sentence": xtb.sentence,
    }


def _describe_dft(d: DesignedMolecule) -> dict[str, Any] | None:
    dft = d.dft
    if dft is None:
        return None
    rest = {"converged": dft.converged, "seconds": finite_or_none(dft.seconds), "sentence": dft.sentence}
    return {**d.checks["DFT"], **rest}
