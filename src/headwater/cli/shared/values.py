"""What is written behind an option: noise levels, sizes of memory, lists of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.errors import Misuse
from headwater.text import shorten

UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30}


def parse_noise(text: str) -> float:
    """A noise std in the range [-1, 1], given in it or as grey levels of 0..255, "13/255".

    >>> parse_noise("0.1"), parse_noise("51/255")
    (0.1, 0.4)
    """
    grey = re.fullmatch(r"(.+)/255", text.strip())
    value = 2 * _number(grey[1], "--noise") / 255 if grey else _number(text, "--noise")
    if value < 0:
        raise Misuse(f"The noise level {shorten(text)} is negative.", "Give 0 or more, e.g. 0.1 or 13/255.")
    if value >= 2:
        cure = f"Write {shorten(text)}/255 for grey levels of 0..255." if not grey else "Give less."
        raise Misuse(f"A noise of {shorten(text)} is wider than the range [-1, 1].", cure)
    return value


def parse_whole(text: str) -> int:
    """A whole number, where cyclopts would round 1.5.

    >>> parse_whole("3")
    3
    """
    try:
        return int(text)
    except ValueError:  # Python reads no more than 4300 digits, in time that grows as their square
        what = f"{shorten(text)!r} is not a whole number."
        raise Misuse(what, "Give a whole number, e.g. 2.") from None


def parse_number(text: str) -> float:
    """A finite number.

    >>> parse_number("1e-3")
    0.001
    """
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Misuse(f"{shorten(text)!r} is not a number.", "Give one in digits, e.g. 2 or 0.5.")
    return value


def check_within(value: float, low: float, high: float, name: str, text: str) -> None:
    """Refuse a number below `low` or above `high`; the refusal names both.

    >>> check_within(10, 1, 9, "--count", "10")
    Traceback (most recent call last):
    headwater.errors.Misuse: --count is 10. Give 1 to 9.
    """
    if not low <= value <= high:
        raise Misuse(f"{name} is {shorten(text)}.", f"Give {_limit(low)} to {_limit(high)}.")


def _limit(number: float) -> str:
    return f"{number:,}" if isinstance(number, int) else f"{number:,.12g}"


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
        what = f"{shorten(text)!r} is not an amount of memory."
        raise Misuse(what, "Write it like 2GB, 500MB or 1.5GiB.")
    return min(_number(match[1], "--memory") * unit, 2.0**62)


@dataclass(frozen=True)
class NumberParser:
    """A reader of comma-separated numbers with these names, each within the limits.

    >>> NumberParser("HEIGHT,WIDTH", int)("48,64")
    (48, 64)
    """

    names: str
    kind: type = float
    limits: tuple[float, float] = (-1e9, 1e9)

    def __call__(self, text: str) -> tuple[Any, ...]:
        """The numbers of a text."""
        count = self.names.count(",") + 1
        parts = text.replace("x", ",").split(",")
        try:
            values = tuple(self.kind(part) for part in parts)
        except ValueError:
            values = ()
        if len(values) != count or not all(math.isfinite(v) for v in values):
            example = ",".join(str(8 * (i + 1)) for i in range(count))
            what = f"{shorten(text)!r} is not {self.names}."
            raise Misuse(what, f"Give {count} numbers with commas, e.g. {example}.")
        for name, value, part in zip(self.names.split(","), values, parts, strict=True):
            check_within(value, *self.limits, f"{name} in {shorten(text)!r}", part)
        return values


def parse_range(text: str) -> tuple[float, float]:
    """The stored values of black and white, which differ.

    >>> parse_range("0,1")
    (0.0, 1.0)
    """
    black, white = NumberParser("BLACK,WHITE")(text)
    if black == white:
        raise Misuse(f"Black and white are both {black:g}.", "Give two values, e.g. 0,1.")
    return black, white


@dataclass(frozen=True)
class Converter:
    """What cyclopts calls for an option of one word that `read` understands, of a number within the limits."""

    read: Callable[[str], Any]
    limits: tuple[float, float] | None = None

    def __call__(self, _type: Any, tokens: Sequence[Any]) -> Any:
        """The value of an option."""
        token = tokens[0]
        value = self.read(token.value)
        if self.limits is not None:
            check_within(value, *self.limits, token.keyword or "The number", token.value)
        return value


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        cure = "Write it like 0.1, or 13/255 for grey levels."
        raise Misuse(f"{shorten(text)!r} is not a number for {what}.", cure)
    return value
