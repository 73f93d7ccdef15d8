"""Other sampling rates, sample 0 at sample 0: of tracks in numpy, of signals in torch, of whole files."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from scipy.signal import firwin, resample_poly
from torch import Tensor

from headwater.audio.io.files import FLOATS, Samples, Source, as_stored
from headwater.audio.io.tracks import Track
from headwater.audio.io.write import copy_tags
from headwater.errors import Misuse
from headwater.extras import need

FILTER = 32
"""Zero crossings of the low-pass on each side."""
HIGHEST = 768_000
"""The highest rate, Hz, that recordings come in."""
BLOCK = 1 << 17
"""Frames of a file that are resampled at a time."""
MARGIN = 1 << 11
"""Frames more on both sides, for the filter."""


def resampled(x: Samples, rate: int, wanted: int) -> Samples:
    """The track at another rate, sample 0 at sample 0; a linear-phase low-pass of 64 zero crossings."""
    if rate == wanted:
        return x
    common = math.gcd(rate, wanted)
    up, down = wanted // common, rate // common
    widest = max(up, down)
    taps = firwin(2 * FILTER * widest + 1, 1 / widest, window=("kaiser", 8.0))
    return np.asarray(resample_poly(x, up, down, window=taps))


def lifted(estimate: Track, low: int, rate: int, frames: int) -> Track:
    """The estimate at the rate of the recording, so many frames long."""
    up = resampled(estimate, low, rate)[:frames]
    return np.pad(up, (0, frames - len(up)))


def interpolated(x: Tensor, low: int, rate: int, samples: int) -> Tensor:
    """Signals `[batch, n]` at a higher rate by zeros in their spectrum, so many samples; differentiable and fast.

    >>> x = torch.cos(0.1 * torch.arange(400.0, dtype=torch.float64))[None]
    >>> y = interpolated(x, 2, 5, 1000)[0, 300:700]
    >>> torch.allclose(y, torch.cos(0.04 * torch.arange(300.0, 700.0, dtype=torch.float64)), atol=1e-2)
    True
    """
    whole = low // math.gcd(low, rate)
    n = -(-x.shape[1] // whole) * whole
    m = n * rate // low
    y: Tensor = torch.fft.irfft(torch.fft.rfft(x, n), m) * (m / n)
    return torch.nn.functional.pad(y, (0, max(samples - m, 0)))[:, :samples]


def raised(source: Source, rate: int, path: Path) -> Source:
    """Write the recording at a higher rate, block by block; the samples' format stays if it is lossless.

    Raises
    ------
    Misuse
        The rate is not higher, or higher than `HIGHEST`, or the source is damaged.
    """
    if rate > HIGHEST:
        raise Misuse(f"No recording has {rate} Hz.", f"Give a rate of at most {HIGHEST} Hz.")
    if rate <= source.rate:
        raise Misuse(f"The recording has {source.rate} Hz already.", f"Give a rate above that, not {rate}.")
    subtype = source.subtype if source.depth or source.subtype in FLOATS else "FLOAT"
    target = replace(
        source,
        path=path,
        rate=rate,
        format="WAV",
        subtype="PCM_U8" if subtype == "PCM_S8" else subtype,
        endian="FILE",
    )
    frames = 0
    soundfile = need("soundfile", "audio")
    with (
        soundfile.SoundFile(source.path) as before,
        soundfile.SoundFile(path, "w", rate, source.channels, target.subtype) as file,
    ):
        copy_tags(before, file)
        for x in _raised(source, rate):
            file.write(as_stored(x, target.depth) if target.depth else x)
            frames += len(x)
    return replace(target, frames=frames)


def _raised(source: Source, rate: int) -> Iterator[Samples]:
    common = math.gcd(source.rate, rate)
    up, down = rate // common, source.rate // common
    step, margin = (down * -(-n // down) for n in (BLOCK, MARGIN))
    for start in range(0, source.frames, step):
        stop = min(start + step, source.frames)
        x = source.read(start - margin, stop + margin)
        y = np.stack([resampled(track, source.rate, rate) for track in x.T], axis=1)
        yield y[margin // down * up :][: -(-(stop - start) * up // down)]
