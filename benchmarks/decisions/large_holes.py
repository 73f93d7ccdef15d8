"""What fills a hole: means are smooth, samples have texture.

    python benchmarks/decisions/large_holes.py --data val.zip --photographs photos.zip

PSNR, perceptual distance and kernel distance on pictures that no table uses: a box of 36 or of 20 of 64 pixels, or
70 % of the pixels missing, noise 0.05. `faithful` and `plausible` are the two answers of the command; `new` is the
plausible one with new noise everywhere, `part` with a share of old noise everywhere. Calls of the network, a gradient
counted as three.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

import _path  # noqa: F401
from common import options, write
from comparison import score
from headwater import find_method
from headwater.image.answers import ESTIMATE
from headwater.image.inside_holes import InsideHoles
from headwater.image.operators import Inpaint, box_mask, random_mask
from headwater.image.task import ImageTask
from picture_sets import load_set

LONG = replace(ESTIMATE, times=32, first=0.01)
RECIPES = {
    "new": LONG,
    "part 0.45": replace(LONG, fresh=0.45),
    "inside 0.3": replace(LONG, fresh=InsideHoles(inside=0.3)),
    "depth 2": replace(LONG, fresh=InsideHoles(depth=2)),
    "16 times": replace(ESTIMATE, first=0.01, fresh=InsideHoles(inside=0.7)),
    "64 times": replace(LONG, times=64, fresh=InsideHoles(inside=0.26)),
    "pigdm": replace(find_method("pigdm"), steps=53),
    "flower": replace(find_method("flower"), steps=160),
}


def masks(size: int) -> dict[str, Tensor]:
    """What is known."""
    sides = [round(side * size / 64) for side in (36, 20)]
    boxes = {f"box {side}": box_mask(size, size, side, side) for side in sides}
    return boxes | {"random": random_mask(size, size, missing=0.7, seed=1)}


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=24, photographs="photos.zip", model="photo64")
    rows: list[dict[str, object]] = []
    found = {"pictures": o.count, "digits": 2 * o.count}
    tasks = [(name, *mask) for name in found for mask in masks(32 if name == "digits" else 64).items()]
    for name, missing, mask in tasks:
        count = found[name]
        pictures = load_set(
            name, count, tuning=True, data=o.data, photographs=Path(o.photographs), model=o.model
        )
        x, size = pictures.images, pictures.images.shape[-1]
        operator = Inpaint(mask)
        draws = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(count)]
        task = ImageTask(
            operator, operator(x + 0.05 * torch.stack(draws)), 0.05, (size, size), check_span=False
        )
        problem = task.pose(pictures.flow)
        answers = {"faithful": task.recipe("faithful"), "plausible": task.recipe("plausible")}
        for words, recipe in (answers | RECIPES).items():
            result = problem.solve(range(count), recipe=recipe)
            scores = score(task.finish(result.x1, problem), pictures)
            spent = result.evaluations + 2 * result.gradients * result.nfe_per_gradient
            kernel = f"{scores['kernel']:.4f} ± {scores['kernel error']:.4f}"
            row = {
                "set": name,
                "missing": missing,
                "method": words,
                "calls": round(float(spent.double().mean())),
            }
            rows.append(row | {k: scores[k] for k in ("psnr", "perceptual")} | {"kernel": kernel})
            print(rows[-1], flush=True)
    command = "python benchmarks/decisions/large_holes.py --data val.zip --photographs photos.zip"
    write(o.results / "large_holes", rows, command, f"{o.count} pictures, {2 * o.count} digits; {o.model}.")


if __name__ == "__main__":
    main()
