"""The JSON report beside a result: what was asked, how it ended, what it cost, how good it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from headwater.cli.image.options import Restore
from headwater.cli.image.tasks import Task
from headwater.cli.shared.machine import versions
from headwater.errors import Misuse
from headwater.image.metrics.fidelity import WINDOW, psnr, ssim
from headwater.image.restore import Restoration

DEFINITIONS = {
    "noise": "standard deviation of the noise of the measurement, in the range [-1, 1]",
    "misfit_unit": "the same, but not below what a solve of a few steps can resolve",
    "misfit": "rms(A(x1) - y) / misfit_unit of the image as written: 1 at the noise level",
    "gradients": "gradient evaluations of this sample: each a forward solve and a vector-Jacobian product",
    "evaluations": "forward calls of the network for this sample",
    "psnr": "dB, range 2, over all channels and pixels",
    "ssim": "Gaussian window 11 x 11, std 1.5",
    "perceptual": "EfficientNet-Lite0 feature distance, 0 for equal images (not LPIPS)",
}


def build(
    task: Task,
    options: Restore,
    restoration: Restoration,
    files: tuple[Path | None, ...],
    reference: Tensor | None,
    costs: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of the report, ready for JSON."""
    return {
        "command": f"image {task.command}",
        "inputs": [str(path) for path in task.inputs],
        "operator": task.operator.name,
        "settings": {**task.settings, **_common(options)},
        "noise": task.noise,
        "misfit_unit": float(restoration.misfit.sigma_y),
        "size": list(task.size),
        "model": options.model,
        "versions": versions(),
        "samples": _samples(options, restoration, files, reference, grey=_grey(task)),
        **costs,
        "reference": None if options.reference is None else str(options.reference),
        "definitions": DEFINITIONS,
    }


def as_written(task: Task, images: Tensor) -> Tensor:
    """The images with the channels that the file keeps: their mean if it is grey."""
    return images.mean(1, keepdim=True).expand_as(images) if _grey(task) else images


def metrics(image: Tensor, reference: Tensor) -> dict[str, float | None]:
    """PSNR, SSIM and perceptual distance of one image `[1, 3, h, w]`; None where one cannot be had."""
    values: dict[str, float | None] = {"psnr": finite(psnr(image, reference)), "ssim": None}
    if min(image.shape[-2:]) >= WINDOW:
        values["ssim"] = finite(ssim(image, reference))
    try:
        from headwater.image.metrics.perceptual import perceptual_distance

        values["perceptual"] = finite(perceptual_distance(image, reference))
    except Misuse:  # its package is an extra
        values["perceptual"] = None
    return values


def finite(value: Tensor) -> float | None:
    """A number for JSON, which has no NaN and no infinity."""
    number = float(value)
    return round(number, 6) if math.isfinite(number) else None


def _common(options: Restore) -> dict[str, Any]:
    names = ("preset", "steps", "gradients", "seconds", "memory", "label")
    return {name: getattr(options, name) for name in names} | {"seed": options.seed}


def _grey(task: Task) -> bool:
    return task.picture is not None and task.picture.grey


def _samples(
    options: Restore,
    restoration: Restoration,
    files: tuple[Path | None, ...],
    reference: Tensor | None,
    *,
    grey: bool,
) -> list[dict[str, Any]]:
    result, images = restoration.result, restoration.images.detach()
    images = images.mean(1, keepdim=True).expand_as(images) if grey else images
    misfit = restoration.misfit.rms(images)
    entries = []
    for i, (status, file) in enumerate(zip(result.status, files, strict=True)):
        entry = {
            "seed": options.seed + i,
            "file": None if file is None else str(file),
            "status": status.name,
            "sentence": status.value,
            "gradients": int(result.gradients[i]),
            "evaluations": int(result.evaluations[i]),
            "misfit": finite(misfit[i]),
        }
        if reference is not None and file is not None:
            entry |= metrics(images[i : i + 1].cpu(), reference)
        entries.append(entry)
    return entries
