"""From the bytes of an image file to its pixels as stored, with the record of how they came."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.image.io import png16
from headwater.image.io.picture import (
    DESCRIPTION,
    ORIENTATION,
    TURNS,
    Array,
    Picture,
    opacity,
    turn_as_stored,
)

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ICC = 34675
DAMAGED = (OSError, ValueError, KeyError, SyntaxError, EOFError, TypeError, struct.error, zlib.error)


def decode(path: Path, data: bytes) -> tuple[Array, Picture]:
    """Pixels [h, w, c] as stored (c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA) and how they came.

    Raises
    ------
    Misuse
        The file is damaged, of no known format, too large or of several frames.
    """
    try:
        return _decode(path, data)
    except Misuse:
        raise
    except DAMAGED as error:
        raise Misuse(f"{path} cannot be read as an image: {error}.", "Is the file whole?") from error
    except Exception as error:
        if type(error).__name__ != "DecompressionBombError":
            raise
        raise Misuse(f"{path} has too many pixels.", "Cut or shrink it first.") from error


def _decode(path: Path, data: bytes) -> tuple[Array, Picture]:
    if path.suffix.lower() == ".npy":
        return _decode_npy(np.load(BytesIO(data), allow_pickle=False))
    deep = _deep_tiff(path, data) if data[:4] in TIFF else None
    if deep is not None:
        return deep
    image = import_optional("PIL.Image").open(BytesIO(data))
    if image.format == "PNG":
        image.load()  # its metadata may stand behind the pixels
    _one_frame(path, 1 if image.format == "MPO" else getattr(image, "n_frames", 1))  # MPO: JPEG with preview
    exif = _exif(image)
    picture = Picture(format=image.format or "", icc=image.info.get("icc_profile"), exif=exif)
    picture = replace(picture, orientation=_orientation(exif))
    if png16.is_png16(data):
        pixels = png16.decode(data)
        return pixels, replace(picture, mode="grey" if pixels.shape[2] < 3 else "RGB", dtype="uint16")
    array, picture = _decode_pillow(image, picture)
    # Pillow turns TIFF upright by itself, and no other format
    return turn_as_stored(array, picture.orientation) if image.format == "TIFF" else array, picture


def _one_frame(path: Path, frames: int) -> None:
    if frames > 1:
        raise Misuse(f"{path} holds {frames} frames.", "Save the one you mean as a file of its own.")


def _decode_npy(array: Array) -> tuple[Array, Picture]:
    array = array[0] if array.ndim == 4 and len(array) == 1 else array
    array = array[..., None] if array.ndim == 2 else array
    first = array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3)
    array = np.moveaxis(array, 0, 2) if first else array
    if array.ndim != 3 or array.shape[2] not in (1, 2, 3, 4):
        raise ValueError(f"its shape {array.shape} is not one of [h, w], [h, w, c], [c, h, w]")
    grey = array.shape[2] < 3
    kind = Picture(format="NPY", mode="grey" if grey else "RGB", dtype=str(array.dtype), channels_first=first)
    return array, kind


def _deep_tiff(path: Path, data: bytes) -> tuple[Array, Picture] | None:
    """A TIFF file of more than 8 bits, or None: Pillow reads those cut to 8 bits, or not at all."""
    with import_optional("tifffile").TiffFile(BytesIO(data)) as file:
        page = file.pages[0]
        if page.dtype is None or page.dtype.itemsize == 1:
            return None
        _one_frame(path, len(file.pages))
        array: Array = page.asarray()
        tags = {tag: page.tags[tag].value for tag in (*DESCRIPTION, ICC) if tag in page.tags}
        if page.photometric == 0:  # white is zero
            array = opacity(array.dtype) - array
        array = np.moveaxis(array, 0, 2) if page.axes == "SYX" else array
    array = array[..., None] if array.ndim == 2 else array
    exif = import_optional("PIL.Image").Exif()
    exif.update({tag: value for tag, value in tags.items() if tag != ICC})
    block = bytes(exif.tobytes()) if len(exif) else None
    mode: Literal["grey", "RGB"] = "grey" if array.shape[2] < 3 else "RGB"
    kind = Picture(format="TIFF", mode=mode, dtype=str(array.dtype), icc=tags.get(ICC), exif=block)
    return array, replace(kind, orientation=_orientation(block))


def _decode_pillow(image: Any, picture: Picture) -> tuple[Array, Picture]:
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


def _exif(image: Any) -> bytes | None:
    if image.format != "TIFF":
        raw: bytes | None = image.info.get("exif")
        return raw
    full, kept = image.getexif(), import_optional("PIL.Image").Exif()
    for tag in DESCRIPTION & set(full):
        kept[tag] = full[tag]
    for group in (34665, 34853):  # EXIF and GPS
        if block := full.get_ifd(group):
            kept.get_ifd(group).update(block)
    return bytes(kept.tobytes()) if len(kept) or kept.get_ifd(34665) or kept.get_ifd(34853) else None


def _orientation(exif: bytes | None) -> int:
    if exif is None:
        return 1
    tags = import_optional("PIL.Image").Exif()
    try:
        tags.load(exif)
        value = tags.get(ORIENTATION, 1)
    except DAMAGED:  # a broken EXIF block does not make the pixels unreadable
        return 1
    return value if value in TURNS else 1
