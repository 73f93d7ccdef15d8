"""Where a recording is clipped, and at which level in each channel and on each side of zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from headwater.audio.check.clipping import find_regions
from headwater.audio.check.kinds import CLIPPING, Finding
from headwater.audio.check.parts import PARTS, finest_step, read_parts
from headwater.audio.damage import Clipping
from headwater.audio.damage.clipping import Rails
from headwater.audio.damage.rails import find_peaks
from headwater.audio.io.files import Recording
from headwater.errors import Misuse

Span = tuple[int, int]
Railed = tuple[int, int, Rails]


def find_clipping(recording: Recording, findings: Iterable[Finding] | None = None) -> Clipping:
    """Find the rails of clipping, as `undo_damage` takes them.

    The rail of a region is the level at which most of its plateaus lie, for each channel and side of zero. Clicks and
    louder sound beside the region do not move it.

    Parameters
    ----------
    recording
        It is read part by part.
    findings
        From `find_damage` or `read_findings`: only those of clipping are looked at. By default all of the recording.

    Returns
    -------
    clipping
        With a region for each clipped part of a channel.

    Raises
    ------
    Misuse
        There is no clipping, or the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import headwater as hw
    >>> guitar = hw.audio.examine(hw.audio.recordings.GUITAR)
    >>> x = guitar.read(0, guitar.frames).clip(-0.1, 0.1)  # [frames, channels]
    >>> clipped = hw.audio.write_new(Path(tempfile.mkdtemp()) / "clipped.wav", x, guitar.rate)
    >>> [[round(rail, 3) for rail in channel] for channel in hw.audio.find_clipping(clipped).rails]
    [[0.1, 0.1], [0.1, 0.1]]
    """
    spans = None
    if findings is not None:
        spans = [(f.start, f.stop) for f in findings if f.kind.startswith(CLIPPING)]
    regions = [] if spans == [] else find_railed(recording, spans)
    if not regions:
        raise Misuse(
            f"No clipping is found in {recording.path}.",
            "If it is clipped, give the level: Clipping.at_level(0.9).",
        )
    return in_regions(recording, regions)


def in_regions(recording: Recording, regions: Sequence[Railed]) -> Clipping:
    """Clipping in regions of a recording.

    Samples up to 1.5 steps of quantisation below a rail are at it, for a recording that was turned down has dither on
    its plateaus. In few bits a step may be sound: never more than 0.1 % of the rail.
    """
    lowest = min(rail for _, _, rails in regions for pair in rails for rail in pair)
    step = 2.0 ** (1 - recording.depth) if recording.depth else 0.0
    return Clipping.in_regions(regions, min(max(Clipping.slack, 1.5 * step / lowest), 1e-3))


def find_railed(recording: Recording, spans: Sequence[Span] | None = None) -> list[Railed]:
    """The clipped regions, each of one channel: first frame, the one after the last, and the rails of every channel.

    Parameters
    ----------
    recording
        It is read part by part.
    spans
        Where to look, in frames; by default everywhere. Where a span has no plateaus, its extremes are its rails if
        3 samples in a row lie there.
    """
    found = [
        (max(a, first), min(b, last), rails)
        for first, last, rails in _everywhere(recording, spans)
        for a, b in (((0, recording.frames),) if spans is None else spans)
        if first < b and last > a
    ]
    for span in ((0, recording.frames),) if spans is None else spans:
        if not any(first < span[1] and last > span[0] for first, last, _ in found):
            found += _from_peaks(recording, span)
    return sorted(found)


def _everywhere(recording: Recording, spans: Sequence[Span] | None) -> list[Railed]:
    """The regions of plateaus; of those that reach over a joint of two parts each part has its own piece."""
    found: list[Railed] = []
    step, unclipped = finest_step(recording), (math.inf, math.inf)
    for start, end, first, x, _ in read_parts(recording, PARTS):
        if spans is not None and not any(a < end and b > start for a, b in spans):
            continue
        for channel, signal in enumerate(x.T):
            for region in find_regions(signal, recording.rate, step):
                a, b = max(region.start + first, start), min(region.stop + first, end)
                if a < b:
                    rails = [unclipped] * recording.channels
                    rails[channel] = region.rails
                    found.append((a, b, tuple(rails)))
    return found


def _from_peaks(recording: Recording, span: Span) -> list[Railed]:
    peaks, clipped = find_peaks(recording, span)
    rails = np.where(clipped, peaks, np.inf)
    if not np.isfinite(rails).any():
        return []
    return [(*span, tuple((float(low), float(high)) for low, high in rails))]
