"""The channels of a recording as signals of their own: mid and side of two, else each channel; their seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.files import Samples

Signal = NDArray[np.float64]
"""Sound of one channel, or of mid or side, `[samples]`, or several of them; full scale is 1."""
SILENCE = 1e-5
"""A signal below this rms (-100 dB of full scale) is silent, and stays so: 16 bits end at -98 dB."""


def find_runs(marked: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The runs of True, int `[runs, 2]`: the first place of each, and the one after its last.

    >>> find_runs(np.array([False, True, True, False, True])).tolist()
    [[1, 3], [4, 5]]
    """
    return np.flatnonzero(np.diff(np.concatenate([[0], marked.astype(np.int8), [0]]))).reshape(-1, 2)


def seeds_for(seed: int, frame: int, signals: Iterable[int]) -> list[int]:
    """A seed for each signal of what begins at a frame; the same noise in mid and side would mute one channel."""
    return [int(np.random.SeedSequence([seed, frame, int(i)]).generate_state(1)[0]) for i in signals]


def to_mid_side(x: Samples) -> Samples:
    """The signals `[signals, frames]` of channels `[frames, channels]`: mid and side of two, else the channels.

    >>> to_mid_side(np.array([[1.0, 0.5]])).tolist()
    [[0.75], [0.25]]
    """
    if x.shape[1] == 2:
        return np.stack([(x[:, 0] + x[:, 1]) / 2, (x[:, 0] - x[:, 1]) / 2])
    return x.T


def from_mid_side(signals: Samples) -> Samples:
    """The channels `[frames, channels]` again; the inverse of `to_mid_side`."""
    if len(signals) == 2:
        return np.stack([signals[0] + signals[1], signals[0] - signals[1]], axis=1)
    return signals.T
