"""Clicks and scratches: a few milliseconds that the sound on neither side explains, while it goes on unchanged.

Linear prediction is fitted to short frames of the recording and run forwards and backwards over it; a click stands
out of the error of both (Vaseghi and Rayner, IEE Proc. I 137, 1990; Godsill and Rayner, Digital Audio Restoration,
1998, chapter 5). So does the beginning of a note. What tells them apart is what follows: behind a click the sound
goes on as before. Each candidate is therefore interpolated from both sides, and the error of that is compared with
the errors of places beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, median_filter

from headwater.audio.check.flats import Runs, as_runs, join_runs
from headwater.audio.io.channels import Signal, find_runs
from headwater.audio.signal.autoregression import burg, solve_for_lost


@dataclass(frozen=True)
class ClickSettings:
    """How clicks are found; times in seconds.

    Parameters
    ----------
    frame
        One prediction filter is fitted to so much.
    order
        Of the filter, at most.
    threshold
        How far the error of both directions exceeds its level around a click, in standard deviations.
    level
        The level is that of so much around.
    join
        What exceeds the threshold within this is one click.
    core
        A click is where the error is at least this share of its greatest.
    longest
        Of a click; what is longer is music.
    context
        How much is fitted to on each side of a candidate.
    beside, apart
        The largest error of prediction in a click exceeds all others within so many seconds this many times, in both
        directions, but for what rings: a voice is a train of pulses, each of which stands out of what is between.
    excess
        The error of interpolation in a click exceeds those at places beside it this many times.
    evidence
        Both together do: the least product of `excess` and the mean of `apart` (chosen on recordings and synthetic
        voices with and without damage; the benchmark audio_check has others).
    faintest
        The least rms of what a click adds, full scale being 1.
    """

    frame: float = 0.04
    order: int = 32
    threshold: float = 7.0
    level: float = 0.05
    join: float = 0.0008
    core: float = 0.1
    longest: float = 0.0055
    context: float = 0.025
    beside: float = 0.025
    apart: float = 2.0
    excess: float = 0.8
    evidence: float = 18.0
    faintest: float = 3e-4


CLICKS = ClickSettings()


def find_clicks(x: Signal, rate: int, ignored: Runs | None = None, settings: ClickSettings = CLICKS) -> Runs:
    """The clicks of a signal `[frames]`, first frames and those after the last, `[clicks, 2]`.

    Parameters
    ----------
    x, rate
        The signal, full scale 1, and its rate in Hz.
    ignored
        Runs of other damage: nothing is looked for within a millisecond of them.
    """
    kept, beside = [], round(0.002 * rate)
    for (a, b), apart in zip(*find_candidates(x, rate, settings), strict=True):
        if ignored is not None and ((ignored[:, 0] < b + beside) & (ignored[:, 1] > a - beside)).any():
            continue
        if b - a <= settings.longest * rate:
            more = excess(x, int(a), int(b), rate, settings)
            if more > settings.excess and more * apart > settings.evidence:
                edge = (b - a) // 5  # its ends are too faint to stand out
                kept.append(np.array((max(a - edge, 0), min(b + edge, len(x)))))
    return as_runs(kept)


def find_candidates(x: Signal, rate: int, settings: ClickSettings = CLICKS) -> tuple[Runs, list[float]]:
    """Where the errors of prediction in both directions are far above all around, and how far (a factor)."""
    size = max(round(settings.frame * rate), 64)
    if len(x) < 4 * size:
        return as_runs([]), []
    order = int(np.clip(rate / 1400, 8, settings.order))
    ahead, back = prediction_errors(x, size, order)
    level = max(round(settings.level * rate), 16)
    strengths = [np.abs(error) / noise_level(error, level) for error in (ahead, back)]
    marked = np.ones(len(x), dtype=bool)
    for strength in strengths:  # a click rings forwards in one error, and backwards in the other
        marked &= maximum_filter1d(strength > settings.threshold, 2 * (round(0.0002 * rate) // 2) + 1)
    runs = join_runs(find_runs(marked), round(settings.join * rate))
    runs = as_runs(shrink(strengths, run, settings.core) for run in runs)
    beside, ring = round(settings.beside * rate), order + round(settings.join * rate)
    apart = np.array([[how_far_apart(s, run, ring, beside) for s in strengths] for run in runs]).reshape(
        -1, 2
    )
    kept = apart.min(1) > settings.apart
    return runs[kept], np.sqrt(apart[kept].prod(1)).tolist()


def shrink(strengths: list[Signal], run: NDArray[np.intp], core: float) -> NDArray[np.intp]:
    """The part of a run from where both errors are first near their greatest to where they are last."""
    a, b = run
    there = [np.flatnonzero(s[a:b] >= core * s[a:b].max()) for s in strengths]
    # the forward error begins with the click, the backward error ends with it
    first, last = min(t[0] for t in there), max(t[-1] for t in there)
    return np.array((a + first, a + last + 1))


def how_far_apart(strength: Signal, run: NDArray[np.intp], ring: int, beside: int) -> float:
    """How many times the error in a run exceeds all around it, but for what rings."""
    a, b = run
    left, right = strength[max(a - beside, 0) : max(a - ring, 0)], strength[b + ring : b + beside]
    return float(strength[a:b].max() / max(left.max(initial=1.0), right.max(initial=1.0)))


def noise_level(error: Signal, size: int) -> Signal:
    """The standard deviation around each sample, from medians, which leave clicks and the beginnings of notes out."""
    part = max(size // 8, 4)
    count = -(-len(error) // part)
    parts = np.abs(np.pad(error, (0, count * part - len(error)), mode="edge")).reshape(count, part)
    level = median_filter(np.median(parts, axis=1), 17, mode="nearest") / 0.6745
    return np.repeat(level, part)[: len(error)] + 1e-9


def prediction_errors(x: Signal, size: int, order: int) -> tuple[Signal, Signal]:
    """The errors of linear prediction forwards and backwards `[frames]`, one filter in `size` samples."""
    count = -(-len(x) // size)
    padded = np.pad(
        x, (size, (count + 1) * size - len(x)), mode="reflect" if len(x) > 2 * size else "constant"
    )
    windows = sliding_window_view(padded, 2 * size)[size // 2 :: size][:count] * np.hanning(2 * size)
    own = fit_filters(windows, order)
    frames = sliding_window_view(padded, size)
    # damage bends the filter of its own frame, which then explains the damage and no longer the sound
    near = [own[np.clip(np.arange(count) + i, 0, count - 1)] for i in (0, -2, 2)]
    errors = np.stack([_run_both_ways(filters, frames, size) for filters in near])
    best = np.median(np.abs(errors), axis=-1).sum(1).argmin(0)
    ahead, back = errors[best, :, np.arange(count)].transpose(1, 0, 2)
    return ahead.ravel()[: len(x)], back.ravel()[: len(x)]


def _run_both_ways(
    filters: NDArray[np.float64], frames: NDArray[np.float64], size: int
) -> NDArray[np.float64]:
    """The errors of filters `[count, order + 1]` forwards and backwards, `[2, count, size]`."""
    count, errors = len(filters), np.zeros((2, len(filters), size))
    for k in range(filters.shape[1]):
        a = filters[:, k : k + 1]
        errors[0] += a * frames[size - k :: size][:count]
        errors[1] += a * frames[size + k :: size][:count]
    return errors


def fit_filters(windows: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Prediction error filters 1, a_1 ... a_p of windowed frames, `[frames, order + 1]`: Levinson's recursion."""
    n = windows.shape[1]
    power = np.abs(np.fft.rfft(windows, 2 * n)) ** 2
    r = np.fft.irfft(power)[:, : order + 1]
    r[:, 0] = r[:, 0] * (1 + 1e-7) + 1e-12
    a = np.zeros((len(windows), order + 1))
    a[:, 0], error = 1.0, r[:, 0].copy()
    for m in range(1, order + 1):
        k = -np.sum(a[:, :m] * r[:, m:0:-1], axis=1) / error
        a[:, : m + 1] += k[:, None] * a[:, m::-1]
        error *= np.maximum(1 - k**2, 1e-12)
    return a


