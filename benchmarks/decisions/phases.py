"""Where should phase retrieval begin: at noise, at noise twice, or at what hybrid input-output finds?

    python benchmarks/decisions/phases.py --data val.zip --drawings pictograms.npz

Pictures that no table uses, amplitudes of a spectrum sampled twice as finely, noise 0.05. PSNR of the nearest of the
twins that have the same amplitudes; `found`: pictures with 24 dB or more; calls of the network, with those that
choose among the twins of pictures in colour, and seconds a picture of the same run. `start` is `retrieve_phases`: 4
starts, 600 iterations a channel. The recipe has other seeds for its start than the rows of a start alone. `--sheet
FILE` draws the shipped photographs in place of the table: true, start alone, noise, the default.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

import _path  # noqa: F401
from common import kept, lower, options, write
from headwater import Estimate, Flow
from headwater.image import ImageTask, PhaseRetrieval, flow, photos, read_image
from headwater.image.metrics.fidelity import psnr
from headwater.image.phase_estimate import PhaseEstimate, choose_twins, retrieve_phases
from headwater.problem.batch import per_problem
from headwater.recipes.estimate import EstimateWatch
from headwater.recipes.problem import Problem
from picture_sets import PictureSet, align, load_set, pose

FOUND = 24.0  # dB, below which a picture was not found, by a look at some of them
Way = Callable[[Problem, range], Tensor]
BOUNDS, RECIPE = (-1.0, 1.0), PhaseEstimate()


def begin(problem: Problem, seeds: range) -> Tensor:
    """What hybrid input-output finds."""
    return retrieve_phases(problem.misfit, seeds, RECIPE.starts, RECIPE.iterations, BOUNDS)


def from_noise(problem: Problem, seeds: range, estimate: Estimate = RECIPE.from_noise) -> Tensor:
    return estimate.sample(problem.flow, problem.misfit, seeds, guess=problem.guess)


def twice(problem: Problem, seeds: range) -> Tensor:
    """The better of two estimates from noise."""
    one, other = (from_noise(problem, range(s + seeds[0], s + seeds[-1] + 1)) for s in (0, 1000))
    return torch.where(per_problem(problem.misfit(other) < problem.misfit(one), one), other, one)


def from_start(problem: Problem, seeds: range, choice: float | None = 0.4, **settings: float) -> Tensor:
    """An estimate from the start alone, whose twins are chosen at a time of the denoiser, or not at all."""
    x = begin(problem, seeds)
    if choice is not None:
        x, _ = choose_twins(problem.flow, x, seeds, choice)
    estimate = replace(RECIPE.from_start, **settings)
    return estimate.sample(problem.flow, problem.misfit, seeds, guess=x)


def both(problem: Problem, seeds: range) -> Tensor:
    """The recipe."""
    watch = EstimateWatch(problem.misfit, None)
    return RECIPE.sample(problem.flow, problem.misfit, seeds, guess=problem.guess, watch=watch)


WAYS: dict[str, tuple[Way, str]] = {
    "start alone, no network": (begin, "0"),
    "noise": (from_noise, "128"),
    "noise, the better of two": (twice, "256"),
    "start, twins as they come": (lambda p, s: from_start(p, s, None), "64"),
    "start, twins chosen at t = 0.3": (lambda p, s: from_start(p, s, 0.3), "64, 64"),
    "start, twins chosen at t = 0.4": (from_start, "64, 64"),
    "start, twins chosen at t = 0.5": (lambda p, s: from_start(p, s, 0.5), "64, 64"),
    "start, from t = 0.15": (lambda p, s: from_start(p, s, first=0.15), "64, 64"),
    "start, 32 times": (lambda p, s: from_start(p, s, times=32), "32, 64"),
    "noise and start, the better of the two (the default)": (both, "128, 64, 64"),
}
"""Each with its calls: of estimates, and of the choice for pictures in colour."""


def judge(way: Way, pictures: PictureSet, problem: Problem) -> dict[str, object]:
    """PSNR and misfit of every picture, and seconds a picture."""
    start, truth = time.perf_counter(), pictures.images
    x = way(problem, range(len(truth)))
    spent = (time.perf_counter() - start) / len(truth)
    each = psnr(align(x.to(truth), truth), truth)
    return {"psnr": each.tolist(), "rms": problem.misfit.rms(x).tolist(), "seconds": spent}


def draw_sheet(prior: Flow, path: Path) -> None:
    """The middle of the shipped photographs as 64 x 64 pixels, in rows: true, start alone, noise, the default."""
    pictures = []
    for name in photos.names():
        x, _ = read_image(photos.path(name))
        side = min(x.shape[-2:])
        x = functional.interpolate(center_crop(x, side), (64, 64), mode="bicubic", antialias=True)
        pictures.append(x.clamp(-1, 1))
    truth = torch.cat(pictures)
    noise = torch.randn(PhaseRetrieval()(truth).shape, generator=torch.Generator().manual_seed(0))
    task = ImageTask(PhaseRetrieval(), PhaseRetrieval()(truth) + 0.05 * noise, 0.05, (64, 64))
    problem, seeds = task.pose(prior), range(len(truth))
    rows = [truth, *(align(way(problem, seeds).to(truth), truth) for way in (begin, from_noise, both))]
    whole = torch.cat([torch.cat(list(row.clamp(-1, 1)), 2) for row in rows], 1)
    Image.fromarray(((whole.movedim(0, 2) + 1) * 127.5).round().byte().numpy()).resize((384, 384), 0).save(
        path
    )


def center_crop(x: Tensor, side: int) -> Tensor:
    """The middle square `[1, c, side, side]`."""
    top, left = (x.shape[-2] - side) // 2, (x.shape[-1] - side) // 2
    return x[..., top : top + side, left : left + side]


def main() -> None:
    o = options(
        __doc__.splitlines()[0],
        "data",
        count=12,
        photographs="photos.zip",
        drawings="pictograms.npz",
        model="photo64",
        precision="bfloat16",
        keep="",
        sheet="",
    )
    if o.sheet:
        return draw_sheet(lower(flow(o.model), o.precision), Path(o.sheet))
    rows: dict[str, dict[str, object]] = {
        words: {"from": words, "calls": calls} for words, (_, calls) in WAYS.items()
    }
    for name in ("pictures", "drawings", "digits"):
        pictures = load_set(
            name,
            o.count,
            tuning=True,
            data=o.data,
            photographs=Path(o.photographs),
            model=o.model,
            drawings=Path(o.drawings),
        )
        pictures = replace(pictures, flow=lower(pictures.flow, o.precision))
        _, problem = pose(pictures, "phase")

        lines = {
            words: kept(o.keep, f"{name} {words}", lambda w=way, q=pictures, p=problem: judge(w, q, p))
            for words, (way, _) in WAYS.items()
        }
        for words, line in lines.items():
            each = torch.tensor(line["psnr"])
            found = int((each >= FOUND).sum())
            rows[words][name] = f"{float(each.mean()):.1f}, {found} found, {line['seconds']:.1f} s"
    command = "python benchmarks/decisions/phases.py --data val.zip --drawings pictograms.npz"
    note = f"{o.count} pictures of each set; {o.model} and two small flows of 32 x 32, in {o.precision}."
    write(o.results / "phases", list(rows.values()), command, note)


if __name__ == "__main__":
    main()
