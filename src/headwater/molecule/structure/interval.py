"""What a target asks for: a value, or a range with an open end or none; and how a user writes it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, isfinite

from headwater.errors import Misuse
from headwater.molecule.structure.units import (
    UNITS,
    format_quantity,
    parse_number,
    read_quantity,
)
from headwater.text import shorten


@dataclass(frozen=True)
class Interval:
    """The values from `low` to `high`, both included; an end that is infinite is open.

    Parameters
    ----------
    low, high
        The ends, in the unit of the property: eV for a gap, D for a dipole moment ... (see `Target`).

    Raises
    ------
    Misuse
        The ends are in the wrong order, one is NaN, or both are open.

    Examples
    --------
    >>> import headwater as hw
    >>> str(hw.molecule.Interval(5.0, 6.0)), str(hw.molecule.Interval(low=8.0)), str(hw.molecule.Interval(high=3.5))
    ('5..6', '>8', '<3.5')
    """

    low: float = -inf
    high: float = inf

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise Misuse(f"No value is between {self.low:g} and {self.high:g}.", "Give the lower end first.")
        if not (isfinite(self.low) or isfinite(self.high)):
            raise Misuse("A range that is open at both ends asks for nothing.", "Give one end at least.")

    def __str__(self) -> str:
        if not isfinite(self.high):
            return f">{self.low:g}"
        return f"<{self.high:g}" if not isfinite(self.low) else f"{self.low:g}..{self.high:g}"

    def overlaps(self, low: float, high: float) -> bool:
        """Whether a value from `low` to `high` is in the range."""
        return self.low <= high and low <= self.high

    def nearest(self, value: float) -> float:
        """The value of the range that is nearest.

        >>> Interval(5.0, 6.0).nearest(7.5)
        6.0
        """
        return min(max(value, self.low), self.high)


Asked = float | Interval
"""What one molecule is asked for: a value, or a range of values."""


def as_interval(asked: Asked) -> Interval:
    """A range; of a single value one from it to it."""
    return asked if isinstance(asked, Interval) else Interval(asked, asked)


def find_error(asked: Asked, value: float) -> float:
    """|value - asked|; of a range the distance from it, 0 inside.

    >>> find_error(5.0, 5.5), find_error(Interval(5.0, 6.0), 5.5)
    (0.5, 0.0)
    """
    return abs(value - as_interval(asked).nearest(value))


def format_asked(property: str, asked: Asked) -> str:
    """What was asked for, with its unit.

    >>> format_asked("gap", 5.0), format_asked("gap", Interval(5.0, 6.0)), format_asked("qed", Interval(low=0.6))
    ('5.000 eV', '5..6 eV', '>0.6')
    """
    if not isinstance(asked, Interval):
        return format_quantity(property, asked)
    return f"{asked} {UNITS.get(property, '')}".rstrip()


def read_target(property: str, text: str) -> Asked:
    """What is asked of a property, from a value with a unit or a range of values: "5..6eV", ">8eV", "<3eV".

    >>> read_target("gap", "5eV"), str(read_target("gap", "5..6 eV")), str(read_target("mu", "> 2D"))
    (5.0, '5..6', '>2')

    Raises
    ------
    Misuse
        As `read_quantity`; or the range is empty.
    """
    return _read_range(text, lambda part: read_quantity(property, part), f"--{property}")


SCORES = {"qed": (0.0, 1.0), "sa": (1.0, 10.0)}
"""The scores that have ends, by definition (Bickerton et al. 2012; Ertl & Schuffenhauer 2009)."""


def read_number(name: str, text: str) -> Asked:
    """What is asked of a number without a unit, as `read_target`.

    >>> str(read_number("qed", ">0.6")), read_number("logp", "-1.5")
    ('>0.6', -1.5)
    """
    ends = SCORES.get(name, (-math.inf, math.inf))

    def read(part: str) -> float:
        match = parse_number(part)
        value = math.nan if match is None or match[2] else float(match[1])
        if value < ends[0] or value > ends[1]:
            what = f"--{name} goes from {ends[0]:g} to {ends[1]:g}, and {shorten(part.strip())} is outside."
            raise Misuse(what, "Give a value or a range in it.")
        if match is None or match[2] or not isfinite(float(match[1])):
            cure = "Write a number or a range, as in 0.6, 0.5..0.7 or '>0.6'."
            raise Misuse(f"--{name} {shorten(text.strip())} is not a number without a unit.", cure)
        return float(match[1])

    return _read_range(text, read, f"--{name}")


def _read_range(text: str, read: Callable[[str], float], option: str) -> Asked:
    """A value that `read` understands, or a range of two, whose unit may stand at the second one only."""
    plain = text.strip().replace("\u2265", ">").replace("\u2264", "<").replace("\u2026", "..")
    if plain[:1] in ("<", ">"):
        value = read(plain[1:].removeprefix("="))
        return Interval(low=value) if plain[0] == ">" else Interval(high=value)
    low, dots, high = plain.partition("..")
    if not dots:
        return read(plain)
    first, last = parse_number(low), parse_number(high)
    without_unit = first is not None and last is not None and not first[2]
    ends = read(low + last[2] if without_unit and last else low), read(high)
    if not ends[0] < ends[1]:
        raise Misuse(
            f"{option} {shorten(plain)} has no value between its ends.",
            "Give the lower one first, as in 5..6eV.",
        )
    return Interval(*ends)
