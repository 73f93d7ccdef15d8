"""Read what people write: times as 12.4, 250ms, 1:02.5; gaps as 12.40-12.65; levels; frequencies."""

from __future__ import annotations

import math
import re

from headwater.errors import Misuse
from headwater.text import shorten

Span = tuple[float, float]
LONGEST = 1e7
"""Seconds, four months."""


def normalise(text: str) -> str:
    """In small letters, with decimal points for commas.

    >>> normalise(" 4,5 kHz")
    '4.5 khz'
    """
    return text.strip().lower().replace(",", ".")


def parse_seconds(text: str) -> float:
    """A time in seconds.

    >>> [parse_seconds(text) for text in ("12.4", "12,4", "250ms", "1:02.5", "0:01:02.5")]
    [12.4, 12.4, 0.25, 62.5, 62.5]

    Raises
    ------
    Misuse
        It is not a time, is negative, has minutes or seconds beyond 59, or is beyond `LONGEST`.
    """
    match = re.fullmatch(r"(?:(\d+):)?(?:(\d+):)?(\d+(?:\.\d*)?|\.\d+)\s*(s|ms)?", normalise(text))
    if match is None or (match[4] == "ms" and match[1]):
        raise Misuse(f"{shorten(text)!r} is not a time.", "Write seconds as in 12.4, 250ms or 1:02.5.")
    *higher, last = [float(p) for p in match.groups()[:3] if p is not None]
    if higher and (last >= 60 or any(p >= 60 for p in higher[1:])):
        raise Misuse(f"{shorten(text)!r} has 60 or more seconds or minutes.", "Write it like 1:02.5 or 62.5.")
    total = last * (0.001 if match[4] == "ms" else 1.0)
    for i, part in enumerate(reversed(higher)):
        total += part * 60.0 ** (i + 1)
    if total > LONGEST:
        what = f"The time {shorten(text)} is longer than any recording."
        raise Misuse(what, f"Give at most {LONGEST:,.0f} seconds.")
    return total


def most_frames_within(seconds: float, rate: int) -> int:
    """The most frames that an interval of `seconds` touches: it may begin and end between two frames.

    >>> most_frames_within(0.05, 44_100)
    2206
    """
    return math.ceil(seconds * rate) + 1


def parse_amplitude(text: str) -> float:
    """An amplitude, as a share of full scale or in dB of it.

    >>> [parse_amplitude(text) for text in ("0.5", "0,5", "-20dB")]
    [0.5, 0.5, 0.1]

    Raises
    ------
    Misuse
        It is not a number, or negative.
    """
    match = re.fullmatch(r"([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:e[-+]?\d+)?)\s*(db)?", normalise(text))
    value = -1.0 if match is None else float(match[1])
    if match is not None and match[2]:
        value = 10 ** (value / 20) if value < 6000 else math.inf  # beyond lies what a float cannot hold
    if not 0 <= value < math.inf:
        cure = "Write a share of full scale as in 0.01, or decibels as in -40dB."
        raise Misuse(f"{shorten(text)!r} is not a level.", cure)
    return value


def parse_hertz(text: str) -> float:
    """A frequency.

    >>> [parse_hertz(text) for text in ("4000", "4 kHz", "4,5kHz")]
    [4000.0, 4000.0, 4500.0]
    """
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*(k?)(?:hz)?", normalise(text))
    if match is None or not 0 < float(match[1]) < math.inf:
        raise Misuse(f"{shorten(text)!r} is not a frequency.", "Write it like 4000 or 4kHz.")
    return float(match[1]) * (1000 if match[2] else 1)


def parse_span(text: str) -> Span:
    """The start and end of a gap in seconds.

    >>> parse_span("12.40-12.65"), parse_span("1:02+250ms")
    ((12.4, 12.65), (62.0, 62.25))
    """
    text = text.strip().replace("\N{EN DASH}", "-")
    first, sign, second = next(
        (parts for parts in (text.partition("+"), text.partition("-")) if parts[1]), (text, "", "")
    )
    if not (first and sign and second):
        raise Misuse(
            f"{shorten(text)!r} is not a start and an end.", "Write them as in 12.40-12.65, or 12.4+250ms."
        )
    start = parse_seconds(first)
    stop = parse_seconds(second) + (start if sign == "+" else 0.0)
    if not stop > start:
        raise Misuse(f"The end of {text} lies before its start.", "Write the start first.")
    return start, stop
