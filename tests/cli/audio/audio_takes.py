"""What the tests of the audio commands share."""

import numpy as np
import soundfile

RATE = 8000


def chord(count, frequency):
    """A fundamental and two partials, softly beating, `[count]`."""
    t = np.arange(count) / RATE
    return sum(np.sin(2 * np.pi * k * frequency * t + k) / k for k in (1, 2, 3)) / 1.5


def samples(path):
    return soundfile.read(path, dtype="int32", always_2d=True)[0]


def same_outside(path, spans):
    """Whether the file is the take but for the spans (seconds), in which it differs."""
    a, b = samples("take.wav"), samples(path)
    lost = np.zeros(len(a), dtype=bool)
    for start, stop in spans:
        lost[round(start * RATE) : round(stop * RATE)] = True
    return np.array_equal(a[~lost], b[~lost]) and all(
        (a[round(s * RATE) : round(e * RATE)] != b[round(s * RATE) : round(e * RATE)]).any() for s, e in spans
    )
