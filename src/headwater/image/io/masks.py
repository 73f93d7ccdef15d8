"""What says where and how an image is damaged: mask files, transparent regions, blur kernels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.atomic import read_bytes
from headwater.errors import Misuse
from headwater.image.io.decode import WRITE_NPY, refuse_damage
from headwater.image.io.files import read_image
from headwater.image.io.npy import decode_npy
from headwater.image.io.picture import Array, Picture, opacity


def read_mask(path: str | Path, size: tuple[int, int]) -> Tensor:
    """A mask, bool [1, 1, h, w]: True where the image is damaged, that is where the file is white.

    Any image file (lighter than mid-grey and not transparent) or .npy (not zero), EXIF-rotated upright.

    Parameters
    ----------
    path : str or Path
        The mask file.
    size : tuple of int
        Height and width of the (upright) image.

    Raises
    ------
    Misuse
        As `read_image`; the size differs; nothing or everything is marked.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "mask.npy"
    >>> np.save(file, np.eye(3))
    >>> int(read_mask(file, (3, 3)).sum())
    3
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        array = load_npy(path)
        if array.ndim < 2 or array.size != array.shape[-2] * array.shape[-1]:
            raise Misuse(f"The mask {path} has the shape {array.shape}.", "Give an array [h, w].")
        marked = torch.from_numpy(array.reshape(array.shape[-2:]) != 0)
    else:
        x, picture = read_image(path, span=(0, 1))
        marked = x[0].mean(0) > 0
        if picture.alpha is not None:
            marked &= torch.from_numpy(picture.alpha > opacity(picture.alpha.dtype) / 2)
    if tuple(marked.shape) != tuple(size):
        given = " x ".join(map(str, marked.shape))
        raise Misuse(
            f"The mask {path} is {given} but the image is {size[0]} x {size[1]}.", "Make it that size."
        )
    return _check_mask(
        marked, f"The mask {path}", "Paint white what is to be filled, black what is to be kept."
    )


