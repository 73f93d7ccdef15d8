"""EXIF blocks: what goes along with a result, and which way up the picture is.

An older picture never goes along: not the preview of the second directory, not one in the maker's notes or in a
further directory. It would still show what was removed.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from headwater.extras import import_optional
from headwater.image.io.picture import DESCRIPTION, ORIENTATION, TURNS

EXIF, GPS = 34665, 34853
MAKER_NOTE = 37500
LAYOUT = {256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 330, 513, 514, 700, 34377, 50706}
"""Tags that describe the pixels or hold others: sizes, strips, further directories, previews, XMP, Photoshop's."""
PIXEL_SIZES = {40962, 40963}
JPEG_START = b"\xd8\xff"
"""Of a JPEG file without its first byte, which some makers change in the previews of their notes."""


def read_exif(image: Any) -> bytes | None:
    """The EXIF block of an open Pillow image, without previews and without sizes; None if there is none to read."""
    tags = import_optional("PIL.Image").Exif()
    with suppress(Exception):  # a damaged block does not make the pixels unreadable
        if image.format == "TIFF":
            tags = image.getexif()
        elif raw := image.info.get("exif"):
            tags.load(raw)
        return _without_previews(tags, DESCRIPTION if image.format == "TIFF" else None)
    return None


def _without_previews(tags: Any, only: set[int] | None) -> bytes | None:
    kept = import_optional("PIL.Image").Exif()
    kept.update(
        {k: v for k, v in tags.items() if k not in {*LAYOUT, EXIF, GPS} and (only is None or k in only)}
    )
    for group in (EXIF, GPS):
        block = {k: v for k, v in tags.get_ifd(group).items() if not _may_hold_picture(k, v)}
        if block:
            kept.get_ifd(group).update(block)
    return bytes(kept.tobytes()) if len(kept) or kept.get_ifd(EXIF) or kept.get_ifd(GPS) else None


def _may_hold_picture(tag: int, value: Any) -> bool:
    return tag in PIXEL_SIZES or (tag == MAKER_NOTE and (not isinstance(value, bytes) or JPEG_START in value))


def read_orientation(exif: bytes | None) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none to read."""
    tags = import_optional("PIL.Image").Exif()
    with suppress(Exception):
        tags.load(exif or b"")
        value = tags.get(ORIENTATION, 1)
        return value if value in TURNS else 1
    return 1
