"""Photos that ship for the demo: CC0 or in the public domain, see photos/LICENSES.md."""

from __future__ import annotations

from pathlib import Path

from headwater.errors import Misuse, suggest

FOLDER = Path(__file__).parent / "photos"


def names() -> list[str]:
    """The names of the photos.

    >>> names()
    ['astronaut', 'cat', 'coffee', 'rocket']
    """
    return sorted(file.stem for file in FOLDER.glob("*.png"))


def path(name: str) -> Path:
    """The file of the photo `name`, an 8-bit RGB PNG.

    Raises
    ------
    Misuse
        There is no such photo.

    Examples
    --------
    >>> path("cat").name
    'cat.png'
    >>> path("cart")
    Traceback (most recent call last):
    headwater.errors.Misuse: There is no photo 'cart'. Did you mean 'cat'?
    """
    if name not in names():
        raise Misuse(f"There is no photo {name!r}.", suggest(name, names()))
    return FOLDER / f"{name}.png"
