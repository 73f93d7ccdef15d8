"""Other sampling rates, sample 0 at sample 0: of signals in numpy and torch, of whole files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.audio.io.channels import Signal
from headwater.audio.io.decode import Mending
from headwater.audio.io.encode import Encoder
from headwater.audio.io.files import FLOATS, RATES, Recording, Samples, as_stored
from headwater.audio.io.metadata import carry_bytes, carry_tags, stays
from headwater.audio.io.write import encoding
from headwater.errors import Misuse

FILTER = 32
"""Zero crossings of the low-pass on each side."""
PASSBAND = 0.95
"""The share of its band that a recording of a low rate has, as far as this low-pass, or a usual one, lets it pass."""
BLOCK = 1 << 17
"""Frames of a file that are resampled at a time."""
MARGIN = 1 << 11
"""Frames more on both sides, for the filter."""


def resample(x: Samples, rate: int, wanted: int) -> Samples:
    """The signal at another rate in Hz, sample 0 at sample 0; a linear-phase low-pass of 64 zero crossings."""
    if rate == wanted:
        return x
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    widest = max(up, down)
    from scipy.signal import firwin, resample_poly

    taps = firwin(2 * FILTER * widest + 1, 1 / widest, window=("kaiser", 8.0))
    return np.asarray(resample_poly(x, up, down, window=taps))


def upsample(estimate: Signal, low: int, rate: int, frames: int) -> Signal:
    """An estimate of the rate `low` at the rate of the recording, `[frames]`; what it lacks at its end is zero."""
    up = resample(estimate, low, rate)[:frames]
    return np.pad(up, (0, frames - len(up)))


def interpolate_spectrum(x: Tensor, low: int, rate: int, samples: int) -> Tensor:
    """Signals `[batch, n]` at a higher rate, `[batch, samples]`, by zeros in their spectrum; differentiable and fast.

    >>> x = torch.cos(0.1 * torch.arange(400.0, dtype=torch.float64))[None]
    >>> y = interpolate_spectrum(x, 2, 5, 1000)[0, 300:700]
    >>> torch.allclose(y, torch.cos(0.04 * torch.arange(300.0, 700.0, dtype=torch.float64)), atol=1e-2)
    True
    """
    whole = low // math.gcd(low, rate)
    n = -(-x.shape[1] // whole) * whole
    m = n * rate // low
    y: Tensor = torch.fft.irfft(torch.fft.rfft(x, n), m) * (m / n)
    return torch.nn.functional.pad(y, (0, max(samples - m, 0)))[:, :samples]


def plan_rate(recording: Recording, rate: int) -> Recording:
    """What the recording is at a higher rate: a WAV file, whose samples' format stays if it is lossless.

    Raises
    ------
    Misuse
        The rate is not higher, or higher than recordings have.
    """
    if rate > RATES[1]:
        raise Misuse(f"No recording has {rate} Hz.", f"Give a rate of at most {RATES[1]} Hz.")
    if rate <= recording.rate:
        raise Misuse(
            f"The recording has {recording.rate} Hz already.", f"Give a rate above that, not {rate}."
        )
    subtype = recording.subtype if recording.depth or recording.subtype in FLOATS else "FLOAT"
    common = math.gcd(recording.rate, rate)
    return replace(
        recording,
        path=recording.path.with_suffix(".wav"),
        rate=rate,
        frames=-(-recording.frames * (rate // common) // (recording.rate // common)),
        format="WAVEX" if recording.format == "WAVEX" else "WAV",
        subtype="PCM_U8" if subtype == "PCM_S8" else subtype,
        endian="FILE",
        mending=Mending(),
    )


def raise_rate(recording: Recording, rate: int, path: Path) -> Recording:
    """Write the recording at a higher rate, block by block, as `plan_rate` says.

    Raises
    ------
    Misuse
        As `plan_rate`, or the recording is damaged.
    """
    target = replace(plan_rate(recording, rate), path=path)
    with Encoder(path, *encoding(target)) as file:
        if not stays(recording.format, target.format):
            with recording.open() as before:
                carry_tags(before, file)
        for x in _raised(recording, rate):
            file.write(as_stored(x, target.depth) if target.depth else x)
    carry_bytes(recording.path, path, other_rate=True)
    return target


def _raised(recording: Recording, rate: int) -> Iterator[Samples]:
    common = math.gcd(recording.rate, rate)
    up, down = rate // common, recording.rate // common
    step, margin = (down * -(-n // down) for n in (BLOCK, MARGIN))
    for start in range(0, recording.frames, step):
        stop = min(start + step, recording.frames)
        x = recording.read(start - margin, stop + margin)
        y = np.stack([resample(track, recording.rate, rate) for track in x.T], axis=1)
        yield y[margin // down * up :][: -(-(stop - start) * up // down)]
