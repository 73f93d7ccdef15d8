"""`headwater audio generate`: the model without a recording."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from headwater.audio.io.files import Recording, Samples
from headwater.audio.io.write import output_format, write_new
from headwater.audio.sheet import write_gallery
from headwater.cli.audio.options import Draw
from headwater.cli.audio.preview import write_preview
from headwater.cli.audio.sound import LEVEL, Sound, choose_device, load_sound
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.outputs import Outputs, check_outputs, name_outputs
from headwater.cli.shared.terminal import say
from headwater.extras import import_optional

PEAK = 0.99
"""The largest sample that is written, of full scale 1."""


@dataclass(kw_only=True)
class SoundJob(Job):
    """What drawing with and without a reward share.

    Attributes
    ----------
    outputs, options
        The files, and how they are drawn.
    sound
        The model.
    most_shown
        The most recordings on the sheet.
    """

    outputs: Outputs
    options: Draw
    sound: Sound
    most_shown: int = 8
    shown: list[tuple[str, Samples]] = field(default_factory=list)

    packages: ClassVar[tuple[str, ...]] = ("scipy", "soundfile")
    smaller: ClassVar[str] = "Give a shorter --length."

    @property
    def seeds(self) -> range:
        """One seed for each recording."""
        return range(self.options.seed, self.options.seed + self.options.count)

    def facts(self) -> Mapping[str, Any]:
        """The model and its rate."""
        return {"model": self.sound.name, "rate": self.sound.rate}

    def write(self, x: Samples, path: Path) -> None:
        """Write a recording `[channels, frames]`, and show it to who follows."""
        write_new(path, x.T, self.sound.rate, overwrite=self.overwrite)
        heard = partial(write_preview, torch.from_numpy(x.mean(0)), self.sound.rate)
        self.watch.feed.show(heard, ".wav")
        self.watch.tell(f"generate  {path.name} is there")

    def show(self, report: Mapping[str, Any]) -> None:
        """The spectrograms."""
        names, shown = zip(*self.shown, strict=True)
        write_gallery(self.outputs.sheet, shown, self.sound.rate, names, overwrite=self.overwrite)

    def tell(self, report: Mapping[str, Any]) -> None:
        """The files and the time."""
        say(f"{', '.join(map(str, self.outputs.all))}: {report['seconds']:.1f} s")


@dataclass(kw_only=True)
class GenerateJob(SoundJob):
    """Draws one after the other, each written when it is done."""

    done: list[Entry] = field(default_factory=list)

    def work(self) -> None:
        """Draw and write the recordings."""
        sound = self.sound.guard(self.watch)
        for i, path in enumerate(self.outputs.main):
            seed = self.seeds[i]
            x = set_level(sound.select([i]).draw([seed], self.device)[0], levelled=sound.levelled)
            self.write(x, path)
            self.shown += [(f"seed {seed}", x.mean(0))] if i < self.most_shown else []
            self.done.append(Entry(f"seed {seed}", {"seed": seed, "file": str(path)}))
            if not self.quiet and len(self.seeds) > 1:
                say(f"{path}: {i + 1} of {len(self.seeds)}")

    def entries(self) -> Sequence[Entry]:
        """The recordings that are written."""
        return self.done


def generate(o: Draw) -> GenerateJob:
    """The job that draws sounds, after the options were checked.

    Raises
    ------
    Misuse
        An output cannot be written, or the model is none.
    """
    return GenerateJob(**plan_draw(o, range(o.seed, o.seed + o.count)))


def plan_draw(o: Draw, seeds: Sequence[int]) -> dict[str, Any]:
    """What a job needs: its files, checked, and the model of the problems with these seeds."""
    main = o.output or Path("music.flac" if o.model is None else "sound.flac")
    output_format(Recording(Path(), 16_000, 1, 1, "", "PCM_24"), main)
    outputs = name_outputs(main, o.count)
    check_outputs(outputs.all, (), overwrite=o.overwrite)
    import_optional("matplotlib.figure", "audio")
    device = choose_device(o)
    sound = load_sound(o, seeds, device)
    told = {
        name: value for name in ("prompt", "negative", "guidance") if (value := getattr(o, name)) is not None
    }
    steps = sound.steps if isinstance(sound.steps, int) else len(sound.steps) - 1
    return {
        "command": "audio generate",
        "settings": {"count": o.count, "length": o.length, "seed": o.seed, "steps": steps, **told},
        "report": outputs.report,
        "device": device,
        "overwrite": o.overwrite,
        "quiet": o.quiet,
        "outputs": outputs,
        "options": o,
        "sound": sound,
    }


def set_level(x: Tensor, *, levelled: bool, peak: float = PEAK) -> Samples:
    """Samples `[channels, frames]`, `levelled` at an rms of `LEVEL`, and softer where they would exceed the peak."""
    y = x.double().cpu().numpy()
    gain = LEVEL / max(float(np.sqrt(np.mean(y**2))), 1e-9) if levelled else 1.0
    return np.asarray(y * min(gain, peak / max(float(np.abs(y).max()), 1e-9)))
