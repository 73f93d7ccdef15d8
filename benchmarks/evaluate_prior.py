"""Look at the shipped model: a sample sheet, and a Frechet distance on EfficientNet-Lite0 features.

    python benchmarks/evaluate_prior.py --data val.zip

The distance is between `--count` samples (midpoint, logit grid, no label) and as many held-out images; beside it the
same distance between two disjoint halves of the held-out images, the floor at half that number, and of noise.
"""

from __future__ import annotations

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from common import held_out, options, write
from headwater import logit_grid, solve, zoo
from headwater.image.metrics.perceptual import pooled_features
from headwater.metrics.frechet import frechet_distance

SHEET = Path(__file__).parent.parent / "docs" / "tiny64-samples.png"


def contact(x: Tensor, columns: int) -> Image.Image:
    """Images side by side, twice enlarged."""
    pixels = ((x.clamp(-1, 1) + 1) * 127.5).round().byte()
    rows = [torch.cat(list(row), dim=2) for row in pixels.split(columns)]
    page = Image.fromarray(torch.cat(rows, dim=1).permute(1, 2, 0).numpy())
    return page.resize((page.width * 2, page.height * 2), Image.Resampling.NEAREST)


@torch.no_grad()
def main() -> None:
    o = options(__doc__.splitlines()[0], count=1000, steps=12)
    flow, photos = zoo.flow(), held_out(o.data, o.count)
    grid = logit_grid(o.steps)
    samples = torch.cat(
        [solve(flow, flow.noise(range(i, i + 50)), steps=grid) for i in range(0, o.count, 50)]
    )
    SHEET.parent.mkdir(exist_ok=True)
    contact(samples[:32], 8).save(SHEET)
    real, fake = pooled_features(photos), pooled_features(samples.clamp(-1, 1))
    noise = pooled_features(torch.randn_like(photos).mul(0.5).clamp(-1, 1))
    half = o.count // 2
    pairs = {"samples": fake, "noise": noise}
    rows: list[dict[str, object]] = [
        {
            "against held-out photos": k,
            "images": o.count,
            "Frechet": round(float(frechet_distance(f, real)), 2),
        }
        for k, f in pairs.items()
    ]
    floor = round(float(frechet_distance(real[:half], real[half:])), 2)
    rows.append({"against held-out photos": "the photos' own halves", "images": half, "Frechet": floor})
    write(
        "prior",
        rows,
        "python benchmarks/evaluate_prior.py --data val.zip",
        f"{2 * o.steps} evaluations a sample.",
    )


if __name__ == "__main__":
    main()
