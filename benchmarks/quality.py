"""Quality and failure rate of `WarmStart` against methods that need no network.

    python benchmarks/quality.py --data val.zip
    python benchmarks/quality.py --data val.zip --only BM3D      its rows alone, into the table that is there

The first 100 of `--count` held-out images give the quality table; all give the failure rate (share that ends above
1.5 sigma_y). Classical methods are scikit-image's and Pillow's, each with its parameter chosen per task by the best
mean PSNR on 20 further images, which is in their favour. BM3D is told the true noise level; it needs `pip install
bm3d`, whose licence is for non-commercial use: it stands in no extra of Headwater.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.restoration import (
    denoise_nl_means,
    denoise_tv_chambolle,
    inpaint_biharmonic,
    richardson_lucy,
    wiener,
)
from torch import Tensor

from common import options, write
from headwater import Misfit
from headwater.image.metrics.fidelity import psnr
from headwater.image.model import models
from headwater.image.operators import Blur, Inpaint, gaussian_kernel
from headwater.recipes.warm_start import WarmStart
from images import held_out, measure, scores, tasks

Method = Callable[[np.ndarray], np.ndarray]


def each(method: Method, y: Tensor) -> Tensor:
    """Apply a method on float HWC arrays in [0, 1] to a batch in [-1, 1]."""
    arrays = [(a.permute(1, 2, 0).numpy().astype(np.float64) + 1) / 2 for a in y]
    out = np.stack([method(a).clip(0, 1) for a in arrays])
    return torch.from_numpy(out).permute(0, 3, 1, 2).float() * 2 - 1


def resize(kind: Image.Resampling) -> Method:
    """Enlarge x2 with Pillow, channel by channel in float."""

    def run(a: np.ndarray) -> np.ndarray:
        size = (2 * a.shape[1], 2 * a.shape[0])
        return np.stack(
            [
                np.asarray(Image.fromarray(c.astype(np.float32)).resize(size, kind))
                for c in a.transpose(2, 0, 1)
            ],
            -1,
        )

    return run


def deconvolve(balance: float) -> Method:
    """scikit-image's Wiener filter with a reflected border of 8 pixels."""
    psf = gaussian_kernel(std=1.0).numpy().astype(np.float64)

    def run(a: np.ndarray) -> np.ndarray:
        wide = np.pad(a, ((8, 8), (8, 8), (0, 0)), mode="reflect")
        return np.stack([wiener(wide[..., c], psf, balance, clip=False)[8:-8, 8:-8] for c in range(3)], -1)

    return run


def lucy(iterations: int) -> Method:
    psf = gaussian_kernel(std=1.0).numpy().astype(np.float64)
    return lambda a: np.stack([richardson_lucy(a[..., c].clip(1e-3), psf, iterations) for c in range(3)], -1)


def biharmonic(mask: np.ndarray, weight: float) -> Method:
    """Biharmonic filling of the hole, after TV denoising of the whole if weight > 0."""

    def run(a: np.ndarray) -> np.ndarray:
        full = inpaint_biharmonic(a, mask, channel_axis=-1)
        return denoise_tv_chambolle(full, weight, channel_axis=-1) if weight else full

    return run


def tv(weight: float) -> Method:
    return lambda a: denoise_tv_chambolle(a, weight, channel_axis=-1)


def block_matching(sigma: float) -> Method:
    """BM3D of colour by its authors, in the opponent colour space."""

    def run(a: np.ndarray) -> np.ndarray:
        from bm3d import bm3d_rgb

        return bm3d_rgb(a, sigma)

    return run


def rivals(task: str, misfit: Misfit) -> dict[str, list[Method]]:
    """Classical methods of a task, each as a list over its parameter."""
    weights = (0.02, 0.04, 0.06, 0.08, 0.1, 0.14)
    if task == "deblur":
        assert isinstance(misfit.operator, Blur)
        return {
            "Wiener": [deconvolve(b) for b in (0.003, 0.01, 0.03, 0.1, 0.3)],
            "Richardson-Lucy": [lucy(k) for k in (2, 4, 8, 16)],
            "TV": [tv(w) for w in weights],
        }
    if task == "denoise":
        return {
            "TV": [tv(w) for w in weights],
            "non-local means": [
                lambda a, h=h: denoise_nl_means(
                    a, patch_size=5, patch_distance=6, h=h, sigma=0.1, channel_axis=-1
                )
                for h in (0.04, 0.06, 0.08, 0.1)
            ],
            "BM3D": [block_matching(float(misfit.sigma_y) / 2)],
        }
    if isinstance(misfit.operator, Inpaint):
        hole = ~misfit.operator.mask[0, 0].numpy()
        return {
            "biharmonic": [biharmonic(hole, 0)],
            "biharmonic + TV": [biharmonic(hole, w) for w in weights[:4]],
        }
    return {"bicubic": [resize(Image.Resampling.BICUBIC)], "Lanczos": [resize(Image.Resampling.LANCZOS)]}


def tuned(methods: list[Method], y: Tensor, reference: Tensor) -> Method:
    """The parameter with the best mean PSNR."""
    return (
        max(methods, key=lambda f: psnr(each(f, y), reference).mean().item())
        if len(methods) > 1
        else methods[0]
    )


NOTE = "held-out images; PSNR and SSIM up, perceptual distance down is better."
COMMAND = "python benchmarks/quality.py --data val.zip"


def rows_of_rivals(
    task: str, misfit: Misfit, trial: Misfit, reference: Tensor, tuning: Tensor, only: str = ""
) -> list[dict[str, object]]:
    """The scores of the classical methods of a task, of one alone if `only` names it."""
    rows: list[dict[str, object]] = []
    for name, methods in rivals(task, misfit).items():
        if not only or only == name:
            best = tuned(methods, trial.y, tuning)
            rows.append(
                {"task": task, "method": name, **scores(each(best, misfit.y[: len(reference)]), reference)}
            )
            print(rows[-1], flush=True)
    return rows


def add_rows(results: Path, rows: list[dict[str, object]], only: str) -> None:
    """Put the rows of one method into the table that is there, before those of Headwater."""
    found = json.loads((results / "quality.json").read_text())
    kept = [row for row in found["rows"] if row["method"] != only]
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
