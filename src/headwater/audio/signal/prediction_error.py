"""How far linear prediction errs: what it misses in stretches beside a gap that are as long, and are known.

Draws of a posterior share their prediction, whose error a spread over draws would lack. The error that it makes of a
known stretch beside the gap, of a random sign, is a draw of its error in the gap: a bootstrap that asks no model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.channels import Signal, find_runs
from headwater.audio.signal.join import hold_level
from headwater.audio.signal.prediction import predict_gaps


@dataclass(frozen=True)
class Stretches:
    """Which stretches are asked.

    Parameters
    ----------
    most
        Of one side of a gap.
    margin
        Seconds that are known on each side of a stretch, at least.
    """

    most: int = 4
    margin: float = 0.1


STRETCHES = Stretches()


def find_stretches(
    known: NDArray[np.bool_], gap: tuple[int, int], rate: int, *, settings: Stretches = STRETCHES
) -> list[tuple[int, int]]:
    """Stretches as long as a gap in the known runs before and after it, spread over each.

    Parameters
    ----------
    known
        Which samples are known, `[samples]`.
    gap
        Its first sample, and the one after its last.
    rate
        In Hz.

    Examples
    --------
    >>> known = np.ones(3000, dtype=bool)
    >>> known[1000:1200] = False
    >>> find_stretches(known, (1000, 1200), 1000)[:4]
    [(100, 300), (300, 500), (500, 700), (700, 900)]
    >>> known[:700] = False
    >>> find_stretches(known, (1000, 1200), 1000)[0]  # none before the gap
    (1300, 1500)
    """
    count, margin = gap[1] - gap[0], round(settings.margin * rate)
    found = []
    for start, stop in find_runs(known):
        if stop == gap[0] or start == gap[1]:
            first, last = start + margin, stop - margin - count
            if first <= last:
                places = np.unique(np.linspace(first, last, settings.most).round().astype(int))
                found += [(int(place), int(place) + count) for place in places]
    return found


def find_errors(
    x: Signal, known: NDArray[np.bool_], gap: tuple[int, int], rate: int, *, settings: Stretches = STRETCHES
) -> NDArray[np.float64]:
    """What prediction misses in each of the stretches beside a gap, `[stretches, samples of the gap]`.

    Parameters
    ----------
    x
        The signal `[samples]`; what it has where nothing is known does not matter.
    known, gap, rate
        As for `find_stretches`.

    Examples
    --------
    >>> known = np.ones(8000, dtype=bool)
    >>> known[4000:4400] = False
    >>> tone, noise = np.sin(0.3 * np.arange(8000)), np.random.default_rng(0).standard_normal(8000)
    >>> few, all_ = (float(np.std(find_errors(x, known, (4000, 4400), 16_000))) for x in (tone, noise))
    >>> few < 0.05, 0.9 < all_ < 1.3  # a tone is known, noise is not
    (True, True)
    """
    errors: list[Signal] = []
    for start, stop in find_stretches(known, gap, rate, settings=settings):
        lost = np.zeros(len(x), dtype=bool)
        lost[start:stop] = True
        there = known & ~lost
        held = hold_level(predict_gaps(x, lost, there, rate), there, rate)
        errors.append((x - held)[start:stop])
    return np.array(errors).reshape(len(errors), gap[1] - gap[0])
