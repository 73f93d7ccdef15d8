"""The job of `headwater molecule generate | target | grow`: design, check, write, and say how it went."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from headwater.cli.molecule import report
from headwater.cli.molecule.checks import run_checks
from headwater.cli.molecule.designed import DesignedMolecule, add_design, rank
from headwater.cli.molecule.files import Outputs, write_molecules, write_pictures
from headwater.cli.molecule.progress import DesignWatch
from headwater.cli.molecule.table import show_designed
from headwater.cli.shared.job import Entry, Job
from headwater.errors import Misuse
from headwater.flows.watched import Ended
from headwater.molecule.design import design as designing
from headwater.molecule.design.request import Request
from headwater.molecule.design.screened_control import ScreenedControl
from headwater.molecule.model import models
from headwater.molecule.structure import units


@dataclass(kw_only=True)
class DesignJob(Job):
    """Design molecules as the request says, batch by batch, each written when it is done.

    The molecules are written after every batch, and again after the checks of xTB and DFT, which may take long:
    whatever ends the run leaves what was done before.

    Attributes
    ----------
    request
        What is asked of all molecules of the run.
    recipe
        How they are searched for; `recipe.at_once` of them make a batch.
    outputs
        The files, checked.
    title
        Of the sheet and the page.
    check
        "none", "xtb" or "dft".
    best
        How many molecules DFT computes.
    designed
        The molecules so far.
    seconds, seconds_of_checks
        Of the design, and of the checks.
    finished
        Whether the user ended neither.
    """

    request: Request
    recipe: ScreenedControl
    outputs: Outputs
    title: str
    watch: DesignWatch
    check: str = "none"
    best: int = 3
    designed: list[DesignedMolecule] = field(default_factory=list)
    seconds: float = 0.0
    seconds_of_checks: float = 0.0
    finished: bool = False

    rows: ClassVar[str] = "molecules"
    row: ClassVar[str] = "molecule"
    packages: ClassVar[tuple[str, ...]] = report.PACKAGES
    smaller: ClassVar[str] = "Give a smaller --count or fewer atoms."

    @property
    def targets(self) -> dict[str, float]:
        """The properties asked for, canonical units."""
        return {t.property: float(t.value) for t in self.request.targets}

    def work(self) -> None:
        """Design, then check; the molecules are in the files after every batch."""
        start = time.perf_counter()
        try:
            self._design()
        except (Misuse, MemoryError, RuntimeError, Ended):
            if self.designed:  # what ended a later batch takes nothing from those before
                self.seconds = time.perf_counter() - start
                self._check()
            raise
        self.seconds = time.perf_counter() - start
        self._check()

    def _design(self) -> None:
        """Batches until all molecules are there, the time is up or Ctrl-C was pressed."""
        for start in range(0, self.request.count, self.recipe.at_once):
            if self.designed and self.watch.over:
                return
            count = min(self.recipe.at_once, self.request.count - start)
            part = replace(self.request, count=count, seed=self.request.seed + start)
            design = designing.design(part, recipe=self.recipe, callback=self.watch, check=self.watch.check)
            self.designed = add_design(self.designed, design, self.targets, self.request.seed)
            write_molecules(self.designed, self.outputs, overwrite=self.overwrite or start > 0)

    def _check(self) -> None:
        """Check what was designed, unless the user ended the design."""
        start = time.perf_counter()
        self.finished = run_checks(self.check, self.designed, self.best, watch=self.watch)
        self.seconds_of_checks = time.perf_counter() - start
        write_molecules(self.designed, self.outputs, overwrite=True)

    def entries(self) -> Sequence[Entry]:
        """One row for each molecule."""
        return [Entry(f"molecule {d.number}", report.describe(d), (d.status,)) for d in self.designed]

    def facts(self) -> Mapping[str, Any]:
        """What was asked, what was found over all molecules, and what every number means."""
        return {
            "seconds": round(self.seconds, 3),
            "seconds_of_checks": round(self.seconds_of_checks, 3),
            **report.describe_request(self.request),
            **report.describe_models(),
            "files": [str(path) for path in self.outputs.all],
            "summary": report.summarise_designed(self.designed),
            "calibration": report.describe_calibration(),
            "definitions": report.DEFINITIONS,
        }

    def show(self, report: Mapping[str, Any]) -> None:
        """Write the sheet of structures and the page."""
        write_pictures(self.designed, self.outputs, self.title, overwrite=self.overwrite)

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """How many molecules were not begun."""
        left = self.request.count - len(self.designed)
        if left:
            yield f"{left} of {self.request.count} molecules were not begun."

    def tell(self, report: Mapping[str, Any]) -> None:
        """The table, the files, and the best molecule."""
        targets = self.targets
        show_designed(self.designed, targets)
        there = [p for p in self.outputs.all if p.exists()]
        print(f"{', '.join(map(str, there))}: {len(self.designed)} molecules in {self.seconds:.1f} s")
        best = next(iter(rank(self.designed)), None)
        if best is None or not targets:
            return
        own = models.load_test_errors()
        print(f"The evaluator's own mean error on QM9: {_quantities({k: own[k] for k in targets})}.")
        found = _quantities({k: best.evaluator.get(k) for k in targets})
        doubt = "" if best.sound else f" ({', '.join(best.notes)})"
        print(f"Best: number {best.number}, {best.smiles or 'no SMILES'}{doubt}, evaluator: {found}")


def _quantities(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {units.format_quantity(name, value)}" for name, value in values.items())
