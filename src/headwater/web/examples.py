"""Files that ship with Headwater, for who has none at hand."""

from __future__ import annotations

from pathlib import Path

import headwater
from headwater.errors import Misuse, suggest
from headwater.web import offers

ROOT = Path(headwater.__file__).parent
EXAMPLES = {
    **{
        name: (f"image/io/photos/{name}.png", offers.PICTURE)
        for name in ("astronaut", "cat", "coffee", "rocket")
    },
    "guitar": ("audio/io/recordings/guitar.flac", offers.RECORDING),
}
"""Name: where its file is in the package, and its kind. Their licences lie beside them."""


def list_examples() -> list[dict[str, str]]:
    """The names and kinds of the examples."""
    return [{"name": name, "kind": kind} for name, (_, kind) in EXAMPLES.items()]


def find_example(name: str) -> tuple[Path, str]:
    """The file of an example, and its kind.

    Raises
    ------
    Misuse
        There is none of this name.
    """
    if name not in EXAMPLES:
        raise Misuse(f"There is no example {name[:40]!r}.", suggest(name[:40], EXAMPLES))
    file, kind = EXAMPLES[name]
    return ROOT / file, kind
