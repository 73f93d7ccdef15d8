"""What the audio commands share: outputs, settings, progress, report and exit code."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from headwater.audio.damage import ENOUGH
from headwater.audio.gaps import PREDICTED
from headwater.audio.io.files import SUFFIXES, Source, check
from headwater.audio.io.write import Written, target_of
from headwater.audio.model import models
from headwater.audio.restore import RESOLUTION, Restoration
from headwater.cli.audio.options import Repair
from headwater.cli.image.run import INTERRUPTED
from headwater.cli.shared.machine import versions
from headwater.cli.shared.outputs import check_distinct, check_free
from headwater.cli.shared.progress import Record
from headwater.dflow.result import Event
from headwater.errors import Misuse
from headwater.extras import need
from headwater.optimizers.status import Status

PARTIAL = ("inpaint", "extend", "declip")
"""The commands that leave most samples as they are."""
DEFINITIONS = {
    "misfit": f"rms(A(x1) - y) / sigma of what the flow found, sigma the noise but at least {RESOLUTION} of the rms"
    f" of the stretch; 1 is the goal, {ENOUGH:g} where noise or a room is undone, as the end is not the flow's there",
    "filled_by": f"gaps up to {1000 * PREDICTED:.0f} ms need no flow, nor does silence"
    " or what is there another time (repetition); then there is no solve",
    "gradients": "gradient evaluations of a track: each a forward solve and a vector-Jacobian product",
    "exact": "whether samples that were not repaired are as they were; over: samples cut off at full scale",
    "evaluations": "forward calls of the network for a track; mid and side are tracks of their own; no entry where"
    " the flow was not asked: clipping, noise that is finer than it resolves, silence",
}


@dataclass(frozen=True)
class Outputs:
    """The recordings, the report and the sheet beside them."""

    sounds: tuple[Path, ...]
    report: Path
    sheet: Path

    @property
    def sound(self) -> Path:
        """The only recording."""
        return self.sounds[0]

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.sounds, self.report, self.sheet)


@dataclass
class Curve(Record):
    """The misfit of the worst track of the stretch that is solved: in the estimate, and by gradient evaluations."""

    size: tuple[int, int] = (0, 0)
    estimate: list[float] = field(default_factory=list)

    def prepare(self, event: Event) -> None:
        """Note one time of the estimate."""
        self.estimate.append(worst(event))

    def add(self, event: Event) -> None:
        """Note one round."""
        self.evaluations += 1
        self.curve.append((self.evaluations, worst(event)))

    @property
    def points(self) -> list[tuple[int, float]]:
        """(number, misfit): the last time of the estimate is 0, the first gradient 1."""
        first = 1 - len(self.estimate)
        return [*enumerate(self.estimate, first), *self.curve]


def worst(event: Event) -> float:
    """The largest finite misfit."""
    finite = event.measure[event.measure.isfinite()]
    return float(finite.max()) if len(finite) else math.nan


def prepared(
    command: str, source: Source, inputs: Sequence[Path], o: Repair, *, peaks: bool = False
) -> Outputs:
    """The files that will be written, after all of the inputs and options were checked."""
    for name in ("steps", "gradients", "seconds"):
        value = getattr(o, name)
        if value is not None and not value > 0:
            raise Misuse(f"--{name} is {value}.", "Give a positive number.")
    if not 0 <= o.seed < 2**63:
        raise Misuse(f"--seed is {o.seed}.", "Give 0 or a positive whole number.")
    suffix = source.path.suffix if source.path.suffix.lower() in SUFFIXES else ".wav"
    if peaks and suffix.lower() in (".flac", ".ogg"):
        suffix = ".wav"
    sound = o.output or source.path.with_name(f"{source.path.stem}-{command}{suffix}")
    target_of(source, sound, peaks=peaks)
    outputs = Outputs((sound,), sound.with_suffix(".json"), sound.with_name(f"{sound.stem}-sheet.png"))
    check_distinct(outputs.all, inputs)
    check_free(outputs.all, overwrite=o.overwrite)
    check(source)
    need("matplotlib.figure", "audio")
    return outputs


def warn(command: str, source: Source, output: Path, *, peaks: bool = False) -> None:
    """Say before the work if more changes than what is repaired."""
    target = target_of(source, output, peaks=peaks)
    if target.lossless and (command not in PARTIAL or target.holds(source)):
        return
    what = "is narrower than the input, all samples are rounded"
    if not target.lossless:
        what = "is lossy, the whole file is encoded again"
    if command in PARTIAL:
        what += "; name the output .wav to keep the rest"
    print(f"Warning: {target.subtype} {what}.", file=sys.stderr)


def entry(found: Sequence[Restoration]) -> dict[str, Any]:
    """What the report says of the tracks of a stretch that were solved."""
    return {
        "status": [s.name for r in found for s in r.result.status],
        "gradients": [int(n) for r in found for n in r.result.gradients],
        "evaluations": [int(n) for r in found for n in r.result.evaluations],
        "misfit": [
            round(float(m), 4) if m.isfinite() else None for r in found for m in r.misfit.rms(r.result.x1)
        ],
    }


def report(
    command: str,
    inputs: Sequence[Path],
    written: Written,
    o: Repair,
    entries: list[dict[str, Any]],
    **more: Any,
) -> dict[str, Any]:
    """The content of the report, ready for JSON."""
    names = ("seed", "preset", "steps", "gradients", "seconds")
    about = {k: v for k, v in asdict(written.file).items() if k not in ("path", "endian")}
    return {
        "command": f"audio {command}",
        "inputs": [str(p) for p in inputs],
        "output": {"file": str(written.file.path), **about, "exact": written.exact, "over": written.over},
        "settings": {name: getattr(o, name) for name in names},
        "model": models.MUSIC if any(e["evaluations"] for e in entries) else None,
        "versions": versions(),
        "stretches": entries,
        **more,
        "device": "cpu",
        "definitions": DEFINITIONS,
    }


def tell(content: dict[str, Any], outputs: Outputs, written: Written, cancelled: bool, quiet: bool) -> int:
    """Print the files and what did not end well; the exit code."""
    ways = [s for e in content["stretches"] for s in e["status"]]
    for name in sorted(set(ways)):
        if not Status[name].ok:
            print(f"Warning, {ways.count(name)} of {len(ways)} tracks: {Status[name].value}", file=sys.stderr)
    if written.over:
        print(f"Warning: {written.over} samples were beyond full scale and are cut off.", file=sys.stderr)
    if content["not_begun"]:
        left = content["not_begun"]
        print(f"Warning: {left} stretches were not begun and are as they were.", file=sys.stderr)
    if not quiet:
        files = ", ".join(map(str, outputs.all))
        by = [e.get("filled_by") for e in content["stretches"]]
        how = {"linear prediction": "by linear prediction alone", "repetition": "by repetition"}
        alone = "".join(f", {by.count(k)} {words}" for k, words in how.items() if k in by)
        count = len(content["stretches"])
        print(f"{files}: {count} stretch{'es' * (count != 1)}{alone}, {content['seconds']:.1f} s")
    if cancelled:
        return INTERRUPTED
    return int("DIVERGED" in ways)
