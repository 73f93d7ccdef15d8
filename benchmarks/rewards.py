"""Rewards against realism: raised from the source, or the best of as many draws as cost the same.

    python benchmarks/rewards.py --data val.zip --threads 1

Each picture costs `gradients` gradients through a solve; a gradient counts as three calls of the network for each of
its steps, and `best of n` draws as often as that pays for. The reward is in standard deviations among draws. Realism
is the kernel distance to clean pictures on the features of EfficientNet-Lite1, which guided nothing; so is the
probability of the class, and the strangeness, 1 for a draw.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

import headwater as hw
from common import options, write
from headwater.image.metrics.efficientnet import pool_features
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.rewards import RewardJudge, read_reward
from headwater.problem.rewards import RewardSum
from headwater.recipes.reward import MaximiseReward
from images import held_out

REWARDS = ("class: volcano", "palette: #e33,#fff", "symmetry")
STRENGTHS = (4.0, 16.0)


def main() -> None:
    """Draw once, then raise each reward at each strength; write the table."""
    o = options(__doc__, "data", count=4, gradients=MaximiseReward.gradients, clean=100)
    flow, recipe = hw.image.flow("photo64"), MaximiseReward(gradients=o.gradients)
    pays_for = 3 * o.gradients
    began = time.perf_counter()
    draws = sample(flow, recipe, range(10_000, 10_000 + o.count * pays_for))
    per_draw = (time.perf_counter() - began) / len(draws)
    clean = features(held_out(o.data, o.clean))
    judge, rows = RewardJudge(draws[:48]), []
    for name in REWARDS:
        total = RewardSum(((1.0, read_reward(name)),), (name,)).standardise(draws)

        def add(
            way: str, x: Tensor, radius: str, seconds: float, total: RewardSum = total, name: str = name
        ) -> None:
            row = {"reward": name, "way": way} | describe(x.clamp(-1, 1), total, judge, clean)
            calls = 0 if way == "a draw" else pays_for * recipe.steps * recipe.method.evaluations
            rows.append(row | {"norm of x0": radius, "calls": calls, "seconds": round(seconds, 1)})
            print(rows[-1], flush=True)

        add("a draw", sample(flow, recipe, range(o.count)), "1.000", per_draw)
        groups = draws.split(pays_for)
        with torch.no_grad():
            best = torch.stack([group[total(group).argmax()] for group in groups])
        add(f"best of {pays_for}", best, "1.000", per_draw * pays_for)
        for strength in STRENGTHS:
            began = time.perf_counter()
            result = replace(recipe, strength=strength)(flow, total, range(o.count))
            norm = float(result.x0.flatten(1).norm(dim=1).mean()) / flow.event_size**0.5
            spent = (time.perf_counter() - began) / o.count
            add(f"control, strength {strength:g}", result.x1, f"{norm:.3f}", spent)
    write(
        o.results / "rewards",
        rows,
        f"python benchmarks/rewards.py --data val.zip --threads {o.threads}",
        f"Means over {o.count} pictures of photo64 and {o.clean} clean ones; {o.gradients} gradients through "
        f"{recipe.steps} steps a picture. `calls` counts a step of a gradient as three; `seconds` a picture, beside "
        "other work. `error` is the standard error of the kernel distance.",
    )


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


def describe(x: Tensor, total: RewardSum, judge: RewardJudge, clean: Tensor) -> dict[str, object]:
    """The columns of one set of pictures."""
    with torch.no_grad():
        rise = float(total(x).mean())
    distance, classes = kernel_distance(features(x), clean), judge.read_classes(x, total)
    return {
        "reached": round(rise, 2),
        "kernel distance": round(float(distance.value), 3),
        "error": round(float(distance.error), 3),
        "strangeness": round(float(judge.strangeness(x).mean()), 2),
        "judge: class": round(float(next(iter(classes.values())).mean()), 3) if classes else "",
    }


if __name__ == "__main__":
    main()
