"""A recording checked from end to end, part by part: the findings of all channels, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headwater.audio.check.clicks import find_clicks
from headwater.audio.check.clipping import Region, find_regions
from headwater.audio.check.flats import Runs, are_near, as_runs, find_dropouts, find_flats
from headwater.audio.check.hum import HumMeter
from headwater.audio.check.kinds import CLICK, CLIPPING, DROPOUT, HUM, NOT_FINITE, Finding
from headwater.audio.check.parts import PARTS, Parts, finest_step, read_parts
from headwater.audio.io.channels import find_runs
from headwater.audio.io.files import Recording, Samples


def find_damage(
    recording: Recording,
    *,
    parts: Parts = PARTS,
    tell: Callable[[float], None] = lambda seconds: None,
    stop: Callable[[], bool] = lambda: False,
) -> list[Finding]:
    """Find clicks, drop-outs, samples that are not finite, clipping and hum, as `headwater audio check` does.

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

    Returns
    -------
    findings
        In order of time, hum at the end. What several channels show at one time is one finding.

    Raises
    ------
    Misuse
        The file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import headwater as hw
    >>> guitar = hw.audio.examine(hw.audio.recordings.GUITAR)
    >>> x = guitar.read(0, guitar.frames)  # [frames, channels]
    >>> x[88_200:88_641] = 0.0
    >>> broken = hw.audio.write_new(Path(tempfile.mkdtemp()) / "broken.wav", x, guitar.rate)
    >>> [(f.kind, f.start, f.stop) for f in hw.audio.find_damage(broken)]
    [('drop-out', 88200, 88641)]
    """
    rate = recording.rate
    step = finest_step(recording)
    meters = [HumMeter(rate) for _ in range(recording.channels)]
    found: list[Finding] = []
    for start, end, first, x, bad in read_parts(recording, parts):
        broken = find_runs(np.any(bad, axis=1)).tolist()
        found += [
            Finding(a + first, b + first, NOT_FINITE, rate=rate)
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
    return merge(found) + _hum(meters, recording)


def find_in_part(x: Samples, bad: NDArray[np.bool_], rate: int, step: float, first: int) -> list[Finding]:
    """Clipping, drop-outs and clicks of a signal `[frames]` that begins at frame `first`."""
    known, regions = find_runs(bad), find_regions(x, rate, step)
    dropped = _outside_rails(x, find_flats(x, step), regions, round(0.02 * rate))
    dropped = find_dropouts(x, dropped, rate, step)
    dropped = dropped[~are_near(dropped, known, round(0.002 * rate))]
    clicks = _clicks(x, rate, np.concatenate([known, dropped]), regions)
    found = [
        *((run, DROPOUT, None) for run in dropped),
        *((run, CLICK, None) for run in clicks),
        *(((region.start, region.stop), CLIPPING, region.level) for region in regions),
    ]
    return [
        Finding(int(a) + first, int(b) + first, kind, rate=rate, level=level) for (a, b), kind, level in found
    ]


def _outside_rails(x: Samples, flat: Runs, regions: list[Region], by: int) -> Runs:
    """Flat runs but for those that lie at the rail of a clipped region, or no further from it than `by` frames."""
    kept = np.ones(len(flat), dtype=bool)
    levels = np.abs(x[(flat[:, 0] + flat[:, 1]) // 2]) if len(flat) else np.zeros(0)
    for region in regions:
        near = (flat[:, 0] < region.stop + by) & (flat[:, 1] > region.start - by)
        kept &= ~(near & (levels >= 0.98 * region.level) & (levels <= 1.02 * region.level))
    return flat[kept]


def _clicks(x: Samples, rate: int, other: Runs, regions: list[Region]) -> Runs:
    """The clicks. The edges of plateaus look like clicks; in a clipped region only what exceeds its rail is one."""
    beside = round(0.002 * rate)
    plateaus = in_order([region.plateaus for region in regions])
    beyond = in_order([region.beyond for region in regions])
    doubtful = plateaus[~are_near(plateaus, beyond, beside)]
    clicks = find_clicks(x, rate, np.concatenate([other, doubtful]))
    clicks = clicks[~are_near(clicks, plateaus, beside) | are_near(clicks, beyond, 0)]
    missed = beyond[~are_near(beyond, clicks, 1) & ~are_near(beyond, other, beside)]
    edges = np.array([-1, 1]) * (1 + (missed[:, 1] - missed[:, 0]) // 5)[:, None]
    return in_order([clicks, np.clip(missed + edges, 0, len(x))])


def in_order(several: Iterable[Runs]) -> Runs:
    """The runs of several lists in the order of their starts."""
    found = as_runs(run for runs in several for run in runs)
    return found[np.argsort(found[:, 0], kind="stable")]


def merge(findings: Iterable[Finding], *, apart: float = 0.001, clipping: float = 0.5) -> list[Finding]:
    """The findings in order; those of a kind that are no further apart than so many seconds are one.

    Clipping at two levels is one finding only where it overlaps, in two channels or on two sides of zero; its level
    is that of the longer.

    >>> found = merge(Finding(a, b, "click", rate=1000) for a, b in [(5, 6), (0, 3), (4, 5)])
    >>> [(f.start, f.stop) for f in found]
    [(0, 6)]
    """
    merged: list[Finding] = []
    last: dict[str, int] = {}
    for each in sorted(findings):
        i = last.get(each.kind)
        if i is not None and each.start - merged[i].stop <= _reach(merged[i], each, apart, clipping):
            stop = max(merged[i].stop, each.stop)
            merged[i] = replace(max(merged[i], each, key=_length), start=merged[i].start, stop=stop)
        else:
            last[each.kind] = len(merged)
            merged.append(each)
    return merged


def _length(finding: Finding) -> int:
    return finding.stop - finding.start


def _reach(a: Finding, b: Finding, apart: float, clipping: float) -> float:
    """How far apart two findings of a kind may be to be one; frames."""
    if a.kind == DROPOUT:
        return 0.0  # what lies between two drop-outs is sound, however short
    if a.level is None or b.level is None:
        return apart * a.rate
    return clipping * a.rate if abs(a.level - b.level) <= 0.01 * a.level else -1.0


def _hum(meters: list[HumMeter], recording: Recording) -> list[Finding]:
    """Hum as one finding for each frequency of the mains: from the first to the last time that a channel has it."""
    spans: dict[int, tuple[float, float]] = {}
    for meter in meters:
        for frequency, first, last in meter.find():
            a, b = spans.get(round(frequency), (first, last))
            spans[round(frequency)] = min(a, first), max(b, last)
    rate, frames = recording.rate, recording.frames
    return [
        Finding(
            round(a * rate),
            min(round(b * rate), frames) if b * rate < frames - 2 * rate else frames,
            HUM,
            rate=rate,
            frequency=float(frequency),
        )
        for frequency, (a, b) in spans.items()
    ]
