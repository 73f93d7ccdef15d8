"""Seconds, evaluations and quality until rms(A x1 - y) <= 1.05 sigma_y: `WarmStart`, `Paper`, the usual code.

    python benchmarks/time_to_quality.py --data val.zip

Same network, images, measurements and threads, one run. The usual construction is torchdiffeq's midpoint on 6
uniform steps, one torch.optim.LBFGS with strong Wolfe over the whole batch, and the blend a = 0.1 of the
inverted back-projection. `paper` is ours with the paper's settings. Each has `--gradients` gradient evaluations
per image; a method that has not reached the level by then is marked, and its time is a lower bound.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchdiffeq import odeint

from common import options, write
from headwater import Flow, Misfit
from headwater.image.model import models
from headwater.recipes.paper import Paper
from headwater.recipes.recipe import Recipe, RecipeOptions
from headwater.recipes.warm_start import WarmStart
from images import held_out, measure, scores, tasks


class Reached(Exception):
    """Every image is at the noise level, or the evaluations are spent."""


def usual(flow: Flow, misfit: Misfit, guess: Tensor, count: int, limit: int) -> tuple[Tensor, int]:
    """The usual construction; the best x1 by total cost, and its gradient evaluations."""
    grid = torch.linspace(0, 1, 7)
    with torch.no_grad():
        y0 = odeint(lambda t, x: flow(x, t), guess, grid.flip(0), method="midpoint")[-1]
    z = flow.noise(range(count))
    x0 = (0.1**0.5 * y0 + 0.9**0.5 * z).requires_grad_()
    optimizer = torch.optim.LBFGS([x0], max_iter=limit, max_eval=limit, line_search_fn="strong_wolfe")
    best: dict[str, Tensor] = {"cost": torch.tensor(float("inf"))}
    calls = 0

    def closure() -> Tensor:
        nonlocal calls
        if calls >= limit:
            raise Reached
        calls += 1
        optimizer.zero_grad()
        x1 = odeint(lambda t, x: flow(x, t), x0, grid, method="midpoint")[-1]
        cost = misfit(x1).sum()
        cost.backward()
        if cost.detach() < best["cost"]:
            best.update(cost=cost.detach(), x1=x1.detach())
        if bool((misfit.rms(x1.detach()) <= 1.05).all()):
            raise Reached
        return cost

    with contextlib.suppress(Reached):
        optimizer.step(closure)
    return best["x1"], calls


def timed(run: Callable[[], tuple[Tensor, float, float]]) -> tuple[Tensor, float, float, float]:
    start = time.perf_counter()
    x1, gradients, extra = run()
    return x1, gradients, extra, time.perf_counter() - start


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=32, gradients=24, first=0)
    flow, reference = models.flow(), held_out(o.data, o.count)
    rows: list[dict[str, object]] = []
    for task, (operator, sigma_y) in list(tasks().items())[o.first :]:
        misfit = measure(operator, sigma_y, reference)
        guess = operator.pinv(misfit.y)

        def ours(
            recipe: Recipe, task_misfit: Misfit = misfit, start: Tensor = guess
        ) -> tuple[Tensor, float, float]:
            limit = RecipeOptions(gradients=o.gradients)
            result = recipe(flow, task_misfit, range(o.count), guess=start, options=limit)
            return result.x1, result.gradients.float().mean().item(), result.evaluations.float().mean().item()

        def theirs(task_misfit: Misfit = misfit, start: Tensor = guess) -> tuple[Tensor, float, float]:
            x1, calls = usual(flow, task_misfit, start, o.count, o.gradients)
            return x1, calls, 12 * calls

        runs = {"warm start": lambda: ours(WarmStart()), "paper": lambda: ours(Paper()), "usual": theirs}
        seconds: dict[str, float] = {}
        for name, run in runs.items():
            x1, gradients, nfe, seconds[name] = timed(run)
            rms = misfit.rms(x1)
            rows.append(
                {
                    "task": task,
                    "method": name,
                    "seconds": round(seconds[name], 1),
                    "times warm start": round(seconds[name] / seconds["warm start"], 2),
                    "gradients": round(gradients, 1),
                    "NFE with gradient": round(nfe),
                    "reached": f"{int((rms <= 1.05).sum())}/{o.count}",
                    "rms / sigma_y": round(rms.mean().item(), 3),
                    **scores(x1, reference),
                }
            )
            print(rows[-1], flush=True)
    note = (
        f"{o.count} held-out images, at most {o.gradients} gradients each; where `reached` is not full, seconds and "
        "ratio are lower bounds. `warm start` adds 32 + 24 evaluations without gradient, in its seconds."
    )
    command = (
        f"python benchmarks/time_to_quality.py --data val.zip --count {o.count} --gradients {o.gradients}"
    )
    write(o.results / f"time_to_quality_{o.count}x{o.gradients}", rows, command, note)


if __name__ == "__main__":
    main()
