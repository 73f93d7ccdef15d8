"""How an image came: the record kept beside the tensor, and the way between pixels and tensors."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import Misuse

if TYPE_CHECKING:  # who only decodes a file, as the page does, needs no torch
    from torch import Tensor

Array = NDArray[Any]

ORIENTATION = 274
DESCRIPTION = {270, 271, 272, ORIENTATION, 305, 306, 315, 33432}  # TIFF tags that describe, not lay out

# EXIF orientation: how the stored pixels become the upright ones (transpose, flip vertically, horizontally)
TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


@dataclass(frozen=True, eq=False)
class Picture:
    """How an image file came, so that a result can be written as it came.

    Attributes
    ----------
    format : str
        Pillow's name of the file format, or "NPY".
    size : tuple of int
        Height and width of the upright image.
    mode : "grey", "RGB" or "palette"
        Colour layout of the file; the tensor always has three channels, a palette is written as RGB.
    dtype : str
        Type of the stored pixels: "uint8", "uint16" or a float type.
    span : tuple of float
        The stored values of black and white.
    alpha : array [h, w] or None
        Upright alpha channel in the stored type; it passes a restoration unchanged.
    orientation : int
        EXIF orientation, 1 to 8.
    exif : bytes or None
        Metadata that go along with the pixels, without previews.
    icc : bytes or None
        The colour profile.
    dpi : tuple of float or None
        Pixels per inch in x and y, as the file states them.
    chunks : tuple of (bytes, bytes)
        Kind and content of a PNG file's text and colour chunks.
    channels_first : bool
        Whether a .npy file held [c, h, w] and not [h, w, c].
    notes : tuple of str
        Sentences that the user should read, of how the file was understood.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.image.Picture(size=(64, 48), mode="grey").with_colour().mode
    'RGB'
    """

    format: str = "PNG"
    size: tuple[int, int] = (0, 0)
    mode: Literal["grey", "RGB", "palette"] = "RGB"
    dtype: str = "uint8"
    span: tuple[float, float] = (0.0, 255.0)
    alpha: Array | None = field(default=None, repr=False)
    orientation: int = 1
    exif: bytes | None = field(default=None, repr=False)
    icc: bytes | None = field(default=None, repr=False)
    dpi: tuple[float, float] | None = None
    chunks: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)
    channels_first: bool = False
    notes: tuple[str, ...] = ()

    @property
    def grey(self) -> bool:
        """Whether the file held one colour channel."""
        return self.mode == "grey"

    def with_colour(self) -> Picture:
        """The same with three colour channels and no grey ICC profile: for results that gain colour."""
        return replace(self, mode="RGB", icc=None if self.grey else self.icc)

    def make_opaque(self, where: Tensor | None = None) -> Picture:
        """The same without transparency at the pixels `where` (bool `[..., h, w]`), or without any alpha."""
        if self.alpha is None or where is None:
            return replace(self, alpha=None)
        alpha = np.where(where.cpu().numpy().reshape(self.size), opacity(self.alpha.dtype), self.alpha)
        return replace(self, alpha=None if bool((alpha == opacity(alpha.dtype)).all()) else alpha)


def opacity(dtype: np.dtype[Any]) -> float:
    """The alpha value that means opaque: the largest integer, or 1.

    >>> opacity(np.dtype("uint8"))
    255
    """
    return int(np.iinfo(dtype).max) if dtype.kind == "u" else 1.0


def turn_upright(stored: Array, orientation: int) -> Array:
    """Pixels [h, w, ...] as they are to be seen, from pixels as an EXIF-rotated file stores them.

    >>> turn_upright(np.array([[1, 2, 3]]), 6).tolist()
    [[1], [2], [3]]
    """
    transpose, vertical, horizontal = TURNS[orientation]
    seen = stored.swapaxes(0, 1) if transpose else stored
    return seen[:: -1 if vertical else 1, :: -1 if horizontal else 1]


def turn_as_stored(seen: Array, orientation: int) -> Array:
    """The inverse of `turn_upright`.

    >>> all((turn_as_stored(turn_upright(np.eye(2, 3), k), k) == np.eye(2, 3)).all() for k in TURNS)
    True
    """
    transpose, vertical, horizontal = TURNS[orientation]
    stored = seen[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    return stored.swapaxes(0, 1) if transpose else stored


def to_tensor(pixels: Array, span: tuple[float, float]) -> Tensor:
    """Colour pixels [h, w, 1 or 3] with black and white at `span` as a float32 [1, 3, h, w] in [-1, 1].

    >>> to_tensor(np.array([[[0], [255]]], np.uint8), (0, 255))[0, :, 0].tolist()
    [[-1.0, 1.0], [-1.0, 1.0], [-1.0, 1.0]]
    """
    import torch

    low, high = span
    height, width, channels = pixels.shape
    colour = np.empty((3, height, width), np.float32)
    for k in range(3):  # one by one: whole in float64 a large photo takes a gigabyte
        values = pixels[..., min(k, channels - 1)].astype(np.float64)
        # the identity stays exact
        colour[k] = values if (low, high) == (-1, 1) else (values - low) * (2 / (high - low)) - 1
    return torch.from_numpy(colour)[None]


def to_pixels(x: Tensor, dtype: str, span: tuple[float, float], *, grey: bool) -> Array:
    """The inverse of `to_tensor`: pixels [h, w, 1 or 3]; integers are clipped and rounded, floats are not.

    Raises
    ------
    Misuse
        `x` is not one image [1, 3, h, w] or [3, h, w], or holds NaN or Inf.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([-1.0, 0.0, 3.0]).expand(3, 1, 3)
    >>> to_pixels(x, "uint8", (0, 255), grey=True).ravel().tolist()
    [0, 128, 255]
    """
    shape = tuple(x.shape)
    if shape[:-2] not in [(1, 3), (3,), (1, 1), (1,)] or not x.numel():
        raise Misuse(
            f"One image [1, 3, h, w] can be written, not a tensor {list(shape)}.", "Write one by one."
        )
    colour = x.detach().to("cpu").double().reshape(-1, *shape[-2:]).numpy()
    if not np.isfinite(colour).all():
        raise Misuse("The image to be written holds NaN or Inf.", "Look at the status of its problem.")
    values = np.broadcast_to(np.moveaxis(colour, 0, 2), (*shape[-2:], 3))
    values = values.mean(2, keepdims=True) if grey else values
    low, high = span
    if np.dtype(dtype).kind == "u":
        levels = np.rint((values + 1) * ((high - low) / 2) + low)
        return levels.clip(0, opacity(np.dtype(dtype))).astype(dtype)
    if (low, high) != (-1, 1):
        values = (values + 1) * ((high - low) / 2) + low
    return values.astype(dtype)


def check_range(x: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Give `x` back if it can be an image (or a noisy measurement of one) whose range is [low, high].

    A [-1, 1] image without one value below zero is taken for a [0, 1] image, values beyond 3.5 times the
    range for [0, 255] or more. What lies between is noise and passes.

    Raises
    ------
    Misuse
        The values look like another range, or are NaN or Inf.

    Examples
    --------
    >>> import torch
    >>> check_range(torch.tensor([0.0, 0.5, 1.0]))
    Traceback (most recent call last):
    headwater.errors.Misuse: The values span [0, 1], which looks like [0, 1] and not like [-1, 1]. \
Convert them with x * 2 - 1 or state their range.
    """
    if not bool(x.isfinite().all()):
        raise Misuse("The image holds NaN or Inf.", "Replace those pixels, or mark them in a mask.")
    least, most = float(x.min()), float(x.max())
    far = max(abs(least - low), abs(most - high)) > 3.5 * (high - low)
    positive = low < 0 <= least and least < most
    if not far and not positive:
        return x
    white = 1 if not far else 255 if most <= 1000 else 65535
    scale = f"{(high - low) / white:g}" if white == 1 else f"({high - low:g} / {white})"
    raise Misuse(
        f"The values span [{least:.4g}, {most:.4g}], which looks like [0, {white}]"
        f" and not like [{low:g}, {high:g}].",
        f"Convert them with x * {scale}{f' - {-low:g}' if low < 0 else ''} or state their range.",
    )
