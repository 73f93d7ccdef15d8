"""What each part of the recipe `WarmStart` brings: start, time grid, first step, priors on x0.

    python benchmarks/ablation.py --data val.zip

Every row controls the same images with at most `--gradients` gradient evaluations and stops at 1.05 sigma_y.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from common import options, write
from headwater import (
    LBFGS,
    Flow,
    Misfit,
    blend,
    control,
    discrepancy,
    invert,
    logit_grid,
    shell,
    uniform_grid,
)
from headwater.dflow.prior import ChiPrior
from headwater.dflow.result import Result
from headwater.image.model import models
from headwater.recipes.estimate import Estimate
from images import held_out, measure, scores, tasks

Variant = Callable[[], Result]


def variants(
    flow: Flow, misfit: Misfit, guess: Tensor, count: int, limit: int
) -> Iterator[tuple[str, Variant]]:
    """The recipes compared, each with its name."""
    seeds = range(count)
    z, uniform, grid = flow.noise(seeds), uniform_grid(6), logit_grid(8)

    def run(start: Callable[[], Tensor], **changes: object) -> Variant:
        settings = {
            "stop": discrepancy(misfit, 1.05),
            "steps": grid,
            "gradients": limit,
            "optimizer": LBFGS(first_step=0.005),
        }
        return lambda: control(flow, misfit, start(), **(settings | changes))  # type: ignore[arg-type]

    def warm(steps: tuple[float, ...] = logit_grid(12)) -> Callable[[], Tensor]:
        return lambda: invert(flow, Estimate().sample(flow, misfit, seeds, guess=guess), steps=steps)

    def staged(stages: list[tuple[Misfit, tuple[float, ...]]]) -> Variant:
        """From noise through stages of equal numbers of gradients, each from the last one's x0."""

        def go() -> Result:
            x0, spent, result = z, torch.zeros(count, dtype=torch.long), None
            for cost, steps in stages:
                stop = discrepancy(misfit, 1.05) if cost is misfit else None
                result = control(
                    flow, cost, x0, stop=stop, steps=steps, gradients=max(limit // len(stages), 1)
                )
                x0, spent = result.x0, spent + result.gradients
            assert result is not None
            return replace(result, gradients=spent)

        return go

    def best_of(starts: int) -> Variant:
        """Several estimates per image, controlled each; the x1 of least misfit is kept."""

        def go() -> Result:
            runs = []
            for k in range(starts):
                x1 = Estimate().sample(flow, misfit, [i + 1000 * k for i in seeds], guess=guess)
                x0 = invert(flow, x1, steps=logit_grid(12))
                stop, search = discrepancy(misfit, 1.05), LBFGS(first_step=0.005)
                runs.append(
                    control(flow, misfit, x0, stop=stop, steps=grid, gradients=limit, optimizer=search)
                )
            least = torch.stack([r.cost for r in runs]).argmin(0)
            pick = [(runs[int(k)], i) for i, k in enumerate(least)]
            return replace(
                runs[0],
                x0=torch.stack([r.x0[i] for r, i in pick]),
                x1=torch.stack([r.x1[i] for r, i in pick]),
                gradients=torch.stack([r.gradients for r in runs]).sum(0),
            )

        return go

    usual = LBFGS()
    yield "noise, uniform 6", run(lambda: z, steps=uniform, optimizer=usual)
    yield (
        "blend 0.1 of the back-projection, uniform 6",
        run(lambda: blend(invert(flow, guess, steps=uniform), z, 0.1), steps=uniform, optimizer=usual),
    )
    yield "noise, logit 8", run(lambda: z, optimizer=usual)
    yield "noise, logit 4 then logit 8", staged([(misfit, logit_grid(4)), (misfit, grid)])
    yield (
        "noise, sigma_y annealed 16, 4, 1",
        staged([(replace(misfit, sigma_y=f * misfit.sigma_y), grid) for f in (16, 4)] + [(misfit, grid)]),
    )
    yield "back-projection inverted, logit 8", run(lambda: invert(flow, guess, steps=grid))
    yield "estimate inverted, uniform 6", run(warm(uniform), steps=uniform)
    yield "estimate inverted, uniform 8", run(warm(uniform_grid(8)), steps=uniform_grid(8))
    yield "estimate inverted, logit 6", run(warm(logit_grid(6)), steps=logit_grid(6))
    yield "estimate inverted, logit 8", run(warm(grid))
    yield "estimate inverted on logit 12, logit 8 (default)", run(warm())
    yield "default, 3 starts, least misfit kept", best_of(3)
    yield "default, first step 0.1", run(warm(), optimizer=usual)
    yield "default + chi prior, weight 1", run(warm(), prior=ChiPrior())
    yield "default, x0 kept on the sphere of radius sqrt(d)", run(lambda: shell(warm()()), constraint=shell)


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=12, gradients=12)
    flow, reference = models.flow(), held_out(o.data, o.count)
    rows: list[dict[str, object]] = []
    for task in ("deblur", "box", "random 70 %"):
        operator, sigma_y = tasks()[task]
        misfit = measure(operator, sigma_y, reference)
        guess = operator.pinv(misfit.y)
        start = time.perf_counter()
        x1 = Estimate().sample(flow, misfit, range(o.count), guess=guess)
        rows.append(
            row(task, "estimate alone, no control", misfit, x1, reference, time.perf_counter() - start)
        )
        for name, variant in variants(flow, misfit, guess, o.count, o.gradients):
            start = time.perf_counter()
            result = variant()
            seconds = time.perf_counter() - start
            rows.append(row(task, name, misfit, result.x1, reference, seconds, result))
            print(rows[-1], flush=True)
    note = f"{o.count} held-out images, at most {o.gradients} gradients each."
    write(o.results / "ablation", rows, "python benchmarks/ablation.py --data val.zip", note)


def row(
    task: str,
    name: str,
    misfit: Misfit,
    x1: Tensor,
    reference: Tensor,
    seconds: float,
    r: Result | None = None,
) -> dict[str, object]:
    """One line of the table."""
    rms = misfit.rms(x1)
    radius = "" if r is None else round(r.x0.flatten(1).square().mean(1).sqrt().mean().item(), 2)
    return {
        "task": task,
        "recipe": name,
        "reached": f"{int((rms <= 1.05).sum())}/{len(rms)}",
        "rms / sigma_y": round(rms.mean().item(), 2),
        "gradients": "" if r is None else round(r.gradients.float().mean().item(), 1),
        "seconds": round(seconds, 1),
        "rms x0": radius,
        **scores(x1, reference),
    }


if __name__ == "__main__":
    with torch.no_grad():
        main()
