"""From files and options to a `Task`: what was measured, by which operator, with how much noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.cli.image.options import Restore
from headwater.errors import Misuse
from headwater.image.io import masks
from headwater.image.io.files import read_image
from headwater.image.io.picture import Picture
from headwater.image.operators import (
    Blur,
    Clip,
    Colorize,
    Denoise,
    Inpaint,
    Operator,
    SuperResolution,
    box_mask,
    gaussian_kernel,
    motion_kernel,
)

GREY_LEVEL = 2 / 255


@dataclass(frozen=True, eq=False)
class Task:
    """One restoration: the measurement `y` `[1, ...]` of an image of `size` (height, width) by `operator`.

    `noise` is the std of y in [-1, 1]; `picture` how the result is written; `guess` a rough image;
    `inputs` the files that were read; `settings` what the report says of the command's own options.
    """

    command: str
    inputs: tuple[Path, ...]
    operator: Operator
    y: Tensor
    size: tuple[int, int]
    noise: float
    picture: Picture | None
    guess: Tensor | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


def inpaint(photo: Path, mask: Path | None, box: tuple[int, int, int, int] | None, o: Restore) -> Task:
    """Fill the hole: white in the mask, or the box, or the transparent part of the photo."""
    if mask is not None and box is not None:
        raise Misuse("Both --mask and --box say where the hole is.", "Give one of them.")
    x, picture = read_image(photo, span=o.range)
    size = (x.shape[-2], x.shape[-1])
    if mask is not None:
        hole = masks.read_mask(mask, size)
    elif box is not None:
        hole = ~box_mask(*size, box[2], box[3], top=box[0], left=box[1])
    elif picture.alpha is not None:
        hole = masks.alpha_mask(picture)
    else:
        raise Misuse(
            f"Nothing says where the hole of {photo} is.",
            "Give --mask FILE (white is filled) or --box TOP,LEFT,HEIGHT,WIDTH.",
        )
    operator = Inpaint(~hole)
    task = _image_task("inpaint", photo, operator, operator(x), picture.opaque(hole), o)
    hole_pixels = int(hole.sum())
    settings = {"mask": None if mask is None else str(mask), "box": box, "pixels_to_fill": hole_pixels}
    return replace(task, inputs=_files(photo, mask), settings=settings)


def upscale(photo: Path, factor: int, method: str, o: Restore) -> Task:
    """Enlarge by a whole factor."""
    operator = SuperResolution(factor, method)
    x, picture = read_image(photo, span=o.range)
    size = (factor * x.shape[-2], factor * x.shape[-1])
    settings = {"factor": factor, "method": method}
    return replace(_image_task("upscale", photo, operator, x, picture, o), size=size, settings=settings)


def deblur(
    photo: Path,
    kernel: Path | None,
    gaussian: float | None,
    motion: tuple[float, float] | None,
    boundary: str,
    o: Restore,
) -> Task:
    """Sharpen a photo whose blur kernel is known."""
    if sum(way is not None for way in (kernel, gaussian, motion)) != 1:
        raise Misuse(
            "A deblurring needs one description of the blur.",
            "Give one of --kernel FILE, --gaussian STD and --motion LENGTH,ANGLE.",
        )
    x, picture = read_image(photo, span=o.range)
    h, w = x.shape[-2:]
    if kernel is not None:
        k = masks.read_kernel(kernel, None if boundary == "valid" else (h, w))
    else:
        k = gaussian_kernel(gaussian) if gaussian is not None else motion_kernel(*(motion or ()))
    kh, kw = k.shape[-2:]
    if kh > h or kw > w:
        raise Misuse(f"The kernel is {kh} x {kw} but the image is {h} x {w}.", "Give a smaller kernel.")
    operator = Blur(k, boundary)
    size = (h + kh - 1, w + kw - 1) if boundary == "valid" else (h, w)
    task = _image_task("deblur", photo, operator, x, picture, o)
    settings = {
        "kernel": None if kernel is None else str(kernel),
        "gaussian": gaussian,
        "motion": motion,
        "boundary": boundary,
    }
    return replace(task, size=size, inputs=_files(photo, kernel), settings=settings)


def denoise(photo: Path, o: Restore) -> Task:
    """Remove noise of a known level."""
    if not o.noise:
        raise Misuse(
            "Denoising needs the level of the noise.",
            "Give --noise STD in the range [-1, 1], e.g. 0.1, or in grey levels, e.g. 13/255.",
        )
    x, picture = read_image(photo, span=o.range)
    return _image_task("denoise", photo, Denoise(), x, picture, o)


def colorize(photo: Path, method: str, o: Restore) -> Task:
    """Give a grey photo colours; of a colour photo the grey version is taken."""
    x, picture = read_image(photo, span=o.range)
    operator = Colorize(method)
    task = _image_task("colorize", photo, operator, operator(x), picture.colour(), o)
    return replace(task, settings={"method": method})


def declip(photo: Path, low: float, high: float, gain: float, o: Restore) -> Task:
    """Recover what an over- or under-exposed photo lost at its limits."""
    slack = max(3 * (o.noise or 0.0), GREY_LEVEL / 2)
    operator = Clip(low, high, gain, pivot=-1.0, slack=slack)
    if low <= -1 and -1 + 2 * gain <= high:
        raise Misuse(
            f"Levels from {low:g} to {high:g} at exposure {gain:g} hold the whole range [-1, 1].",
            "Give --high or --low, where the photo saturates, or --gain, its over-exposure, e.g. 1.5.",
        )
    x, picture = read_image(photo, span=o.range)
    guess = ((x + 1) / gain - 1).clamp(-1, 1)
    task = _image_task("declip", photo, operator, x.clamp(low, high), picture, o)
    return replace(task, guess=guess, settings={"low": low, "high": high, "gain": gain})


def _image_task(
    command: str, photo: Path, operator: Operator, y: Tensor, picture: Picture, o: Restore
) -> Task:
    """A task whose result has the height and width of y."""
    size = (int(y.shape[-2]), int(y.shape[-1]))
    noise = rounding(picture) if o.noise is None else o.noise
    return Task(command, (photo,), operator, y, size, noise, picture)


def rounding(picture: Picture) -> float:
    """Standard deviation of the rounding of an integer file, step / sqrt(12) in the range [-1, 1]; else 0.

    The least noise a file has: without it a deblurring would sharpen the rounding errors.
    """
    steps = {"uint8": 255, "uint16": 65535}.get(picture.dtype)
    return 0.0 if steps is None else 2 / steps / 12**0.5


def _files(*paths: Path | None) -> tuple[Path, ...]:
    return tuple(p for p in paths if p is not None)


def as_panel(y: Tensor, size: tuple[int, int]) -> Tensor:
    """What a sheet can show of a measurement: itself if it is an image, else mid-grey of `size`."""
    if y.ndim == 4 and y.shape[1] in (1, 3):
        return y
    return torch.zeros(1, 1, *size)