def excess(x: Signal, a: int, b: int, rate: int, settings: ClickSettings = CLICKS) -> float:
    """How many times the error of interpolating [a, b) from both sides exceeds that at places beside it."""
    width, context = b - a, max(round(settings.context * rate), 4 * (b - a))
    first, last = max(a - context, 0), min(b + context, len(x))
    order = min(int(np.clip(rate / 1400, 8, settings.order)), (a - first) // 3, (last - b) // 3)
    if order < 4:
        return 0.0
    near, place = x[first:last] - x[first:last].mean(), a - first
    lost = np.zeros(len(near), dtype=bool)
    lost[place : place + width] = True
    filter_ = burg(np.concatenate([near[:place], near[place + width :]]), order)
    step = max(width, round(0.001 * rate))
    starts = [place + i * step for i in range(-6, 7) if abs(i) > 1]
    inside = [s for s in starts if order < s and s + width + order < len(near)]
    if len(inside) < 4:
        return 0.0
    clean = near.copy()
    mine = np.arange(place, place + width)
    clean[mine] = solve_for_lost(filter_, np.where(lost, 0.0, near), mine)
    error = float(np.sqrt(np.mean(np.square(near[mine] - clean[mine]))))
    if error < settings.faintest:
        return 0.0
    others = [interpolation_error(filter_, clean, s, width) for s in inside]
    return error / max(others)


def interpolation_error(filter_: Signal, x: Signal, start: int, width: int) -> float:
    """The rms error of interpolating `width` samples of a signal from both sides."""
    places = np.arange(start, start + width)
    known = x.copy()
    known[places] = 0.0
    return float(np.sqrt(np.mean(np.square(x[places] - solve_for_lost(filter_, known, places)))))
