"""Scores without a gradient on the command line: what `generate --score` shares between pictures and sounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.optimizers.status import Status
from headwater.problem.rewards import Reward, RewardSum, StandardisedReward
from headwater.recipes.blackbox.result import BlackBoxResult

DRAWS, STEPS, SEARCH = 8, 12, "cma"
"""Draws that standardise the scores; steps of a sample; the search that benchmarks/results/blackbox.md chose."""

DEFINITIONS = {
    "scores": "each score without its weight, at the sample of the seed without a search and at the one written; "
    "null is none",
    "standard_deviations": "the weighted sum of the scores, each in its mean and standard deviation among the draws",
    "evaluations": "forward calls of the network for the sample",
    "calls": "candidates of which the score was asked for the sample",
    "radius": "|x0| / sqrt(d), 1 +- 1 / sqrt(2 d) for a draw of the source; null for a steered sample",
}


@dataclass(frozen=True)
class Numbers:
    """The numbers of a user's function as a tensor, float64 `[batch]`; it may return a list or an array."""

    function: Callable[[Tensor], Any]
    words: str
    cure: str

    def __call__(self, x: Tensor) -> Tensor:
        """The numbers of samples x `[batch, ...]`."""
        answer = self.function(x)
        try:
            return torch.as_tensor(answer, dtype=torch.float64).detach().cpu()
        except (TypeError, ValueError, RuntimeError):
            raise Misuse(
                f"The score {self.words} returned {type(answer).__name__}, no numbers.", self.cure
            ) from None


def round_or_none(value: float) -> float | None:
    """A number for a report; None if it is not finite.

    >>> round_or_none(1 / 3), round_or_none(float("nan"))
    (0.3333, None)
    """
    return round(value, 4) if math.isfinite(value) else None


def standardise_scores(scores: RewardSum, draws: Tensor) -> RewardSum:
    """The scores in standard deviations of those draws `[n, ...]` that have one.

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


def describe_scored(
    result: BlackBoxResult,
    seed: int,
    file: Path,
    samples: Mapping[str, Tensor],
    scores: RewardSum,
    total: RewardSum,
) -> dict[str, Any]:
    """The row of a sample in a report: what the search took, and the scores of `samples` "before" and "after" it.

    One that is not finite has no file and no score.
    """
    finite, x0 = bool(torch.isfinite(samples["after"]).all()), result.x0[0]
    row: dict[str, Any] = {"seed": seed, "file": str(file) if finite else None}
    row["status"] = (result.status[0] if finite else Status.DIVERGED).name
    row |= {"evaluations": int(result.evaluations[0]), "calls": int(result.calls[0])}
    row |= {
        "radius": round_or_none(float(x0.norm() / x0.numel() ** 0.5)),
        "scores": {},
        "standard_deviations": {},
    }
    for when, x in samples.items():
        known = bool(torch.isfinite(x).all())  # of NaN no score is asked
        with torch.no_grad():
            found = dict.fromkeys(scores.names, math.nan)
            if known:
                found = {k: float(v[0]) for k, v in scores.values(x).items()}
            deviations = float(total(x)[0]) if known else math.nan
        row["scores"][when] = {k: round_or_none(v) for k, v in found.items()}
        row["standard_deviations"][when] = round_or_none(deviations)
    return row


def tell_scored(row: Mapping[str, Any], what: str) -> str:
    """The line of a sample on the screen; `what` was scored: "pictures", "sounds"."""
    title = row["file"] or f"seed {row['seed']} (not finite)"
    values: Sequence[float | None] = list(row["standard_deviations"].values())
    shown = ["no score" if value is None else f"{value:+.1f}" for value in values]
    return f"{title}: score {' -> '.join(shown)} standard deviations, {row['calls']} {what} scored"
