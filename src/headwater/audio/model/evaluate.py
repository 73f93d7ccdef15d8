"""Evaluate a shipped music prior for its card: draws to hear and see, and a Frechet distance to held-out recordings.

    python -m headwater.audio.model.evaluate --data build/music --out docs

`--data` is the folder that `headwater.audio.model.render` fills. The distance compares CDPAM's acoustic embedding of
pieces of half a second, of `--count` draws and of as many windows of the part `validation`. Two more distances stand
beside it: between two halves of the windows, which is the floor at half that number, and of noise with the spectrum
of music. The output is `NAME-samples.flac`, `NAME-samples.png` and `NAME-evaluation.json`. Needs the extras `audio`
and `cdpam`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.audio.metrics import cdpam_embedding
from headwater.audio.model import models
from headwater.audio.model.train import Recordings
from headwater.audio.prior import Prior
from headwater.audio.sheet import write_gallery
from headwater.extras import import_optional
from headwater.metrics.frechet import frechet_distance
from headwater.solvers import solve
from headwater.zoo.evaluation import write_evaluation

PIECE = 0.5
"""Seconds of a piece whose embedding is one sample of the Frechet distance."""
LEVEL, PAUSE = 0.1, 0.25
"""The rms at which draws are compared and heard, and the seconds of silence between draws in the file."""


def draw_windows(prior: Prior, count: int, steps: int = 16) -> Tensor:
    """Draws `[count, samples]` of the seeds 0, 1, ... by midpoint steps."""
    parts = [range(first, min(first + 8, count)) for first in range(0, count, 8)]
    with torch.no_grad():
        x1 = [solve(prior.flow, prior.flow.noise(seeds), steps=steps) for seeds in parts]
    return prior.space.decode(torch.cat(x1))


def cut_in_pieces(x: Tensor, rate: int) -> Tensor:
    """A track `[samples]` in pieces `[n, samples]` of half a second; a shorter one is one piece.

    >>> cut_in_pieces(torch.zeros(16_000), 16_000).shape
    torch.Size([2, 8000])
    """
    size = min(round(PIECE * rate), len(x))
    return x.unfold(0, size, size)


def embed_pieces(tracks: Tensor, rate: int) -> Tensor:
    """CDPAM's embeddings `[n, features]` of the pieces of tracks `[count, samples]`, each brought to the same rms."""
    tracks = LEVEL * tracks / tracks.square().mean(1, keepdim=True).sqrt()
    return torch.cat([cdpam_embedding(cut_in_pieces(track, rate), rate) for track in tracks])


def distances(prior: Prior, draws: dict[int, Tensor], windows: Tensor) -> list[dict[str, Any]]:
    """Frechet distances to windows `[n, samples]`: between their halves, of noise, and of draws by midpoint steps."""
    count, real = len(windows), embed_pieces(windows, prior.rate)
    generator = torch.Generator().manual_seed(0)
    noise = prior.space.decode(torch.randn(count, *prior.flow.shape, generator=generator))
    half = len(real) // 2
    rows = [
        ("held-out windows, two halves", count // 2, 0, real[:half], real[half:]),
        ("noise with the spectrum of music", count, 0, embed_pieces(noise, prior.rate), real),
    ]
    rows += [
        (f"draws, {steps} midpoint steps", len(x), 2 * steps, embed_pieces(x, prior.rate), real)
        for steps, x in draws.items()
    ]
    return [
        {
            "of": name,
            "windows": number,
            "NFE": evaluations,
            "Frechet (CDPAM)": round(float(frechet_distance(a, b)), 4),
        }
        for name, number, evaluations, a, b in rows
    ]


def save_draws(folder: Path, name: str, draws: Tensor, rate: int) -> None:
    """Write draws `[n, samples]`, one after the other, as FLAC, and their spectrograms as PNG."""
    x = draws.double().numpy()
    x = LEVEL * x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
    flat = np.concatenate([x, np.zeros((len(x), round(PAUSE * rate)))], axis=1).reshape(-1).clip(-1, 1)
    import_optional("soundfile", extra="audio").write(
        folder / f"{name}-samples.flac", flat, rate, subtype="PCM_16"
    )
    names = [f"Draw {i + 1}" for i in range(len(x))]
    write_gallery(folder / f"{name}-samples.png", list(x), rate, names, overwrite=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="folder of the rendered recordings")
    p.add_argument("--out", type=Path, required=True, help="folder of the draws and the figures")
    p.add_argument("--model", default=models.MUSIC)
    p.add_argument("--count", type=int, default=128)
    p.add_argument("--steps", type=int, nargs="+", default=[8, 16, 32], help="midpoint steps of a draw")
    p.add_argument("--threads", type=int, default=2)
    o = p.parse_args(arguments)
    torch.set_num_threads(o.threads)
    prior = models.load_prior(o.model)
    held_out = Recordings(sorted(o.data.glob("validation-*.npz")))
    windows = held_out.windows(o.count, models.WINDOW, np.random.default_rng(0)).float()
    draws = {steps: draw_windows(prior, o.count, steps) for steps in o.steps}
    save_draws(o.out, o.model, draws[max(o.steps)][:6], prior.rate)
    rows = distances(prior, draws, windows)
    command = (
        f"python -m headwater.audio.model.evaluate --data build/music --model {o.model} --count {o.count}"
    )
    note = f"Against {o.count} held-out windows of 2 s."
    write_evaluation(o.out / f"{o.model}-evaluation.json", rows, command, note)
    for row in rows:
        print(row, flush=True)


if __name__ == "__main__":
    main()
