"""Plan paths by control of the source.

    python -m plans.plan

`Control` is the whole of our planner: the misfit of what is asked, the prior of the source, and a stop as soon as
a plan keeps everything.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

import headwater as hw

from .costs import WALLS, Constraints, Worst, pose_problems
from .data import CELL
from .model import load_flow
from .planner import SEEDS, Planner, choose, repeat
from .rivals import Guidance


@dataclass(frozen=True)
class Control(Planner):
    """min over x0 of misfit(x1(x0)) + |x0|^2 / 2, until x1 keeps everything; from several draws, the best is kept.

    Attributes
    ----------
    steps
        DDIM steps of a solve.
    gradients
        The most gradients of a draw.
    draws
        Draws of a problem.
    first_step
        The first step of L-BFGS, rms per coordinate.
    """

    steps: int = 6
    gradients: int = 60
    draws: int = 2
    first_step: float = 0.1

    @property
    def cost(self) -> tuple[int, int]:
        """Evaluations without a gradient and with one, per problem, at most."""
        return 0, self.steps * self.gradients * self.draws

    def solve(self, flow: hw.Flow, constraints: Constraints, seed: int) -> hw.Result:
        """The result of every draw of every problem."""
        every = repeat(constraints, self.draws)
        count = len(every.start)
        return hw.control(
            flow,
            every.pose(),
            flow.noise(range(SEEDS * seed, SEEDS * seed + count)),
            stop=hw.Stop(Worst(every), 0.0),
            prior=hw.GaussianPrior(),
            method=hw.DDIM,
            steps=self.steps,
            gradients=self.gradients,
            optimizer=hw.LBFGS(first_step=self.first_step),
        )

    def draw_plans(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """`draws` plans of every problem, `[n draws, 64, 2]`."""
        return self.solve(flow, constraints, seed).x1


@dataclass(frozen=True)
class FromEstimate:
    """The best of some estimates, and control from its source point where it does not keep everything yet.

    Attributes
    ----------
    draws
        Estimates of a problem, of 32 evaluations each.
    gradients
        The most gradients, each through six midpoint steps.
    """

    draws: int = 4
    gradients: int = 30

    @property
    def cost(self) -> tuple[int, int]:
        """Evaluations without a gradient and with one, per problem, at most."""
        return 32 * self.draws + 48, 12 * self.gradients

    def __call__(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """Plans `[n, 64, 2]`."""
        every, misfit = repeat(constraints, self.draws), constraints.pose()
        seeds = range(SEEDS * seed, SEEDS * seed + len(every.start))
        drawn = hw.Estimate()(
            flow, every.pose(), seeds, guess=torch.zeros(1, *flow.shape)
        ).x1
        first = choose(drawn, every, self.draws)
        result = hw.control(
            flow,
            misfit,
            hw.invert(flow, first, steps=24),
            stop=hw.Stop(Worst(constraints), 0.0),
            prior=hw.GaussianPrior(),
            gradients=self.gradients,
            optimizer=hw.LBFGS(first_step=0.02),
        )
        both = torch.stack([first, result.x1], 1).flatten(0, 1)
        return choose(both, repeat(constraints, 2), 2)


def judge(plans: Tensor, constraints: Constraints) -> dict[str, float]:
    """Shares in % of plans `[n, 64, 2]` that keep everything, hit, miss an end or are too fast; lengths in cells."""
    breaches = constraints.find_breaches(plans)
    broken = {name: ~(value <= 0) for name, value in breaches.items()}  # NaN, too
    length = torch.diff(plans, dim=1).norm(dim=-1).sum(1) / CELL

    def percent(which: Tensor) -> float:
        return round(100 * float(which.double().mean()), 1)

    return {
        "keeps everything %": percent(~torch.stack(list(broken.values())).any(0)),
        "hits an obstacle %": percent(broken["obstacles"]),
        "hits a wall %": percent(broken["walls"]),
        "reaches the goal %": percent(~broken["ends"]),
        "too fast %": percent(broken["speed"]),
        "length": round(float(length.mean()), 2),
    }


def draw_picture(file: Path, seed: int = 0) -> None:
    """A problem at four times: the plan of the flow with start and goal alone, and that of control."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import Circle, Rectangle

    flow = load_flow()
    constraints, _ = pose_problems(1, seed)
    plans = {
        "start and goal alone": Guidance(60, 1, 0.0)(flow, constraints, 0),
        "control": Control()(flow, constraints, 0),
    }
    figure, axes = plt.subplots(2, 4, figsize=(7.2, 3.9), layout="constrained")
    for row, (title, plan) in zip(axes, plans.items(), strict=True):
        for ax, k in zip(row, (12, 28, 44, 63), strict=True):
            for x, y in WALLS.tolist():
                ax.add_patch(
                    Rectangle(
                        (x - CELL / 2, y - CELL / 2), CELL, CELL, color="0.75", lw=0
                    )
                )
            for way in constraints.obstacles[0]:
                ax.plot(*way[: k + 1].T, color="tab:red", lw=0.8, alpha=0.5)
                ax.add_patch(
                    Circle(
                        way[k].tolist(), constraints.radius, color="tab:red", alpha=0.6
                    )
                )
            ax.plot(*plan[0].T, color="tab:blue", lw=0.6, alpha=0.5)
            ax.plot(*plan[0, : k + 1].T, color="tab:blue", lw=1.6)
            ax.plot(*plan[0, k], "o", color="tab:blue", ms=5)
            ax.plot(*constraints.goal[0], "*", color="black", ms=7)
            ax.set(xlim=(-1, 1), ylim=(1, -1), xticks=[], yticks=[], aspect="equal")
            if row is axes[0]:
                ax.set_title(f"time {k}", fontsize=9)
        row[0].set_ylabel(title, fontsize=9)
    figure.savefig(file, dpi=110)


def main() -> None:
    """Plan eight problems, and say what the plans keep."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--picture", type=Path, help="draw one of them into this file")
    o = p.parse_args()
    torch.set_flush_denormal(True)
    if o.picture:
        draw_picture(o.picture)
        return
    flow = load_flow()
    constraints, answers = pose_problems(8, seed=0)
    unaware = hw.solve(flow, flow.noise(range(8)), method=hw.DDIM, steps=24)
    print("known answers", judge(answers, constraints))
    print("samples      ", judge(unaware, constraints))
    print("control      ", judge(Control()(flow, constraints, seed=0), constraints))


if __name__ == "__main__":
    main()
