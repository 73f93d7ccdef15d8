"""What is written behind an option: noise levels, sizes of memory, lists of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from headwater.errors import Misuse

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_noise(text: str) -> float:
    """A noise std in the range [-1, 1], given in it or as grey levels of 0..255, "13/255".

    >>> parse_noise("0.1"), parse_noise("51/255")
    (0.1, 0.4)
    """
    grey = re.fullmatch(r"(.+)/255", text.strip())
    value = 2 * _number(grey[1], "--noise") / 255 if grey else _number(text, "--noise")
    if value < 0:
        raise Misuse(f"The noise level {text} is negative.", "Give 0 or more, e.g. 0.1 or 13/255.")
    if value >= 2:
        cure = f"Write {text}/255 for grey levels of 0..255." if not grey else "Give less."
        raise Misuse(f"A noise of {text} is wider than the range [-1, 1].", cure)
    return value


def parse_whole(text: str) -> int:
    """A whole number, where cyclopts would round 1.5.

    >>> parse_whole("3")
    3
    """
    try:
        return int(text)
    except ValueError:
        raise Misuse(f"{text!r} is not a whole number.", "Give a whole number, e.g. 2.") from None


def parse_level(text: str) -> float:
    """A grey level in the range [-1, 1], given in it or as one of 0..255, "200/255".

    >>> parse_level("0.5"), parse_level("255/255")
    (0.5, 1.0)
    """
    grey = re.fullmatch(r"(.+)/255", text.strip())
    return 2 * _number(grey[1], "a level") / 255 - 1 if grey else _number(text, "a level")


def parse_memory(text: str) -> float:
    """Bytes from "2GB", "500MB" or "1.5GiB".

    >>> parse_memory("2GB"), parse_memory("1 KiB")
    (2000000000.0, 1024.0)
    """
    match = re.fullmatch(r"\s*([0-9.eE+]+)\s*([A-Za-z]*)\s*", text)
    unit = UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or not _number(match[1], "--memory") > 0:
        raise Misuse(f"{text!r} is not an amount of memory.", "Write it like 2GB, 500MB or 1.5GiB.")
    return _number(match[1], "--memory") * unit


def number_parser(names: str, kind: type = float) -> Callable[[str], tuple[Any, ...]]:
    """A reader of comma-separated numbers with these names.

    >>> number_parser("HEIGHT,WIDTH", int)("48,64")
    (48, 64)
    """
    count = names.count(",") + 1

    def read(text: str) -> tuple[Any, ...]:
        try:
            values = tuple(kind(part) for part in text.replace("x", ",").split(","))
        except ValueError:
            values = ()
        if len(values) != count or not all(math.isfinite(v) for v in values):
            example = ",".join(str(8 * (i + 1)) for i in range(count))
            raise Misuse(f"{text!r} is not {names}.", f"Give {count} numbers with commas, e.g. {example}.")
        return values

    return read


def as_converter(read: Callable[[str], Any]) -> Callable[[Any, Sequence[Any]], Any]:
    """What cyclopts calls for an option of one word that `read` understands."""
    return lambda _type, tokens: read(tokens[0].value)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Misuse(f"{text!r} is not a number for {what}.", "Write it like 0.1, or 13/255 for grey levels.")
    return value
