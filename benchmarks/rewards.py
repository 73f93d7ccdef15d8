"""Rewards against realism: raised from the source, or the best of as many draws as cost the same.

    python benchmarks/rewards.py --data val.zip --threads 1

Each picture costs `gradients` gradients through a solve; a gradient counts as three calls of the network for each of
its steps, and `best of n` draws as often as that pays for. The reward is in standard deviations among draws. Realism
is the kernel distance to clean pictures on the features of EfficientNet-Lite1, which guided nothing; so is the
probability of the class, and the strangeness, 1 for a draw.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import cached_property, partial

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write
from headwater.image.metrics.efficientnet import pool_features
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.rewards import RewardJudge, read_reward
from headwater.problem.rewards import RewardSum
from headwater.recipes.reward import MaximiseReward
from images import held_out

REWARDS = ("class: volcano", "palette: #e33,#fff", "symmetry")
STRENGTHS = (4.0, 16.0)


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__, "data", count=3, gradients=MaximiseReward.gradients, clean=60, keep="")
    bench = Bench(MaximiseReward(gradients=o.gradients), o.count, held_out(o.data, o.clean))
    rows = []
    for name in REWARDS:
        ways = {"a draw": bench.draw, f"best of {bench.paid}": bench.choose}
        ways |= {f"control, strength {s:g}": partial(bench.control, s) for s in STRENGTHS}
        rows += [
            kept(o.keep, f"{name}, {way}", lambda n=name, w=way, f=f: {"reward": n, "way": w} | f(n))
            for way, f in ways.items()
        ]
    write(
        o.results / "rewards",
        rows,
        f"python benchmarks/rewards.py --data val.zip --threads {o.threads}",
        f"Means over {o.count} pictures of photo64, and {o.clean} clean ones; {o.gradients} gradients through "
        f"{bench.recipe.steps} steps a picture. `calls` counts a step of a gradient as three; `seconds` a picture, "
        "beside other work. `error` is the standard error of the kernel distance.",
    )


@dataclass
class Bench:
    """A recipe, how many pictures, and clean pictures `[n, 3, 64, 64]` to compare with."""

    recipe: MaximiseReward
    count: int
    clean: Tensor

    @property
    def paid(self) -> int:
        """How many draws cost what the gradients of one picture cost."""
        return 3 * self.recipe.gradients

    @cached_property
    def flow(self) -> hw.Flow:
        """The model."""
        return hw.image.flow("photo64")

    @cached_property
    def judge(self) -> RewardJudge:
        """The judge, on draws that nothing else uses."""
        return RewardJudge(sample(self.flow, self.recipe, range(20_000, 20_016)))

    @cached_property
    def pool(self) -> tuple[Tensor, float]:
        """The draws of which the best are taken, and the seconds of one."""
        began = time.perf_counter()
        draws = sample(self.flow, self.recipe, range(10_000, 10_000 + self.count * self.paid))
        return draws, (time.perf_counter() - began) / len(draws)

    @cached_property
    def clean_features(self) -> Tensor:
        """Those of the clean pictures."""
        return features(self.clean)

    def total(self, name: str) -> RewardSum:
        """A reward in standard deviations among the draws."""
        return RewardSum(((1.0, read_reward(name)),), (name,)).standardise(self.pool[0])

    def draw(self, name: str) -> dict[str, object]:
        """Draws without a reward."""
        x = sample(self.flow, self.recipe, range(self.count))
        return self.describe(name, x, calls=self.recipe.steps, seconds=self.pool[1])

    def choose(self, name: str) -> dict[str, object]:
        """The best of as many draws as the gradients cost, in groups of their own for each picture."""
        total, (draws, seconds) = self.total(name), self.pool
        with torch.no_grad():
            best = [group[total(group).argmax()] for group in draws.split(self.paid)]
        calls = self.paid * self.recipe.steps
        return self.describe(name, torch.stack(best), calls=calls, seconds=self.paid * seconds)

    def control(self, strength: float, name: str) -> dict[str, object]:
        """The reward raised from the source point."""
        total, began = self.total(name), time.perf_counter()
        result = replace(self.recipe, strength=strength)(self.flow, total, range(self.count))
        seconds = (time.perf_counter() - began) / self.count
        radius = float(result.x0.flatten(1).norm(dim=1).mean()) / self.flow.event_size**0.5
        calls = self.paid * self.recipe.steps
        return self.describe(name, result.x1.clamp(-1, 1), calls=calls, seconds=seconds, radius=radius)

    def describe(
        self, name: str, x: Tensor, *, calls: int, seconds: float, radius: float = 1.0
    ) -> dict[str, object]:
        """The columns of one set of pictures."""
        total = self.total(name)
        with torch.no_grad():
            rise = float(total(x).mean())
        distance, classes = (
            kernel_distance(features(x), self.clean_features),
            self.judge.read_classes(x, total),
        )
        return {
            "reached": round(rise, 2),
            "kernel distance": round(float(distance.value), 3),
            "error": round(float(distance.error), 3),
            "strangeness": round(float(self.judge.strangeness(x).mean()), 2),
            "judge: class": round(float(next(iter(classes.values())).mean()), 3) if classes else "",
            "norm of x0": round(radius, 3),
            "calls": calls,
            "seconds": round(seconds, 1),
        }


def sample(flow: hw.Flow, recipe: MaximiseReward, seeds: range) -> Tensor:
    """Draws with the solve of the recipe, `[len(seeds), 3, 64, 64]`."""
    parts = [seeds[i : i + 16] for i in range(0, len(seeds), 16)]
    with torch.no_grad():
        solved = [hw.solve(flow, flow.noise(p), method=recipe.method, steps=recipe.steps) for p in parts]
    return torch.cat(solved).clamp(-1, 1)


def features(x: Tensor) -> Tensor:
    """The judge's features, `[n, 1280]`."""
    with torch.no_grad():
        return torch.cat([pool_features(part, "lite1") for part in x.split(16)])


if __name__ == "__main__":
    main()
