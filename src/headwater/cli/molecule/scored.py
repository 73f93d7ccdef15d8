"""`ScoredMolecule`: one molecule of a file with all that is known of it, as table and report need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headwater.cli.molecule.columns import describe_chemistry
from headwater.cli.molecule.designed import Values, finite_or_none
from headwater.cli.molecule.notes import note_failure, note_size, note_unknown
from headwater.cli.molecule.report import describe_xtb
from headwater.molecule.checks.physics import Physics
from headwater.molecule.checks.xtb import Relaxation
from headwater.molecule.chemistry.soundness import Chemistry
from headwater.molecule.structure.interval import Asked
from headwater.molecule.structure.molecule import Molecule


@dataclass(frozen=True)
class ScoredMolecule:
    """A molecule of a file with what is known of it; `number` from 1, properties in canonical units.

    One that the models cannot hold has no chemistry and no properties.
    """

    number: int
    molecule: Molecule
    chemistry: Chemistry | None
    duplicate_of: int | None
    guide: Values
    evaluator: Values
    xtb: Relaxation | None = None

    @property
    def physics(self) -> Physics:
        """What xTB says beside the evaluator."""
        return Physics(self.evaluator, self.xtb)

    @property
    def notes(self) -> list[str]:
        """The notes of the molecule; of one with charges, that its predictions mean nothing."""
        if self.chemistry is None:
            return note_unknown(self.molecule)
        charged = "charged: the networks know no charges"
        notes = [charged if note == "charged" else note for note in self.chemistry.notes]
        notes += note_size(self.molecule) + self.physics.notes(self._known) + note_failure(self.xtb)
        return notes + ([] if self.duplicate_of is None else [f"duplicate of {self.duplicate_of}"])

    @property
    def _known(self) -> dict[str, Asked]:
        """The evaluator's values: nothing was asked, so a check contradicts what is far from these."""
        return {k: v for k, v in self.evaluator.items() if v is not None}

    def describe(self) -> dict[str, Any]:
        """The molecule as it stands in the report."""
        return {
            "number": self.number,
            "name": self.molecule.name,
            **describe_chemistry(self.chemistry),
            "duplicate_of": self.duplicate_of,
            "notes": "; ".join(self.notes),
            "guide": self.guide,
            "evaluator": self.evaluator,
            **self._describe_check(),
        }

    def _describe_check(self) -> dict[str, Any]:
        """xTB as it stands in the report, if it was computed."""
        if self.xtb is None:
            return {}
        off = {k: finite_or_none(v) for k, v in self.physics.disagreement.items()}
        return {"xtb": describe_xtb(self.physics), "disagreement": off}