def read_strength(path: str | Path, size: tuple[int, int]) -> Tensor:
    """A map of how much may change, float32 [1, 1, h, w] from 0 (black, keep) to 1 (white, make anew).

    Any image file, whose transparent parts are kept, or .npy of numbers from 0 to 1.

    Parameters
    ----------
    path : str or Path
        The file.
    size : tuple of int
        Height and width of the (upright) image.

    Raises
    ------
    Misuse
        As `read_image`; the size differs, a number leaves [0, 1], or nothing may change.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "map.npy"
    >>> np.save(file, np.array([[0.0, 0.5, 1.0]]))
    >>> read_strength(file, (1, 3)).tolist()
    [[[[0.0, 0.5, 1.0]]]]
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        array = load_npy(path)
        if array.ndim < 2 or array.size != array.shape[-2] * array.shape[-1] or array.dtype.kind == "c":
            raise Misuse(f"The map {path} has the shape {array.shape}.", "Give an array [h, w] of numbers.")
        found = torch.from_numpy(array.reshape(array.shape[-2:]).astype(np.float32))
    else:
        x, picture = read_image(path, span=(0, 1))
        found = ((x[0].mean(0) + 1) / 2).clamp(0, 1)
        if picture.alpha is not None:
            opaque = picture.alpha.astype(np.float32) / opacity(picture.alpha.dtype)
            found = found * torch.from_numpy(opaque)
    if tuple(found.shape) != tuple(size):
        given = " x ".join(map(str, found.shape))
        raise Misuse(
            f"The map {path} is {given} but the image is {size[0]} x {size[1]}.", "Make it that size."
        )
    if not bool(((found >= 0) & (found <= 1)).all()) or not bool((found > 0).any()):
        raise Misuse(
            f"The map {path} leaves [0, 1], or lets nothing change.",
            "Give 0 for what is kept, to 1 for what may change.",
        )
    return found[None, None]


def alpha_mask(picture: Picture) -> Tensor:
    """The transparent part of an image as a mask, bool [1, 1, h, w]: True where alpha is under one half.

    Write the result with `picture.make_opaque(mask)`, else what was filled stays transparent.

    Raises
    ------
    Misuse
        The image has no alpha channel; nothing or everything is transparent.

    Examples
    --------
    >>> alpha = np.array([[0, 255]], np.uint8)
    >>> alpha_mask(Picture(size=(1, 2), alpha=alpha)).tolist()
    [[[[True, False]]]]
    """
    if picture.alpha is None:
        raise Misuse("The image has no transparent region to fill.", "Give a mask.")
    marked = torch.from_numpy(picture.alpha < opacity(picture.alpha.dtype) / 2)
    return _check_mask(marked, "The transparent region", "Give a mask instead.")


def read_kernel(path: str | Path, size: tuple[int, int] | None = None) -> Tensor:
    """A blur kernel, float32 [kh, kw] that sums to 1, from .npy, .txt (rows of numbers) or an image file.

    Parameters
    ----------
    path : str or Path
        The kernel file.
    size : tuple of int, optional
        Height and width of the image the kernel has to fit in.

    Raises
    ------
    Misuse
        As `read_image`; it is not a table of finite numbers, does not sum to a positive number, or is
        larger than the image.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "kernel.txt"
    >>> _ = file.write_text("1 2 1", encoding="utf-8")
    >>> read_kernel(file).tolist()
    [[0.25, 0.5, 0.25]]
    """
    path = Path(path)
    table = _load_table(path)
    with np.errstate(over="ignore", invalid="ignore"):
        total = table.sum()
    if table.ndim != 2 or not 0 < total < np.inf:  # NaN and Inf fail both
        raise Misuse(f"{path} is not a kernel.", "Give a table of finite numbers with a positive sum.")
    if size is not None and (table.shape[0] > size[0] or table.shape[1] > size[1]):
        given = " x ".join(map(str, table.shape))
        raise Misuse(f"The kernel is {given} but the image is {size[0]} x {size[1]}.", "Give a smaller one.")
    return torch.from_numpy((table / total).astype(np.float32))


def _check_mask(marked: Tensor, name: str, cure: str) -> Tensor:
    if bool(marked.all()) or not bool(marked.any()):
        raise Misuse(f"{name} marks {'every pixel' if bool(marked.all()) else 'no pixel'}.", cure)
    return marked[None, None]


def load_npy(path: Path) -> Array:
    """The array of numbers or truth values of a .npy file; a damaged file or another content is a Misuse."""
    data = read_bytes(path)
    with refuse_damage(path, "an array", WRITE_NPY):
        array = decode_npy(data)
    if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
        raise Misuse(f"{path} holds no numbers but {array.dtype}.", "Write it from an array of numbers.")
    return array


LONGEST_TEXT = 2**24


def _load_table(path: Path) -> Array:
    if path.suffix.lower() == ".npy":
        array = load_npy(path)
        if array.dtype.kind == "c":
            raise Misuse(f"{path} holds complex numbers.", "Write it from an array of real numbers.")
        return array.astype(np.float64)
    if path.suffix.lower() in (".txt", ".csv"):
        return _parse_table(path, read_bytes(path))
    x, _ = read_image(path, span=(0, 1))
    table: Array = (x[0].mean(0).double().numpy() + 1) / 2
    return table


def _parse_table(path: Path, data: bytes) -> Array:
    if len(data) > LONGEST_TEXT:
        raise Misuse(f"{path} has {len(data)} bytes, too many for a kernel.", "Give a smaller one, or .npy.")
    text = data.decode("utf-8-sig", "replace").replace(",", " ")
    try:
        return np.array([[float(v) for v in row.split()] for row in text.splitlines() if row.strip()])
    except ValueError:
        raise Misuse(f"{path} is not a table of numbers.", "Give rows of equal length.") from None
