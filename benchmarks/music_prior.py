"""Listen to and look at the shipped music model: draws as FLAC and spectrograms, and a Frechet distance.

    python benchmarks/music_prior.py --music build/music --count 128

The distance is on CDPAM's acoustic embedding of pieces of half a second, between `--count` draws of 2 s and as many
held-out windows; beside it the same between the two halves of the held-out windows (the floor at half that number),
and of noise with the spectrum of music. The first draws go to docs/music16-samples.flac and .png.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile
import torch

from common import write
from headwater.audio.model import models
from headwater.audio.sheet import gallery
from headwater.metrics.frechet import frechet_distance
from recordings import RATE, clips, drawn, embedded, options

DOCS = Path(__file__).parent.parent / "docs"
SHOWN = 6
PAUSE = 0.25
"""Seconds of silence between draws in the file."""
LEVEL = 0.1
"""The rms of a draw in it."""


def show(draws: torch.Tensor) -> None:
    """The first draws, one after the other, and their spectrograms."""
    x = draws[:SHOWN].double().numpy()
    x *= LEVEL / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
    pause = np.zeros((SHOWN, round(PAUSE * RATE)))
    flat = np.concatenate([x, pause], axis=1).reshape(-1).clip(-1, 1)
    soundfile.write(DOCS / "music16-samples.flac", flat, RATE, subtype="PCM_16")
    names = [f"Draw {i + 1}" for i in range(SHOWN)]
    gallery(DOCS / "music16-samples.png", list(x), RATE, names, overwrite=True)


def main() -> None:
    o = options(__doc__.splitlines()[0], count=128)
    prior = models.prior()
    windows = torch.from_numpy(clips(o.music, o.count, models.WINDOW / RATE, "validation")).float()
    real = embedded(windows)
    half = len(real) // 2
    floor = round(float(frechet_distance(real[:half], real[half:])), 4)
    lines: list[dict[str, object]] = [
        {"of": "held-out windows, two halves", "windows": o.count // 2, "Frechet (CDPAM)": floor}
    ]
    generator = torch.Generator().manual_seed(0)
    noise = prior.space.decode(torch.randn(o.count, *prior.flow.shape, generator=generator))
    sounds = {"noise with the spectrum of music": (0, noise)}
    for steps in (8, 16, 32):
        sounds[f"draws, {steps} midpoint steps"] = (2 * steps, drawn(prior, o.count, steps))
    for name, (evaluations, x) in sounds.items():
        distance = float(frechet_distance(embedded(x), real))
        lines.append(
            {"of": name, "windows": o.count, "NFE": evaluations, "Frechet (CDPAM)": round(distance, 4)}
        )
        print(lines[-1], flush=True)
    show(sounds["draws, 32 midpoint steps"][1])
    command = f"python benchmarks/music_prior.py --music build/music --count {o.count}"
    write("music_prior", lines, command, f"Against {o.count} held-out windows of 2 s.")


if __name__ == "__main__":
    main()
