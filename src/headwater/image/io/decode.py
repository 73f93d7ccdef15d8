"""From the bytes of an image file to its pixels as stored, with the record of how they came."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.image.io import png16, png_chunks, tiff
from headwater.image.io.exif import read_exif, read_orientation
from headwater.image.io.limits import check_size
from headwater.image.io.npy import decode_npy
from headwater.image.io.picture import Array, Picture, turn_as_stored

READ = ("PNG", "JPEG", "TIFF", "WEBP", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "TGA", "QOI")
"""Pillow's names of the formats that are read: those that the fuzz test damages."""
WRITE_NPY = "Write the array with numpy.save."


@contextmanager
def refuse_damage(path: Path, kind: str, cure: str = "Is the file whole?") -> Iterator[None]:
    """Whatever a decoder raises about the bytes of a file, as a Misuse that names it; warnings are not shown.

    >>> with refuse_damage(Path("x.png"), "an image"):
    ...     raise KeyError("IHDR")
    Traceback (most recent call last):
    headwater.errors.Misuse: x.png cannot be read as an image: 'IHDR'. Is the file whole?
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Misuse, MemoryError):
        raise
    except (
        Exception
    ) as error:  # decoders raise all there is: struct.error, TokenError, ZeroDivisionError, ...
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise Misuse(f"{path} cannot be read as {kind}: {reason[:200]}.", cure) from error


@contextmanager
def mute_libtiff() -> Iterator[None]:
    """Nothing is printed meanwhile: libtiff, inside Pillow, writes what it finds to the file descriptor 2 itself."""
    try:
        saved = os.dup(2)
    except OSError:  # nobody listens there
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        sys.stderr.flush()
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


def decode(path: Path, data: bytes) -> tuple[Array, Picture]:
    """Pixels [h, w, c] as stored (c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA) and how they came.

    Raises
    ------
    Misuse
        The file is damaged, of no known format, too large or of several frames.
    """
    if path.suffix.lower() == ".npy":
        with refuse_damage(path, "an image", WRITE_NPY):
            return _arrange_npy(decode_npy(data))
    with refuse_damage(path, "an image"):
        if data[:4] not in tiff.MAGIC:
            return _decode_pillow(path, data)
        deep = tiff.decode_deep_tiff(path, data)
        if deep is not None:
            return deep
        with mute_libtiff():
            return _decode_pillow(path, data)


def open_image(path: Path, data: bytes) -> Any:
    """The image in the bytes of a file as Pillow opens it, its pixels not yet decoded.

    Raises
    ------
    Misuse
        It is of no format that is read here, or `check_size` refuses it.
    """
    pil = import_optional("PIL.Image")
    pil.init()
    try:
        image = pil.open(BytesIO(data), formats=READ)
    except pil.UnidentifiedImageError as error:
        cure = f"Give a whole file of {', '.join(READ)} or .npy."
        raise Misuse(f"{path} cannot be read as an image.", cure) from error
    except pil.DecompressionBombError as error:
        raise Misuse(f"{path} has too many pixels.", "Cut or shrink it first.") from error
    check_size(path, image.size, len(data))
    return image


def _decode_pillow(path: Path, data: bytes) -> tuple[Array, Picture]:
    image = open_image(path, data)
    chunks: tuple[png_chunks.Chunk, ...] = ()
    if image.format == "PNG":
        png_chunks.check_pixel_data(data)
        chunks = png_chunks.kept_chunks(data)
        image.load()  # its metadata may stand behind the pixels
    _one_frame(path, 1 if image.format == "MPO" else getattr(image, "n_frames", 1))  # MPO: JPEG with preview
    exif = read_exif(image)
    picture = Picture(
        format=image.format or "",
        icc=image.info.get("icc_profile"),
        exif=exif,
        orientation=read_orientation(exif),
        dpi=_resolution(image),
        chunks=chunks,
    )
    if png16.is_png16(data):
        pixels = png16.decode(data)
        return pixels, replace(picture, mode="grey" if pixels.shape[2] < 3 else "RGB", dtype="uint16")
    array, picture = _to_array(image, picture)
    # Pillow turns TIFF upright by itself, and no other format
    return turn_as_stored(array, picture.orientation) if image.format == "TIFF" else array, picture


def _one_frame(path: Path, frames: int) -> None:
    if frames > 1:
        raise Misuse(f"{path} holds {frames} frames.", "Save the one you mean as a file of its own.")


def _resolution(image: Any) -> tuple[float, float] | None:
    """Pixels per inch in x and y, if the file states two positive numbers."""
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 0 < x < 1e6 and 0 < y < 1e6 else None


def _arrange_npy(array: Array) -> tuple[Array, Picture]:
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    array = array[..., None] if array.ndim == 2 else array
    first = array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3)
    array = np.moveaxis(array, 0, 2) if first else array
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"its shape {array.shape} is not one of [h, w], [h, w, c], [c, h, w]")
    grey = array.shape[2] < 3
    kind = Picture(format="NPY", mode="grey" if grey else "RGB", dtype=str(array.dtype), channels_first=first)
    return array, kind


def _to_array(image: Any, picture: Picture) -> tuple[Array, Picture]:
    if image.mode.startswith(("I", "F")):  # 16-bit or float grey of the rarer formats
        array = np.asarray(image)
        array = array if image.mode == "F" else array.astype(np.uint16)
        return array[..., None], replace(picture, mode="grey", dtype=str(array.dtype))
    grey, palette = image.mode in ("1", "L", "LA", "La"), image.mode in ("P", "PA")
    if not (grey or palette or image.mode.startswith("RGB")):
        picture = replace(picture, icc=None)  # CMYK, Lab, ...: the profile is not one of RGB
    plain, transparent = ("L", "LA") if grey else ("RGB", "RGBA")
    array = np.asarray(image.convert(transparent if image.has_transparency_data else plain))
    array = array[..., None] if array.ndim == 2 else array
    return array, replace(picture, mode="grey" if grey else "palette" if palette else "RGB")
