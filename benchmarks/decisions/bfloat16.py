"""What networks that multiply in bfloat16 save, and how far they change the picture.

    python benchmarks/decisions/bfloat16.py --data val.zip --photographs photos.zip

Each line is a method in float32 and in bfloat16, one after the other in the same run, on held-out pictures with the
same noise: PSNR of both, the picture of which it changed most, and seconds in float32 over those in bfloat16.
`decoder` is a drawing filled through the decoder of the model `pictograms`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import _path  # noqa: F401
from budgets import load_tuned, make_recipe
from common import options, write
from headwater import LatentModel, in_bfloat16
from headwater.image.metrics.fidelity import psnr
from headwater.image.operators import Inpaint
from headwater.image.pictograms.models import latent_model
from headwater.image.task import ImageTask
from headwater.nn.training import has_fast_bfloat16
from latent_holes import NOISE, stroke_mask
from picture_sets import PictureSet, load_set, pose

LINES = (
    ("denoise", "faithful"),
    ("deblur", "faithful"),
    ("box", "plausible"),
    ("random", "map"),
    ("deblur", "red-diff"),
    ("upscale", "dps"),
    ("box", "paper"),
)
CALLS = 160


def restore(pictures: PictureSet, task: str, method: str, settings: dict[str, Any]) -> tuple[Tensor, float]:
    """PSNR of every picture, and the seconds."""
    posed, problem = pose(pictures, task)
    own = method in ("faithful", "plausible")
    recipe = posed.recipe(method) if own else make_recipe(method, CALLS, settings)
    begin = time.perf_counter()
    result = problem.solve(range(len(pictures.images)), recipe=recipe)
    seconds = time.perf_counter() - begin
    return psnr(posed.finish(result.x1, problem).clamp(-1, 1), pictures.images), seconds


def fill(model: LatentModel, truth: Tensor, seeds: Sequence[int]) -> tuple[Tensor, float]:
    """The same of drawings `[n, 3, 128, 128]` with a quarter of their pixels hidden."""
    operator = Inpaint(torch.cat([stroke_mask(i, truth.shape[-1]) for i in seeds]))
    noise = torch.stack(
        [torch.randn(truth.shape[1:], generator=torch.Generator().manual_seed(i)) for i in seeds]
    )
    task = ImageTask(
        operator, operator(truth + NOISE * noise), NOISE, tuple(truth.shape[-2:]), check_span=False
    )
    problem = task.pose(model)
    begin = time.perf_counter()
    result = problem.solve(seeds, recipe=task.recipe("plausible", latent=True))
    seconds = time.perf_counter() - begin
    return psnr(problem.to_data(result.x1).detach().clamp(-1, 1), truth), seconds


def line(task: str, method: str, full: tuple[Tensor, float], half: tuple[Tensor, float]) -> dict[str, object]:
    """The row of a method."""
    change = half[0] - full[0]
    return {
        "task": task,
        "method": method,
        "float32, dB": round(full[0].mean().item(), 2),
        "bfloat16 - float32, dB": f"{change.mean():.3f} ± {change.std() / len(change) ** 0.5:.3f}",
        "most changed, dB": round(change.abs().max().item(), 2),
        "seconds, ratio": round(full[1] / half[1], 2),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=8, photographs="photos.zip")
    pictures = load_set(
        "pictures", o.count, tuning=False, data=o.data, photographs=Path(o.photographs), model="photo64"
    )
    lower, tuned, rows = replace(pictures, flow=in_bfloat16(pictures.flow)), load_tuned(), []
    for task, method in LINES:
        settings = tuned.get(f"{method} {task}", {})
        full, half = (restore(p, task, method, settings) for p in (pictures, lower))
        rows.append(line(task, method, full, half))
    model, seeds = latent_model(["red apple"]), range(min(o.count, 4))
    with torch.no_grad():
        truth = model.decode(model.flow.noise(range(100, 100 + len(seeds)))).clamp(-1, 1)
    rows.append(line("decoder", "plausible", *(fill(m, truth, seeds) for m in (model, in_bfloat16(model)))))
    fast = "multiplies" if has_fast_bfloat16(torch.device("cpu")) else "does not multiply"
    write(
        o.results / "bfloat16",
        rows,
        "python benchmarks/decisions/bfloat16.py --data val.zip --photographs photos.zip",
        f"{o.count} pictures, {len(seeds)} drawings; the processor {fast} in bfloat16 by itself.",
    )


if __name__ == "__main__":
    main()
