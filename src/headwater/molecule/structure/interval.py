"""A range of values, with an open end or none: what a target asks for where it is not a single value."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

from headwater.errors import Misuse


@dataclass(frozen=True)
class Interval:
    """The values from `low` to `high`, both included; an end that is infinite is open.

    Raises
    ------
    Misuse
        No value lies between the ends, one is NaN, or both are open.

    Examples
    --------
    >>> str(Interval(5.0, 6.0)), str(Interval(low=8.0)), str(Interval(high=3.5))
    ('5..6', '>8', '<3.5')
    """

    low: float = -inf
    high: float = inf

    def __post_init__(self) -> None:
        if not self.low < self.high:
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


def nearest_asked(asked: Asked, value: float) -> float:
    """The value that was asked for, of a range the one nearest to `value`."""
    return asked.nearest(value) if isinstance(asked, Interval) else asked
