"""`headwater image generate --score`: samples that a score without a gradient likes better, by search or steering."""

from __future__ import annotations

import math
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
from headwater.cli.shared.rewards import list_seeds, read_rewards
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.image.io.files import write_image
from headwater.image.rewards import ProgramScore
from headwater.optimizers.status import Status
from headwater.problem.rewards import Reward, RewardSum, StandardisedReward
from headwater.recipes.blackbox.methods import make_search
from headwater.recipes.blackbox.result import BlackBoxResult
from headwater.solvers import DDIM, solve

DRAWS, STEPS, SEARCH = 8, 12, "cma"
"""Draws that standardise the scores; steps of a sample; the search that benchmarks/results/blackbox.md chose."""

DEFINITIONS = {
    "scores": "each score without its weight, at the sample of the seed without a search and at the one written; "
    "null is none",
    "standard_deviations": "the weighted sum of the scores, each in its mean and standard deviation among the draws",
    "evaluations": "forward calls of the network for the sample",
    "calls": "pictures of which the score was asked for the sample",
    "radius": "|x0| / sqrt(d), 1 +- 1 / sqrt(2 d) for a draw of the source; null for a steered sample",
}


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
        file, finite = self.outputs.main[len(self.rows_done)], bool(torch.isfinite(after).all())
        if finite:
            write_image(after.cpu(), file, overwrite=self.overwrite)
        x0 = result.x0[0]
        row: dict[str, Any] = {"seed": seed, "file": str(file) if finite else None}
        row["status"] = (result.status[0] if finite else Status.DIVERGED).name
        row |= {"evaluations": int(result.evaluations[0]), "calls": int(result.calls[0])}
        row["radius"] = shorten(float(x0.norm() / x0.numel() ** 0.5))
        when = {"before": before, "after": after}
        row["scores"], row["standard_deviations"] = {}, {}
        for name, x in when.items():
            known = bool(torch.isfinite(x).all())  # of a picture of NaN no score is asked
            with torch.no_grad():
                found = dict.fromkeys(self.scores.names, math.nan)
                if known:
                    found = {k: float(v[0]) for k, v in self.scores.values(x).items()}
                deviations = float(total(x)[0]) if known else math.nan
            row["scores"][name] = {k: shorten(v) for k, v in found.items()}
            row["standard_deviations"][name] = shorten(deviations)
        self.rows_done.append(row)
        self.pairs.append((before[0].cpu().nan_to_num(0.0), after[0].cpu().nan_to_num(0.0)))
        if not self.quiet:
            title = str(file) if finite else f"seed {seed} (not finite)"
            shown = [
                "no score" if value is None else f"{value:+.1f}"
                for value in row["standard_deviations"].values()
            ]
            say(f"{title}: score {' -> '.join(shown)} standard deviations, {row['calls']} pictures scored")

    def entries(self) -> Sequence[Entry]:
        """One row for each sample that is written."""
        broken = Status.DIVERGED
        return [
            Entry(f"seed {r['seed']}", r, (broken,) if r["status"] == broken.name else ())
            for r in self.rows_done
        ]

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


def shorten(value: float) -> float | None:
    """A number for a report; None if it is not finite.

    >>> shorten(1 / 3), shorten(float("nan"))
    (0.3333, None)
    """
    return round(value, 4) if math.isfinite(value) else None


def standardise_scores(scores: RewardSum, draws: Tensor) -> RewardSum:
    """The scores in standard deviations of those draws `[n, 3, h, w]` that have one.

    Raises
    ------
    Misuse
        If a score is no number, or fewer than two draws have it, or it is the same for all of them.
    """
    terms = tuple(
        (weight, standardise_score(score, draws, name))
        for name, (weight, score) in zip(scores.names, scores.terms, strict=True)
    )
    return RewardSum(terms, scores.names)


def standardise_score(score: Reward, draws: Tensor, name: str) -> Reward:
    """One of them."""
    with torch.no_grad():
        values = score(draws)
    if values.shape != (len(draws),):
        raise Misuse(
            f"The score {name!r} returned shape {list(values.shape)} for {len(draws)} samples.",
            "Return one number per sample.",
        )
    values = values.double()
    values = values[torch.isfinite(values)]
    if len(values) < 2 or float(values.std()) <= 1e-6 * float(values.abs().max()):
        raise Misuse(
            f"The score {name!r} is missing or the same for all draws, so nothing tells better from worse.",
            "Give a score that differs between samples of the model.",
        )
    return StandardisedReward(score, float(values.mean()), float(values.std()))


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
