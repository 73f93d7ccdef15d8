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
from headwater.image.blind.compression import find_jpeg
from headwater.image.io.decode import open_image, refuse_damage
from headwater.image.io.files import read_image
from headwater.image.io.picture import TURNS
from headwater.image.operators import JPEG, Colorize, Operator, UserOperator, chain
from headwater.image.operators.jpeg import SUBSAMPLINGS, sampling_ratios
from headwater.image.task import ImageTask


@dataclass(frozen=True, eq=False)
class Compression:
    """How a file was compressed.

    Attributes
    ----------
    tables : Tensor
        Quantisation steps of the components, `[1 or 3, 8, 8]`.
    factors : tuple of (int, int)
        Sampling factors (horizontal, vertical) of each component.
    colour : "YCbCr" or "RGB"
        What the components are.
    """

    tables: Tensor
    factors: tuple[tuple[int, int], ...]
    colour: str = "YCbCr"

    @property
    def quality(self) -> int | None:
        """The quality of libjpeg that has these tables, if one has."""
        return next((q for q in range(1, 101) if self._are_those_of(JPEG(q))), None)

    @property
    def subsampling(self) -> str | tuple[tuple[int, int], ...]:
        """The name of the sampling factors, or the factors if they have none; of a grey file "4:4:4"."""
        if len(self.factors) == 1:
            return "4:4:4"
        ratios = sampling_ratios(self.factors)
        return next((name for name in SUBSAMPLINGS if sampling_ratios(name) == ratios), self.factors)

    def _are_those_of(self, codec: JPEG) -> bool:
        return bool((codec.steps[: len(self.tables)] == self.tables).all())

    def codec(self, rounding: str = "smooth") -> JPEG:
        """The operator that compresses so."""
        return JPEG(self.quality, self.subsampling, rounding, self.tables, self.colour)


def read_compression(path: Path) -> Compression | None:
    """The compression of a JPEG file, from its header; None if it is not a JPEG file.

    Raises
    ------
    Misuse
        It has no quantisation tables, or stores neither grey, YCbCr nor RGB.
    """
    data = read_bytes(path)
    with refuse_damage(path, "an image"):
        image = open_image(path, data)
    if image.format not in ("JPEG", "MPO"):
        return None
    layers, tables = image.layer, image.quantization
    if len(layers) not in (1, 3):
        raise Misuse(f"{path} is a JPEG file of {image.mode}.", "Only grey and RGB ones can be restored.")
    if any(table not in tables for *_, table in layers):
        raise Misuse(f"{path} has no quantisation tables.", "Give a JPEG file that is not lossless.")
    steps = torch.tensor([tables[table] for *_, table in layers], dtype=torch.float64).reshape(-1, 8, 8)
    return Compression(steps, tuple((h, v) for _, h, v, _ in layers), _stored_colour(image))


def _stored_colour(image: Any) -> str:
    """What libjpeg takes the components for: `default_decompress_parms` in its jdapimin.c."""
    if "jfif" in image.info or len(image.layer) == 1:
        return "YCbCr"
    if "adobe" in image.info:
        return "RGB" if image.info.get("adobe_transform") == 0 else "YCbCr"
    return "RGB" if [layer[0] for layer in image.layer] == list(b"RGB") else "YCbCr"


def dejpeg(photo: Path, quality: int | None, subsampling: str | None, o: Restore) -> Request:
    """Undo the artefacts of JPEG compression."""
    x, picture = read_image(photo, span=o.range)
    y = x.mean(1, keepdim=True) if picture.grey else x
    found = read_compression(photo)
    hints: tuple[str, ...] = ()
    codec = _codec(found, quality, subsampling)
    if codec is None:
        codec, hints = _seen(photo, y, subsampling)
    operator: Operator = chain(Colorize("mean"), codec) if picture.grey else codec
    if found is not None and picture.orientation != 1:  # the blocks lie as the file is stored
        operator = see_as_stored(operator, picture.orientation)
        y = turn_tensor_as_stored(y, picture.orientation)
    size = (x.shape[-2], x.shape[-1])
    settings: dict[str, Any] = {"quality": codec.quality, "subsampling": codec.subsampling}
    noise = codec_noise(codec, y) if o.noise is None else o.noise
    task = ImageTask(operator, y, noise, size, guess=x, check_span=False)
    return Request("dejpeg", (photo,), task, picture, settings, hints)


def _seen(photo: Path, y: Tensor, subsampling: str | None) -> tuple[JPEG, tuple[str, ...]]:
    """The codec whose traces the pixels y bear, of a file that was saved anew, and what to say of it."""
    (codec,) = find_jpeg(y)
    if codec is None:
        raise Misuse(
            f"{photo} is not a JPEG file, and its pixels show no trace of one.", "Give --quality, 1 to 100."
        )
    codec = replace(codec, rounding="smooth", subsampling=subsampling or codec.subsampling)
    hint = f"{photo} is not a JPEG file, but its pixels were one of quality {codec.quality}, {codec.subsampling}."
    return codec, (hint,)


def _codec(found: Compression | None, quality: int | None, subsampling: str | None) -> JPEG | None:
    """The codec of the file, as far as the user does not say another; None if nobody says one."""
    if found is None and quality is None:
        return None
    if found is None or quality is not None:
        return JPEG(quality, subsampling or (found.subsampling if found else "4:2:0"), rounding="smooth")
    return replace(found.codec(), subsampling=subsampling or found.subsampling)


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
