"""Every method on every task, set of pictures and budget: PSNR, SSIM, perceptual and kernel distance, misfit.

    python benchmarks/comparison.py --data val.zip --photographs photos.zip --keep results/comparison.jsonl

All use the same network, threads and measurements. A budget is a number of calls of the network, a gradient counted
as three; 32, 160 and 800 are about 2, 10 and 50 plain solves. Settings are those that `tuning.py` chose for the task
on other pictures of `pictures`, with equally many trials for every method; `faithful` and `plausible` are what the
commands do, with their own settings and cost. `nothing` is y itself, or its pseudo-inverse. Methods without a network
have the weights of `classical.py`. The pictures of phase retrieval are compared up to what it cannot tell: the sign,
and a turn by 180 degrees.

Finished lines stay in the file that --keep names, so a long table grows over several runs: --sets, --tasks, --budgets
and --only say what is computed now, and `comparison_tables.py` makes the tables of all that is there. With
--precision bfloat16 the network multiplies in bfloat16: the answers change by 0.02 dB at most, single pictures of
`map` and `dps` by 0.8 and 0.3 dB (`decisions/bfloat16.py`). Lines without a precision are in float32.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import classical
from budgets import BUDGETS, load_tuned, make_recipe
from common import kept, lower, options, with_precision
from comparison_tables import write_tables
from headwater import Misfit, Misuse
from headwater.image.denoise import DenoisePicture
from headwater.image.metrics.fidelity import psnr, ssim
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.metrics.perceptual import perceptual_distance
from headwater.image.operators import PhaseRetrieval
from headwater.recipes.methods import METHODS, require_fit
from picture_sets import SETS, TASKS, PictureSet, align, load_set, pose

OWN_COST = ("nothing", "one-evaluation", "faithful", "plausible", *classical.METHODS)
"""Methods with a cost of their own, which stand in the table once."""


def score(x: Tensor, pictures: PictureSet) -> dict[str, object]:
    """Fidelity, perceptual distance and kernel distance of restored pictures `[n, c, h, w]`."""
    x, truth = x.clamp(-1, 1), pictures.images
    if pictures.grey:
        x = x.mean(1, keepdim=True).expand_as(x)
    each = psnr(x, truth)
    colour = (x.expand(-1, 3, -1, -1), truth.expand(-1, 3, -1, -1))
    with torch.no_grad():
        seen = [perceptual_distance(a, b) for a, b in zip(*(c.split(25) for c in colour), strict=True)]
        kernel = kernel_distance(pictures.features(x), pictures.clean, paired=True)
    return {
        "psnr": round(each.mean().item(), 2),
        "ssim": round(ssim(x, truth).mean().item(), 4),
        "perceptual": round(torch.cat(seen).mean().item(), 4),
        "kernel": round(kernel.value.item(), 4),
        "kernel error": round(kernel.error.item(), 4),
        "each": [round(p, 2) for p in each.tolist()],
    }


def judge(
    name: str, budget: int, task: str, pictures: PictureSet, settings: dict[str, Any]
) -> dict[str, object]:
    """One line: a method on a task at a budget. Without "psnr" the method does not take it, or needs more calls."""
    row: dict[str, object] = {"set": pictures.name, "task": task, "method": name, "budget": budget}
    posed, problem = pose(pictures, task)
    start, cost = time.perf_counter(), {}
    try:
        if name == "nothing":
            same = posed.y.shape == pictures.images.shape
            x = posed.y if same else problem.guess.expand_as(pictures.images)
        elif name in classical.METHODS:
            misfit = posed.pose(pictures.flow).misfit
            if pictures.grey:  # measured once
                misfit = Misfit(posed.operator, posed.y.mean(1, keepdim=True), misfit.sigma_y)
            x = classical.restore(name, posed.operator, misfit).expand_as(pictures.images)
            if not bool(x.isfinite().all()):
                return row | {"note": "not finite"}
        else:
            if name in ("faithful", "plausible"):
                recipe = posed.recipe(name)
            else:
                require_fit(name, posed.operator, denoising=posed.is_denoising)
                recipe = make_recipe(name, budget, settings)
            if recipe is None:
                return row | {"note": "needs more"}
            if name == "one-evaluation" or isinstance(recipe, DenoisePicture):
                problem = posed.pose(pictures.flow)
            result = problem.solve(range(len(pictures.images)), recipe=recipe)
            x, spent = posed.finish(result.x1, problem), result.gradients.double() * result.nfe_per_gradient
            cost = {
                "misfit": round(float(problem.misfit.rms(result.x1).mean()), 2),
                "ok": sum(status.ok for status in result.status),
                "calls": round(float((result.evaluations + 2 * spent).mean())),
            }
    except Misuse as error:
        return row | {"note": f"does not take it: {error}"}
    seconds = time.perf_counter() - start
    if isinstance(posed.operator, PhaseRetrieval):
        x = align(x, pictures.images)
    return row | score(x, pictures) | cost | {"seconds": round(seconds / len(pictures.images), 3)}


def main() -> None:
    o = options(
        __doc__.splitlines()[0],
        "data",
        count=24,
        keep="",
        model="photo64",
        precision="float32",
        photographs="photos.zip",
        drawings="pictograms.npz",
        sets=",".join(SETS),
        tasks=",".join(TASKS),
        budgets="160",
        only=",".join([*OWN_COST, *(m for m in METHODS if m != "one-evaluation")]),
    )
    if not o.keep:
        raise SystemExit("Say with --keep in which file the lines of the table are.")
    tuned = load_tuned()
    for name in o.sets.split(","):
        pictures = load_set(
            name,
            o.count,
            tuning=False,
            data=o.data,
            photographs=Path(o.photographs),
            model=o.model,
            drawings=Path(o.drawings),
        )
        pictures = replace(pictures, flow=lower(pictures.flow, o.precision))
        for task in o.tasks.split(","):
            for method in dict.fromkeys(o.only.split(",")):
                budgets = [0] if method in OWN_COST else [int(b) for b in o.budgets.split(",")]
                network = method != "nothing" and method not in classical.METHODS
                precision = o.precision if network else "float32"
                for budget in budgets:
                    assert budget in (0, *BUDGETS)
                    kept(
                        o.keep,
                        with_precision(f"{name} {task} {method} {budget} {o.count} {o.model}", precision),
                        lambda m=method, b=budget, t=task, p=pictures, q=precision: (
                            judge(m, b, t, p, tuned.get(f"{m} {t}", {}))
                            | {"count": len(p.images), "precision": q}
                        ),
                    )
    write_tables(o.results, Path(o.keep))


if __name__ == "__main__":
    main()
