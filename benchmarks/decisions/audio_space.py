"""Which space the music flow should live in: training runs of the same length, judged by what they are for.

    python -m headwater.audio.model.train --data build/music --work build/mdct256 --space mdct --bins 256 --minutes 20
    python -m headwater.audio.model.train --data build/music --work build/patches --space patches --bins 256 \
        --minutes 20
    python benchmarks/decisions/audio_space.py --music build/music --runs build/mdct256,build/patches

Held-out losses of different spaces cannot be compared. So: `bits` is what is left of 16-bit samples that were brought
to the state and back; draws of the model against held-out recordings (Frechet distance of CDPAM embeddings, pieces of
half a second); gaps of 100 and 400 ms and super-resolution x2 of held-out clips with the recipe of the product, but
without linear prediction, so that the flow alone is judged, and with ten gradients at most. With `--keep FILE`
finished runs are not judged again.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy.signal import resample_poly

import _path  # noqa: F401
from common import kept, write
from headwater.audio.model import models
from headwater.audio.model.evaluate import draw_windows, embed_pieces
from headwater.audio.operators import Decimate, Gaps
from headwater.audio.prior import Prior, warm_start
from headwater.metrics.frechet import frechet_distance
from headwater.problem.operator import Operator
from headwater.recipes.recipe import RecipeOptions
from recordings import RATE, Damaged, Signal, around, clips, options, scores, without_each

DRAWS = 32


def solved(prior: Prior, operator: Operator, y: torch.Tensor, guess: torch.Tensor) -> torch.Tensor:
    """The waveforms that the flow finds in at most ten gradients, the estimate without new noise."""
    problem = prior.pose(operator, y, 0.0, guess=guess, recipe=warm_start(fresh=0.0))
    result = problem.solve(range(len(y)), options=RecipeOptions(gradients=10))
    return prior.canvas(guess.shape[1])(result.x1)


def in_gap(prior: Prior, truth: Signal, milliseconds: int) -> dict[str, float]:
    """A gap in the middle, filled by the flow alone."""
    samples = truth.shape[1]
    size = milliseconds * RATE // 1000
    start = (samples - size) // 2
    known = torch.ones(1, samples, dtype=torch.bool)
    known[:, start : start + size] = False
    scale = np.sqrt(np.mean(truth**2, axis=1, keepdims=True))
    operator, x = Gaps(known), torch.from_numpy(truth / scale).float()
    y = operator(x)
    found = torch.where(known, x, solved(prior, operator, y, y)).double().numpy() * scale
    return without_each(scores(found, truth, [around(start, start + size, samples)] * len(truth)))


def raised(prior: Prior, truth: Signal) -> dict[str, float]:
    """Super-resolution x2."""
    scale = np.sqrt(np.mean(truth**2, axis=1, keepdims=True))
    operator = Decimate.by_factor(2)
    y = operator(torch.from_numpy(truth / scale)).float()
    guess = torch.from_numpy(resample_poly(y.double().numpy(), 2, 1, axis=1)[:, : truth.shape[1]]).float()
    found = solved(prior, operator, y, guess).double().numpy() * scale
    whole = Damaged(np.ones(truth.shape[1], dtype=bool), (0, truth.shape[1]))
    return without_each(scores(found, truth, [whole] * len(truth)))


def judged(run: Path, truth: Signal, windows: torch.Tensor, real: torch.Tensor) -> dict[str, object]:
    """The line of a run."""
    state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    prior, config = models.load_checkpoint(run / "checkpoint.pt"), state["facts"]["config"]
    error = (prior.space.decode(prior.space.encode(windows)) - windows).square().mean().sqrt()
    line: dict[str, object] = {
        "space": state["facts"]["space"],
        "bins": config["bins"],
        "width": config["widths"][0],
        "minutes": round(state["counters"][2] / 60),
        "windows": state["counters"][1],
        "bits": round(float(-torch.log2(error.clamp(min=1e-12))), 1),
        "Frechet of draws": round(
            float(frechet_distance(embed_pieces(draw_windows(prior, DRAWS), RATE), real)), 4
        ),
    }
    for name, result in (
        ("gap 100 ms", in_gap(prior, truth, 100)),
        ("gap 400 ms", in_gap(prior, truth, 400)),
        ("x2", raised(prior, truth)),
    ):
        line |= {f"{name}: {k}": result[k] for k in ("SI-SDR, dB", "LSD, dB", "CDPAM")}
    return line


def main() -> None:
    o = options(__doc__.splitlines()[0], count=12, runs="", keep="")
    truth = clips(o.music, o.count, 3.0)
    windows = torch.from_numpy(clips(o.music, DRAWS, models.WINDOW / RATE, "validation")).float()
    real = embed_pieces(windows, RATE)
    floor = frechet_distance(real[: len(real) // 2], real[len(real) // 2 :])
    lines: list[dict[str, object]] = [
        {"run": "recordings, two halves", "Frechet of draws": round(float(floor), 4)}
    ]
    for run in map(Path, o.runs.split(",")):
        work = partial(judged, run, truth, windows, real)
        lines.append({"run": run.name} | kept(o.keep, run.name, work))
    command = (
        f"python benchmarks/decisions/audio_space.py --music build/music --runs {o.runs} --count {o.count}"
    )
    write(
        o.results / "audio_space",
        lines,
        command,
        f"{o.count} clips of 3 s, {DRAWS} draws in {len(real)} pieces.",
    )


if __name__ == "__main__":
    main()
