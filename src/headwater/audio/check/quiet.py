"""The quietest part of a recording: what is there is most likely its noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.audio.io.channels import SILENCE
from headwater.audio.io.files import LOUDEST, Recording, as_float


def find_noise_alone(recording: Recording, below: float = 20.0) -> tuple[float, float] | None:
    """The quietest second, if it is so many dB softer than half of what sounds; else it may well be music."""
    span = find_quietest(recording)
    powers = measure_power(recording, 0.1)
    audible = powers[powers >= SILENCE**2]
    if not len(audible):
        return None
    inside = powers[round(span[0] / 0.1) : max(round(span[1] / 0.1), 1)].mean()
    return span if 10 * np.log10(np.median(audible) / max(inside, 1e-30)) >= below else None


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
    audible = measure_power(recording, step)
    count = round(seconds / step)
    if len(audible) <= count:
        return 0.0, recording.seconds
    audible[audible < SILENCE**2] = np.inf  # digital silence is no noise
    means = np.convolve(audible, np.full(count, 1 / count), "valid")
    first = int(np.argmin(means)) * size / recording.rate
    return round(first, 6), round(first + count * size / recording.rate, 6)


def measure_power(recording: Recording, step: float) -> NDArray[np.float64]:
    """The mean square over all channels of every `step` seconds, `[parts]`; what is not finite counts as zero."""
    size = max(round(step * recording.rate), 1)
    powers = list[float]()
    block = size * max((1 << 18) // (size * recording.channels), 1)
    with recording.open() as file:
        for start in range(0, recording.frames, block):
            raw = file.read(min(block, recording.frames - start), recording.dtype)
            x = as_float(np.where(np.abs(raw) < LOUDEST, raw, 0) if raw.dtype.kind == "f" else raw)
            whole = len(x) // size * size
            powers += np.square(x[:whole].reshape(-1, size, recording.channels)).mean((1, 2)).tolist()
    return np.array(powers)
