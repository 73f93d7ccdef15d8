"""Where a recording is clipped: its extremes, if runs of samples are as far out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.files import Recording


def find_peaks(
    recording: Recording, span: tuple[int, int] | None = None, *, run: int = 3, close: float = 1e-4
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The extremes of every channel, and whether it is clipped there.

    Parameters
    ----------
    recording
        It is read block by block.
    span
        The first frame to look at, and the one after the last; by default all.
    run
        So many samples in a row at an extreme are clipping.
    close
        Samples nearer to an extreme than this, relative to it, are at it.

    Returns
    -------
    peaks, clipped
        How far each channel goes below and above zero, full scale being 1, and whether there are runs, both
        `[channels, 2]`.
    """
    peaks = np.zeros((2, recording.channels))
    runs, before = np.zeros(peaks.shape, dtype=bool), np.zeros((2, 0, recording.channels))
    for _, raw in recording.blocks(*(span or (0, None))):
        x = np.concatenate([before, [-raw.astype(np.float64), raw.astype(np.float64)]], axis=1)
        before = x[:, max(x.shape[1] - run + 1, 0) :]  # a run may go on in the next block
        top = x.max(1)
        runs &= top <= peaks * (1 + close)
        peaks = np.maximum(peaks, top)
        if x.shape[1] >= run and (top >= peaks * (1 - close)).any():
            high = (x >= peaks[:, None] * (1 - close)) & (peaks[:, None] > 0)
            several = np.lib.stride_tricks.sliding_window_view(high, run, axis=1)
            runs |= np.any(several.all(-1), axis=1)
    return (peaks / 2.0**31 if recording.depth else peaks).T, runs.T
