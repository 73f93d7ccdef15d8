"""`headwater audio inpaint | extend`, from the command line to written files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from headwater.audio import models, times
from headwater.audio.files import SUFFIXES, Patch, Source, check, examine, target_of, write_patched
from headwater.audio.repair import CONTEXT, Gap, Region, fill, merged, regions
from headwater.audio.restore import Restoration
from headwater.audio.sheet import sheet
from headwater.cli.audio.options import Lost, Repair
from headwater.cli.machine import Meter, use_idle_cores, versions
from headwater.cli.outputs import check_distinct, check_free, write_json
from headwater.cli.progress import Record, Watch
from headwater.cli.run import INTERRUPTED
from headwater.control import Event
from headwater.errors import Misuse
from headwater.extras import need
from headwater.presets import Limits
from headwater.status import Status

DEFINITIONS = {
    "gaps": "seconds from the beginning; every sample outside them is the input's",
    "misfit": "rms(A(x1) - y) / sigma on the known samples around, sigma = 0.02 of their rms; 1 is the goal",
    "gradients": "gradient evaluations of a track: each a forward solve and a vector-Jacobian product",
    "evaluations": "forward calls of the network for a track; mid and side are tracks of their own",
}


@dataclass(frozen=True)
class Outputs:
    """The recording, the report and the sheet beside it."""

    sound: Path
    report: Path
    sheet: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (self.sound, self.report, self.sheet)


@dataclass
class Curve(Record):
    """The misfit of the worst track of the stretch that is solved, by gradient evaluations."""

    size: tuple[int, int] = (0, 0)

    def add(self, event: Event) -> None:
        """Note one round."""
        self.evaluations += 1
        finite = event.measure[event.measure.isfinite()]
        if len(finite):
            self.curve.append((self.evaluations, float(finite.max())))


@dataclass
class Done:
    """What was made of the regions so far."""

    patches: list[Patch] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)
    curves: list[list[tuple[int, float]]] = field(default_factory=list)


def inpaint(recording: Path, o: Lost) -> int:
    """Fill the gaps that the options name; the exit code."""
    source = examine(recording)
    spans = [*map(times.span, o.gap), *(times.labels(o.labels) if o.labels else [])]
    gaps = times.frames_of(spans, source) + (times.mask(o.mask, source) if o.mask else [])
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
    check_numbers(o)
    outputs = plan(command, source, inputs, o)
    check(source)
    need("matplotlib.figure", "audio")
    use_idle_cores()
    prior = models.prior()
    todo = regions(gaps, round(CONTEXT * source.rate))
    meter, done = Meter(torch.device("cpu")), Done()
    watch = Watch(command, Curve(), limit=o.gradients, seconds=o.seconds, quiet=o.quiet)
    with watch.running():
        for number, region in enumerate(todo):
            if watch.interrupt.asked and number:
                break
            watch.title = command if len(todo) == 1 else f"{command} {number + 1} of {len(todo)}"
            watch.record = Curve()
            limits = Limits(steps=o.steps, gradients=o.gradients, callback=watch)
            patch, found = fill(prior, source, region, seed=o.seed, preset=o.preset, limits=limits)
            done.patches.append(patch)
            done.entries.append(entry(region, found, source))
            done.curves.append(watch.record.curve)
    cancelled = watch.interrupt.asked
    target = write_patched(source, done.patches, outputs.sound, frames=frames, overwrite=o.overwrite)
    content = report(command, source, target, inputs, o, done, len(todo), meter.read())
    write_json(outputs.report, content, overwrite=o.overwrite)
    picture(command, source, todo[0], done, outputs.sheet, o.overwrite)
    return tell(content, outputs, target, cancelled, o.quiet)


def check_numbers(o: Repair) -> None:
    """Refuse counts and limits that are not positive."""
    for name in ("steps", "gradients", "seconds"):
        value = getattr(o, name)
        if value is not None and not value > 0:
            raise Misuse(f"--{name} is {value}.", "Give a positive number.")
    if not 0 <= o.seed < 2**63:
        raise Misuse(f"--seed is {o.seed}.", "Give 0 or a positive whole number.")


def plan(command: str, source: Source, inputs: Sequence[Path], o: Repair) -> Outputs:
    """The files that will be written, all of them writable."""
    suffix = source.path.suffix if source.path.suffix.lower() in SUFFIXES else ".wav"
    sound = o.output or source.path.with_name(f"{source.path.stem}-{command}{suffix}")
    target_of(source, sound)
    outputs = Outputs(sound, sound.with_suffix(".json"), sound.with_name(f"{sound.stem}-sheet.png"))
    check_distinct(outputs.all, inputs)
    check_free(outputs.all, overwrite=o.overwrite)
    return outputs


def entry(region: Region, found: Restoration | None, source: Source) -> dict[str, Any]:
    """What the report says of a region."""
    spans = [[round(a / source.rate, 6), round(b / source.rate, 6)] for a, b in region.gaps]
    if found is None:
        return {"gaps": spans, "status": ["SILENT"], "gradients": [0], "evaluations": [0], "misfit": [None]}
    r = found.result
    return {
        "gaps": spans,
        "status": [s.name for s in r.status],
        "gradients": r.gradients.tolist(),
        "evaluations": r.evaluations.tolist(),
        "misfit": [round(float(m), 4) for m in found.misfit.rms(r.x1)],
    }


def report(
    command: str,
    source: Source,
    target: Source,
    inputs: Sequence[Path],
    o: Repair,
    done: Done,
    wanted: int,
    costs: dict[str, Any],
) -> dict[str, Any]:
    """The content of the report, ready for JSON."""
    names = ("seed", "preset", "steps", "gradients", "seconds")
    about = {k: v for k, v in asdict(target).items() if k not in ("path", "endian")}
    return {
        "command": f"audio {command}",
        "inputs": [str(p) for p in inputs],
        "output": {"file": str(target.path), **about, "lossless": target.lossless},
        "settings": {name: getattr(o, name) for name in names},
        "model": models.MUSIC,
        "versions": versions(),
        "stretches": done.entries,
        "not_begun": wanted - len(done.entries),
        "device": "cpu",
        **costs,
        "definitions": DEFINITIONS,
    }


def picture(command: str, source: Source, region: Region, done: Done, path: Path, overwrite: bool) -> None:
    """The sheet of the first region."""
    patch = done.patches[0]
    before = source.read(region.start, region.stop)
    after = before.copy()
    after[patch.changed] = patch.samples[patch.changed]
    gaps = [(a - region.start, b - region.start) for a, b in region.gaps]
    sheet(
        path,
        before.mean(1),
        after.mean(1),
        source.rate,
        gaps,
        start=region.start / source.rate,
        curve=done.curves[0],
        title=f"{source.path.name}: {command}",
        overwrite=overwrite,
    )


def tell(content: dict[str, Any], outputs: Outputs, target: Source, cancelled: bool, quiet: bool) -> int:
    """Print the files and what did not end well; the exit code."""
    ways = [s for e in content["stretches"] for s in e["status"]]
    for name in sorted(set(ways) - {"SILENT"}):
        if not Status[name].ok:
            print(f"Warning, {ways.count(name)} of {len(ways)} tracks: {Status[name].value}", file=sys.stderr)
    if not target.lossless:
        print(f"Warning: {target.subtype} is lossy, the whole file was encoded again.", file=sys.stderr)
    if content["not_begun"]:
        print(
            f"Warning: {content['not_begun']} stretches were not begun, their gaps are as before.",
            file=sys.stderr,
        )
    if not quiet:
        print(
            f"{', '.join(map(str, outputs.all))}: {len(content['stretches'])} stretches, {content['seconds']:.1f} s"
        )
    if cancelled:
        return INTERRUPTED
    return int("DIVERGED" in ways)
