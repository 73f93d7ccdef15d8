"""Runs of samples that do not move: plateaus, where they are extreme, and drop-outs, with sound on both sides.

Quiet passages, slow waves and fades into silence have such runs as well. A run is damage only if the sound beside it
moves: a peak that was cut off would have risen by about slope x length / 4 above the plateau (the height of a
parabola with these slopes at its ends).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.channels import Signal, find_runs

Runs = NDArray[np.intp]
"""The first frame of each run and the one after its last, `[runs, 2]`."""


@dataclass(frozen=True)
class FlatSettings:
    """What counts as flat; times in seconds, steps in units of the tolerance.

    Parameters
    ----------
    fewest
        Samples of a clipped run.
    shortest, longest, samples
        Of a drop-out: seconds, and the fewest samples, as shorter runs are also chance in soft noise.
    moves
        How far a sound moves from sample to sample beside a drop-out, and how high a cut peak would have risen.
    beside
        How much is looked at on both sides of a drop-out.
    around
        A clipped run is the extreme of so much on both sides, and a drop-out is not.
    most
        The share of the signal in drop-outs above which they are its nature: gated drums, square waves.
    """

    fewest: int = 3
    shortest: float = 0.0003
    longest: float = 2.0
    samples: int = 12
    moves: float = 8.0
    beside: float = 0.001
    around: float = 0.02
    most: float = 0.2


FLAT = FlatSettings()


def find_flats(x: Signal, step: float, settings: FlatSettings = FLAT) -> Runs:
    """The runs of a signal `[frames]` in which each sample is within 1.1 steps of quantisation of the next."""
    moved = np.abs(np.diff(x))
    runs = find_runs(moved <= 1.1 * step) + np.array([0, 1])
    long = runs[:, 1] - runs[:, 0] >= settings.fewest
    return as_runs(runs[long & (runs[:, 0] >= 2) & (runs[:, 1] <= len(x) - 2)])


def find_plateaus(x: Signal, runs: Runs, rate: int, step: float, settings: FlatSettings = FLAT) -> Runs:
    """Those flat runs `[runs, 2]` that are cut-off peaks.

    What is beside them rises to them, and nothing around is further out.
    """
    cut = runs[have_risen(x, runs, step, settings)]
    return as_runs(run for run in cut if is_extreme(x, run, round(settings.around * rate), step))


def find_dropouts(x: Signal, runs: Runs, rate: int, step: float, settings: FlatSettings = FLAT) -> Runs:
    """Those flat runs `[runs, 2]` that are zeros or a held sample amid the sound.

    Parameters
    ----------
    x, rate
        The signal `[frames]`, full scale 1, and its rate in Hz.
    runs
        Where it is flat, without plateaus of clipping.
    step
        The step of its quantisation.
    """
    moved = np.abs(np.diff(x, prepend=x[:1], append=x[-1:]))
    length = runs[:, 1] - runs[:, 0]
    right = (length >= max(settings.shortest * rate, settings.samples)) & (length <= settings.longest * rate)
    beside, reach = max(round(settings.beside * rate), 4), round(settings.around * rate)
    lost = as_runs(
        run
        for run in runs[right]
        if has_sound_beside(moved, run, beside, settings.moves * step)
        and np.ptp(x[slice(*run)]) <= 1.6 * step
        and not is_extreme(x, run, reach, step)
    )
    return lost if (lost[:, 1] - lost[:, 0]).sum() <= settings.most * len(x) else lost[:0]


def as_runs(found: Iterable[NDArray[np.intp]]) -> Runs:
    """Runs as one array, `[runs, 2]`."""
    return np.array(list(found), dtype=np.intp).reshape(-1, 2)


def have_risen(x: Signal, runs: Runs, step: float, settings: FlatSettings = FLAT) -> NDArray[np.bool_]:
    """Which runs are reached and left at a slope that would have led far beyond them, `[runs]`."""
    a, b = runs.T
    sign = np.where(x[a] > 0, 1.0, -1.0)
    rise, fall = sign * (x[a - 1] - x[a - 2]), sign * (x[b] - x[b + 1])
    height = 0.25 * (b - a) * 0.5 * (rise + fall)
    found = (np.minimum(rise, fall) > 0) & (height > settings.moves * step) & (np.abs(x[a]) > 100 * step)
    return np.asarray(found)


def is_extreme(x: Signal, run: NDArray[np.intp], reach: int, step: float) -> bool:
    """Whether nothing around a run lies further out."""
    a, b = run
    sign, level = (1.0 if x[a] > 0 else -1.0), x[a:b].mean()
    highest = float((sign * x[max(a - reach, 0) : b + reach]).max())
    return highest <= float(sign * level + 1.6 * step)


def has_sound_beside(moved: Signal, run: NDArray[np.intp], beside: int, least: float) -> bool:
    """Whether the sound moves by at least so much from sample to sample, right before and right after a run."""
    a, b = run
    before, after = moved[max(a - beside, 1) : a + 1], moved[b : b + beside]
    return min(len(before), len(after)) >= 4 and bool(min(before.mean(), after.mean()) >= least)


def join_runs(runs: Runs, apart: int) -> Runs:
    """The runs; those that lie no further apart than this become one."""
    if len(runs) < 2:
        return runs
    close = runs[1:, 0] - runs[:-1, 1] <= apart
    return np.stack([runs[np.r_[True, ~close], 0], runs[np.r_[~close, True], 1]], axis=1)


def are_near(runs: Runs, others: Runs, by: int) -> NDArray[np.bool_]:
    """Which runs lie nearer than this to one of the others, which come in order and do not overlap, `[runs]`."""
    if not len(others):
        return np.zeros(len(runs), dtype=bool)
    first = np.searchsorted(others[:, 1], runs[:, 0] - by, side="right")
    inside = first < len(others)
    return np.asarray(inside & (others[np.minimum(first, len(others) - 1), 0] < runs[:, 1] + by))
