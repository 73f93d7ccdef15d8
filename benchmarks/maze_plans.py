"""Plans through a maze with moving obstacles and a speed limit: examples/plans against its rivals.

    python benchmarks/maze_plans.py --threads 1

Every problem has an answer, and obstacles that hit other ways between the same two places. `NFE` are evaluations of
the network per problem without a gradient, `with gradient` those with one; a limit for the control, which ends as
soon as a plan keeps everything. `length` is in cells. Each method makes some plans for a problem and keeps the best;
`of all draws` is the share of all its plans that keep everything. The rows `choice` are of 12 other problems;
they chose the settings of the rivals.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from plans.costs import Constraints, pose_problems
from plans.data import draw_path
from plans.model import load_flow
from plans.plan import Control, FromEstimate, judge
from plans.planner import Planner, choose, repeat
from plans.rivals import Barriers, Guidance, Projection, sample

TRIALS: dict[str, list[Any]] = {
    "guidance (Diffuser)": [Guidance(60, 2, scale) for scale in (0.003, 0.01, 0.03, 0.1)],
    "barriers (SafeDiffuser)": [
        Barriers(60, 2, gamma, first) for gamma in (0.1, 0.5) for first in (0.3, 0.7)
    ],
    "projection (DPCC)": [Projection(60, 2, first) for first in (0.0, 0.3, 0.6)],
}


def run(name: str, method: Any, constraints: Constraints, part: str = "plans") -> dict[str, object]:
    """A line of the table."""
    flow, count = load_flow(), len(constraints.start)
    began, share = time.process_time(), ""
    if isinstance(method, Planner):
        every = repeat(constraints, method.draws)
        drawn = method.draw_plans(flow, constraints, 0)
        plans = choose(drawn, every, method.draws)
        share = judge(drawn, every)["keeps everything %"]
    else:
        plans = method(flow, constraints, 0)
    seconds = (time.process_time() - began) / count
    plain, with_gradient = getattr(method, "cost", ("", ""))
    costs = {"NFE": plain, "with gradient": with_gradient, "seconds": round(seconds, 2)}
    return {"part": part, "method": name, **judge(plans, constraints), "of all draws %": share, **costs}


def draw_blindly(draws: int, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
    """Samples of the flow with start and goal put in at every step: no obstacle and no limit in mind."""
    every = repeat(constraints, draws)
    return choose(sample(flow, every, 60, seed), every, draws)


def estimate(draws: int, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
    """The fast estimate of the library, made to keep everything at each of its 32 times."""
    every = repeat(constraints, draws)
    guess = torch.zeros(1, *flow.shape)
    result = hw.Estimate()(flow, every.pose(), range(len(every.start)), guess=guess)
    return choose(result.x1, every, draws)


def search(flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
    """The simulator's own paths between start and goal, the best of 100: what it takes without a network."""
    import numpy as np

    best = []
    for i in range(len(constraints.start)):
        one = constraints.select(torch.tensor([i]))
        rng = np.random.default_rng([seed, i])
        ends = (one.start[0].double().numpy(), one.goal[0].double().numpy())
        paths = torch.from_numpy(np.stack([draw_path(rng, ends) for _ in range(100)])).float()
        worst = one.select(torch.zeros(len(paths), dtype=torch.long)).find_worst(paths)
        best.append(paths[worst.argmin()])
    return torch.stack(best)


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__.splitlines()[0], count=40, keep="")
    (others, _), (constraints, answers) = pose_problems(12, seed=1), pose_problems(o.count, seed=2)
    rows, best = [], {}
    for title, trials in TRIALS.items():
        scored = []
        for i, method in enumerate(trials):
            name = f"{title}: {method}"
            rows.append(kept(o.keep, name, partial(run, name, method, others, "choice")))
            scored.append((float(rows[-1]["keeps everything %"]), -i, method))
        _, _, method = max(scored)
        usual = type(method)()
        best[title] = dataclasses.replace(method, steps=usual.steps, draws=usual.draws)
    methods: dict[str, Any] = {
        "the answer that is known": lambda *_: answers,
        "the simulator, best of 100 paths": search,
        "start and goal alone, best of 6": partial(draw_blindly, 6),
        "estimate, best of 4": partial(estimate, 4),
        **best,
        "control": Control(),
        "control, 4 draws": Control(draws=4),
        "control from the best of 4 estimates": FromEstimate(),
    }
    for name, method in methods.items():
        rows.append(kept(o.keep, name, partial(run, name, method, constraints)))
    write(
        o.results / "maze_plans",
        rows,
        "python benchmarks/maze_plans.py --threads 1",
        f"Of {o.count} problems with two moving obstacles, `choice` of 12 others. `NFE` evaluations of the network a "
        "problem, at most; `seconds` of CPU a problem, beside other work.",
    )


if __name__ == "__main__":
    main()
