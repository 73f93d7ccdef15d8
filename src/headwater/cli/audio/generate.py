"""`headwater audio generate`: the model without a recording."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from headwater.audio.io.files import Samples, Source
from headwater.audio.io.write import target_of, write_new
from headwater.audio.model import models
from headwater.audio.restore import Prior
from headwater.audio.sheet import gallery
from headwater.cli.audio.options import Draw
from headwater.cli.audio.outcome import Outputs
from headwater.cli.shared.machine import Meter, use_idle_cores, versions
from headwater.cli.shared.outputs import check_free, write_json
from headwater.errors import Misuse
from headwater.extras import need
from headwater.flows.windowed import extend_to_canvas
from headwater.solvers import solve

LEVEL = 0.1
"""The rms of what is written (-20 dB of full scale)."""
PEAK = 0.99
SHOWN = 8
"""Recordings on the sheet."""


def generate(o: Draw) -> int:
    """Draws one after the other, each written when it is done; the report and the sheet at the end."""
    outputs = planned(o)
    use_idle_cores()
    prior, meter = models.prior(), Meter(torch.device("cpu"))
    tracks = []
    for i, path in enumerate(outputs.sounds):
        x = levelled(drawn(prior, o.length, o.seed + i, o.steps)[0])
        write_new(path, x[:, None], prior.rate, overwrite=o.overwrite)
        tracks.append(x)
        if not o.quiet and o.count > 1:
            print(f"{path}: {i + 1} of {o.count}")
    content = {
        "command": "audio generate",
        "settings": {"count": o.count, "length": o.length, "seed": o.seed, "steps": o.steps},
        "model": models.MUSIC,
        "rate": prior.rate,
        "versions": versions(),
        "samples": [{"seed": o.seed + i, "file": str(p)} for i, p in enumerate(outputs.sounds)],
        **meter.read(),
    }
    write_json(outputs.report, content, overwrite=o.overwrite)
    names = [f"seed {o.seed + i}" for i in range(o.count)]
    gallery(outputs.sheet, tracks[:SHOWN], prior.rate, names[:SHOWN], overwrite=o.overwrite)
    if not o.quiet:
        print(f"{', '.join(map(str, outputs.all))}: {content['seconds']:.1f} s")
    return 0


def planned(o: Draw) -> Outputs:
    """The files that will be written, after the options were checked."""
    for name in ("count", "length", "steps"):
        if not getattr(o, name) > 0:
            raise Misuse(f"--{name} is {getattr(o, name):g}.", "Give a positive number.")
    if not 0 <= o.seed < 2**63 - o.count:
        raise Misuse(f"--seed is {o.seed}.", "Give 0 or a positive whole number.")
    main = o.output or Path("music.flac")
    target_of(Source(Path(), models.RATE, 1, 1, "", "PCM_24"), main)
    numbered = [main.with_name(f"{main.stem}-{i}{main.suffix}") for i in range(o.count)]
    sounds = tuple(numbered) if o.count > 1 else (main,)
    outputs = Outputs(sounds, main.with_suffix(".json"), main.with_name(f"{main.stem}-sheet.png"))
    check_free(outputs.all, overwrite=o.overwrite)
    need("matplotlib.figure", "audio")
    return outputs


@torch.no_grad()
def drawn(prior: Prior, seconds: float, seed: int, steps: int) -> Tensor:
    """A draw of so many seconds, `[1, samples]`, at unit loudness; longer than a window it is one canvas of many."""
    samples = max(round(seconds * prior.rate), 1)
    frames = max(math.ceil(samples / prior.space.bins), prior.flow.shape[0])
    flow = extend_to_canvas(prior.flow, (frames,), axes=(-2,))
    return prior.space.decode(solve(flow, flow.noise([seed]), steps=steps))[:, :samples]


def levelled(x: Tensor) -> Samples:
    """The samples at `LEVEL`, or softer where they would clip."""
    y = x.double().numpy()
    gain = LEVEL / max(float(np.sqrt(np.mean(y**2))), 1e-9)
    return np.asarray(y * min(gain, PEAK / max(float(np.abs(y).max()), 1e-9)))
