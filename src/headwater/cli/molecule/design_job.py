"""The job of `headwater molecule generate | target | grow`: design, check, write, and say how it went."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from headwater.cli.molecule import report
from headwater.cli.molecule.checks import run_checks
from headwater.cli.molecule.designed import (
    NATURAL,
    DesignedMolecule,
    add_design,
    finite_or_none,
    leave_out_broken,
    rank,
)
from headwater.cli.molecule.files import write_molecules, write_pictures
from headwater.cli.molecule.progress import DesignWatch, draw_previews
from headwater.cli.molecule.table import format_cost, show_designed
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.outputs import Outputs
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.flows.watched import Ended
from headwater.molecule.model import models
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Asked
from headwater.molecule.structure.molecule import to_batch
from headwater.molecule.targets import design as designing
from headwater.molecule.targets.design import DesignProblem
from headwater.molecule.targets.likeness import find_structure
from headwater.molecule.targets.record import SearchResult
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.result import Design
from headwater.molecule.targets.rewards import RewardCost, reward_cost
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.target import as_asked
from headwater.text import counted


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
    unique
        Whether duplicates are left out, and more seeds tried in their place.
    broken
        Whether molecules that are not sound are written to SDF and XYZ.
    solver
        What searches for the molecules of a batch; several jobs search for theirs at once.
    rewards, strength
        What the molecules should have more of, and how much it counts; it becomes the cost of the request.
    most_tries
        With `unique`, the seeds that are tried for each molecule asked for.
    designed
        The molecules so far.
    tried
        The seeds so far.
    seconds, seconds_of_checks
        Of the design, and of the checks.
    finished
        Whether the user ended neither.
    """

    request: Request
    recipe: SearchThenControl
    outputs: Outputs
    title: str
    watch: DesignWatch
    check: str = "none"
    best: int = 3
    unique: bool = False
    broken: bool = False
    solver: Callable[..., SearchResult] = DesignProblem.solve
    rewards: Mapping[str, tuple[float, Any]] = field(default_factory=dict)
    strength: float = 4.0
    most_tries: int = 4
    designed: list[DesignedMolecule] = field(default_factory=list)
    tried: int = 0
    seconds: float = 0.0
    seconds_of_checks: float = 0.0
    finished: bool = False
    reward: RewardCost | None = None
    rewarded: dict[int, dict[str, Any]] = field(default_factory=dict)

    rows: ClassVar[str] = "molecules"
    row: ClassVar[str] = "molecule"
    packages: ClassVar[tuple[str, ...]] = report.PACKAGES
    smaller: ClassVar[str] = "Give a smaller --count or fewer atoms."

    @property
    def asked(self) -> dict[str, Asked]:
        """The properties and scores asked for, canonical units."""
        return {t.property: as_asked(t) for t in self.request.targets}

    def work(self) -> None:
        """Design, then check; the molecules are in the files after every batch."""
        start = time.perf_counter()
        if self.rewards:
            self.reward = reward_cost(self.rewards, self.request, strength=self.strength)
            self.request = replace(self.request, cost=self.reward)
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
        """Batches until all molecules are there, no more are tried, the time is up or Ctrl-C was pressed."""
        most = self.request.count * (self.most_tries if self.unique else 1)
        while (left := min(self.request.count - self._count_kept(), most - self.tried)) > 0:
            if self.designed and self.watch.over:
                return
            seed, first = self.request.seed + self.tried, self.tried == 0
            part = replace(self.request, count=min(self.recipe.at_once, left), seed=seed)
            self.watch.draw = draw_previews(part)
            design = designing.design(
                part, recipe=self.recipe, callback=self.watch, check=self.watch.check, solver=self.solver
            )
            targets = self.request.targets
            self._note_rewards(design, seed)
            self.designed = add_design(self.designed, design, targets, seed, unique=self.unique)
            if self.unique:
                self.designed = leave_out_broken(self.designed, self.request.count)
            self.tried += part.count
            self._write(overwrite=self.overwrite or not first)

    def _note_rewards(self, design: Design, seed: int) -> None:
        """What guide and evaluator say of the rewards of a batch, by the seeds of its molecules.

        The evaluator would only repeat what functions of the user say, so without a property it is left out.
        """
        if self.reward is None:
            return
        judges: dict[str, Any] = {"guide": None}
        if self.reward.predicted:
            judges["evaluator"] = models.Networks.load().evaluator
        found = {name: self.reward.standard_deviations(design.molecules, net) for name, net in judges.items()}
        for i in range(len(design.molecules)):
            row = {name: finite_or_none(float(values[i])) for name, values in found.items()}
            self.rewarded[seed + i] = {"standard_deviations": row}

    def _count_kept(self) -> int:
        """How many molecules need no other draw: with `unique` a broken one does."""
        redrawn = self.unique and self.request.sound
        return sum(d.sound for d in self.designed) if redrawn else len(self.designed)

    def _write(self, *, overwrite: bool) -> None:
        write_molecules(self.designed, self.outputs, broken=self.broken, overwrite=overwrite)

    def _check(self) -> None:
        """Check what was designed, unless the user ended the design."""
        start = time.perf_counter()
        self.finished = run_checks(self.check, self.designed, self.best, watch=self.watch)
        self.seconds_of_checks = time.perf_counter() - start
        self._write(overwrite=True)

    def entries(self) -> Sequence[Entry]:
        """One row for each molecule."""
        places = {d.number: i for i, d in enumerate(rank(self.designed), 1)}
        return [
            Entry(
                name=f"molecule {d.number}",
                values=report.describe(d, places.get(d.number)) | self.rewarded.get(d.seed, {}),
                statuses=() if d.status in NATURAL and (d.has_cost or self._reached(d)) else (d.status,),
                missed=not self._reached(d),
            )
            for d in self.designed
        ]

    def _reached(self, d: DesignedMolecule) -> bool:
        """Whether a molecule is what was asked for: a hit, or sound; with one candidate every draw is.

        A cost has no value to reach, so it misses nothing.
        """
        return bool(d.hit) if self.asked else d.sound or not self.request.sound

    def facts(self) -> Mapping[str, Any]:
        """What was asked, what was found over all molecules, and what every number means."""
        return {
            "seconds": round(self.seconds, 3),
            "seconds_of_checks": round(self.seconds_of_checks, 3),
            **report.describe_request(self.request),
            **report.describe_models(),
            **self._describe_original(),
            "files": [str(path) for path in self.outputs.all],
            "summary": report.summarise_designed(self.designed),
            "calibration": report.describe_calibration(),
            "rewards": [f"{w:g} * {name}" for name, (w, _) in self.rewards.items()],
            "definitions": report.DEFINITIONS,
        }

    def _describe_original(self) -> dict[str, Any]:
        """The structure of the original of an edit, and what both networks predict for it."""
        m = self.request.original
        if m is None:
            return {}
        found = zip(("guide", "evaluator"), designing.score(to_batch([m])), strict=True)
        predicted = {name: {k: finite_or_none(v[0]) for k, v in values.items()} for name, values in found}
        least = {"least_similarity": self.request.similarity}
        return {"original": {"smiles": find_structure(m), **least, **predicted}}

    def show(self, report: Mapping[str, Any]) -> None:
        """Write the sheet of structures and the page."""
        write_pictures(self.designed, self.outputs, self.title, overwrite=self.overwrite)

    def not_begun(self) -> int:
        """Molecules that were asked for and are not there."""
        return self.request.count - len(self.designed)

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """How many molecules were not begun or not found, and how many are broken."""
        count, found = self.request.count, len(self.designed)
        if self.unique and self.tried >= count * self.most_tries > 0 and found < count:
            yield f"Only {counted(found, 'different molecule')} of {count} came out of {self.tried} tries."
        elif found < count:
            yield f"{count - found} of {counted(count, 'molecule')} were not begun."
        if broken := [d for d in self.designed if not d.sound]:
            what = f"{len(broken)} of {counted(found, 'molecule')} {'is' if len(broken) == 1 else 'are'} not sound"
            yield f"{what}." if self.broken else f"{what} and not in SDF and XYZ; --keep-broken writes all."

    def tell(self, report: Mapping[str, Any]) -> None:
        """The table, the files, and the best molecule."""
        show_designed(self.designed, self.asked)
        if "original" in report:
            before = report["original"]
            known = {k: before["evaluator"][k] for k in self.asked if k in before["evaluator"]}
            say(
                f"The original, {before['smiles']}"
                + (f": {_quantities(known)} by the evaluator" if known else "")
            )
        kept = sum(d.molecule is not None and (d.sound or self.broken) for d in self.designed)
        beside = [str(p) for p in self.outputs.all if p.exists() and p not in self.outputs.main]
        say(f"{', '.join(map(str, self.outputs.main))}: {counted(kept, 'molecule')}")
        say(f"{', '.join(beside)}: {counted(len(self.designed), 'molecule')} in {self.seconds:.1f} s")
        best = next((d for d in rank(self.designed) if d.sound), None)
        if best is None or not (self.asked or best.has_cost):
            return
        own = models.load_test_errors()
        errors = _quantities({k: own[k] for k in self.asked if k in own})
        if errors:
            say(f"The evaluator's own mean error on QM9: {errors}.")
        say(_describe_best(best))


def _describe_best(d: DesignedMolecule) -> str:
    """The best molecule in a line; of one that misses, that it is the nearest only."""
    judged = {**d.evaluator, **d.scores}
    found = [_quantities({k: judged.get(k) for k in d.asked})]
    found += [
        f"{c} {_quantities({k: v[k] for k in d.asked if k in v})}"
        for c, v in d.checks.items()
        if set(d.asked) & set(v)
    ]
    word = "No hit, the nearest" if d.hit is False else "Best"
    if d.asked:
        found.append(f"sum of deviations {d.deviation:.2f} tolerances")
    if d.has_cost:
        found.append(f"cost {format_cost(d.cost)}")
    notes = f" ({', '.join(d.notes)})" if d.notes else ""
    return f"{word}: number {d.number}, {d.smiles}, by {d.found_by}{notes}: {'; '.join(filter(None, found))}"


def _quantities(values: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {units.format_quantity(name, value)}" for name, value in values.items())
