"""Quality and failure rate of `WarmStart` against methods that need no network.

    python benchmarks/quality.py --data val.zip
    python benchmarks/quality.py --data val.zip --only BM3D         its rows alone, into the table that is there
    python benchmarks/quality.py --data val.zip --only classical    the rows of all methods without a network

The first 100 of `--count` held-out images give the quality table; all give the failure rate (share that ends above
1.5 sigma_y). The methods without a network are those of `classical.py`, each with its weight chosen per task by the
best mean PSNR on 20 further images, in their favour. They need `pip install bm3d opencv-python-headless`, and
BM3D's licence is for non-commercial use: it stands in no extra of Headwater.
"""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path

import torch
from torch import Tensor

from classical import METHODS, methods_for, restore
from common import options, write
from headwater import Misfit
from headwater.image.metrics.fidelity import psnr
from headwater.image.model import models
from headwater.recipes.warm_start import WarmStart
from images import held_out, measure, scores, tasks


def tune(method: str, trial: Misfit, reference: Tensor) -> float | None:
    """The weight with the best mean PSNR of those in the list; None if the method has none."""
    return max(
        METHODS[method].tried,
        key=lambda w: float(psnr(restore(method, trial.operator, trial, weight=w), reference).mean()),
        default=None,
    )


NOTE = "held-out images; PSNR and SSIM up, perceptual distance down is better."
COMMAND = "python benchmarks/quality.py --data val.zip"


def rows_of_rivals(
    task: str, misfit: Misfit, trial: Misfit, reference: Tensor, tuning: Tensor, only: str = ""
) -> list[dict[str, object]]:
    """The scores of the methods without a network on a task, of one alone if `only` names it."""
    rows: list[dict[str, object]] = []
    for name in methods_for(misfit.operator):
        if only in ("", "classical", name):
            weight = tune(name, trial, tuning)
            part, start = misfit.select(torch.arange(len(reference))), time.perf_counter()
            x = restore(name, part.operator, part, weight=weight)
            seconds = (time.perf_counter() - start) / len(reference)
            row = {"task": task, "method": name, **scores(x, reference), "s an image": round(seconds, 3)}
            rows.append(row | ({} if weight is None else {"weight": weight}))
            print(rows[-1], flush=True)
    return rows


def add_rows(results: Path, rows: list[dict[str, object]], only: str) -> None:
    """Put the rows of one method, or of all without a network, into the table that is there, before Headwater's."""
    found = json.loads((results / "quality.json").read_text())
    kept = [
        row
        for row in found["rows"]
        if row["method"] != only and (only != "classical" or row["method"].startswith("D-Flow"))
    ]
    tasks_in_order = dict.fromkeys(row["task"] for row in kept)
    table = [
        row
        for task in tasks_in_order
        for row in sorted(
            (row for row in [*kept, *rows] if row["task"] == task),
            key=lambda row: str(row["method"]).startswith("D-Flow"),
        )
    ]
    note = f"{found['about']['note']} {only} of {date.today().isoformat()}, the others of {found['about']['date']}."
    write(results / "quality", table, f"{COMMAND} --only {only}", note)


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=200, batch=25, only="")
    everything = held_out(o.data, o.count + 20)
    reference, tuning = everything[: o.count], everything[o.count :]
    flow, first = models.flow(), min(100, o.count)
    rows: list[dict[str, object]] = []
    failures: list[dict[str, object]] = []
    for task, (operator, sigma_y) in tasks().items():
        misfit, trial = measure(operator, sigma_y, reference), measure(operator, sigma_y, tuning)
        rows += rows_of_rivals(task, misfit, trial, reference[:first], tuning, o.only)
        if o.only:
            continue
        x1, rms, gradients, start = [], [], [], time.perf_counter()
        for i in range(0, o.count, o.batch):
            index = torch.arange(i, i + o.batch)
            part = misfit.select(index)
            result = WarmStart()(flow, part, index.tolist(), guess=operator.pinv(part.y))
            x1.append(result.x1)
            rms.append(part.rms(result.x1))
            gradients.append(result.gradients.float())
        seconds, level = time.perf_counter() - start, torch.cat(rms)
        rows.append(
            {"task": task, "method": "D-Flow (WarmStart)", **scores(torch.cat(x1)[:first], reference[:first])}
        )
        print(rows[-1], flush=True)
        failures.append(
            {
                "task": task,
                "images": o.count,
                "above 1.5 sigma_y": f"{100 * (level > 1.5).float().mean().item():.1f} %",
                "above 1.05 sigma_y": f"{100 * (level > 1.05).float().mean().item():.1f} %",
                "largest rms / sigma_y": round(level.max().item(), 3),
                "mean gradients": round(torch.cat(gradients).mean().item(), 2),
                "most gradients": int(torch.cat(gradients).max()),
                "seconds per image": round(seconds / o.count, 2),
            }
        )
        print(failures[-1], flush=True)
    if o.only:
        add_rows(o.results, rows, o.only)
        return
    write(o.results / "quality", rows, COMMAND, f"{first} {NOTE}")
    write(o.results / "failure_rate", failures, COMMAND, "Recipe `WarmStart()`.")


if __name__ == "__main__":
    main()
