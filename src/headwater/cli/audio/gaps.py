"""`headwater audio inpaint | extend`: from the command line to a checked job."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from headwater.audio.gaps import SETTINGS
from headwater.audio.io import marks, times
from headwater.audio.io.files import Recording, check_readable, examine
from headwater.audio.io.segments import Gap, merge_gaps, segments_around
from headwater.cli.audio.gap_job import GapJob
from headwater.cli.audio.options import GapOptions, Repair
from headwater.cli.audio.repair import shared_fields
from headwater.errors import Misuse


def inpaint(path: Path, o: GapOptions) -> GapJob:
    """The gaps that the options name, filled."""
    recording = examine(path)
    spans = [*map(times.parse_span, o.gap), *(marks.read_labels(o.labels) if o.labels else [])]
    gaps = marks.to_frames(spans, recording) + (marks.read_mask(o.mask, recording) if o.mask else [])
    if not gaps:
        raise Misuse("Nothing says what is lost.", "Give --gap 12.40-12.65, --labels or --mask.")
    inputs = [p for p in (path, o.labels, o.mask) if p is not None]
    return fill("inpaint", recording, merge_gaps(gaps, recording.frames), recording.frames, inputs, o)


def extend(path: Path, by: float, o: Repair) -> GapJob:
    """The recording continued for `by` seconds after its end."""
    recording = examine(path)
    frames = recording.frames + round(by * recording.rate)
    if frames <= recording.frames:
        raise Misuse(f"--by {by:g} adds nothing.", "Give a time such as 1.5 or 800ms.")
    return fill("extend", recording, [(recording.frames, frames)], frames, [path], o)


def fill(
    command: str, recording: Recording, gaps: Sequence[Gap], frames: int, inputs: Sequence[Path], o: Repair
) -> GapJob:
    """The job that fills gaps of a recording, which becomes `frames` long."""
    fields = shared_fields(command, recording, inputs, o)
    check_readable(recording)
    segments = segments_around(gaps, round(SETTINGS.context * recording.rate))
    return GapJob(segments=segments, frames=frames, **fields)
