"""`headwater audio inpaint | extend`, from the command line to written files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from headwater.audio.gaps import fill
from headwater.audio.io import places, times
from headwater.audio.io.files import Patch, Source, examine
from headwater.audio.io.regions import CONTEXT, Gap, Region, merged, regions
from headwater.audio.io.write import write_patched
from headwater.audio.model import models
from headwater.audio.sheet import most_changed, sheet
from headwater.cli.audio.options import Lost, Repair
from headwater.cli.audio.work import Work
from headwater.errors import Misuse


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
    """Fill the gaps region by region, write the files, say how it went; after Ctrl-C what was filled is written."""
    work = Work(command, source, inputs, o)
    prior, todo = models.prior(), regions(gaps, round(CONTEXT * source.rate))
    longest = max(range(len(todo)), key=lambda i: max(b - a for a, b in todo[i].gaps))
    shown: dict[int, Patch] = {}

    def patches() -> Iterator[Patch]:
        for number, region in enumerate(todo):
            if work.watch.over and number:
                return
            work.turn(number, len(todo))
            filling = fill(prior, source, region, work.how)
            if number in (0, longest):
                shown[number] = filling.patch
            where = [[round(a / source.rate, 6), round(b / source.rate, 6)] for a, b in region.gaps]
            done = [filling.restoration] if filling.restoration else []
            work.note(done, gaps=where, filled_by=filling.by)
            yield filling.patch

    with work.watch.running():
        written = write_patched(source, patches(), work.outputs.sound, frames=frames, overwrite=o.overwrite)
    content = work.report(written, not_begun=len(todo) - len(work.entries))
    number = max(shown)
    picture(work.outputs.sheet, source, todo[number], shown[number], **work.about(number))
    return work.tell(content, written)


def picture(path: Path, source: Source, region: Region, patch: Patch, **about: Any) -> None:
    """The sheet of a region."""
    before = source.read(region.start, region.stop)
    after = before.copy()
    after[patch.changed] = patch.samples[patch.changed]
    gaps = [(a - region.start, b - region.start) for a, b in region.gaps]
    start = region.start / source.rate
    c = most_changed(before, after)
    sheet(path, before[:, c], after[:, c], source.rate, gaps, start=start, **about)
