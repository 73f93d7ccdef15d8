"""`headwater audio inpaint | extend`, from the command line to written files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from headwater.audio import models, places, times
from headwater.audio.files import Patch, Source, examine, write_patched
from headwater.audio.repair import CONTEXT, Gap, Region, fill, merged, predictable, regions
from headwater.audio.repetition import repetition
from headwater.audio.restore import Restoration
from headwater.audio.sheet import sheet
from headwater.cli.audio.options import Lost, Repair
from headwater.cli.audio.outcome import Curve, entry, prepared, report, tell
from headwater.cli.machine import Meter, use_idle_cores
from headwater.cli.outputs import write_json
from headwater.cli.progress import Watch
from headwater.errors import Misuse
from headwater.presets import Limits


def inpaint(recording: Path, o: Lost) -> int:
    """Fill the gaps that the options name; the exit code."""
    source = examine(recording)
    spans = [*map(times.span, o.gap), *(places.labels(o.labels) if o.labels else [])]
    gaps = places.frames_of(spans, source) + (places.mask(o.mask, source) if o.mask else [])
    if not gaps:
        raise Misuse("Nothing says what is lost.", "Give --gap 12.40-12.65, --labels or --mask.")
    inputs = [p for p in (recording, o.labels, o.mask) if p is not None]
    return run("inpaint", source, merged(gaps, source.frames), source.frames, inputs, o)


def extend(recording: Path, by: float, o: Repair) -> int:
    """Go on after the end for `by` seconds; the exit code."""
    source = examine(recording)
    frames = source.frames + round(by * source.rate)
    if frames <= source.frames:
        raise Misuse(f"--by {by:g} adds nothing.", "Give a time such as 1.5 or 800ms.")
    return run("extend", source, [(source.frames, frames)], frames, [recording], o)


def run(
    command: str, source: Source, gaps: Sequence[Gap], frames: int, inputs: Sequence[Path], o: Repair
) -> int:
    """Fill the gaps region by region, write the files, and say how it went.

    All inputs and outputs are checked before the work begins; after Ctrl-C what was filled is written.
    """
    outputs = prepared(command, source, inputs, o)
    use_idle_cores()
    prior, todo = models.prior(), regions(gaps, round(CONTEXT * source.rate))
    entries: list[dict[str, Any]] = []
    first, shown = Curve(), list[Patch]()
    meter = Meter(torch.device("cpu"))
    watch = Watch(command, first, limit=o.gradients, seconds=o.seconds, quiet=o.quiet)
    limits = Limits(steps=o.steps, gradients=o.gradients, callback=watch)
    how: dict[str, Any] = {"seed": o.seed, "preset": o.preset, "limits": limits}

    def patches() -> Iterator[Patch]:
        for number, region in enumerate(todo):
            if watch.over and number:
                return
            watch.title = command if len(todo) == 1 else f"{command} {number + 1} of {len(todo)}"
            watch.record = Curve() if number else first
            asked = o.preset == "default" and not predictable(region, source)
            again = repetition(source, region, gaps) if asked else None
            patch, found = (again, None) if again else fill(prior, source, region, **how)
            shown.extend([] if number else [patch])
            where = [[round(a / source.rate, 6), round(b / source.rate, 6)] for a, b in region.gaps]
            by = "repetition" if again else filler(patch, found)
            entries.append({"gaps": where, "filled_by": by} | entry([found] if found else []))
            yield patch

    with watch.running():
        written = write_patched(source, patches(), outputs.sound, frames=frames, overwrite=o.overwrite)
    costs = {"not_begun": len(todo) - len(entries), **meter.read()}
    content = report(command, inputs, written, o, entries, **costs)
    write_json(outputs.report, content, overwrite=o.overwrite)
    picture(command, source, todo[0], shown[0], first, outputs.sheet, o.overwrite)
    return tell(content, outputs, written, watch.interrupt.asked, o.quiet)


def filler(patch: Patch, found: Restoration | None) -> str:
    """What filled the gaps of a patch, in words for the report."""
    if found is not None:
        return "flow and linear prediction"
    return "linear prediction" if patch.samples[patch.changed].any() else "silence"


def picture(
    command: str, source: Source, region: Region, patch: Patch, curve: Curve, path: Path, overwrite: bool
) -> None:
    """The sheet of a region."""
    before = source.read(region.start, region.stop)
    after = before.copy()
    after[patch.changed] = patch.samples[patch.changed]
    sheet(
        path,
        before.mean(1),
        after.mean(1),
        source.rate,
        [(a - region.start, b - region.start) for a, b in region.gaps],
        start=region.start / source.rate,
        curve=curve.points,
        title=f"{source.path.name}: {command}",
        overwrite=overwrite,
    )
