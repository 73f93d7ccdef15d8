"""The jobs that repair a recording: what they write, what their report says, and how they end."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from headwater.audio.gaps import ROOM_TONE, SETTINGS
from headwater.audio.io.files import SUFFIXES, Patch, Recording, Samples
from headwater.audio.io.metadata import list_lost
from headwater.audio.io.write import Written, output_format
from headwater.audio.latent import LatentPrior
from headwater.audio.model import models
from headwater.audio.operators import Gaps
from headwater.audio.prior import Prior
from headwater.audio.restoration import Restoration, SolveOptions, Solver
from headwater.audio.sheet import most_changed_channel, write_sheet
from headwater.cli.audio.options import Repair
from headwater.cli.audio.pipeline import load_pipeline
from headwater.cli.audio.preview import draw_previews
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.outputs import Outputs, check_outputs, name_outputs
from headwater.cli.shared.progress import Record, Watch, clock, worst
from headwater.cli.shared.terminal import say
from headwater.dflow.result import Event
from headwater.errors import Misuse, is_out_of_memory
from headwater.extras import import_optional
from headwater.recipes.methods import require_fit
from headwater.recipes.problem import Problem
from headwater.recipes.warm_start import WarmStart
from headwater.text import counted

PARTIAL = ("inpaint", "extend", "declip")
"""The commands that leave most samples as they are."""
DEFINITIONS = {
    "misfit": "rms(A(x1) - y) / sigma of what the flow found, sigma being the noise but at least"
    f" {Prior.resolution:g} of the rms of the stretch; a stretch is done at its `goal`",
    "goal": "the misfit at which the flow ends; it ends earlier where a filter or least squares finish the sound:"
    " under noise and in a room",
    "filled_by": "repetition fills what is there another time and repeats what is beside the gap better than linear"
    f" prediction tells it; linear prediction fills other gaps up to {1000 * SETTINGS.predicted:.0f} ms; longer ones"
    " fade to the room tone in what sounds like speech; silence stays silent; the flow, which has heard music and no"
    " speech, fills all others",
    "gradients": "gradient evaluations of a channel: each a forward solve and a vector-Jacobian product",
    "exact": "whether samples that were not repaired are as they were; over: samples cut off at full scale",
    "evaluations": "forward calls of the network for a channel, mid and side of two where they are restored as such;"
    " no entry where the flow was not asked: clipping, noise that is finer than it resolves, silence",
    "solved_together": "recordings of which stretches were solved as one batch; `seconds` is the time of all, "
    "`seconds_of_its_share` that of solving by their number",
}


OF_PIPELINES = {
    "misfit": "rms(A(D(z)) - y) / sigma of what the pipeline found, D being its decoder; sigma^2 is the square of the"
    f" noise, at least of {Prior.resolution:g} of the rms of the stretch, and the mean square error of the"
    " autoencoder, as A shows it",
}


@dataclass
class Curve(Record):
    """The misfit of the worst channel of a stretch: in the estimate, and by gradient evaluations."""

    estimate: list[float] = field(default_factory=list)

    def prepare(self, event: Event) -> None:
        """Note one time of the estimate."""
        self.estimate.append(worst(event))

    @property
    def points(self) -> list[tuple[int, float]]:
        """(number, misfit): the last time of the estimate is 0, the first gradient 1."""
        first = 1 - len(self.estimate)
        return [*enumerate(self.estimate, first), *self.curve]


@dataclass(frozen=True)
class Shown:
    """What the sheet shows: a stretch `[frames, channels]` before and after, and the content besides."""

    before: Samples
    after: Samples
    content: Mapping[str, Any]


@dataclass(kw_only=True)
class RepairJob(Job):
    """The repair of a recording, stretch by stretch while it is written.

    Attributes
    ----------
    recording, outputs, options
        What is repaired, into which files, and how.
    watch
        Follows the work; its record is the curve of the stretch that is solved.
    pipeline
        What repairs in the place of the model of music.
    solver
        What solves the problems of its stretches; a batch of recordings solves those of several at once.
    """

    recording: Recording
    outputs: Outputs
    options: Repair
    watch: Watch
    pipeline: LatentPrior | None = None
    written: Written | None = None
    done: list[Entry] = field(default_factory=list)
    curve: Curve = field(default_factory=Curve)
    shown: Shown | None = None
    failure: BaseException | None = None
    solver: Solver = Problem.solve

    rows: ClassVar[str] = "stretches"
    row: ClassVar[str] = "stretch"
    packages: ClassVar[tuple[str, ...]] = ("scipy", "soundfile")
    smaller: ClassVar[str] = "Close other programs, or cut the recording into shorter files."

    @property
    @abstractmethod
    def count(self) -> int:
        """How many stretches there are."""

    def entries(self) -> Sequence[Entry]:
        """The stretches that were repaired; none before the recording is written as a whole."""
        return self.done if self.written else ()

    def solve_options(self) -> SolveOptions:
        """How its stretches are solved, followed by the watch."""
        return replace(self.options.solve_options(self.watch), solver=self.solver)

    def prior(self) -> Prior | LatentPrior:
        """The pipeline, or the prior of music, which the watch ends between any two evaluations of the network."""
        if self.pipeline is None:
            return self.load_prior()
        model = self.pipeline.model
        return replace(self.pipeline, model=replace(model, flow=self.watch.guard(model.flow)))

    def load_prior(self) -> Prior:
        """The prior of music, which the watch ends between any two evaluations of its network."""
        prior = models.load_prior()
        self.watch.draw, self.watch.form = draw_previews(prior), ".wav"
        return replace(prior, flow=self.watch.guard(prior.flow))

    def keep_what_is_done(self, patches: Iterator[Patch]) -> Iterator[Patch]:
        """The patches; a failure after the first ends them, so that what was repaired is written."""
        try:
            yield from patches
        except (Misuse, MemoryError, RuntimeError) as error:
            if not self.done or not (isinstance(error, Misuse) or is_out_of_memory(error)):
                raise
            self.failure = error

    def raise_failure(self) -> None:
        """Raise what ended the patches early, once the recording is written."""
        if self.failure is not None:
            raise self.failure

    def begin(self, number: int) -> None:
        """Turn to a stretch, counted from 0."""
        self.curve = Curve()
        spent = time.perf_counter() - self.watch.start
        self.watch.title = progress_title(self.command.split()[-1], number, self.count, spent)
        self.watch.begin(self.curve)
        self.watch.tell(self.watch.title)

    def note(self, name: str, r: Restoration, **values: Any) -> None:
        """Note how a stretch ended."""
        self.done.append(
            Entry(name, values | solved_values(r) | {"goal": self.watch.level}, solved_statuses(r))
        )

    def keep(self, before: Samples, after: Samples, **content: Any) -> None:
        """Keep the stretch that was just repaired for the sheet."""
        self.shown = Shown(before, after, content | {"curve": self.curve.points, "goal": self.watch.level})

    def not_begun(self) -> int:
        """Stretches after the end."""
        return self.count - len(self.done)

    def facts(self) -> Mapping[str, Any]:
        """The file that was written, the model, and what the words of the report mean."""
        assert self.written is not None
        written = self.written.file
        about = {k: getattr(written, k) for k in ("rate", "frames", "channels", "format", "subtype")}
        name = self.options.folder or models.MUSIC
        return {
            "output": {
                "file": str(written.path),
                **about,
                "exact": self.written.exact,
                "over": self.written.over,
            },
            "model": name if any(e.values["evaluations"] for e in self.done) else None,
            "not_begun": self.not_begun(),
            "definitions": DEFINITIONS if self.pipeline is None else {**DEFINITIONS, **OF_PIPELINES},
        }

    def show(self, report: Mapping[str, Any]) -> None:
        """The sheet of one stretch, of the channel that was changed most."""
        if self.shown is None:
            return
        c = most_changed_channel(self.shown.before, self.shown.after)
        title = f"{self.inputs[0].name}: {self.command.split()[-1]}"
        tracks = self.shown.before[:, c], self.shown.after[:, c]
        about = dict(self.shown.content) | {"rate": self.recording.rate, "title": title}
        write_sheet(self.outputs.sheet, *tracks, **about, overwrite=self.overwrite)

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """What was cut off, and what was not begun."""
        if over := report["output"]["over"]:
            yield f"{counted(over, 'sample')} beyond full scale {'was' if over == 1 else 'were'} cut off."
        if left := report["not_begun"]:
            which = counted(left, "stretch", "stretches")
            yield f"{which} {'was' if left == 1 else 'were'} not begun and stayed as before."

    def tell(self, report: Mapping[str, Any]) -> None:
        """The files, and what filled how many gaps without the flow."""
        files = ", ".join(map(str, self.outputs.all))
        by = [e.values.get("filled_by") for e in self.done]
        words = {
            "linear prediction": "by linear prediction alone",
            "repetition": "by repetition",
            ROOM_TONE: "faded to the room tone",
        }
        alone = "".join(f", {by.count(k)} {how}" for k, how in words.items() if k in by)
        count = len(self.done)
        say(f"{files}: {counted(count, 'stretch', 'stretches')}{alone}, {report['seconds']:.1f} s")


def solved_values(r: Restoration) -> dict[str, Any]:
    """What the report says of the channels of a stretch that were solved."""
    results = [s.result for s in r.solutions]
    return {
        "status": [status.name for status in solved_statuses(r)],
        "gradients": [int(n) for result in results for n in result.gradients],
        "evaluations": [int(n) for result in results for n in result.evaluations],
        "misfit": [round(float(m), 4) if m.isfinite() else None for s in r.solutions for m in s.rms],
    }


def solved_statuses(r: Restoration) -> tuple[Any, ...]:
    """How the solves of a stretch ended."""
    return tuple(status for s in r.solutions for status in s.result.status)


def shared_fields(
    command: str,
    recording: Recording,
    inputs: Sequence[Path],
    o: Repair,
    *,
    peaks: bool = False,
    recipe: Any = None,
    beside: Sequence[str] = (),
    goes_on: bool = False,
) -> dict[str, Any]:
    """What every repair has: checked files, settings, warnings and a watch.

    `recipe` is the task's own, at whose discrepancy level `tau` a stretch is done; `beside` names more recordings,
    as in NAME-mean.wav; a run that goes on writes over what an earlier one left.

    Raises
    ------
    Misuse
        A file cannot be read or written, matplotlib is not installed, or the pipeline does not serve.
    """
    source, main = inputs[0], name_main(command, inputs[0], o, peaks=peaks)
    target = output_format(recording, main, peaks=peaks)
    outputs = name_outputs(main)
    more = tuple(main.with_name(f"{main.stem}-{name}{main.suffix}") for name in beside)
    outputs = replace(outputs, main=(*outputs.main, *more))
    check_outputs(outputs.all, inputs, overwrite=o.overwrite or goes_on)
    import_optional("matplotlib.figure", "audio")
    require_fit(o.method, Gaps, denoising=False)
    level = getattr(o.recipe or recipe, "tau", WarmStart.tau)
    pipeline = load_pipeline(o)
    for note in () if pipeline is None or o.quiet else pipeline.model.notes:
        say(note)
    return {
        "command": f"audio {command}",
        "inputs": tuple(inputs),
        "settings": {name: getattr(o, name) for name in ("seed", "method", "steps", "gradients", "seconds")}
        | tell_pipeline(o),
        "report": outputs.report,
        "warnings": tuple(losses(command, source, recording, target)),
        "watch": Watch(
            command,
            limit=o.gradients,
            seconds=o.seconds,
            quiet=o.quiet,
            goal=f"the noise, or what is resolved; done at {level:.2f}",
            level=level,
        ),
        "overwrite": o.overwrite or goes_on,
        "quiet": o.quiet,
        "recording": recording,
        "outputs": outputs,
        "options": o,
        "pipeline": pipeline,
    }


def tell_pipeline(o: Repair) -> dict[str, str | float]:
    """What a pipeline is and what it was told, for the report."""
    options = ("model", "prompt", "negative", "guidance")
    return {name: value for name in options if (value := getattr(o, name)) is not None}


def name_main(command: str, source: Path, o: Repair, *, peaks: bool = False) -> Path:
    """The main file of a command: the output, or one beside the source that is named after the command."""
    suffix = Path(name_result(source, peaks=peaks)).suffix
    return o.output or source.with_name(f"{source.stem}-{command}{suffix}")


def name_result(source: Path, *, peaks: bool = False) -> str:
    """The name of a result in a folder of its own: that of the source, in a format that it can be written in.

    >>> name_result(Path("a/take.FLAC")), name_result(Path("take.flac"), peaks=True)
    ('take.FLAC', 'take.wav')
    """
    suffix = source.suffix if source.suffix.lower() in SUFFIXES else ".wav"
    if peaks and suffix.lower() in (".flac", ".ogg"):
        suffix = ".wav"
    return f"{source.stem}{suffix}"


def losses(command: str, source: Path, recording: Recording, target: Recording) -> Iterator[str]:
    """What the input lacks, and what the format of the output loses besides what is repaired."""
    if recording.note:
        yield recording.note
    lost = list_lost(source, recording.format, target.format) if source == recording.path else []
    if lost:
        yield f"{target.format} does not take over from the input: {', '.join(lost)}."
    if target.lossless and (command not in PARTIAL or target.holds(recording)):
        return
    what = "is narrower than the input, all samples are rounded"
    if not target.lossless:
        what = "is lossy, the whole file is encoded again"
    if command in PARTIAL:
        what += "; name the output .wav to keep the rest"
    yield f"{target.subtype} {what}."


def progress_title(command: str, number: int, count: int, spent: float) -> str:
    """Which stretch of how many is worked on, and how long all of them will take if they go on like this.

    >>> progress_title("denoise", 2, 5, 60.0)
    'denoise 3 of 5 (1:30 to go)'
    """
    if count == 1:
        return command
    left = f" ({clock(spent / number * (count - number))} to go)" if number else ""
    return f"{command} {number + 1} of {count}{left}"
