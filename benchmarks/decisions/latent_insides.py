"""Old noise inside the holes of latents: does it make a better sample of a drawing?

    python benchmarks/decisions/latent_insides.py --drawings pictograms.npz --keep lines.jsonl

Held-out drawings, a box of 64 of 128 pixels hidden or a quarter of them by brush strokes, noise 0.05; the shipped
model `pictograms` is told the label. `new` has new noise everywhere; `inside 0.45` keeps a part of the old noise in
latents of which no pixel is known, `depth 1` only where the latents around are unknown, too.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

import _path  # noqa: F401
from common import kept, options, write
from headwater import Flow, Misfit, WarmStart
from headwater.image.inside_holes import InsideHoles
from headwater.image.metrics.fidelity import psnr
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.metrics.perceptual import perceptual_distance, pooled_features
from headwater.image.operators import Inpaint, box_mask
from headwater.image.pictograms import data as drawings
from headwater.image.pictograms.evaluate import first_of_each
from headwater.image.pictograms.models import latent_model
from headwater.image.pictograms.train_autoencoder import to_range
from headwater.image.task import ImageTask
from headwater.problem.compose import Composition
from headwater.recipes.estimate import Estimate
from headwater.recipes.fresh import unseen
from latent_holes import stroke_mask

NOISE, SIZE = 0.05, 128


@dataclass(frozen=True)
class InsideLatents(InsideHoles):
    """`InsideHoles` of latents: one is missing if all pixels that it decodes to are."""

    def share(self, flow: Flow, misfit: Misfit, x: Tensor) -> Tensor:
        """The share of new noise for every latent, `[batch, 1, h, w]`."""
        operator = misfit.operator
        assert isinstance(operator, Composition)  # of the mask and the decoder
        with torch.no_grad():
            pixels = operator.inner(x)
        known = ~unseen(replace(misfit, operator=operator.outer), pixels).all(1, keepdim=True)
        missing = max_pool2d(known.float(), pixels.shape[-1] // x.shape[-1]) == 0
        return torch.where(self.of_mask(missing), self.inside, 1.0).to(x)


SHARES: dict[str, float | InsideLatents] = {
    "new": 1.0,
    "inside 0.45": InsideLatents(inside=0.45, depth=0),
    "inside 0": InsideLatents(inside=0.0, depth=0),
    "inside 0.45, depth 1": InsideLatents(inside=0.45, depth=1),
}


def main() -> None:
    o = options(__doc__.splitlines()[0], count=6, keep="", drawings="pictograms.npz")
    if not o.keep:
        raise SystemExit("Say with --keep in which file the lines of the table are.")
    data = first_of_each(drawings.load(Path(o.drawings)).part("held-out"), o.count)
    truth, model = to_range(data.pixels), latent_model(list(data.labels))
    draws = [torch.Generator().manual_seed(i) for i in range(o.count)]
    noise = torch.stack([torch.randn(truth.shape[1:], generator=draw) for draw in draws])
    masks = {
        "box": box_mask(SIZE, SIZE, SIZE // 2, SIZE // 2),
        "strokes": torch.cat([stroke_mask(i, SIZE) for i in range(o.count)]),
    }

    def work(hidden: str, name: str) -> dict[str, object]:
        operator = Inpaint(masks[hidden])
        y = operator(truth + NOISE * noise)
        task, began = ImageTask(operator, y, NOISE, (SIZE, SIZE), check_span=False), time.perf_counter()
        problem = task.pose(model)
        recipe = WarmStart(replace(Estimate(times=8), fresh=SHARES[name]), keep_estimate=0.0)
        result = problem.solve(range(o.count), recipe=recipe)
        with torch.no_grad():
            x = problem.to_data(result.x1).clamp(-1, 1)
            seen = perceptual_distance(x, truth)
            kernel = kernel_distance(pooled_features(x), pooled_features(truth), paired=True)
        return {
            "hidden": hidden,
            "share of new noise": name,
            "psnr": round(float(psnr(x, truth).mean()), 2),
            "perceptual": f"{seen.mean():.4f} ± {seen.std() / o.count**0.5:.4f}",
            "kernel": f"{kernel.value:.4f} ± {kernel.error:.4f}",
            "misfit": round(float(problem.misfit.rms(result.x1).mean()), 2),
            "gradients": round(float(result.gradients.double().mean()), 1),
            "seconds": round((time.perf_counter() - began) / o.count, 1),
        }

    for name in SHARES:
        for hidden in masks:
            kept(o.keep, f"{name} {hidden} {o.count}", lambda h=hidden, n=name: work(h, n))
    rows = [json.loads(line)["line"] for line in Path(o.keep).read_text(encoding="utf-8").splitlines()]
    write(
        o.results / "latent_insides",
        sorted(rows, key=lambda row: row["hidden"]),
        "python benchmarks/decisions/latent_insides.py --drawings pictograms.npz",
        f"{o.count} held-out drawings, noise {NOISE}; seconds for each, on a busy machine.",
    )


if __name__ == "__main__":
    main()
