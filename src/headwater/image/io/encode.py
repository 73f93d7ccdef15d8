"""From pixels to an image file: what each format can hold of the source."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headwater.extras import import_optional
from headwater.image.io import png16
from headwater.image.io.picture import DESCRIPTION, ORIENTATION, Array, Picture, opacity
from headwater.image.io.png_chunks import Chunk, add_chunks

FORMATS = {  # extension of an output: format, whether it holds transparency, 16 bits, an orientation tag
    ".png": ("PNG", True, True, True),
    ".tif": ("TIFF", True, True, True),
    ".tiff": ("TIFF", True, True, True),
    ".webp": ("WEBP", True, False, True),
    ".jpg": ("JPEG", False, False, True),
    ".jpeg": ("JPEG", False, False, True),
    ".bmp": ("BMP", False, False, False),
    ".npy": ("NPY", True, True, False),
}
QUALITY: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "WEBP": {"lossless": True, "exact": True}}


def fit(picture: Picture, path: Path) -> Picture:
    """The record of the output: what the format of `path` can hold of the source.

    >>> fit(Picture(dtype="uint16"), Path("out.jpg")).dtype
    'uint8'
    """
    name, _, deep, turned = FORMATS[path.suffix.lower()]
    dtype, span = picture.dtype, picture.span
    if name == "NPY" and picture.format != "NPY":
        dtype, span = "float32", (-1.0, 1.0)
    elif name != "NPY":
        floats = np.dtype(dtype).kind == "f"
        dtype = "uint8" if not deep else "uint16" if floats and name == "PNG" else dtype
        kept = dtype == picture.dtype and picture.format != "NPY"
        span = span if kept else (0.0, float(opacity(np.dtype(dtype))))
    orientation = picture.orientation if turned else 1
    return replace(picture, format=name, dtype=dtype, span=span, orientation=orientation)


def fit_alpha(alpha: Array, size: tuple[int, ...], dtype: str) -> Array:
    """The alpha channel [h, w] in another size or type; unchanged where both agree.

    >>> fit_alpha(np.full((1, 1), 255, np.uint8), (1, 2), "uint16").tolist()
    [[65535, 65535]]
    """
    if alpha.shape == size and str(alpha.dtype) == dtype:
        return alpha
    share = torch.from_numpy(alpha.astype(np.float64) / opacity(alpha.dtype))[None, None]
    if alpha.shape != size:
        share = torch.nn.functional.interpolate(share, size, mode="bilinear", antialias=True)
    values = share[0, 0].numpy() * opacity(np.dtype(dtype))
    return (np.rint(values) if np.dtype(dtype).kind == "u" else values).astype(dtype)


def encode(pixels: Array, path: Path, picture: Picture) -> None:
    """Write pixels [h, w, c] as stored, of the type `picture.dtype`, in the format `picture.format`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    plain = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    if picture.format == "NPY":
        with open(path, "wb") as handle:  # given a name, numpy would append a suffix of its own
            np.save(handle, np.moveaxis(pixels, 2, 0) if picture.channels_first else plain)
    elif picture.format == "PNG" and pixels.dtype == np.uint16:
        more = [*_resolution_chunk(picture), *picture.chunks]
        path.write_bytes(png16.encode(pixels, icc=picture.icc, exif=picture.exif, more=more))
    elif picture.format == "TIFF" and pixels.dtype != np.uint8:
        _encode_tiff(plain, path, picture)
    else:
        image = import_optional("PIL.Image").fromarray(plain)
        tags = {"exif": picture.exif, "icc_profile": picture.icc, "dpi": picture.dpi}
        how = {**QUALITY.get(picture.format, {}), **{k: v for k, v in tags.items() if v}}
        data = BytesIO()  # given a path, Pillow writes half a JPEG or TIFF on a full disk and says nothing
        image.save(data, picture.format, **how)
        chunks = picture.chunks if picture.format == "PNG" else ()
        path.write_bytes(add_chunks(data.getvalue(), chunks) if chunks else data.getvalue())


def _resolution_chunk(picture: Picture) -> list[Chunk]:
    """PNG counts pixels per metre."""
    if picture.dpi is None:
        return []
    x, y = (round(dots / 0.0254) for dots in picture.dpi)
    return [(b"pHYs", struct.pack(">IIB", x, y, 1))]


def _encode_tiff(pixels: Array, path: Path, picture: Picture) -> None:
    tags = import_optional("PIL.Image").Exif()
    tags.load(picture.exif or b"")
    extra = [
        (tag, "s", 0, str(tags[tag]).encode(), True) for tag in DESCRIPTION - {ORIENTATION} if tag in tags
    ]
    import_optional("tifffile").imwrite(
        path,
        pixels,
        photometric="minisblack" if picture.grey else "rgb",
        extrasamples=["unassalpha"] if picture.alpha is not None else None,
        planarconfig="contig" if pixels.ndim == 3 else None,
        compression="zlib",
        metadata=None,
        software=False,
        iccprofile=picture.icc,
        resolution=picture.dpi,
        resolutionunit=None if picture.dpi is None else "INCH",
        extratags=[(ORIENTATION, "H", 1, picture.orientation, True), *extra],
    )
