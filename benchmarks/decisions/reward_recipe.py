"""Which optimiser, and what to hold x0 back by, when a reward is raised: the defaults of `MaximiseReward`.

    python benchmarks/decisions/reward_recipe.py --threads 1

All variants have 15 gradients through 4 DDIM steps a picture. The reward is in standard deviations among draws;
the judge is EfficientNet-Lite1, which guided nothing.
"""

from __future__ import annotations

import time

import torch

import _path  # noqa: F401
import headwater as hw
from common import options, write
from headwater.image.rewards import RewardJudge, read_reward
from headwater.optimizers import GradientDescent
from headwater.problem.rewards import RewardSum
from headwater.recipes.reward import MaximiseReward

CLIPPED = GradientDescent(lr=5.0, momentum=0.9, clip=0.1, nesterov=True)
FEW = {"gradients": 15, "steps": 4, "method": hw.DDIM}
VARIANTS = {
    "L-BFGS, near its draw": MaximiseReward(8.0, "draw", optimizer=hw.LBFGS(), **FEW),
    "L-BFGS, chi": MaximiseReward(8.0, "chi", optimizer=hw.LBFGS(), **FEW),
    "clipped, near its draw": MaximiseReward(8.0, "draw", optimizer=CLIPPED, **FEW),
    "clipped, chi": MaximiseReward(8.0, "chi", optimizer=CLIPPED, **FEW),
    "clipped, chi, weight 0.01 (ReNO)": MaximiseReward(1.0, "chi", 0.01, optimizer=CLIPPED, **FEW),
}
REWARDS = ("class: volcano", "palette: #e33,#fff")


def main() -> None:
    """Compare the variants and write the table."""
    o = options(__doc__, count=2, draws=12)
    flow, seeds = hw.image.flow("photo64"), range(o.count)
    with torch.no_grad():
        draws = hw.solve(flow, flow.noise(range(1000, 1000 + o.draws)), method=hw.DDIM, steps=4).clamp(-1, 1)
    judge, rows = RewardJudge(draws), []
    for name in REWARDS:
        total = RewardSum(((1.0, read_reward(name)),), (name,)).standardise(draws)
        for label, recipe in VARIANTS.items():
            began = time.perf_counter()
            result = recipe(flow, total, seeds)
            seconds = time.perf_counter() - began
            rows.append(
                describe(name, label, result, total, judge) | {"seconds": round(seconds / o.count, 1)}
            )
            print(rows[-1], flush=True)
    write(
        o.results / "reward_recipe",
        rows,
        f"python benchmarks/decisions/reward_recipe.py --threads {o.threads}",
        f"Means over {o.count} pictures of photo64; the reward in standard deviations among {o.draws} draws.",
    )


def describe(
    name: str, label: str, result: hw.Result, total: RewardSum, judge: RewardJudge
) -> dict[str, object]:
    """One line of the table."""
    x, classes = result.x1.clamp(-1, 1), judge.read_classes(result.x1, total)
    with torch.no_grad():
        rise = total(x)
    return {
        "reward": name,
        "variant": label,
        "gradients": int(result.gradients.max()),
        "reached": round(float(rise.mean()), 2),
        "judge: class": round(float(next(iter(classes.values())).mean()), 3) if classes else "",
        "judge: strangeness": round(float(judge.strangeness(x).mean()), 2),
        "norm of x0": round(float(result.x0.flatten(1).norm(dim=1).mean() / x[0].numel() ** 0.5), 3),
        "beyond [-1, 1], %": round(100 * float((result.x1.abs() > 1).float().mean()), 1),
    }


if __name__ == "__main__":
    main()
