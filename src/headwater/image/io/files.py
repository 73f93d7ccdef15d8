"""Image files in and out: what was grey, transparent, 16-bit or EXIF-rotated comes back as it came."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import Tensor

from headwater.atomic import check_output, read_bytes, write_atomically
from headwater.errors import Misuse, suggest
from headwater.image.io.decode import decode
from headwater.image.io.encode import FORMATS, encode, fit, fit_alpha
from headwater.image.io.picture import (
    Array,
    Picture,
    check_range,
    opacity,
    to_pixels,
    to_tensor,
    turn_as_stored,
    turn_upright,
)

__all__ = [
    "FORMATS",
    "Picture",
    "check_image_output",
    "check_range",
    "read_image",
    "write_image",
]


LARGEST = 1e9
"""Floats beyond it are damage: no picture has as many levels."""


def read_image(
    path: str | Path,
    *,
    span: tuple[float, float] | None = None,
    smallest: int = 1,
) -> tuple[Tensor, Picture]:
    """One image as a float32 tensor [1, 3, h, w] in [-1, 1], upright, and the record of how it came.

    Integers are taken from black = 0 to white = their largest value, floats (.npy, float TIFF) from
    `span`, which is [-1, 1] unless given. Grey is repeated in three channels, alpha goes to the record.
    CMYK and L*a*b* become RGB.

    Parameters
    ----------
    path : str or Path
        PNG, JPEG, TIFF (8 to 16 bits or floats), WebP, BMP, GIF, PPM, JPEG 2000, AVIF, TGA or QOI of one frame, or
        .npy with [h, w], [h, w, c] or [c, h, w].
    span : tuple of float, optional
        The stored values of black and white, for floats and .npy. For 16-bit files too if white is above 255:
        12 bits in a 16-bit file have (0, 4095).
    smallest : int
        The least height and width accepted.

    Returns
    -------
    x : Tensor
        The image `[1, 3, h, w]`.
    picture : Picture
        How it came, for `write_image`.

    Raises
    ------
    Misuse
        The file is missing, a folder, damaged, of several frames, too small, of an unsupported pixel
        type, holds NaN or Inf, or floats that do not look like `span`.

    Examples
    --------
    >>> import headwater as hw
    >>> x, picture = hw.image.read_image(hw.image.photos.path("cat"))
    >>> x.shape[:2], picture.format, picture.dtype
    (torch.Size([1, 3]), 'PNG', 'uint8')
    """
    path = Path(path)
    pixels, picture = decode(path, read_bytes(path))
    seen = turn_upright(pixels, picture.orientation)
    height, width = seen.shape[:2]
    if min(height, width) < max(smallest, 1):
        raise Misuse(f"{path} is {height} x {width} pixels.", f"Give at least {smallest} x {smallest}.")
    colour = 3 if seen.shape[2] > 2 else 1
    picture = _with_span(replace(picture, size=(height, width)), pixels, span, path)
    if seen.shape[2] > colour:
        picture = replace(picture, alpha=np.ascontiguousarray(seen[..., colour]))
    x = to_tensor(seen[..., :colour], picture.span)
    known = span is not None or picture.span != (-1.0, 1.0)
    return x if known else check_range(x), picture


def write_image(
    x: Tensor, path: str | Path, picture: Picture | None = None, *, overwrite: bool = False
) -> Path:
    """Write one image [1, 3, h, w] in [-1, 1] as the source described by `picture` came.

    The extension gives the format (JPEG at quality 95, WebP without loss); depth, grey, alpha,
    orientation, resolution, EXIF, ICC and the text of a PNG file follow the source as far as the format
    holds them; previews of the source do not. An alpha channel is resized where the size of the image
    changed.

    Parameters
    ----------
    x : Tensor
        The image `[1, 3, h, w]` or `[3, h, w]` in [-1, 1]; integers are clipped and rounded, floats are not.
    path : str or Path
        The new file: PNG, JPEG, TIFF, WebP, BMP or .npy and others, by its extension.
    picture : Picture, optional
        How the source came; without it 8-bit RGB is written, or float32 for .npy.
    overwrite : bool
        Whether an existing file is replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    Misuse
        The output exists or cannot be written; the extension is unknown or cannot hold transparency; or x is not an
        image, or holds NaN or Inf.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> import headwater as hw
    >>> out = hw.image.write_image(torch.zeros(1, 3, 8, 8), Path(tempfile.mkdtemp()) / "grey.png")
    >>> hw.image.read_image(out)[1].size
    (8, 8)
    """
    path = check_image_output(path, picture, overwrite=overwrite)
    picture = fit(picture or Picture(dtype="float32" if path.suffix == ".npy" else "uint8"), path)
    pixels = to_pixels(x, picture.dtype, picture.span, grey=picture.grey)
    if picture.alpha is not None:
        alpha = fit_alpha(picture.alpha, pixels.shape[:2], picture.dtype)
        pixels = np.concatenate([pixels, alpha[..., None]], 2)
    stored = np.ascontiguousarray(turn_as_stored(pixels, picture.orientation))
    with write_atomically(path, overwrite=overwrite) as temporary:
        encode(stored, temporary, picture)
    return path


def check_image_output(path: str | Path, picture: Picture | None = None, *, overwrite: bool = False) -> Path:
    """The path, if the image can be written there; worth asking before the work is done.

    Raises
    ------
    Misuse
        As `headwater.atomic.check_output`; or the extension is unknown or cannot hold transparency.

    Examples
    --------
    >>> check_image_output("out.pgn")
    Traceback (most recent call last):
    headwater.errors.Misuse: No image is written as '.pgn' here. Did you mean '.png'?
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise Misuse(f"No image is written as {suffix!r} here.", suggest(suffix, FORMATS))
    if picture is not None and picture.alpha is not None and not FORMATS[suffix][1]:
        raise Misuse(f"The input is transparent in parts, which {suffix} cannot hold.", "Name a .png output.")
    return check_output(path, overwrite=overwrite)


def _with_span(picture: Picture, pixels: Array, span: tuple[float, float] | None, path: Path) -> Picture:
    dtype = pixels.dtype
    if dtype.kind != "f" and dtype not in (np.uint8, np.uint16):
        raise Misuse(f"{path} holds {dtype} pixels.", "Save it with 8 or 16 bits, or as floats in [-1, 1].")
    if dtype.kind == "f" and not np.isfinite(pixels).all():
        raise Misuse(f"{path} holds NaN or Inf.", "Replace those pixels, or mark them in a mask.")
    if dtype.kind == "f" and pixels.size and np.abs(pixels).max() > LARGEST:
        raise Misuse(f"{path} holds values above {LARGEST:g}.", "Write its pixels in [-1, 1] or [0, 1].")
    if dtype.kind == "f" or picture.format == "NPY":  # an array says nothing about its white
        return replace(picture, span=span or (-1.0, 1.0))
    if dtype == np.uint16 and span and span[1] > 255:
        return replace(picture, span=span)
    return replace(picture, span=(0.0, float(opacity(dtype))), notes=_depth_notes(pixels, path))


def _depth_notes(pixels: Array, path: Path) -> tuple[str, ...]:
    """A word on 16-bit files that seem to hold fewer bits: read as 16, they are dark and hardly differ."""
    largest = int(pixels.max())
    bits = next((b for b in (8, 10, 12, 14) if largest < 2**b), 16)
    if pixels.dtype != np.uint16 or bits == 16 or largest == 0:
        return ()
    return (
        f"{path} has 16 bits but no value above {largest}. "
        f"If it holds {bits} bits, give --range 0,{2**bits - 1}.",
    )
