"""How large a picture may say it is."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import Misuse

MOST_PIXELS = 180_000_000
FREE_PIXELS, PIXELS_PER_BYTE = 25_000_000, 10_000


def check_size(path: Path, size: tuple[int, int], stored: int) -> None:
    """Refuse a width and height that no restoration can hold, or that the bytes of the file cannot fill.

    >>> check_size(Path("x.jpg"), (30000, 5000), 600)
    Traceback (most recent call last):
    headwater.errors.Misuse: x.jpg declares 30000 x 5000 pixels in 600 bytes. Is the file whole?
    """
    pixels = size[0] * size[1]
    if pixels > MOST_PIXELS:
        raise Misuse(f"{path} has {size[0]} x {size[1]} pixels, too many.", "Cut or shrink it first.")
    if pixels > max(FREE_PIXELS, PIXELS_PER_BYTE * stored):
        raise Misuse(f"{path} declares {size[0]} x {size[1]} pixels in {stored} bytes.", "Is the file whole?")
