"""The job of `headwater molecule score`: what the networks and the bond tables say of molecules in a file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from headwater.cli.molecule import report
from headwater.cli.molecule.designed import SLUGS, Values, finite_or_none
from headwater.cli.molecule.table import show_scores
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.options import Files
from headwater.cli.shared.outputs import check_outputs
from headwater.errors import Misuse, suggest
from headwater.extras import import_optional
from headwater.molecule.chemistry.soundness import Chemistry, examine, find_duplicates
from headwater.molecule.design import design as designing
from headwater.molecule.io.files import read_molecules, write_csv
from headwater.molecule.structure import units
from headwater.molecule.structure.molecule import Molecule, check_molecule, to_batch

FORMATS = (".csv", ".json")


@dataclass(frozen=True)
class ScoredMolecule:
    """A molecule of a file with what is known of it; `number` from 1, properties in canonical units."""

    number: int
    molecule: Molecule
    chemistry: Chemistry
    duplicate_of: int | None
    guide: Values
    evaluator: Values

    @property
    def notes(self) -> list[str]:
        """The notes of the molecule; of one with charges, that its predictions mean nothing."""
        charged = "charged: the networks know no charges"
        notes = [charged if note == "charged" else note for note in self.chemistry.notes]
        return notes + ([] if self.duplicate_of is None else [f"duplicate of {self.duplicate_of}"])

    def describe(self) -> dict[str, Any]:
        """The molecule as it stands in the report."""
        return {
            "number": self.number,
            "name": self.molecule.name,
            **report.describe_chemistry(self.chemistry),
            "duplicate_of": self.duplicate_of,
            "notes": "; ".join(self.notes),
            "guide": self.guide,
            "evaluator": self.evaluator,
        }


@dataclass(kw_only=True)
class ScoreJob(Job):
    """Print a table of molecules; with an output write it as CSV, and the report as JSON.

    Attributes
    ----------
    molecules
        What is scored.
    table
        The CSV file; None to print only.
    at_once
        Molecules that the networks are given at once.
    scored
        The molecules with their scores.
    """

    molecules: Sequence[Molecule]
    table: Path | None = None
    at_once: int = 64
    scored: list[ScoredMolecule] = field(default_factory=list)

    rows: ClassVar[str] = "molecules"
    row: ClassVar[str] = "molecule"
    packages: ClassVar[tuple[str, ...]] = report.PACKAGES
    smaller: ClassVar[str] = "Give fewer molecules at once."

    def work(self) -> None:
        """Score the molecules, and write the table."""
        chemistry = examine(self.molecules)
        firsts = find_duplicates([c.structure if c.whole or c.sound else None for c in chemistry])
        self.scored = [
            ScoredMolecule(
                number=i + 1,
                molecule=self.molecules[i],
                chemistry=chemistry[i],
                duplicate_of=None if first is None else first + 1,
                guide=guide,
                evaluator=evaluator,
            )
            for i, (first, (guide, evaluator)) in enumerate(zip(firsts, self._predict(), strict=True))
        ]
        if self.table is not None:
            rows = [_flatten(s.describe()) for s in self.scored]
            write_csv(self.table, rows, overwrite=self.overwrite)

    def _predict(self) -> Iterator[tuple[Values, Values]]:
        """The six properties of each molecule by guide and evaluator."""
        for start in range(0, len(self.molecules), self.at_once):
            part = self.molecules[start : start + self.at_once]
            both = designing.score(to_batch(part))
            for i in range(len(part)):
                guide, evaluator = ({k: finite_or_none(values[k][i]) for k in units.UNITS} for values in both)
                yield guide, evaluator

    def entries(self) -> Sequence[Entry]:
        """One row for each molecule."""
        return [Entry(f"molecule {s.number}", s.describe()) for s in self.scored]

    def facts(self) -> Mapping[str, Any]:
        """The measures of the set, and what every number means."""
        return {
            **report.describe_models(),
            "summary": report.summarise_chemistry([s.chemistry for s in self.scored]),
            "definitions": report.PREDICTED,
        }

    def tell(self, report: Mapping[str, Any]) -> None:
        """The table, and which files were written."""
        show_scores(
            (s.molecule.name or str(s.number), s.chemistry, s.evaluator, s.notes) for s in self.scored
        )
        if self.table is not None:
            print(f"{self.table}, {self.report}: {len(self.scored)} molecules")


def score_job(path: Path, o: Files) -> ScoreJob:
    """The molecules of a file, if the models can hold all of them; its outputs are checked.

    Raises
    ------
    Misuse
        An output cannot be written, or the file or one of its molecules, which is named, cannot be read.
    """
    table = report = None
    if o.output is not None:
        suffix = o.output.suffix.lower()
        if suffix not in FORMATS:
            raise Misuse(f"No scores are written as {suffix!r} here.", suggest(suffix, FORMATS))
        table, report = o.output.with_suffix(".csv"), o.output.with_suffix(".json")
        check_outputs((table, report), (path,), overwrite=o.overwrite)
    import_optional("rdkit.Chem", "molecules")
    return ScoreJob(
        command="molecule score",
        inputs=(path,),
        report=report,
        overwrite=o.overwrite,
        quiet=o.quiet,
        molecules=read_checked(path),
        table=table,
    )


def read_checked(path: Path) -> list[Molecule]:
    """The molecules of a file, if the models can hold all of them; a refusal names the one that they cannot."""
    molecules = read_molecules(path)
    for i, m in enumerate(molecules, 1):
        name = f"{m.name or 'number'} ({i} of {path})" if len(molecules) > 1 else str(path)
        check_molecule(replace(m, name=name))
    return molecules


def _flatten(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the report as a row of the table; the name of every column with a unit ends with it."""
    flat = {k: v for k, v in entry.items() if k not in ("guide", "evaluator")}
    for name, unit in units.UNITS.items():
        flat |= {f"{name}_{source}_{SLUGS[unit]}": entry[source][name] for source in ("evaluator", "guide")}
    return flat
