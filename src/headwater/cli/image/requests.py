"""From files and options to a `Request`: what was measured, by which operator, with how much noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    Identity,
    Inpaint,
    Operator,
    SuperResolution,
    box_mask,
    gaussian_kernel,
    grow_mask,
    motion_kernel,
)
from headwater.image.task import ImageTask


@dataclass(frozen=True, eq=False)
class Request:
    """What one command asks for: a task, read from files.

    Attributes
    ----------
    command : str
        Its name, as in "deblur".
    inputs : tuple of Path
        The files that were read.
    task : ImageTask
        The restoration.
    picture : Picture, optional
        How the result is written.
    settings : mapping
        What the report says of the command's own options.
    hints : tuple of str
        Sentences that the user reads before the work begins, beside those of the picture.
    """

    command: str
    inputs: tuple[Path, ...]
    task: ImageTask
    picture: Picture | None
    settings: Mapping[str, Any] = field(default_factory=dict)
    hints: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user reads before the work begins."""
        return (*(() if self.picture is None else self.picture.notes), *self.hints)


def inpaint(
    photo: Path,
    mask: Path | None,
    box: tuple[int, int, int, int] | None,
    grow: int | None,
    o: Restore,
) -> Request:
    """Fill the hole and `grow` pixels around it: white in the mask, or the box, or what is transparent."""
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
    hole = grow_mask(hole, grow or 0)
    operator = Inpaint(~hole)
    settings = {
        "mask": None if mask is None else str(mask),
        "box": box,
        "grow": grow or 0,
        "pixels_to_fill": int(hole.sum()),
    }
    task = image_task(operator, operator(x), picture, o)
    hints = () if grow is not None else compression_hints(photo, picture)
    return Request("inpaint", given_paths(photo, mask), task, picture.make_opaque(hole), settings, hints)


def compression_hints(photo: Path, picture: Picture) -> tuple[str, ...]:
    """A word on photos whose compression has spread what was in the hole over its surroundings."""
    if picture.format not in ("JPEG", "MPO"):
        return ()
    return (
        f"{photo} is a JPEG file, whose blocks of 8 or 16 pixels carry traces of the hole around it. "
        "If a halo stays, give --grow 4 to 16 pixels (--grow 0: no such warning).",
    )


def upscale(photo: Path, factor: int, filter: str, o: Restore) -> Request:
    """Enlarge by a whole factor."""
    operator = SuperResolution(factor, filter)
    x, picture = read_image(photo, span=o.range)
    size = (factor * x.shape[-2], factor * x.shape[-1])
    settings = {"factor": factor, "filter": filter}
    return Request("upscale", (photo,), image_task(operator, x, picture, o, size=size), picture, settings)


def deblur(
    photo: Path,
    kernel: Path | None,
    gaussian: float | None,
    motion: tuple[float, float] | None,
    boundary: str,
    o: Restore,
) -> Request:
    """Sharpen a photo whose blur kernel is known."""
    if sum(way is not None for way in (kernel, gaussian, motion)) != 1:
        raise Misuse(
            "A deblurring needs one description of the blur.",
            "Give one of --kernel FILE, --gaussian STD and --motion LENGTH,ANGLE, or --blind SIZE to find it.",
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
    settings = {
        "kernel": None if kernel is None else str(kernel),
        "gaussian": gaussian,
        "motion": motion,
        "boundary": boundary,
    }
    task = image_task(operator, x, picture, o, size=size)
    return Request("deblur", given_paths(photo, kernel), task, picture, settings)


def denoise(photo: Path, o: Restore) -> Request:
    """Remove noise of a known level."""
    if not o.noise:
        raise Misuse(
            "Denoising needs the level of the noise.",
            "Give --noise STD in the range [-1, 1], e.g. 0.1, or in grey levels, e.g. 13/255.",
        )
    x, picture = read_image(photo, span=o.range)
    return Request("denoise", (photo,), image_task(Identity(), x, picture, o), picture)


def colorize(photo: Path, grey: str, o: Restore) -> Request:
    """Give a grey photo colours; of a colour photo the grey version is taken."""
    x, picture = read_image(photo, span=o.range)
    operator = Colorize(grey)
    task = image_task(operator, operator(x), picture, o)
    return Request("colorize", (photo,), task, picture.with_colour(), {"grey": grey})


def declip(photo: Path, low: float, high: float, gain: float, o: Restore) -> Request:
    """Recover what an over- or under-exposed photo lost at its limits."""
    half_a_level = 1 / 255
    operator = Clip(low, high, gain, pivot=-1.0, slack=max(3 * (o.noise or 0.0), half_a_level))
    if low <= -1 and -1 + 2 * gain <= high:
        raise Misuse(
            f"Levels from {low:g} to {high:g} at exposure {gain:g} hold the whole range [-1, 1].",
            "Give --high or --low, where the photo saturates, or --gain, its over-exposure, e.g. 1.5.",
        )
    x, picture = read_image(photo, span=o.range)
    guess = ((x + 1) / gain - 1).clamp(-1, 1)
    task = image_task(operator, x.clamp(low, high), picture, o, guess=guess)
    return Request("declip", (photo,), task, picture, {"low": low, "high": high, "gain": gain})


def image_task(
    operator: Operator,
    y: Tensor,
    picture: Picture,
    o: Restore,
    *,
    size: tuple[int, int] | None = None,
    guess: Tensor | None = None,
) -> ImageTask:
    """The task of a measurement y `[1, c, h, w]` from an image file; by default its result has the size of y."""
    noise = rounding_noise(picture) if o.noise is None else o.noise
    size = size or (y.shape[-2], y.shape[-1])
    return ImageTask(operator, y, noise, size, guess, check_span=False)  # read_image has checked it


def rounding_noise(picture: Picture) -> float:
    """Standard deviation of the rounding of an integer file, step / sqrt(12) in the range [-1, 1]; else 0.

    The least noise a file has: without it a deblurring would sharpen the rounding errors.
    """
    if picture.dtype not in ("uint8", "uint16") or picture.format == "NPY":
        return 0.0
    black, white = picture.span
    return 2 / (white - black) / 12**0.5


def given_paths(*paths: Path | None) -> tuple[Path, ...]:
    """The paths that were given."""
    return tuple(p for p in paths if p is not None)
