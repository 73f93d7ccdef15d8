"""`audio inpaint --posterior`: several fillings of each gap, and the level within which they lie.

The result holds a plausible filling, and the mean is a file beside it: where the phases of the draws differ, their
mean grows softer towards the middle of a long gap, as if it were silent there. What linear prediction fills differs
from draw to draw by the errors that it makes of known stretches beside the gap, if these are long enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.audio.gaps import GapTask
from headwater.audio.io.files import Patch, Recording, Samples
from headwater.audio.io.segments import Segment
from headwater.audio.io.write import write_patched
from headwater.audio.prior import warm_start
from headwater.cli.audio.gap_job import GapJob
from headwater.cli.audio.options import GapOptions
from headwater.cli.audio.repair import name_main, shared_fields
from headwater.cli.shared.event import UserEvent, describe_event, load_event, tell_event
from headwater.cli.shared.job import Entry
from headwater.cli.shared.outputs import name_outputs
from headwater.cli.shared.posterior import DEFINITIONS as SHARED
from headwater.cli.shared.posterior import (
    ChainFile,
    Plan,
    describe,
    digest,
    doubts,
    draw,
    rms_of_draws,
)
from headwater.cli.shared.terminal import say
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.result import Posterior

WINDOW = 0.02
"""Seconds over which a level is taken."""
FLOOR = -120.0
"""The level of silence, dB of full scale."""
DEFINITIONS = {
    **SHARED,
    "levels": f"of the mean of the channels in windows of {1000 * WINDOW:g} ms around `seconds`, dB of full scale:"
    " the quantiles of 5, 50 and 95 % of the draws",
    "mean_below_draws": "how much softer than the draws their mean is in the gaps, dB: the reason why the result"
    " holds a draw, the one nearest to the mean",
    "prediction_errors": "for each gap, how many known stretches beside it, as long as it, show how far linear"
    " prediction errs; with 0 that error is not in the spread of the draws",
}


@dataclass(kw_only=True)
class PosteriorJob(GapJob):
    """Several fillings of each gap; the state of the chains of each stretch is in a file until all is written."""

    plan: Plan
    event: UserEvent | None
    chains: Path
    about: str
    kept: list[ChainFile] = field(default_factory=list)
    means: list[Patch] = field(default_factory=list)

    def most_threads(self) -> int | None:
        """As many as are idle: the chains of a stretch are one batch."""
        return None

    def work(self) -> None:
        """Draw fillings while the recording is written, then write their mean."""
        super().work()
        if self.done:
            write_patched(
                self.recording,
                iter(self.means),
                self.outputs.main[1],
                frames=self.frames,
                overwrite=self.overwrite,
            )
        if len(self.done) == self.count and not self.left_over:
            for file in self.kept:
                file.remove()

    @property
    def left_over(self) -> bool:
        """Whether some stretch has fewer draws than were asked for."""
        return any(e.values["draws"] not in (None, self.plan.count) for e in self.done)

    def patches(self) -> Iterator[Patch]:
        """A plausible filling of each segment; the sheet shows the one with the longest gap."""
        longest = max(range(self.count), key=lambda i: max(b - a for a, b in self.segments[i].gaps))
        for number, segment in enumerate(self.segments):
            if self.watch.over and number:
                return
            self.begin(number)
            path = self.chains.with_name(f"{self.chains.name}-{number}.safetensors")
            file = ChainFile(path, self.about, self.options.overwrite)
            drawn = self.draw(segment, file)
            if drawn is None:
                return
            if number in (0, longest):
                self.keep_segment(segment, drawn[0], bands=drawn[1])
            yield drawn[0]

    def draw(self, segment: Segment, file: ChainFile) -> tuple[Patch, Mapping[str, Sequence[float]]] | None:
        """A plausible filling of a segment and the levels of all; None if the user ended it before the first one."""
        prior = self.load_prior()
        task = GapTask.read(prior, self.recording, segment, self.options.seed)
        problem, rate = task.pose(prior), self.recording.rate
        gaps = [[round(frame / rate, 6) for frame in gap] for gap in segment.gaps]
        name = f"the gap at {gaps[0][0]:.3f} s"
        if problem is None:
            patch = task.finish(None)
            self.done.append(
                Entry(name, {"gaps": gaps, "filled_by": "silence", "draws": None, "evaluations": []})
            )
            self.means.append(patch)
            return patch, find_levels(patch.samples[None], segment, rate)
        seeds = [task.seeds[i] for i in task.audible]
        if not self.quiet:
            say(f"{name}: {self.plan.cost(problem, len(seeds))}")
        self.kept.append(file)
        found = draw(problem, seeds, self.plan, self.watch, file, torch.device("cpu"))
        if not found.x1.shape[2]:
            return None
        patches = [task.finish(x1, draw) for draw, x1 in enumerate(found.x1.flatten(1, 2).unbind(1))]
        sounds = np.stack([patch.samples for patch in patches])
        before, changed = self.recording.read(segment.start, segment.stop), patches[0].changed
        sounds = np.where(changed, sounds, before)
        whole = as_sounds(found, sounds)
        mean = replace(patches[0], samples=sounds.mean(0))
        nearest = replace(patches[0], samples=whole.nearest()[0].T.double().numpy())
        levels, rows = (
            find_levels(sounds, segment, rate),
            describe(found, self.plan, rms_of_draws(problem, found)),
        )
        values: dict[str, Any] = {
            "gaps": gaps,
            "filled_by": "flow and linear prediction",
            "draws": rows[0]["draws"],
        }
        values |= {"evaluations": [row["evaluations"] for row in rows]}
        values |= {"gradients": [row["gradients"] for row in rows], "signals": rows, "levels": levels}
        values["mean_below_draws"] = round(loudness(sounds[:, changed]) - loudness(mean.samples[changed]), 2)
        values["prediction_errors"] = [len(errors) for errors in task.errors]
        values["event"] = None if self.event is None else describe_event(self.event, whole)
        statuses = tuple(dict.fromkeys(status for row in found.status for status in row))
        self.done.append(Entry(name, values, statuses))
        self.means.append(mean)
        return nearest, levels

    def facts(self) -> Mapping[str, Any]:
        """Also what the words of a posterior mean."""
        facts = super().facts()
        return {
            **facts,
            "mean": str(self.outputs.main[1]),
            "definitions": {**facts["definitions"], **DEFINITIONS},
        }

    def remarks(self, report: Mapping[str, Any]) -> Iterable[str]:
        """Also what is doubtful about the draws."""
        yield from super().remarks(report)
        rows = [row for entry in self.done for row in entry.values.get("signals", ())]
        yield from doubts(rows)
        for entry in self.done:
            if 0 in entry.values.get("prediction_errors", ()):
                yield (
                    f"Beside {entry.name} no known stretch is as long as it, so how far linear prediction errs is not"
                    " in the spread: the band of the levels is too narrow where prediction knows."
                )
        if any(file.goes_on for file in self.kept):
            yield f"Not all of the {self.plan.count} draws are made: repeat the command to go on."

    def tell(self, report: Mapping[str, Any]) -> None:
        """The files, and the event of each gap."""
        super().tell(report)
        for entry in self.done:
            if entry.values.get("event") is not None:
                say(f"{entry.name}: {tell_event(entry.values['event'], entry.values['draws'])}")


def as_sounds(found: Posterior, sounds: Samples) -> Posterior:
    """The posterior of finished sounds `[draws, frames, channels]`: x1 `[1, chains, draws, channels, frames]`."""
    x1 = torch.from_numpy(sounds).transpose(1, 2).reshape(1, *found.x1.shape[1:3], -1, sounds.shape[1])
    return replace(
        found,
        x0=found.x0[:1],
        x1=x1.float(),
        potential=found.potential[:1],
        log_weights=found.log_weights[:1],
        acceptance=found.acceptance[:1],
        status=found.status[:1],
    )


def loudness(x: NDArray[np.float64]) -> float:
    """The level of samples in dB of full scale."""
    return 10 * math.log10(max(float(np.mean(np.square(x))), 10 ** (FLOOR / 10)))


def find_levels(sounds: Samples, segment: Segment, rate: int) -> dict[str, list[float]]:
    """The levels of sounds `[draws, frames, channels]` over time: their quantiles, dB of full scale."""
    size = max(round(WINDOW * rate), 1)
    power = np.square(sounds.mean(2))
    edges = np.arange(0, power.shape[1], size)
    means = np.add.reduceat(power, edges, axis=1) / np.diff(np.append(edges, power.shape[1]))
    levels = np.maximum(10 * np.log10(means + 1e-30), FLOOR)
    found = np.quantile(levels, (0.05, 0.5, 0.95), axis=0, method="inverted_cdf")
    seconds = (segment.start + edges + size / 2) / rate
    rows = {"seconds": seconds, **dict(zip(("q05", "q50", "q95"), found, strict=True))}
    return {name: [round(float(value), 3) for value in row] for name, row in rows.items()}


def draw_fields(recording: Recording, inputs: Sequence[Path], o: GapOptions, plan: Plan) -> dict[str, Any]:
    """The fields of a `PosteriorJob` but for its gaps: checked files, settings, and whether it goes on.

    Raises
    ------
    Misuse
        As `shared_fields`; or the event cannot be read, or the chains of another run are in the way.
    """
    event = load_event(o.event, "a stretch [channels, frames]")
    main = name_main("inpaint", inputs[0], o)
    chains = main.with_name(f"{name_outputs(main).report.stem}-chains")
    old = sorted(main.parent.glob(f"{chains.name}-*.safetensors"))
    fields = shared_fields("inpaint", recording, inputs, o, beside=("mean",), goes_on=bool(old))
    fields["settings"] |= plan.settings
    own = {k: v for k, v in fields["settings"].items() if k not in ("seconds", "posterior")}
    about = digest(inputs, {**own, "gaps": recording.lost})
    for path in old:
        ChainFile(path, about, o.overwrite)
    estimate = warm_start(fresh=0.0).estimate  # as loud as what is around
    assert isinstance(estimate, Estimate)
    return {**fields, "plan": plan.begin_at(estimate), "event": event, "chains": chains, "about": about}
