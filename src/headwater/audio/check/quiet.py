"""The quietest part of a recording: what is there is most likely its noise."""

from __future__ import annotations

import numpy as np

from headwater.audio.io.channels import SILENCE
from headwater.audio.io.files import LOUDEST, Recording, as_float


def find_quietest(recording: Recording, seconds: float = 1.0, *, step: float = 0.1) -> tuple[float, float]:
    """From when to when the recording is softest, but not silent, for so many seconds; all of it if it is shorter.

    Parameters
    ----------
    recording
        It is read block by block; samples that are not finite count as zero.
    seconds
        How long the part is.
    step
        It begins at a multiple of this.
    """
    size = max(round(step * recording.rate), 1)
    powers = list[float]()
    block = size * max((1 << 18) // (size * recording.channels), 1)
    with recording.open() as file:
        for start in range(0, recording.frames, block):
            raw = file.read(min(block, recording.frames - start), recording.dtype)
            x = as_float(np.where(np.abs(raw) < LOUDEST, raw, 0) if raw.dtype.kind == "f" else raw)
            whole = len(x) // size * size
            powers += np.square(x[:whole].reshape(-1, size, recording.channels)).mean((1, 2)).tolist()
    count = round(seconds / step)
    if len(powers) <= count:
        return 0.0, recording.seconds
    audible = np.array(powers)
    audible[audible < SILENCE**2] = np.inf  # digital silence is no noise
    means = np.convolve(audible, np.full(count, 1 / count), "valid")
    first = int(np.argmin(means)) * size / recording.rate
    return round(first, 6), round(first + count * size / recording.rate, 6)
