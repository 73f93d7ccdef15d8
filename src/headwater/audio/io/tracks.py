"""The channels of a recording as problems of their own: mid and side of two, else each channel; their seeds."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.files import Samples

Track = NDArray[np.float64]
"""Sound of one channel, or of mid or side, `[samples]`, or several of them; full scale is 1."""
SILENCE = 1e-5
"""A stretch below this rms (-100 dB of full scale) is silent, and stays so."""


def gaps_of(lost: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The runs of lost samples or frames, `[gaps, 2]`: the first, and the one after the last.

    >>> gaps_of(np.array([False, True, True, False, True])).tolist()
    [[1, 3], [4, 5]]
    """
    return np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]]))).reshape(-1, 2)


def seeds_of(seed: int, place: int, tracks: Iterable[int]) -> list[int]:
    """A seed for every track of a stretch: with the same noise in mid and side one channel would stay empty."""
    return [int(np.random.SeedSequence([seed, place, int(t)]).generate_state(1)[0]) for t in tracks]


def to_tracks(x: Samples) -> Samples:
    """What is restored, `[tracks, frames]`: mid and side of two channels, else the channels."""
    if x.shape[1] == 2:
        return np.stack([(x[:, 0] + x[:, 1]) / 2, (x[:, 0] - x[:, 1]) / 2])
    return x.T


def from_tracks(tracks: Samples) -> Samples:
    """The channels `[frames, channels]` again."""
    if len(tracks) == 2:
        return np.stack([tracks[0] + tracks[1], tracks[0] - tracks[1]], axis=1)
    return tracks.T
