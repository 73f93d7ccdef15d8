"""The job that undoes damage all over a recording: stretch by stretch, while it is written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.audio.damage import Clipping, Damage
from headwater.audio.io.files import Patch, Recording
from headwater.audio.io.resample import raise_rate
from headwater.audio.io.write import write_patched
from headwater.audio.undo import OVERLAP, undo_damage
from headwater.cli.audio.repair import RepairJob


@dataclass(kw_only=True)
class DamageJob(RepairJob):
    """Damage all over a recording undone; after Ctrl-C what was not begun is as it was.

    Attributes
    ----------
    damage
        What happened.
    described
        The same as the report repeats it.
    source
        The recording of a lower rate that is raised first, if there is one; `recording` is what it becomes.
    """

    damage: Damage
    described: Mapping[str, Any]
    source: Recording | None = None

    @property
    def count(self) -> int:
        """How many stretches there are."""
        return len(OVERLAP.cut(self.recording, self.damage, self.pipeline))

    def work(self) -> None:
        """Undo the damage while the recording is written; peaks become floats, as they may exceed full scale."""
        with tempfile.TemporaryDirectory() as folder:
            if self.source is not None:
                file = Path(folder) / f"{self.source.path.stem}.wav"
                self.recording = raise_rate(self.source, self.recording.rate, file)
            self.written = write_patched(
                self.recording,
                self.keep_what_is_done(self.patches()),
                self.outputs.main[0],
                peaks=isinstance(self.damage, Clipping),
                overwrite=self.overwrite,
            )
        self.raise_failure()

    def patches(self) -> Iterator[Patch]:
        """The restored segments, each made when it is asked for; the sheet shows the first."""
        self.begin(0)
        options, rate = self.solve_options(), self.recording.rate
        restorations = undo_damage(
            self.prior(), self.recording, self.damage, options, stop=lambda: self.watch.over
        )
        for number, restored in enumerate(restorations, 1):
            patch = restored.patch
            stop = patch.start + len(patch.samples)
            self.note(f"{patch.start / rate:.1f} to {stop / rate:.1f} s", restored)
            if number == 1:
                self.keep(self.recording.read(patch.start, stop), patch.samples)
            if number < self.count:
                self.begin(number)
            yield patch

    def facts(self) -> Mapping[str, Any]:
        """As of any repair, and what was undone; a raised recording has no sample as it was."""
        found = dict(super().facts()) | {"damage": dict(self.described)}
        found["output"]["exact"] &= self.source is None
        return found
