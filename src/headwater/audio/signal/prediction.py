"""Linear prediction of the gaps of a signal: both sides together in short ones, each fading out in longer ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from headwater.audio.io.channels import Signal, find_runs
from headwater.audio.io.times import most_frames_within
from headwater.audio.signal.autoregression import bridge_gap, interpolate


@dataclass(frozen=True)
class LinearPrediction:
    """How gaps are predicted; times in seconds. The benchmark audio_prediction chose what short gaps learn from.

    Parameters
    ----------
    memory
        What is learned from on each side of a longer gap.
    short_memories
        The same for short gaps, which are filled by the mean of three predictions: what lasts is learned from more of
        the recording, what changes from less.
    short
        The longest gap that both sides predict together; in a longer one each fades out.
    lags, lag_share, most_lags
        How far back a prediction of a short gap looks: a time, a share of its memory and a number of samples, of
        which the least counts.
    order
        The most samples that a longer gap's prediction looks back; far from the sides a long model rings.
    fewest
        The least samples on the shorter side with which both sides predict a gap together.
    densest
        The most samples of a gap near an end that are solved for together: memory grows with their square.
    fade
        After this a filling no longer differs by what it has to at its joint.
    """

    memory: float = 0.2
    short_memories: tuple[float, ...] = (0.2, 0.12, 0.08)
    short: float = 0.1
    lags: float = 0.0375
    lag_share: float = 0.3125
    most_lags: int = 2000
    order: int = 1000
    fewest: int = 16
    densest: int = 1000
    fade: float = 0.001


PREDICTION = LinearPrediction()


def predict_gaps(
    x: Signal,
    lost: NDArray[np.bool_],
    known: NDArray[np.bool_],
    rate: int,
    *,
    settings: LinearPrediction = PREDICTION,
) -> Signal:
    """The signal with linear prediction in its gaps, from first to last, and zero beyond the recording.

    Parameters
    ----------
    x
        The signal `[samples]`; what it has where nothing is known does not matter.
    lost, known
        Which samples are to be predicted, and which may be learned from, `[samples]`. Beyond the ends of the
        recording neither holds.
    rate
        In Hz.
    """
    x, there = np.where(known, x, 0.0), known.copy()
    for start, stop in find_runs(lost):
        tried = [
            predict_from_both_sides(x, there, (start, stop), m, rate, settings=settings)
            for m in settings.short_memories
            if stop - start <= most_frames_within(settings.short, rate)
        ]
        found = [z for z in tried if z is not None]
        if found:
            x[start:stop] = np.mean(found, axis=0)
        else:
            memory = round(settings.memory * rate)
            order = min(settings.order, memory // 6)
            x[start:stop] = bridge_gap(*_sides(x, there, (start, stop), memory), stop - start, order)
        there[start:stop] = True
    return x


def predict_from_both_sides(
    x: Signal,
    there: NDArray[np.bool_],
    gap: tuple[int, int],
    memory: float,
    rate: int,
    *,
    settings: LinearPrediction = PREDICTION,
) -> Signal | None:
    """A short gap, `[samples of it]`, as one model of both sides has it; None if one side has too little.

    Arguments as for `predict_gaps`; `memory` seconds of each side are learned from.
    """
    count = gap[1] - gap[0]
    left, right = _sides(x, there, gap, round(memory * rate))
    lags = round(min(settings.lags, settings.lag_share * memory) * rate)
    most = min(lags, settings.most_lags, (len(left) + count + len(right)) // 3)  # 3 times its order is needed
    shorter, longer = sorted((len(left), len(right)))
    if shorter < most and (longer < most or shorter < settings.fewest or count > settings.densest):
        return None
    way = slice(None, None, 1 if len(left) >= len(right) else -1)  # predicted from the longer side
    lost = np.repeat([False, True, False], [len(left), count, len(right)])
    near = np.concatenate([left, np.zeros(count), right])
    return np.asarray(interpolate(near[way], lost[way], most, iterations=2)[way][lost])


def carry_residual(
    x: Signal,
    lost: NDArray[np.bool_],
    known: NDArray[np.bool_],
    rate: int,
    unsure: int,
    *,
    settings: LinearPrediction = PREDICTION,
) -> Signal:
    """The residual of a flow carried into its gaps by linear prediction, with no jump at the joints.

    The `unsure` samples next to a gap may not continue what is before them, and prediction would make a burst of
    that. So it begins that far away; by what it differs there, the filling differs at the joint, and less and less
    for a millisecond. Other arguments as for `predict_gaps`.
    """
    wide = binary_dilation(lost, iterations=unsure) if unsure else lost
    y = predict_gaps(x, wide, known & ~wide, rate, settings=settings)
    off, reach = x - y, max(round(settings.fade * rate), 1)
    for start, stop in find_runs(lost):
        count = min(reach, stop - start)  # of a shorter gap all, so that it ends where the other side begins
        fade = np.cos(0.5 * np.pi * np.arange(count) / count) ** 2
        if start > 0 and known[start - 1]:
            y[start : start + len(fade)] += off[start - 1] * fade
        if stop < len(x) and known[stop]:
            y[stop - len(fade) : stop] += off[stop] * fade[::-1]
    return np.where(lost, y, x)


def _sides(x: Signal, there: NDArray[np.bool_], gap: tuple[int, int], memory: int) -> tuple[Signal, Signal]:
    """What is there next to a gap, at most `memory` samples before it and after it."""
    start, stop = gap
    left = _leading(there[max(start - memory, 0) : start][::-1])
    return x[start - left : start], x[stop : stop + _leading(there[stop : stop + memory])]


def _leading(known: NDArray[np.bool_]) -> int:
    """How many samples from the start are known."""
    return int(np.argmin(known)) if not known.all() else len(known)
