"""Rhythms of a drum kit: a bar of sixteenths drawn at random, repeated with small changes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

KITS = (0, 8, 16, 24, 25, 32, 40)
"""Kits of a General MIDI soundfont: standard, room, power, electronic, TR-808, jazz, brush."""
STEPS = 16
"""Sixteenths of a bar."""
COMMON = {36: "x...x...x...x...", 38: "....x.......x...", 42: "x.x.x.x.x.x.x.x."}
"""Bass drum, snare and closed hi-hat: where they mostly are."""
OTHERS = (35, 37, 39, 40, 41, 43, 44, 45, 46, 47, 48, 50, 51, 53, 54, 56, 62, 63, 64, 69, 70, 75, 76)
"""Rim shot, clap, toms, pedal and open hi-hat, ride, tambourine, cowbell, congas, shaker, claves, woodblock."""


@dataclass(frozen=True)
class Rhythm:
    """How a kit plays; chosen by hand.

    Parameters
    ----------
    changed
        How many of the steps of a bar are not those of the pattern.
    slowest, fastest
        Seconds of a quarter between which drums play; others are halved or doubled.
    """

    changed: float = 0.04
    slowest: float = 0.8
    fastest: float = 0.35


RHYTHM = Rhythm()


@dataclass(frozen=True)
class Stroke:
    """A stroke: its onset in seconds, MIDI pitch and velocity."""

    onset: float
    pitch: int
    velocity: int


def draw_strokes(
    quarter: float, seconds: float, r: np.random.Generator, rhythm: Rhythm = RHYTHM
) -> list[Stroke]:
    """The strokes of `seconds` of rhythm, whose quarters last `quarter` seconds.

    >>> played = draw_strokes(0.5, 8.0, np.random.default_rng(0))
    >>> all(0 <= s.onset < 8 and 1 <= s.velocity <= 127 for s in played)
    True
    """
    while quarter > rhythm.slowest:
        quarter /= 2
    while quarter < rhythm.fastest:
        quarter *= 2
    step, loudness = quarter / 4, float(r.uniform(60, 110))
    found: list[Stroke] = []
    for pitch, bar in draw_pattern(r).items():
        part = float(r.uniform(-25, 10))
        for start in np.arange(0.0, seconds, STEPS * step):
            for k in np.flatnonzero(bar ^ (r.random(STEPS) < rhythm.changed)):
                onset = float(start + k * step + abs(r.normal(0, 0.004)))
                accent = 12.0 if k % 4 == 0 else 0.0
                velocity = int(np.clip(loudness + part + accent + r.normal(0, 6), 10, 127))
                if onset < seconds:
                    found.append(Stroke(onset, pitch, velocity))
    return sorted(found, key=lambda s: s.onset)


def draw_pattern(r: np.random.Generator) -> dict[int, NDArray[np.bool_]]:
    """By pitch, at which sixteenths of a bar a drum is struck."""
    found = {}
    for pitch, usual in COMMON.items():
        likely = np.where(np.array(list(usual)) == "x", 0.85, 0.1)
        if r.random() < 0.85:
            found[pitch] = r.random(STEPS) < likely
    for pitch in r.choice(OTHERS, int(r.integers(1 if found else 2, 5)), replace=False):
        found[int(pitch)] = r.random(STEPS) < r.uniform(0.05, 0.4)
    return found
