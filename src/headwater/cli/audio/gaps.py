"""`headwater audio inpaint | extend`: from the command line to a checked job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from headwater.audio.check.kinds import is_gap
from headwater.audio.gaps import SETTINGS
from headwater.audio.io import marks, times
from headwater.audio.io.files import Recording, check_readable, examine
from headwater.audio.io.segments import Gap, merge_gaps, segments_around
from headwater.cli.audio.gap_job import GapJob
from headwater.cli.audio.options import GapOptions, Repair
from headwater.cli.audio.pipeline import segments_for
from headwater.cli.audio.posterior_job import PosteriorJob, draw_fields
from headwater.cli.audio.repair import shared_fields
from headwater.cli.shared.posterior import plan_posterior
from headwater.errors import Misuse

LONGEST = 60.0
"""Seconds of a gap: memory grows with it, and after a few seconds nothing of what is around is left in it."""


def inpaint(path: Path, o: GapOptions) -> GapJob:
    """The gaps that the options name, filled."""
    recording = examine(path)
    labels, told = read_gap_labels(o.labels)
    spans = [*map(times.parse_span, o.gap), *labels]
    gaps = marks.to_frames(spans, recording) + (marks.read_mask(o.mask, recording) if o.mask else [])
    if not gaps:
        raise Misuse("Nothing says what is lost.", "Give --gap 12.40-12.65, --labels or --mask.")
    inputs = [p for p in (path, o.labels, o.mask) if p is not None]
    merged = merge_gaps(gaps, recording.frames)
    job = fill("inpaint", replace(recording, lost=tuple(merged)), merged, recording.frames, inputs, o)
    job.warnings = (*job.warnings, *told)
    return job


def read_gap_labels(path: Path | None) -> tuple[Sequence[times.Span], list[str]]:
    """The regions of a label track that are gaps, and what is said of its other labels."""
    if path is None:
        return (), []
    labels = marks.read_labels(path)
    gaps = labels.select(is_gap)
    other = len(labels.spans) - len(gaps.spans)
    if not gaps.spans:
        raise Misuse(
            f"The labels of {path} name no gaps, only clipping or hum.", "See 'declip' and 'denoise'."
        )
    told = [f"Labels of points in time are left out: {labels.points}."] if labels.points else []
    return gaps.spans, told + ([f"Labels of clipping and hum are left out: {other}."] if other else [])


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
    longest = max(stop - start for start, stop in gaps) / recording.rate
    if longest > LONGEST:
        raise Misuse(
            f"{longest:.0f} s are more than can be filled at once.",
            f"Ask for at most {LONGEST:.0f} s; 'extend' can continue its own result.",
        )
    if isinstance(o, GapOptions) and (plan := plan_posterior(o)) is not None:
        if o.folder is not None:
            raise Misuse(
                "A posterior of gaps is drawn by the model of music alone.",
                "Leave out --model, or --posterior.",
            )
        fields = draw_fields(recording, inputs, o, plan)
        job: type[GapJob] = PosteriorJob
    else:
        fields, job = shared_fields(command, recording, inputs, o), GapJob
    check_readable(recording)
    segments = segments_around(gaps, round(SETTINGS.context * recording.rate))
    if (pipeline := fields["pipeline"]) is not None:
        segments = segments_for(pipeline, recording, gaps)
    return job(segments=segments, frames=frames, **fields)
