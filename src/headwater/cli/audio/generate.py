"""`headwater audio generate`: the model without a recording."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from headwater.audio.io.files import Recording, Samples
from headwater.audio.io.write import output_format, write_new
from headwater.audio.model import models
from headwater.audio.prior import Prior
from headwater.audio.sheet import write_gallery
from headwater.cli.audio.options import Draw
from headwater.cli.shared.job import Entry, Job
from headwater.cli.shared.outputs import Outputs, check_outputs, name_outputs
from headwater.cli.shared.terminal import say
from headwater.extras import import_optional
from headwater.flows.windowed import extend_to_canvas
from headwater.solvers import solve


@dataclass(kw_only=True)
class GenerateJob(Job):
    """Draws one after the other, each written when it is done.

    Attributes
    ----------
    outputs, options
        The files, and how they are drawn.
    most_shown
        The most recordings on the sheet.
    """

    outputs: Outputs
    options: Draw
    most_shown: int = 8
    done: list[Entry] = field(default_factory=list)
    shown: list[Samples] = field(default_factory=list)

    packages: ClassVar[tuple[str, ...]] = ("scipy", "soundfile")
    smaller: ClassVar[str] = "Give a shorter --length."

    def work(self) -> None:
        """Draw and write the recordings."""
        o, prior = self.options, models.load_prior()
        prior = replace(prior, flow=self.watch.guard(prior.flow))
        for i, path in enumerate(self.outputs.main):
            x = set_level(draw_music(prior, o.length, o.seed + i, o.steps)[0])
            write_new(path, x[:, None], prior.rate, overwrite=self.overwrite)
            self.shown += [x] if i < self.most_shown else []
            self.done.append(Entry(f"seed {o.seed + i}", {"seed": o.seed + i, "file": str(path)}))
            if not self.quiet and o.count > 1:
                say(f"{path}: {i + 1} of {o.count}")

    def entries(self) -> Sequence[Entry]:
        """The recordings that are written."""
        return self.done

    def facts(self) -> Mapping[str, Any]:
        """The model and its rate."""
        return {"model": models.MUSIC, "rate": models.load_prior().rate}

    def show(self, report: Mapping[str, Any]) -> None:
        """The spectrograms."""
        names = [entry.name for entry in self.done[: self.most_shown]]
        rate = models.load_prior().rate
        write_gallery(self.outputs.sheet, self.shown, rate, names, overwrite=self.overwrite)

    def tell(self, report: Mapping[str, Any]) -> None:
        """The files and the time."""
        say(f"{', '.join(map(str, self.outputs.all))}: {report['seconds']:.1f} s")


def generate(o: Draw) -> GenerateJob:
    """The job that draws music, after the options were checked.

    Raises
    ------
    Misuse
        An output cannot be written.
    """
    main = o.output or Path("music.flac")
    output_format(Recording(Path(), models.RATE, 1, 1, "", "PCM_24"), main)
    outputs = name_outputs(main, o.count)
    check_outputs(outputs.all, (), overwrite=o.overwrite)
    import_optional("matplotlib.figure", "audio")
    return GenerateJob(
        command="audio generate",
        settings={"count": o.count, "length": o.length, "seed": o.seed, "steps": o.steps},
        report=outputs.report,
        overwrite=o.overwrite,
        quiet=o.quiet,
        outputs=outputs,
        options=o,
    )


@torch.no_grad()
def draw_music(prior: Prior, seconds: float, seed: int, steps: int) -> Tensor:
    """A draw of `seconds`, `[1, samples]`, at unit loudness; longer than a window it is one canvas of many."""
    samples = max(round(seconds * prior.rate), 1)
    frames = max(math.ceil(samples / prior.space.bins), prior.flow.shape[0])
    flow = extend_to_canvas(prior.flow, (frames,), axes=(-2,))
    return prior.space.decode(solve(flow, flow.noise([seed]), steps=steps))[:, :samples]


def set_level(x: Tensor, *, level: float = 0.1, peak: float = 0.99) -> Samples:
    """The samples at an rms of `level` (-20 dB of full scale), or softer where they would exceed the peak."""
    y = x.double().numpy()
    gain = level / max(float(np.sqrt(np.mean(y**2))), 1e-9)
    return np.asarray(y * min(gain, peak / max(float(np.abs(y).max()), 1e-9)))
