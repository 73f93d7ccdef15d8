"""`DesignedMolecule`: one molecule of a run with all that is known of it, as table, files and report need it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from headwater.cli.molecule.notes import note_failure, note_size
from headwater.molecule.checks.dft import DftResult
from headwater.molecule.checks.physics import Physics
from headwater.molecule.checks.xtb import Relaxation
from headwater.molecule.chemistry.scores import compute_scores
from headwater.molecule.chemistry.soundness import Chemistry, examine, find_duplicates
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Asked, find_error
from headwater.molecule.structure.molecule import Molecule, has_coordinates, to_molecules
from headwater.molecule.targets.cards import list_checks
from headwater.molecule.targets.result import Design
from headwater.molecule.targets.target import Target, find_deviation
from headwater.optimizers.status import Status

Values = Mapping[str, float | None]
NATURAL = (Status.EVALUATIONS, Status.STALLED, Status.CONVERGED, Status.MISSED)
"""How a search ends that finds no hit by the guide; the evaluator may say otherwise, and a cost knows no hit."""
SPENT = "All draws and gradients were spent and the best molecule was kept; a cost has no value to reach."


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
    targets
        What was asked, canonical units, as of all values here.
    guide, evaluator
        Property: what each network predicts for the molecule as written.
    relaxed
        Property: the guide's prediction before rounding.
    scores
        Score of RDKit that was asked for: its value; None without a structure.
    by_gradient
        Whether it is from a gradient's step, and not a draw.
    gradients, evaluations
        Gradient evaluations and forward calls of the generator.
    fragment_rms
        How far the atoms of a fragment are from where they were given, angstrom.
    chemistry
        What the molecule is; None without coordinates.
    duplicate_of
        The number of an earlier molecule with the same SMILES.
    has_cost, cost
        Whether a cost of the user's was asked to be low, and its value; None where it has none.
    xtb, dft
        The checks; None where there was none.
    similarity, scaffold_kept
        Tanimoto's similarity to the original of an edit, and whether its scaffold is the same; None of others.
    unlike
        Whether it is too unlike that original, or the original itself.
    """

    number: int
    seed: int
    molecule: Molecule | None
    status: Status
    targets: tuple[Target, ...]
    guide: Values
    evaluator: Values
    relaxed: Values
    by_gradient: bool
    gradients: int
    evaluations: int
    scores: Values
    fragment_rms: float | None = None
    chemistry: Chemistry | None = None
    duplicate_of: int | None = None
    has_cost: bool = False
    cost: float | None = None
    xtb: Relaxation | None = None
    dft: DftResult | None = None
    similarity: float | None = None
    scaffold_kept: bool | None = None
    unlike: bool = False

    @property
    def asked(self) -> dict[str, Asked]:
        """Property: the value or the range that was asked for."""
        return {t.property: t.value for t in self.targets if not isinstance(t.value, Tensor)}

    @property
    def sound(self) -> bool:
        """Whether it is one molecule without radicals and formal charges (`chemistry.soundness`)."""
        return self.chemistry is not None and self.chemistry.sound

    @property
    def smiles(self) -> str | None:
        """The structure with its stereo, by RDKit's perception where the distance table fails; None if none."""
        return None if self.chemistry is None else self.chemistry.structure

    @property
    def ending(self) -> tuple[str, str]:
        """How the search ended, a name and a sentence; with a cost, which has no goal, that all of it was spent."""
        open_ended = self.has_cost and self.status in NATURAL
        return ("SPENT", SPENT) if open_ended else (self.status.name, self.status.value)

    @property
    def found_by(self) -> str:
        """How it was found: by a draw of the source, or by a gradient's step from one."""
        return "gradient" if self.by_gradient else "draw"

    @property
    def errors(self) -> dict[str, float]:
        """How far each target is missed by the evaluator, or by RDKit; of those that have a value."""
        judged = {**self.evaluator, **self.scores}
        return {k: find_error(y, v) for k, y in self.asked.items() if (v := judged.get(k)) is not None}

    @property
    def deviation(self) -> float:
        """The sum of the weighted deviations from the targets, in tolerances; infinite if a value is missing."""
        return self._sum_deviations(self.evaluator)

    @property
    def hit(self) -> bool | None:
        """Whether it is what was asked for, by the evaluator, and no check contradicts it; None if nothing was."""
        if not self.asked:
            return None
        each = [self._deviation(t, self.evaluator) for t in self.targets]
        return self.sound and max(each) <= 1 and not self.contradicted and not self.unlike

    @property
    def physics(self) -> Physics:
        """What the checks say beside the evaluator."""
        return Physics(self.evaluator, self.xtb, self.dft)

    @property
    def contradicted(self) -> bool:
        """Whether a check contradicts the evaluator on a target, or the molecule as it is."""
        return bool(self.physics.notes(self.asked))

    @property
    def checks(self) -> dict[str, Values]:
        """The checks that were made, by name: gap, HOMO, LUMO and dipole; xTB's on the scale of B3LYP."""
        return round_checks(self.physics)

    @property
    def disagreement(self) -> dict[str, float | None]:
        """Property: the value by DFT, or else by xTB, minus the evaluator's."""
        return {k: finite_or_none(v) for k, v in self.physics.disagreement.items()}

    @property
    def strain(self) -> float | None:
        """The energy that xTB's relaxation sets free, kcal/mol."""
        return finite_or_none(self.physics.strain)

    @property
    def rank(self) -> tuple[float, ...]:
        """What sorts molecules, the best first.

        Sound ones, new ones, those that no check contradicts, those that DFT computed; then by the deviation in
        tolerances, by DFT where it has a value and else by the evaluator, plus the user's cost, plus the doubt of
        the checks.
        """
        value = self._sum_deviations({**self.evaluator, **self.physics.dft_values})
        if self.has_cost:
            value += math.inf if self.cost is None else self.cost
        doubt = self.physics.doubt(self.asked)
        barred = (
            not self.sound,
            self.unlike,
            self.duplicate_of is not None,
            self.contradicted,
            self.dft is None,
        )
        return (*map(float, barred), value + doubt, float(self.number))

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before using it, in a few words each."""
        notes = []
        if self.duplicate_of is not None:
            notes.append(f"duplicate of {self.duplicate_of}")
        if self.molecule is None:
            notes.append("no coordinates")
        if self.unlike and self.sound:
            notes.append("the original itself" if self.similarity == 1 else "unlike the original")
        if self.chemistry is not None:
            notes += self.chemistry.notes
        if self.molecule is not None:
            notes += note_size(self.molecule)
        notes += self.physics.notes(self.asked)
        notes += note_failure(self.xtb)
        notes += [self.status.name.lower()] * (self.status in (Status.DIVERGED, Status.CANCELLED))
        return (*notes, *(["DFT did not converge"] * (self.dft is not None and not self.dft.converged)))

    def _sum_deviations(self, predicted: Values) -> float:
        return sum(t.weight * self._deviation(t, predicted) for t in self.targets)

    def _deviation(self, t: Target, predicted: Values) -> float:
        value = {**predicted, **self.scores}.get(t.property)
        return math.inf if value is None else find_deviation(t.property, self.asked[t.property], value)


def finite_or_none(value: float | Tensor | None) -> float | None:
    """A number of six digits after the point, or None for NaN and infinity, which JSON cannot hold.

    >>> finite_or_none(0.12345678), finite_or_none(float("nan"))
    (0.123457, None)
    """
    number = math.nan if value is None else float(value)
    return round(number, 6) if math.isfinite(number) else None


def round_checks(physics: Physics) -> dict[str, Values]:
    """The checks that were made, by name, ready for JSON (`list_checks`)."""
    return {
        name: {k: finite_or_none(v) for k, v in found.items()} for name, found in list_checks(physics).items()
    }


def add_design(
    before: Sequence[DesignedMolecule],
    design: Design,
    targets: tuple[Target, ...],
    seed: int,
    *,
    unique: bool = False,
) -> list[DesignedMolecule]:
    """The molecules of a run so far and those of one more batch, numbered on and examined.

    `seed` is that of the batch's first molecule. A molecule of several parts never counts as a duplicate. If
    `unique`, of duplicates the best is kept, in the place of the first.
    """
    molecules = [m if has_coordinates(m) else None for m in to_molecules(design.molecules)]
    chemistry = iter(examine([m for m in molecules if m is not None]))
    new = [
        _make_one(design, i, m, None if m is None else next(chemistry), targets, seed)
        for i, m in enumerate(molecules)
    ]
    together = [*before, *new]
    names = [c.structure if (c := d.chemistry) and (c.whole or c.sound) else None for d in together]
    firsts = find_duplicates(names)
    if unique:
        return number_from_one(choose_best(together, firsts))
    return [
        replace(d, number=i, duplicate_of=None if k is None else k + 1)
        for i, (d, k) in enumerate(zip(together, firsts, strict=True), 1)
    ]


def choose_best(
    molecules: Sequence[DesignedMolecule], firsts: Sequence[int | None]
) -> list[DesignedMolecule]:
    """Of the molecules with one structure, whose first is at `firsts[i]`, the best (`DesignedMolecule.rank`)."""
    best: dict[int, DesignedMolecule] = {}
    for i, (d, first) in enumerate(zip(molecules, firsts, strict=True)):
        place = i if first is None else first
        best[place] = min(best.get(place, d), d, key=lambda each: each.rank[:-1])
    return list(best.values())


def leave_out_broken(molecules: Sequence[DesignedMolecule], count: int) -> list[DesignedMolecule]:
    """The molecules without the last unsound ones, where there are more than `count`."""
    surplus = max(len(molecules) - count, 0)
    broken = [i for i, d in enumerate(molecules) if not d.sound]
    dropped = set(broken[len(broken) - surplus :] if surplus < len(broken) else broken)
    return number_from_one([d for i, d in enumerate(molecules) if i not in dropped])


def number_from_one(molecules: Sequence[DesignedMolecule]) -> list[DesignedMolecule]:
    """The molecules numbered in their order, none of them a duplicate."""
    return [replace(d, number=i, duplicate_of=None) for i, d in enumerate(molecules, 1)]


def _make_one(
    design: Design, i: int, m: Molecule | None, c: Chemistry | None, targets: tuple[Target, ...], seed: int
) -> DesignedMolecule:
    """One molecule of a batch."""
    rms, structure = design.fragment_rms, None if c is None else c.structure
    scores = [t.property for t in targets if not t.by_guide()]
    found = {} if structure is None else compute_scores(structure, scores)
    return DesignedMolecule(
        number=i + 1,
        seed=seed + i,
        molecule=m,
        status=design.status[i],
        targets=targets,
        guide=_select_values(design.guide, i, m),
        evaluator=_select_values(design.evaluator, i, m),
        relaxed=_select_values(design.relaxed, i, m),
        scores={k: finite_or_none(found.get(k)) for k in scores},
        by_gradient=bool(design.by_gradient[i]),
        gradients=int(design.gradients[i]),
        evaluations=int(design.evaluations[i]),
        fragment_rms=None if m is None or rms is None else finite_or_none(rms[i]),
        chemistry=c,
        has_cost=design.cost is not None,
        cost=None if m is None or design.cost is None else finite_or_none(design.cost[i]),
        **({} if m is None else _describe_likeness(design, i)),
    )


def _describe_likeness(design: Design, i: int) -> dict[str, Any]:
    """How like molecule i is to the original of an edit."""
    if design.similarity is None or design.scaffold is None or design.alike is None:
        return {}
    return {
        "similarity": finite_or_none(design.similarity[i]),
        "scaffold_kept": bool(design.scaffold[i]),
        "unlike": not bool(design.alike[i]),
    }


def rank(molecules: Iterable[DesignedMolecule]) -> list[DesignedMolecule]:
    """Those with coordinates, the best first (`DesignedMolecule.rank`)."""
    return sorted((d for d in molecules if d.molecule is not None), key=lambda d: d.rank)


def _select_values(values: Mapping[str, Tensor], i: int, m: Molecule | None) -> dict[str, float | None]:
    """The predictions for one molecule; None for atoms that are nowhere, whatever a network says of them."""
    return {
        k: None if m is None else finite_or_none(values[k][i].double()) for k in units.UNITS if k in values
    }
