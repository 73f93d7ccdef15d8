"""TIFF files of more than 8 bits a channel: what Pillow reads cut to 8 bits, or not at all.

Sources: TIFF 6.0 (photometric interpretations, sections 16 to 23), CIE 15:2004 (L*a*b*), IEC 61966-2-1 (sRGB).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.image.io.exif import read_orientation
from headwater.image.io.limits import check_size
from headwater.image.io.picture import DESCRIPTION, Array, Picture, opacity

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ICC, RESOLUTION, UNIT = 34675, (282, 283), 296
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, LAB = 0, 1, 2, 5, 8
BANDS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, CMYK: 4, LAB: 3}
"""Channels of colour of the photometric interpretations that are read."""
DENSEST = 5000
"""No compression of TIFF but zstd saves more: LZW at most 12 bits for 4,000 bytes, deflate a factor of 1032."""

# The matrix from XYZ under D50 to linear sRGB under D65, adapted after Bradford: B. Lindbloom, RGB/XYZ matrices.
XYZ_TO_RGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)
D50 = (0.96422, 1.0, 0.82521)


def decode_deep_tiff(path: Path, data: bytes) -> tuple[Array, Picture] | None:
    """Pixels [h, w, c] and how they came, of a TIFF file of more than 8 bits; None for 8 bits or fewer.

    c = 1 grey, 2 grey + alpha, 3 RGB, 4 RGBA. CMYK and L*a*b* become RGB; associated alpha is divided out; 9 to 15
    bits are stretched to 16.

    Raises
    ------
    Misuse
        The file holds several pictures, or bands of another meaning.
    Exception
        Whatever tifffile and imagecodecs raise at a file that is damaged.
    """
    logging.getLogger("tifffile").addHandler(logging.NullHandler())  # else it prints what it raises anyway
    import_optional("imagecodecs")
    with import_optional("tifffile").TiffFile(BytesIO(data)) as file:
        page = file.pages[0]
        if page.dtype is None or page.dtype.itemsize == 1:
            return None
        full = [p for p in islice(file.pages, 100) if not getattr(p, "is_reduced", False)]
        if len(full) > 1:
            raise Misuse(f"{path} holds {len(full)} frames.", "Save the one you mean as a file of its own.")
        _check_layout(path, page)
        array: Array = page.asarray()
        if array.shape != page.shape or not array.size:
            raise ValueError("its pixels are missing")
        array = np.moveaxis(array, 0, 2) if page.axes == "SYX" else array
        array = array[..., None] if array.ndim == 2 else array
        pixels = _stretch(array, page.bitspersample)
        picture = _describe(page)
    return _to_rgb(pixels, page), replace(picture, mode="grey" if BANDS[page.photometric] == 1 else "RGB")


def _check_layout(path: Path, page: Any) -> None:
    """Refuse what has another meaning than grey, RGB, CMYK or L*a*b*, and sizes that the file cannot fill."""
    colours = BANDS.get(page.photometric)
    if colours is None:
        name = getattr(page.photometric, "name", page.photometric)
        raise Misuse(f"{path} stores colours as {name}, in more than 8 bits.", "Save it as RGB.")
    extra = page.samplesperpixel - colours
    alone = page.photometric in (CMYK, LAB)
    if not 0 <= extra <= (0 if alone else 1):
        raise Misuse(
            f"{path} holds {page.samplesperpixel} bands.", "Save it as grey or RGB, with or without alpha."
        )
    if alone and page.dtype != np.uint16:
        raise Misuse(f"{path} stores colours as {page.photometric.name} in {page.dtype}.", "Save it as RGB.")
    if page.axes not in ("YX", "YXS", "SYX"):
        raise Misuse(f"{path} holds {page.axes} axes.", "Save one picture of it.")
    check_size(path, (page.imagewidth, page.imagelength), page.parent.filehandle.size)
    tile = page.tilewidth * page.tilelength * page.samplesperpixel if page.is_tiled else 0
    declared, stored = max(page.size, tile) * page.dtype.itemsize, sum(page.databytecounts)
    if stored > page.parent.filehandle.size or declared > DENSEST * stored + 2**24:
        raise ValueError(f"it declares {declared} bytes of pixels and holds {stored}")


def _stretch(array: Array, bits: int) -> Array:
    """Integers of 9 to 15 bits on the range of 16."""
    if array.dtype != np.uint16 or bits == 16:
        return array
    return _by_rows(array, lambda part: np.rint(part * (65535 / (2**bits - 1))).astype(np.uint16))


def _describe(page: Any) -> Picture:
    tags = {tag: page.tags[tag].value for tag in (*DESCRIPTION, ICC, UNIT, *RESOLUTION) if tag in page.tags}
    exif = import_optional("PIL.Image").Exif()
    exif.update({tag: tags[tag] for tag in DESCRIPTION if tag in tags})
    block: bytes | None = None
    with suppress(Exception):  # damaged words do not make the pixels unreadable
        block = bytes(exif.tobytes()) if len(exif) else None
    icc = tags.get(ICC)
    return Picture(
        format="TIFF",
        dtype=str(page.dtype),
        icc=icc if isinstance(icc, bytes) and page.photometric not in (CMYK, LAB) else None,
        exif=block,
        orientation=read_orientation(block),
        dpi=_resolution(tags),
    )


def _resolution(tags: dict[int, Any]) -> tuple[float, float] | None:
    """Pixels per inch in x and y, if the file states them."""
    per_unit = {2: 1.0, 3: 2.54}.get(int(tags.get(UNIT, 2)))
    pairs = [tags.get(tag) for tag in RESOLUTION]
    if per_unit is None or any(not isinstance(pair, tuple) or 0 in pair for pair in pairs):
        return None
    x, y = (per_unit * pair[0] / pair[1] for pair in pairs if pair)
    return (x, y)


def _to_rgb(pixels: Array, page: Any) -> Array:
    """Grey or RGB, black at zero, with plain alpha."""
    white, kind = opacity(pixels.dtype), page.photometric
    if kind == WHITE_IS_ZERO:
        pixels = pixels.copy()
        pixels[..., 0] = white - pixels[..., 0]
    if kind == CMYK:
        return _by_rows(pixels, lambda p: _from_unit((1 - p[..., :3] / 65535.0) * (1 - p[..., 3:] / 65535.0)))
    if kind == LAB:
        return _by_rows(pixels, lambda part: _from_unit(lab_to_rgb(part)))
    if page.samplesperpixel > BANDS[kind] and page.extrasamples[:1] == (1,):
        return _by_rows(pixels, divide_alpha)
    return pixels


def _by_rows(pixels: Array, convert: Callable[[Array], Array]) -> Array:
    """Convert a part of the rows after the other: as a whole in float64 a large picture takes gigabytes."""
    parts = np.array_split(pixels, max(1, min(len(pixels), pixels.size >> 22)))
    return np.concatenate([convert(part) for part in parts])


def _from_unit(share: Array) -> Array:
    pixels: Array = np.rint(share.clip(0, 1) * 65535).astype(np.uint16)
    return pixels


def divide_alpha(pixels: Array) -> Array:
    """Pixels [h, w, c] whose colours were multiplied by their last channel, alpha, as they were before.

    >>> divide_alpha(np.array([[[32768, 0, 0, 32768]]], np.uint16)).tolist()
    [[[65535, 0, 0, 32768]]]
    """
    white, alpha = opacity(pixels.dtype), pixels[..., -1:].astype(np.float64)
    share = np.divide(alpha, white, out=np.ones_like(alpha), where=alpha > 0)
    colours = pixels[..., :-1] / share
    colours = np.rint(colours.clip(0, white)) if pixels.dtype.kind == "u" else colours
    return np.concatenate([colours.astype(pixels.dtype), pixels[..., -1:]], -1)


def lab_to_rgb(pixels: Array) -> Array:
    """sRGB in [0, 1] (unclipped) of 16-bit CIE L*a*b* under D50, as TIFF stores it: L in 0..65535, a and b signed.

    >>> lab_to_rgb(np.array([[[65535, 0, 0]]], np.uint16)).round(3).tolist()
    [[[1.0, 1.0, 1.0]]]
    """
    lightness = pixels[..., 0] * (100 / 65535)
    a, b = (pixels[..., k].astype(np.int16) / 256 for k in (1, 2))
    y = (lightness + 16) / 116
    f = np.stack([y + a / 500, y, y - b / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * (3 * (6 / 29) ** 2)) * D50
    linear = xyz @ np.array(XYZ_TO_RGB).T
    rgb: Array = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    )
    return rgb
