"""A run of an audio command that repairs: checked outputs, what watches it, and how it ends."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headwater.audio.io.files import Source
from headwater.audio.io.write import Written
from headwater.audio.restore import How, Restoration
from headwater.cli.audio.options import Repair
from headwater.cli.audio.outcome import Curve, entry, prepared, report, tell, warn
from headwater.cli.shared.machine import Meter, use_idle_cores
from headwater.cli.shared.outputs import write_json
from headwater.cli.shared.progress import Watch, clock
from headwater.recipes.warm_start import Limits


class Work:
    """What a command does stretch by stretch: `watch` follows it, `entries` say how each ended.

    All inputs and outputs are checked before it begins.
    """

    def __init__(
        self, command: str, source: Source, inputs: Sequence[Path], o: Repair, *, peaks: bool = False
    ) -> None:
        self.command, self.source, self.inputs, self.o = command, source, inputs, o
        self.outputs = prepared(command, source, inputs, o, peaks=peaks)
        warn(command, source, self.outputs.sound, peaks=peaks)
        use_idle_cores()
        self.meter, self.curves = Meter(torch.device("cpu")), {0: Curve()}
        self.watch = Watch(
            command, self.curves[0], limit=o.gradients, seconds=o.seconds, quiet=o.quiet, goal="resolved"
        )
        self.entries: list[dict[str, Any]] = []
        self.begun = time.perf_counter()

    @property
    def how(self) -> How:
        """How a stretch is solved."""
        limits = Limits(steps=self.o.steps, gradients=self.o.gradients, callback=self.watch)
        return How(self.o.seed, self.o.preset, limits)

    def about(self, number: int) -> dict[str, Any]:
        """What the sheet of a stretch is to know besides the sound: its cost curve, the title."""
        title = f"{self.source.path.name}: {self.command}"
        return {"curve": self.curves[number].points, "title": title, "overwrite": self.o.overwrite}

    def turn(self, number: int, count: int) -> None:
        """Begin the stretch of this number, counted from 0."""
        spent = time.perf_counter() - self.begun
        self.watch.title = headline(self.command, number, count, spent)
        self.watch.begin(self.curves.setdefault(number, Curve()))

    def note(self, found: Sequence[Restoration], **more: Any) -> None:
        """Note how a stretch ended."""
        self.entries.append(more | entry(found))

    def report(self, written: Written, **more: Any) -> dict[str, Any]:
        """Write the report; its content."""
        content = report(
            self.command, self.inputs, written, self.o, self.entries, **more, **self.meter.read()
        )
        content["output"]["exact"] &= self.source.path in self.inputs  # else all of it was resampled
        write_json(self.outputs.report, content, overwrite=self.o.overwrite)
        return content

    def tell(self, content: dict[str, Any], written: Written) -> int:
        """Print what came out; the exit code."""
        return tell(content, self.outputs, written, self.watch.interrupt.asked, self.o.quiet)


def headline(command: str, number: int, count: int, spent: float) -> str:
    """Which stretch of how many is worked on, and how long all of them will take if they go on like this.

    >>> headline("denoise", 2, 5, 60.0)
    'denoise 3 of 5 (1:30 to go)'
    """
    if count == 1:
        return command
    left = f" ({clock(spent / number * (count - number))} to go)" if number else ""
    return f"{command} {number + 1} of {count}{left}"
