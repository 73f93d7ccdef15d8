"""What fills a hole of more than half the width: means are smooth, samples have texture.

    python benchmarks/decisions/large_holes.py --data val.zip --photographs photos.zip

PSNR, perceptual distance and kernel distance on pictures that no table uses, a box of 36 of 64 pixels missing, noise
0.05. `faithful` and `plausible` are the two answers of the command; the others have about 160 calls of the network, a
gradient counted as three.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

import _path  # noqa: F401
from common import options, write
from comparison import score
from headwater import Estimate, WarmStart, find_method
from headwater.image.operators import Inpaint, box_mask
from headwater.image.task import ImageTask
from picture_sets import load_set

RECIPES = {
    "warm-start": replace(WarmStart(), gradients=4),
    "pigdm": replace(find_method("pigdm"), steps=53),
    "flower": replace(find_method("flower"), steps=160),
    "estimate, white, fresh 0.3": Estimate(times=160, last=0.99, fresh=0.3),
}


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=12, photographs="photos.zip", model="photo64")
    rows: list[dict[str, object]] = []
    for name, count in (("digits", 4 * o.count), ("pictures", o.count)):
        pictures = load_set(
            name, count, tuning=True, data=o.data, photographs=Path(o.photographs), model=o.model
        )
        x, size = pictures.images, pictures.images.shape[-1]
        side = round(36 * size / 64)
        operator = Inpaint(box_mask(size, size, side, side))
        draws = [torch.randn(x.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(count)]
        task = ImageTask(
            operator, operator(x + 0.05 * torch.stack(draws)), 0.05, (size, size), check_span=False
        )
        problem = task.pose(pictures.flow)
        answers = {"faithful": task.recipe("faithful"), "plausible": task.recipe("plausible")}
        for words, recipe in (answers | RECIPES).items():
            result = problem.solve(range(count), recipe=recipe)
            found = score(task.finish(result.x1, problem), pictures)
            spent = result.evaluations + 2 * result.gradients * result.nfe_per_gradient
            kernel = f"{found['kernel']:.3f} ± {found['kernel error']:.3f}"
            row = {"set": name, "method": words, "calls": round(float(spent.double().mean()))}
            rows.append(row | {k: found[k] for k in ("psnr", "perceptual")} | {"kernel": kernel})
            print(rows[-1], flush=True)
    command = "python benchmarks/decisions/large_holes.py --data val.zip --photographs photos.zip"
    write(o.results / "large_holes", rows, command, f"{o.count} pictures, {4 * o.count} digits; {o.model}.")


if __name__ == "__main__":
    main()
