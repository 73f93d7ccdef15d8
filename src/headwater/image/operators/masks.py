"""Masks for inpainting: True where the pixel is known; [1, 1, height, width] or one per problem."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from headwater.errors import Misuse, suggest


def require_size(h: int, w: int) -> None:
    """Refuse what is no height and width of an image."""
    if not all(isinstance(n, int) and n > 0 for n in (h, w)):
        raise Misuse(f"There is no image of {h} x {w} pixels.", "Give whole numbers from 1 on.")


def box_mask(
    h: int, w: int, height: int, width: int, *, top: int | None = None, left: int | None = None
) -> Tensor:
    """A mask of an h x w image with a missing box of height x width pixels, centred by default.

    Parameters
    ----------
    h, w
        Height and width of the image, pixels.
    height, width
        Of the box, pixels.
    top, left
        The first row and column of the box; None: the box is in the middle.

    Returns
    -------
    mask
        Bool `[1, 1, h, w]`, True = known.

    Raises
    ------
    Misuse
        The image has no size, or the box is empty, leaves the image or covers it.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.image.box_mask(4, 4, 2, 2)[0, 0].int().tolist()
    [[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]]
    """
    require_size(h, w)
    if not all(isinstance(n, int) for n in (height, width, top or 0, left or 0)):
        raise Misuse(
            f"A box of {height} x {width} at {top}, {left} is not in whole pixels.", "Round its numbers."
        )
    top = (h - height) // 2 if top is None else top
    left = (w - width) // 2 if left is None else left
    inside = 0 <= top <= h - height and 0 <= left <= w - width
    if min(height, width) < 1 or not inside or (height, width) == (h, w):
        raise Misuse(
            f"The box {height} x {width} at row {top}, column {left} does not fit in the image {h} x {w}.",
            "Give a box of at least one pixel that lies inside the image and leaves something known.",
        )
    mask = torch.ones(1, 1, h, w, dtype=torch.bool)
    mask[..., top : top + height, left : left + width] = False
    return mask


def random_mask(h: int, w: int, *, missing: float = 0.7, seed: int | torch.Generator = 0) -> Tensor:
    """A mask of an h x w image with exactly round(missing h w) pixels missing, chosen by chance.

    Parameters
    ----------
    h, w
        Height and width of the image, pixels.
    missing
        The share of the pixels that are missing, in [0, 1).
    seed
        An integer or a CPU generator.

    Returns
    -------
    mask
        Bool `[1, 1, h, w]`, True = known.

    Raises
    ------
    Misuse
        The image has no size, or no pixel is left.

    Examples
    --------
    >>> import headwater as hw
    >>> int(hw.image.random_mask(10, 10, missing=0.7).sum())
    30
    """
    require_size(h, w)
    lost = round(missing * h * w) if 0 <= missing < 1 else h * w
    if lost == h * w:
        raise Misuse(
            f"A share of {missing} missing pixels leaves nothing known of the image {h} x {w}.",
            "Give a share from 0 up to, but not including, 1.",
        )
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    mask = torch.ones(h * w, dtype=torch.bool)
    mask[torch.randperm(h * w, generator=generator)[:lost]] = False
    return mask.reshape(1, 1, h, w)


def grow_mask(marked: Tensor, radius: int) -> Tensor:
    """The marked pixels and all within `radius` pixels of one, by the straight line: bool like `marked`.

    Parameters
    ----------
    marked
        Bool `[batch, 1, h, w]`, True = marked; `Inpaint` marks what is known, so give it the opposite.
    radius
        0 or more; 0 changes nothing.

    Raises
    ------
    Misuse
        The radius is negative, or no pixel is left unmarked.

    Examples
    --------
    >>> grow_mask(torch.tensor([[[[0, 0, 0, 1, 0]]]]).bool(), 2)[0, 0].int().tolist()
    [[0, 1, 1, 1, 1]]
    """
    if radius < 0:
        raise Misuse(f"A mask cannot grow by {radius} pixels.", "Give 0 or more.")
    height, width = marked.shape[-2:]
    # marked pixels left of each, so that a stretch of a row is one difference
    left = pad(marked.int().cumsum(-1), (1, 0))
    columns, grown = torch.arange(width, device=marked.device), marked.clone()
    for down in range(min(radius, height - 1) + 1):  # the disk, row by row
        reach = math.isqrt(radius**2 - down**2)
        first, last = (columns - reach).clamp(min=0), (columns + reach + 1).clamp(max=width)
        wide = left[..., last] > left[..., first]
        grown[..., down:, :] |= wide[..., : height - down, :]
        grown[..., : height - down, :] |= wide[..., down:, :]
    if bool(grown.flatten(1).all(1).any()):
        raise Misuse(f"Grown by {radius} pixels the mask covers the whole image.", "Grow it by less.")
    return grown


def as_mask(values: Tensor, *, known: str = "bright") -> Tensor:
    """Turn what a mask file holds into a mask: bool [1 or batch, 1, h, w], True = known.

    Parameters
    ----------
    values
        [h, w], [batch, h, w] or [batch, 1, h, w]: bool, uint8 in [0, 255], or floating in [0, 1].
        The threshold is the middle of the range.
    known
        "bright": white pixels are known (True stays True); "dark": white marks what is to be filled in.

    Raises
    ------
    Misuse
        On another type, range or shape, on NaN, or when some problem keeps no known pixel.

    Examples
    --------
    >>> as_mask(torch.tensor([[0, 255]], dtype=torch.uint8)).tolist()
    [[[[False, True]]]]
    >>> as_mask(torch.tensor([[0.0, 1.0]]), known="dark").tolist()
    [[[[True, False]]]]
    """
    if known not in ("bright", "dark"):
        raise Misuse(f"Known pixels cannot be {known!r}.", suggest(known, ("bright", "dark")))
    bright = _as_batch(_bright(torch.as_tensor(values)))
    mask = bright if known == "bright" else ~bright
    if not bool(mask.flatten(1).any(1).all()):
        raise Misuse("The mask marks every pixel as missing.", "Give a mask that leaves some pixels known.")
    return mask


def _bright(values: Tensor) -> Tensor:
    """True above the middle of the range that goes with the type."""
    if values.dtype == torch.bool:
        return values
    if values.dtype == torch.uint8:
        return values >= 128
    if not values.is_floating_point():
        raise Misuse(
            f"A mask of type {str(values.dtype).removeprefix('torch.')} has no known range.",
            "Give a mask of bool, of uint8 in [0, 255] or of floats in [0, 1].",
        )
    if not bool(((values >= 0) & (values <= 1)).all()):  # NaN fails both
        raise Misuse(
            "The mask holds values outside [0, 1], or NaN.", "Give 1 for known and 0 for missing pixels."
        )
    return values >= 0.5


def _as_batch(mask: Tensor) -> Tensor:
    """Add the axes of the problem and of the channel."""
    if mask.ndim == 2:
        return mask[None, None]
    if mask.ndim == 3:
        return mask[:, None]
    if mask.ndim == 4 and mask.shape[1] == 1:
        return mask
    raise Misuse(
        f"A mask of shape {list(mask.shape)} does not say one thing per pixel.",
        "Give a mask [height, width], or [batch, 1, height, width] with one for each problem.",
    )
