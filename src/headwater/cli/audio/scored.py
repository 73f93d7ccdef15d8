"""`headwater audio generate --score`: sounds that a score without a gradient likes better, by search or steering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from headwater.audio.rewards import read_reward
from headwater.cli.audio.generate import SoundJob, plan_draw
from headwater.cli.audio.options import Draw
from headwater.cli.audio.rewarded import CURE, limit_peak, mix
from headwater.cli.audio.sound import Sound
from headwater.cli.shared.job import Entry
from headwater.cli.shared.rewards import list_entries, list_seeds, load_function, read_rewards
from headwater.cli.shared.scores import (
    DEFINITIONS,
    DRAWS,
    STEPS,
    Numbers,
    describe_scored,
    standardise_scores,
    tell_scored,
)
from headwater.cli.shared.terminal import say
from headwater.errors import Misuse
from headwater.problem.rewards import Reward, RewardSum, RewardThrough
from headwater.recipes.blackbox.methods import make_search
from headwater.recipes.blackbox.result import BlackBoxResult
from headwater.solvers import DDIM

SEARCH, BUDGET = "best-of-n", 16
"""The search and what it costs in draws, as benchmarks/results/blackbox_rules.md chose: with so few, draws alone."""


@dataclass(kw_only=True)
class ScoreJob(SoundJob):
    """Sounds that a score likes better, one after the other; sound i has the i-th seed."""

    scores: RewardSum
    search: Any
    rows_done: list[dict[str, Any]] = field(default_factory=list)

    def work(self) -> None:
        """Draw for comparison, then search sound after sound; each is written when it is done."""
        self.sound = self.sound.guard(self.watch)
        total = standardise_scores(self.scores, mix(torch.cat([self.draw(row) for row in range(DRAWS)])))
        for i, seed in enumerate(self.seeds):
            part, before = self.sound.select([DRAWS + i]), self.draw(DRAWS + i)
            heard = RewardThrough(total, lambda z: mix(limit_peak(self.sound.decode(z))))
            result = self.search(part.flow, heard, [seed], device=self.device)
            self.keep(i, before, result, total)
            if self.interrupted():
                return

    def draw(self, row: int) -> Tensor:
        """The sound `[1, channels, samples]` of a row of `list_seeds`, without a search, as it would be written."""
        return limit_peak(self.sound.select([row]).draw([list_seeds(DRAWS, self.seeds)[row]], self.device))

    def keep(self, i: int, before: Tensor, result: BlackBoxResult, total: RewardSum) -> None:
        """Write a sound, if it is finite, and put down what became of it."""
        with torch.no_grad():
            after = limit_peak(self.sound.decode(result.x1))
        heard = {"before": mix(before), "after": mix(after)}
        row = describe_scored(result, self.seeds[i], self.outputs.main[i], heard, self.scores, total)
        if row["file"]:
            self.write(after[0].double().cpu().numpy(), self.outputs.main[i])
        self.rows_done.append(row)
        if i < self.most_shown:
            for title, x in (
                (f"seed {row['seed']}, no search", before),
                (f"seed {row['seed']}, with it", after),
            ):
                self.shown.append((title, x[0].mean(0).double().cpu().nan_to_num(0.0).numpy()))
        if not self.quiet:
            say(tell_scored(row, "sounds"))

    def entries(self) -> Sequence[Entry]:
        """One row for each sound."""
        return list_entries(self.rows_done)

    def facts(self) -> Mapping[str, Any]:
        """The model, the draws, the definitions."""
        return {**super().facts(), "draws": DRAWS, "definitions": DEFINITIONS}


def load_score(words: str, rate: int) -> Reward:
    """The score of sounds of words, of "my_score.py" (its function `score`) or of "my_score.py:name"."""
    function = load_function(words, "x", "sounds", CURE, name="score")
    return read_reward(words, rate, gradient=False) if function is None else Numbers(function, words, CURE)


def suit_search(search: Any, sound: Sound) -> Any:
    """The search with the times of a pipeline's own sampler.

    Raises
    ------
    Misuse
        If it steers along the path, of a model whose sampler has steps of its own.
    """
    if not sound.fixed:
        return search
    if not hasattr(search, "method"):
        raise Misuse(
            "A pipeline has steps of its own, so nothing steers along its path.",
            "Give --search cma, es or best-of-n.",
        )
    return replace(search, method=sound.method, steps=sound.steps)


def score_job(o: Draw) -> ScoreJob:
    """The job of `generate --score`, checked.

    Raises
    ------
    Misuse
        An output cannot be written, the model is none, a score is none, or a reward is asked for as well.
    """
    if o.reward or o.gradients is not None:
        raise Misuse(
            "A --score goes with no --reward and no --gradients.",
            "Give --score alone; it takes the words of rewards, too.",
        )
    name, draws, strength, steps = o.search or SEARCH, o.draws or BUDGET, o.strength or 4.0, o.steps or STEPS
    if o.strength is not None and name != "fk":
        raise Misuse("Only the search fk has a strength.", "Give --search fk, or leave --strength out.")
    search = make_search(name, draws, steps, strength=strength, at_once=8)
    planned = plan_draw(o, list_seeds(DRAWS, range(o.seed, o.seed + o.count)))
    sound: Sound = planned["sound"]
    total = read_rewards(o.score, lambda words: load_score(words, sound.rate))
    search = suit_search(search, sound)
    if not sound.fixed:
        planned["sound"] = replace(sound, method=DDIM, steps=steps)
        planned["settings"]["steps"] = steps
    planned["settings"] |= {"scores": list(o.score), "search": name, "draws": draws}
    planned["settings"] |= {"strength": strength if name == "fk" else None}
    return ScoreJob(**planned, scores=total, search=search)
