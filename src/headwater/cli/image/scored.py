"""`headwater image generate --score`: samples that a score without a gradient likes better, by search or steering."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.cli.image.options import Common
from headwater.cli.image.outputs import plan_outputs
from headwater.cli.image.prior import (
    Model,
    flow_of,
    guard_model,
    load_model,
    model_of,
    of_size,
    select_problems,
    to_pictures,
    told,
)
from headwater.cli.image.rewarded import in_states
from headwater.cli.image.samples import PriorJob, contact_sheet
from headwater.cli.image.score_request import load_score
from headwater.cli.shared.job import Entry
from headwater.cli.shared.machine import device_named
from headwater.cli.shared.outputs import Outputs
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.rewards import list_entries, list_seeds, read_rewards
from headwater.cli.shared.scores import (
    DEFINITIONS,
    DRAWS,
    STEPS,
    describe_scored,
    standardise_scores,
    tell_scored,
)
from headwater.cli.shared.terminal import say
from headwater.image.io.files import write_image
from headwater.image.rewards import ProgramScore
from headwater.problem.rewards import RewardSum
from headwater.recipes.blackbox.methods import make_search
from headwater.recipes.blackbox.result import BlackBoxResult
from headwater.solvers import DDIM, solve


@dataclass(kw_only=True)
class ScoreJob(PriorJob):
    """Samples that a score likes better, one after the other; sample i has the i-th seed."""

    model: Model
    scores: RewardSum
    search: Any
    outputs: Outputs
    seeds: range
    rows_done: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def work(self) -> None:
        """Draw for comparison, then search sample after sample; each is written when it is done."""
        draws = torch.cat([self.draw([row]) for row in range(DRAWS)])
        total = standardise_scores(self.scores, draws)
        for i, seed in enumerate(self.seeds):
            part, before = select_problems(self.model, [DRAWS + i]), self.draw([DRAWS + i])
            result = self.search(flow_of(part), in_states(total, part), [seed], device=self.device)
            self.keep(seed, before, result, total)
            if self.interrupted():
                return

    def draw(self, rows: Sequence[int]) -> Tensor:
        """Samples without a search, `[len(rows), 3, h, w]`, of rows of `list_seeds`."""
        part = select_problems(self.model, rows)
        with torch.no_grad():
            x0 = flow_of(part).noise([list_seeds(DRAWS, self.seeds)[row] for row in rows], device=self.device)
            return to_pictures(part, solve(flow_of(part), x0, method=DDIM, steps=STEPS)).clamp(-1, 1)

    def keep(self, seed: int, before: Tensor, result: BlackBoxResult, total: RewardSum) -> None:
        """Write a sample, and put down what became of it; one that is not finite is grey in the sheet only."""
        with torch.no_grad():
            after = to_pictures(self.model, result.x1).clamp(-1, 1)
        file = self.outputs.main[len(self.rows_done)]
        row = describe_scored(result, seed, file, {"before": before, "after": after}, self.scores, total)
        if row["file"]:
            write_image(after.cpu(), file, overwrite=self.overwrite)
        self.rows_done.append(row)
        self.pairs.append((before[0].cpu().nan_to_num(0.0), after[0].cpu().nan_to_num(0.0)))
        if not self.quiet:
            say(tell_scored(row, "pictures"))

    def entries(self) -> Sequence[Entry]:
        """One row for each sample that is written."""
        return list_entries(self.rows_done)

    def facts(self) -> Mapping[str, Any]:
        """The model, the label, the draws, the definitions, what went wrong in programs."""
        return {**super().facts(), "draws": DRAWS, "failures": self.failures(), "definitions": DEFINITIONS}

    def failures(self) -> list[str]:
        """What went wrong in programs of the user."""
        return [
            f for _, score in self.scores.terms if isinstance(score, ProgramScore) for f in score.failures
        ]

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Batches of pictures that a program failed on."""
        if failures := self.failures():
            yield f"{len(failures)} batches of pictures have no score. The last reason: {failures[-1]}"

    def show(self, report: Mapping[str, Any]) -> None:
        """The contact sheet: without the search above, with it below."""
        shown = self.pairs[:16]
        images = [pair[0] for pair in shown] + [pair[1] for pair in shown]
        write_image(contact_sheet(images, columns=len(shown)), self.outputs.sheet, overwrite=self.overwrite)

    def tell(self, report: Mapping[str, Any]) -> None:
        """Where to look."""
        say(f"{self.outputs.sheet}: without the search above, with it below; {self.report}: all scores")


def score_job(
    count: int,
    seed: int,
    scores: Sequence[str],
    search: str,
    draws: int,
    strength: float,
    size: tuple[int, int] | None,
    common: Common,
) -> ScoreJob:
    """The job of `generate --score`, checked."""
    total = read_rewards(scores, load_score)
    method = make_search(search, draws, STEPS, strength=strength, at_once=16)
    output = common.output or Path("samples.png")
    outputs = plan_outputs(output, output, "generate", count, overwrite=common.overwrite)
    device, watch = device_named(common.device), Watch("generate", quiet=True)
    seeds = range(seed, seed + count)
    model = guard_model(watch, load_model(common, device, list_seeds(DRAWS, seeds), steps=None, size=size))
    model = of_size(model, size, 1, model_of(common))
    return ScoreJob(
        command="image generate",
        settings={
            "count": count,
            "seed": seed,
            "scores": list(scores),
            "search": search,
            "draws": draws,
            "steps": STEPS,
            "strength": strength if search == "fk" else None,
            "size": list(model.shape[1:]),
            **told(common),
        },
        report=outputs.report,
        watch=watch,
        device=device,
        overwrite=common.overwrite,
        quiet=common.quiet,
        common=common,
        model=model,
        scores=total,
        search=method,
        outputs=outputs,
        seeds=seeds,
    )
