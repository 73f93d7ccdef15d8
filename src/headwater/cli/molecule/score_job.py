"""The job of `headwater molecule score`: what the networks and the bond tables say of molecules in a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from headwater.cli.molecule import report
from headwater.cli.molecule.checks import choose_check, relax_each
from headwater.cli.molecule.columns import name_column
from headwater.cli.molecule.designed import Values, finite_or_none
from headwater.cli.molecule.notes import note_unknown, warn_of_sizes
from headwater.cli.molecule.options import Scoring
from headwater.cli.molecule.scored import ScoredMolecule
from headwater.cli.molecule.table import show_scores
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.outputs import check_outputs
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse, suggest
from headwater.extras import import_optional
from headwater.flows.watched import Ended
from headwater.molecule.chemistry.soundness import examine, find_duplicates
from headwater.molecule.io.files import read_molecules
from headwater.molecule.io.table import write_csv
from headwater.molecule.structure import units
from headwater.molecule.structure.molecule import Molecule, check_molecule, to_batch
from headwater.molecule.targets import design as designing
from headwater.text import counted

FORMATS = (".csv", ".json")
UNKNOWN: Values = dict.fromkeys(units.UNITS)


@dataclass(kw_only=True)
class ScoreJob(Job):
    """Print a table of molecules; with an output write it as CSV, and the report as JSON.

    Attributes
    ----------
    molecules
        What is scored.
    table
        The CSV file; None to print only.
    check
        "none" or "xtb".
    at_once
        Molecules that the networks are given at once.
    scored
        The molecules with their scores.
    """

    molecules: Sequence[Molecule]
    table: Path | None = None
    check: str = "none"
    at_once: int = 64
    scored: list[ScoredMolecule] = field(default_factory=list)

    rows: ClassVar[str] = "molecules"
    row: ClassVar[str] = "molecule"
    packages: ClassVar[tuple[str, ...]] = report.PACKAGES
    smaller: ClassVar[str] = "Give fewer molecules at once."

    def work(self) -> None:
        """Score the molecules, and write the table."""
        known = [m for m in self.molecules if not note_unknown(m)]
        found = iter(zip(examine(known), self._predict(known), strict=True))
        parts = [(None, (UNKNOWN, UNKNOWN)) if note_unknown(m) else next(found) for m in self.molecules]
        names = [c.structure if c is not None and (c.whole or c.sound) else None for c, _ in parts]
        self.scored = [
            ScoredMolecule(
                number=i,
                molecule=m,
                chemistry=c,
                duplicate_of=None if first is None else first + 1,
                guide=guide,
                evaluator=evaluator,
            )
            for i, (m, (c, (guide, evaluator)), first) in enumerate(
                zip(self.molecules, parts, find_duplicates(names), strict=True), 1
            )
        ]
        if self.check == "xtb":
            relax_each(self.scored, watch=self.watch)
        if self.table is not None:
            rows = [_flatten(s.describe()) for s in self.scored]
            write_csv(self.table, rows, overwrite=self.overwrite)

    def _predict(self, molecules: Sequence[Molecule]) -> Iterator[tuple[Values, Values]]:
        """The six properties of each molecule by guide and evaluator."""
        for start in range(0, len(molecules), self.at_once):
            if (status := self.watch.check()) is not None:
                raise Ended(status)
            part = molecules[start : start + self.at_once]
            both = designing.score(to_batch(part))
            for i in range(len(part)):
                guide, evaluator = ({k: finite_or_none(values[k][i]) for k in units.UNITS} for values in both)
                yield guide, evaluator

    def entries(self) -> Sequence[Entry]:
        """One row for each molecule."""
        return [Entry(f"molecule {s.number}", s.describe()) for s in self.scored]

    def facts(self) -> Mapping[str, Any]:
        """The measures of the set, and what every number means."""
        chemistry = [s.chemistry for s in self.scored if s.chemistry is not None]
        return {
            **report.describe_models(),
            "summary": report.summarise_chemistry(chemistry),
            **({"calibration": report.describe_calibration()} if self.check == "xtb" else {}),
            "definitions": report.PREDICTED | (report.CHECKED if self.check == "xtb" else {}),
        }

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """How many molecules are unlike those that the networks learnt from."""
        strange = sum(s.chemistry is None for s in self.scored)
        if strange:
            what = "has no scores" if strange == 1 else "have no scores"
            yield f"{counted(strange, 'molecule')} {what}: the models cannot hold their elements or their size."
        yield from warn_of_sizes(s.molecule for s in self.scored if s.chemistry is not None)

    def tell(self, report: Mapping[str, Any]) -> None:
        """The table, and which files were written."""
        rows = [(s.molecule.name or str(s.number), s.chemistry, s.evaluator, s.notes) for s in self.scored]
        show_scores(rows, checked=[s.physics for s in self.scored] if self.check == "xtb" else None)
        if self.table is not None:
            say(f"{self.table}, {self.report}: {counted(len(self.scored), 'molecule')}")


def score_job(path: Path, o: Scoring) -> ScoreJob:
    """The molecules of a file, if the models can hold one of them; its outputs are checked.

    Raises
    ------
    Misuse
        An output cannot be written, the file or one of its molecules, which is named, cannot be read, or the
        package of the check is not installed.
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
        settings={"check": o.check},
        watch=Watch("score", quiet=o.quiet),
        report=report,
        overwrite=o.overwrite,
        quiet=o.quiet,
        molecules=read_checked(path),
        table=table,
        check=choose_check(o.check),
    )


def read_checked(path: Path) -> list[Molecule]:
    """The molecules of a file, if the models can hold one of them; else a refusal names the first."""
    molecules = read_molecules(path)
    none = all(map(note_unknown, molecules))
    for i, m in enumerate(molecules, 1):
        name = f"{m.name or 'number'} ({i} of {path})" if len(molecules) > 1 else str(path)
        if none or not note_unknown(m):
            check_molecule(replace(m, name=name))
    return molecules


def _flatten(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of the report as a row of the table; the name of every column with a unit ends with it."""
    apart = ("guide", "evaluator", "xtb", "disagreement")
    flat = {k: v for k, v in entry.items() if k not in apart}
    sources = {source: entry[source] for source in ("evaluator", "guide")}
    if (xtb := entry.get("xtb")) is not None:
        sources |= {"xtb": xtb["on_b3lyp_scale"], "disagreement": entry["disagreement"]}
    for name in units.UNITS:
        flat |= {name_column(name, s): found[name] for s, found in sources.items() if name in found}
    return flat | ({} if xtb is None else {"strain_kcal_per_mol": xtb["strain_kcal_per_mol"]})
