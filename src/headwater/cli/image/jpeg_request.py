"""A JPEG file as a measurement: its quality, its chroma subsampling, and the way its blocks lie."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.atomic import read_bytes
from headwater.cli.image.options import Restore
from headwater.cli.image.requests import Request
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.image.io.files import read_image
from headwater.image.io.picture import TURNS
from headwater.image.operators import JPEG, Colorize, Operator, UserOperator, chain
from headwater.image.operators.jpeg import LUMINANCE, scaled_table
from headwater.image.restore import ImageTask


@dataclass(frozen=True)
class Compression:
    """How a file was compressed."""

    quality: int
    subsampling: str


def read_compression(path: Path) -> Compression | None:
    """The compression of a JPEG file, from its quantisation tables; None if it is not a JPEG file.

    The quality is that of libjpeg's scale whose luminance table is nearest.
    """
    read_bytes(path)
    image = import_optional("PIL.Image").open(path)
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    table = torch.tensor(tables[0], dtype=torch.float64).reshape(8, 8)
    quality = min(range(1, 101), key=lambda q: float((scaled_table(LUMINANCE, q) - table).abs().sum()))
    sampling = import_optional("PIL.JpegImagePlugin").get_sampling(image)
    return Compression(quality, "4:4:4" if sampling == 0 else "4:2:0")


def dejpeg(photo: Path, quality: int | None, subsampling: str | None, o: Restore) -> Request:
    """Undo the artefacts of JPEG compression."""
    x, picture = read_image(photo, span=o.range)
    found = read_compression(photo)
    if quality is None and found is None:
        raise Misuse(f"{photo} is not a JPEG file, so its quality is not known.", "Give --quality, 1 to 100.")
    codec = JPEG(
        quality or (found.quality if found else 0),
        subsampling or (found.subsampling if found else "4:2:0"),
        rounding="smooth",
    )
    operator: Operator = codec
    y = x
    if picture.grey:
        operator, y = chain(Colorize("mean"), codec), x.mean(1, keepdim=True)
    if found is not None and picture.orientation != 1:  # the blocks lie as the file is stored
        operator = see_as_stored(operator, picture.orientation)
        y = turn_tensor_as_stored(y, picture.orientation)
    size = (x.shape[-2], x.shape[-1])
    settings: dict[str, Any] = {"quality": codec.quality, "subsampling": codec.subsampling}
    noise = codec_noise(codec, x) if o.noise is None else o.noise
    task = ImageTask(operator, y, noise, size, guess=x, check_span=False)
    return Request("dejpeg", (photo,), task, picture, settings)


def codec_noise(codec: JPEG, x: Tensor, least: float = 0.01) -> float:
    """How far the codec with smooth rounding is from the real one, rms in [-1, 1], on images like x `[1, c, h, w]`.

    Measured on x moved by half a block, which the grid of the blocks has not rounded yet. `least` is how well the
    exact codec of `operators.JPEG` agrees with libjpeg (42 dB, see the tests).
    """
    moved = x.roll((4, 4), (-2, -1))
    gap = codec(moved) - replace(codec, rounding="straight")(moved)
    return max(float(gap.square().mean().sqrt()), least)


def see_as_stored(operator: Operator, orientation: int) -> Operator:
    """An operator that sees the image as an EXIF-rotated file stores it."""
    return UserOperator(
        lambda x: operator(turn_tensor_as_stored(x, orientation)), operator.name, operator.local
    )


def turn_tensor_as_stored(x: Tensor, orientation: int) -> Tensor:
    """As `picture.turn_as_stored`, for a tensor `[..., h, w]`.

    >>> turn_tensor_as_stored(torch.tensor([[1.0], [2.0], [3.0]]), 6).tolist()
    [[1.0, 2.0, 3.0]]
    """
    transpose, vertical, horizontal = TURNS[orientation]
    axes = [axis for axis, flip in ((-2, vertical), (-1, horizontal)) if flip]
    x = x.flip(axes) if axes else x
    return x.mT if transpose else x
