"""`headwater audio generate --reward`: sounds with a larger reward, and what a network that did not guide says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from headwater.audio.rewards import SoundJudge, read_reward
from headwater.cli.audio.generate import PEAK, SoundJob, plan_draw
from headwater.cli.audio.options import Draw
from headwater.cli.audio.sound import Sound
from headwater.cli.shared.job import Entry
from headwater.cli.shared.rewards import DEFINITIONS as SHARED
from headwater.cli.shared.rewards import (
    describe_judge,
    describe_sample,
    list_entries,
    list_seeds,
    load_function,
    name_strange,
    read_rewards,
    try_functions,
)
from headwater.cli.shared.terminal import say
from headwater.dflow.result import Result
from headwater.problem.rewards import Reward, RewardSum, RewardThrough
from headwater.recipes.reward import MaximiseReward

DRAWS = 8
"""Draws of the model without a reward: they standardise the rewards, and the judge compares with them."""
NO_JUDGE = "No second judge: the extra cdpam is not installed."
CURE = "Write it for sounds [batch, samples], full scale 1, of torch operations, one number each."

DEFINITIONS = {
    **SHARED,
    "rewards": f"{SHARED['rewards']}: loudness in dB of full scale, brightness in kHz",
    "strangeness": "distance of CDPAM's embedding to the nearest draw, 1 for the median draw; it guided nothing",
}


@dataclass(kw_only=True)
class RewardJob(SoundJob):
    """Sounds with a larger reward, one after the other; sound i has the i-th seed."""

    rewards: RewardSum
    recipe: MaximiseReward
    rows_done: list[dict[str, Any]] = field(default_factory=list)
    judge: SoundJudge | None = None

    def work(self) -> None:
        """Draw for comparison, then raise the rewards of one sound after the other."""
        self.sound = self.sound.guard(self.watch)
        draws = torch.cat([self.draw(row) for row in range(DRAWS)])
        total = self.rewards.standardise(mix(draws))
        if find_spec("cdpam") and find_spec("julius"):
            self.judge = SoundJudge(mix(draws), self.sound.rate)
        for i, seed in enumerate(self.seeds):
            part, before = self.sound.select([DRAWS + i]), self.draw(DRAWS + i)
            reward = RewardThrough(total, lambda z: mix(limit_peak(self.sound.decode(z))))
            result = self.recipe(part.flow, reward, [seed], device=self.device)
            self.keep(i, before, result, total)
            if self.interrupted():
                return

    def draw(self, row: int) -> Tensor:
        """The sound `[1, channels, samples]` of a row of `list_seeds`, without a reward, as it would be written."""
        return limit_peak(self.sound.select([row]).draw([list_seeds(DRAWS, self.seeds)[row]], self.device))

    def keep(self, i: int, before: Tensor, result: Result, total: RewardSum) -> None:
        """Write a sound, and put down what became of it."""
        with torch.no_grad():
            after = limit_peak(self.sound.decode(result.x1))
        written = after[0].double().cpu().numpy()
        self.write(written, self.outputs.main[i])
        known = [self.describe(mix(x), total) for x in (before, after)]
        row = describe_sample(result, 0, self.seeds[i], self.outputs.main[i], *known)
        self.rows_done.append(row)
        if i < self.most_shown:
            self.shown += [
                (f"seed {row['seed']}, no reward", before[0].mean(0).double().cpu().numpy()),
                (f"seed {row['seed']}, with it", written.mean(0)),
            ]
        if not self.quiet:
            was, now = (row["standard_deviations"][when] for when in ("before", "after"))
            judged = f", strangeness {row['strangeness']['after']:.2f}" if "strangeness" in row else ""
            say(f"{row['file']}: reward {was:+.1f} -> {now:+.1f} standard deviations{judged}")

    def describe(self, x: Tensor, total: RewardSum) -> dict[str, Any]:
        """The rewards and the judgement of sounds `[batch, samples]`."""
        with torch.no_grad():
            found: dict[str, Any] = {"rewards": self.rewards.values(x), "standard_deviations": total(x)}
        return found if self.judge is None else {**found, "strangeness": self.judge.strangeness(x)}

    def entries(self) -> Sequence[Entry]:
        """One row for each sound that is written."""
        return list_entries(self.rows_done)

    def facts(self) -> Mapping[str, Any]:
        """The model, the draws, the judge, the definitions."""
        name, farthest = (NO_JUDGE, None) if self.judge is None else ("CDPAM", self.judge.farthest)
        return {**super().facts(), **describe_judge(name, DRAWS, farthest), "definitions": DEFINITIONS}

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Sounds that are stranger than any draw."""
        if self.judge is None:
            yield NO_JUDGE
        else:
            yield from name_strange(self.rows_done, self.judge.farthest, "Listen to it, or lower --strength.")


def limit_peak(x: Tensor) -> Tensor:
    """Sounds `[batch, channels, samples]`, softer where they would exceed `PEAK`, as files hold and rewards hear.

    >>> limit_peak(torch.tensor([[[0.5, -0.25]], [[1.98, 0.99]]])).tolist()
    [[[0.5, -0.25]], [[0.9900000095367432, 0.4950000047683716]]]
    """
    return x / (x.abs().amax((1, 2), keepdim=True) / PEAK).clamp(min=1)


def mix(x: Tensor) -> Tensor:
    """Sounds `[batch, samples]` of all channels `[batch, channels, samples]`: their mean, which rewards hear."""
    return x.mean(1)


def load_reward(words: str, rate: int) -> Reward:
    """The reward of sounds of words, of "my_reward.py" (its function `reward`) or of "my_reward.py:name"."""
    found: Reward | None = load_function(words, "x", "sounds", CURE)
    return read_reward(words, rate) if found is None else found


@torch.no_grad()
def make_noise(sound: Sound, device: torch.device) -> Tensor:
    """Soft noise as long as the sounds that rewards hear, `[2, samples]`."""
    samples = sound.decode(torch.zeros(1, *sound.flow.shape, device=device)).shape[-1]
    return 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0)).to(device)


def suit_recipe(recipe: MaximiseReward, sound: Sound) -> MaximiseReward:
    """The recipe with the times of a pipeline's own sampler, whose first state is not that of other times."""
    return replace(recipe, method=sound.method, steps=sound.steps) if sound.fixed else recipe


def reward_job(o: Draw) -> RewardJob:
    """The job of `generate --reward`, checked.

    Raises
    ------
    Misuse
        An output cannot be written, the model is none, or a reward is none.
    """
    planned = plan_draw(o, list_seeds(DRAWS, range(o.seed, o.seed + o.count)))
    sound: Sound = planned["sound"]
    total = read_rewards(o.reward, lambda words: load_reward(words, sound.rate))
    given: dict[str, Any] = {"strength": o.strength, "gradients": o.gradients, "steps": o.steps}
    recipe = suit_recipe(MaximiseReward(**{name: value for name, value in given.items() if value}), sound)
    planned["sound"] = sound = replace(sound, method=recipe.method, steps=recipe.steps)
    try_functions(o.reward, total, make_noise(sound, planned["device"]))
    steps = recipe.steps if isinstance(recipe.steps, int) else len(recipe.steps) - 1
    planned["settings"] |= {"steps": steps, "rewards": list(o.reward), "strength": recipe.strength}
    planned["settings"] |= {"gradients": recipe.gradients, "hold": recipe.hold}
    return RewardJob(**planned, rewards=total, recipe=recipe)
