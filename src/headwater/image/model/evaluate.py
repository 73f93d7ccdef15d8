"""Evaluate a shipped image prior for its card: a sheet of samples, and a Frechet distance to held-out photographs.

    python -m headwater.image.model.evaluate --data val.zip --out docs

`--data` is a zip of held-out `CLASS/FILE` pictures of the size of the model. The distance compares pooled
EfficientNet-Lite0 features (it is not FID) of `--count` samples without label and of as many pictures. Two more
distances stand beside it: between two halves of the pictures, which is the floor at half that number, and of noise.
The output is `NAME-samples.png` and `NAME-evaluation.json`. Needs the extra `images`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.extras import import_optional
from headwater.flows.flow import Flow
from headwater.image.metrics.perceptual import pooled_features
from headwater.image.model import models
from headwater.image.model.training_data import load_images
from headwater.metrics.frechet import frechet_distance
from headwater.solvers import logit_grid, solve
from headwater.zoo.evaluation import write_evaluation


@torch.no_grad()
def draw_samples(flow: Flow, count: int, steps: int) -> Tensor:
    """Samples `[count, 3, h, w]` of the seeds 0, 1, ... by midpoint steps on the logit grid."""
    parts = [range(first, min(first + 50, count)) for first in range(0, count, 50)]
    return torch.cat([solve(flow, flow.noise(seeds), steps=logit_grid(steps)) for seeds in parts])


@torch.no_grad()
def distances(samples: Tensor, pictures: Tensor) -> list[dict[str, Any]]:
    """Frechet distances to pictures `[n, 3, h, w]`: of samples, of noise, and between the halves of the pictures."""
    half = len(pictures) // 2
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0)).mul(0.5)
    real = pooled_features(pictures)
    compared = {
        "samples": (pooled_features(samples.clamp(-1, 1)), real),
        "noise": (pooled_features(noise.clamp(-1, 1)), real),
        "the photos' own halves": (real[:half], real[half:]),
    }
    return [
        {
            "against held-out photos": name,
            "images": len(a),
            "Frechet": round(float(frechet_distance(a, b)), 2),
        }
        for name, (a, b) in compared.items()
    ]


def save_contact_sheet(path: Path, samples: Tensor, columns: int = 8, zoom: int = 2) -> None:
    """Write images `[n, 3, h, w]` in [-1, 1] as rows of a PNG, at `zoom` times their size."""
    image = import_optional("PIL.Image")
    pixels = ((samples.clamp(-1, 1) + 1) * 127.5).round().byte()
    full = pixels[: len(pixels) // columns * columns] if len(pixels) > columns else pixels
    page = torch.cat([torch.cat(list(row), dim=2) for row in torch.split(full, columns)], dim=1)
    picture = image.fromarray(page.permute(1, 2, 0).numpy())
    picture.resize((picture.width * zoom, picture.height * zoom), image.Resampling.NEAREST).save(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="zip file of held-out pictures")
    p.add_argument("--out", type=Path, required=True, help="folder of the sheet and the figures")
    p.add_argument("--model", default=models.DEFAULT)
    p.add_argument("--count", type=int, default=1000)
    p.add_argument("--steps", type=int, default=12, help="midpoint steps of a sample")
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args(arguments)
    torch.set_num_threads(o.threads)
    pictures = load_images([o.data], None)[0]
    pictures = pictures[:: max(len(pictures) // o.count, 1)][: o.count].float() / 127.5 - 1
    samples = draw_samples(models.flow(o.model), o.count, o.steps)
    save_contact_sheet(o.out / f"{o.model}-samples.png", samples[:32])
    rows = distances(samples, pictures)
    command = f"python -m headwater.image.model.evaluate --data val.zip --model {o.model} --count {o.count}"
    note = f"{2 * o.steps} evaluations a sample."
    write_evaluation(o.out / f"{o.model}-evaluation.json", rows, command, note)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    main()
