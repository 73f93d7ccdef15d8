"""A recording checked from end to end, part by part: the findings of all channels, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headwater.audio.check.clicks import find_clicks
from headwater.audio.check.flats import Runs, as_runs, find_flats
from headwater.audio.check.hum import HumMeter
from headwater.audio.check.kinds import CLICK, CLIPPING, DROPOUT, HUM, NOT_FINITE, Finding
from headwater.audio.io.channels import find_runs
from headwater.audio.io.files import LOUDEST, Recording, Samples, as_float

FINEST = 2.0**-17
"""The finest step that a sample is thought to be rounded to."""


@dataclass(frozen=True)
class Parts:
    """How a recording is cut for the check; seconds.

    Parameters
    ----------
    part
        What is looked at at once.
    margin
        More on both sides, so that damage at a joint is seen whole; the longest drop-out fits into it.
    """

    part: float = 20.0
    margin: float = 2.5


def check_recording(
    recording: Recording,
    *,
    parts: Parts = Parts(),
    tell: Callable[[float], None] = lambda seconds: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Finding]:
    """The damage in a recording, in order of time; what several channels show at one time is one finding.

    Parameters
    ----------
    recording
        It is read part by part, in any length.
    parts
        How it is cut.
    tell
        Called with the seconds that were looked at.
    stop
        Asked after each part: if it is True, that was the last.

    Raises
    ------
    Misuse
        The file cannot be read.
    """
    rate = recording.rate
    step = max(2.0 ** (1 - recording.depth) if recording.depth else 0.0, FINEST)
    meters = [HumMeter(rate) for _ in range(recording.channels)]
    found: list[Finding] = []
    for start, end, first, x, bad in _read(recording, parts):
        broken = find_runs(np.any(bad, axis=1)).tolist()
        found += [
            Finding(a + first, b + first, NOT_FINITE)
            for a, b in broken
            if a + first < end and b + first > start
        ]
        for signal, meter, unknown in zip(x.T, meters, bad.T, strict=True):
            meter.listen(signal[start - first : end - first])
            found += [
                f
                for f in find_in_part(signal, unknown, rate, step, first)
                if f.start < end and f.stop > start
            ]
        tell(end / rate)
        if stop():
            break
    return merge(found, rate) + _hum(meters, recording)


def _read(recording: Recording, parts: Parts) -> Iterator[tuple[int, int, int, Samples, NDArray[np.bool_]]]:
    """Part by part: its frames from `start` to `end`, the first frame that was read, the samples, which are bad."""
    size, margin = round(parts.part * recording.rate), round(parts.margin * recording.rate)
    with recording.open() as file:
        for start in range(0, recording.frames, size):
            stop = min(start + size, recording.frames)
            first, last = max(start - margin, 0), min(stop + margin, recording.frames)
            file.seek(first)
            raw = file.read(last - first, recording.dtype)
            bad = ~(np.abs(raw) < LOUDEST) if raw.dtype.kind == "f" else np.zeros(raw.shape, dtype=bool)
            yield start, stop, first, as_float(np.where(bad, 0, raw)), bad


def find_in_part(x: Samples, bad: NDArray[np.bool_], rate: int, step: float, first: int) -> list[Finding]:
    """Clipping, drop-outs and clicks of a signal `[frames]` that begins at frame `first`."""
    beside = round(0.002 * rate)
    known = find_runs(bad)
    clipped, dropped = find_flats(x, rate, step)
    dropped = as_runs(run for run in dropped if not _near(run, known, beside))
    plateaus = _plateaus(x, clipped)
    clicks = find_clicks(x, rate, np.concatenate([known, dropped, plateaus]))
    levels = [max(np.abs(x[a:b])) for a, b in clipped]
    found = [
        *((run, CLIPPING, f"at {level:.3g}") for run, level in zip(clipped, levels, strict=True)),
        *((run, DROPOUT, "") for run in dropped),
        *((run, CLICK, "") for run in clicks),
    ]
    return [Finding(int(a) + first, int(b) + first, kind, detail) for (a, b), kind, detail in found]


def _plateaus(x: Samples, clipped: Runs) -> Runs:
    """The samples of clipped regions that lie at their extremes: their edges look like clicks."""
    found = [find_runs(np.abs(x[a:b]) >= 0.98 * np.abs(x[a:b]).max()) + a for a, b in clipped]
    return np.concatenate(found) if found else np.zeros((0, 2), dtype=np.intp)


def _near(run: NDArray[np.intp], known: Runs, by: int) -> bool:
    return bool(((known[:, 0] < run[1] + by) & (known[:, 1] > run[0] - by)).any())


def merge(
    found: Iterable[Finding], rate: int, *, apart: float = 0.001, clipping: float = 0.5
) -> list[Finding]:
    """The findings in order; those of a kind that are no further apart than so many seconds are one.

    >>> merge([Finding(5, 6, "click"), Finding(0, 3, "click"), Finding(4, 5, "click")], 1000)
    [Finding(start=0, stop=6, kind='click', detail='')]
    """
    merged: list[Finding] = []
    last: dict[str, int] = {}
    for each in sorted(found):
        # What lies between two drop-outs is sound, however short.
        gap = {CLIPPING: clipping, DROPOUT: 0.0}.get(each.kind, apart) * rate
        i = last.get(each.kind)
        if i is not None and each.start - merged[i].stop <= gap:
            merged[i] = replace(merged[i], stop=max(merged[i].stop, each.stop))
        else:
            last[each.kind] = len(merged)
            merged.append(each)
    return merged


def _hum(meters: list[HumMeter], recording: Recording) -> list[Finding]:
    """Hum as one finding for each frequency of the mains: from the first to the last time that a channel has it."""
    spans: dict[str, tuple[float, float]] = {}
    for meter in meters:
        for frequency, first, last in meter.find():
            a, b = spans.get(f"{frequency:.0f} Hz", (first, last))
            spans[f"{frequency:.0f} Hz"] = min(a, first), max(b, last)
    rate, frames = recording.rate, recording.frames
    return [
        Finding(
            round(a * rate),
            min(round(b * rate), frames) if b * rate < frames - 2 * rate else frames,
            HUM,
            name,
        )
        for name, (a, b) in spans.items()
    ]
