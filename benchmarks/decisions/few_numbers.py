"""Which recipe finds a picture of which only a few numbers are known, that depend on all of it in a non-linear way?

    python benchmarks/decisions/few_numbers.py --data val.zip --photographs photos.zip --keep lines.jsonl

Two random networks of two layers make 24 and 48 times fewer numbers than the picture has, noise 0.05; they stand for
the features that a network keeps. Photographs with `photo64` and digits with their flow, `--count` of each, none of
which a table uses; five times the calls on 24 times fewer numbers alone.
PSNR, perceptual distance, misfit in units of the noise, calls (a gradient counted as three). `map N` is
`MAPFromNoise` with N DDIM steps at about 160 calls, `map N at 800` at five times as many; `dps` and `reno` have the
settings of `tuning.py` for `features`; `faithful` and `plausible` are what the command would do otherwise: estimates,
and up to 60 gradients of control from them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

import _path  # noqa: F401
from budgets import GRADIENT, load_tuned, make_recipe
from common import kept, options, write
from headwater import MAPFromNoise
from headwater.image.answers import faithful, plausible
from headwater.image.metrics.fidelity import psnr
from headwater.image.metrics.perceptual import perceptual_distance
from headwater.image.task import ImageTask
from picture_sets import Features, PictureSet, load_set

NOISE = 0.05
SETS = ("pictures", "digits")


def operator(times: int, channels: int) -> Features:
    """A network that keeps so many `times` fewer numbers than the picture has; 24 is that of the table."""
    if times == 24:
        return Features(channels)
    found, generator = Features(channels), torch.Generator().manual_seed(7)
    found.first = 4 * torch.randn(found.first.shape, generator=generator) / found.first[0].numel() ** 0.5
    shape = (found.second.shape[0] // 2, *found.second.shape[1:])
    found.second = torch.randn(shape, generator=generator) / found.second[0].numel() ** 0.5
    return found


def recipes(task: ImageTask) -> dict[str, Any]:
    """Every recipe of the table."""
    tuned = load_tuned()
    few = {
        f"map {n}": replace(MAPFromNoise(), steps=n, gradients=160 // (GRADIENT * n)) for n in (1, 2, 3, 4)
    }
    rivals = {
        f"{name} at {calls}": make_recipe(name, calls, tuned.get(f"{name} features", {}))
        for calls in (160, 800)
        for name in ("dps", "reno")
    }
    more = {f"map {n} at 800": replace(MAPFromNoise(), steps=n, gradients=800 // (3 * n)) for n in (2, 3)}
    answers = {"faithful": faithful(task.operator), "plausible": plausible(task.operator, least=0.8)}
    return few | rivals | more | answers


def judge(name: str, pictures: PictureSet, times: int) -> dict[str, object]:
    """One line of the table."""
    x = pictures.images
    a = operator(times, x.shape[1])
    clean = a(x)
    noise = [torch.randn(clean.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(len(x))]
    task = ImageTask(a, clean + NOISE * torch.stack(noise), NOISE, tuple(x.shape[-2:]), check_span=False)
    problem = task.pose(pictures.flow)
    result = problem.solve(range(len(x)), recipe=recipes(task)[name])
    found = task.finish(result.x1, problem)
    with torch.no_grad():
        seen = perceptual_distance(found.expand(-1, 3, -1, -1), x.expand(-1, 3, -1, -1)).mean()
    gradients = float(result.gradients.double().mean()) * result.nfe_per_gradient
    return {
        "psnr": round(psnr(found, x).mean().item(), 2),
        "perceptual": round(seen.item(), 3),
        "misfit": round(problem.misfit.rms(result.x1).mean().item(), 2),
        "calls": round(float(torch.as_tensor(result.preparation).double().mean()) + GRADIENT * gradients),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=6, photographs="photos.zip", keep="")
    if not o.keep:
        raise SystemExit("Say with --keep in which file the lines of the table are.")
    for which in SETS:
        pictures = load_set(
            which, o.count, tuning=True, data=o.data, photographs=Path(o.photographs), model="photo64"
        )
        for times in (24, 48):
            names = recipes(ImageTask(operator(24, 3), torch.zeros(1, 1), NOISE, (64, 64), check_span=False))
            for name in names:
                if times > 24 and name.endswith("800"):
                    continue
                kept(
                    o.keep,
                    f"{which} {times} {name} {o.count}",
                    lambda n=name, p=pictures, k=times, s=which: {
                        "set": s,
                        "times fewer": k,
                        "method": n,
                        **judge(n, p, k),
                    },
                )
        grey = psnr(torch.zeros_like(pictures.images), pictures.images).mean().item()
        for times in (24, 48):
            line = {
                "set": which,
                "times fewer": times,
                "method": "nothing: a grey picture",
                "psnr": round(grey, 2),
            }
            kept(o.keep, f"{which} {times} nothing {o.count}", lambda found=line: dict(found))
    rows = [json.loads(line)["line"] for line in Path(o.keep).read_text().splitlines()]
    rows.sort(key=lambda r: (r["set"], r["times fewer"], -r["psnr"]))
    command = "python benchmarks/decisions/few_numbers.py --data val.zip --photographs photos.zip --keep lines.jsonl"
    note = f"{o.count} pictures a line; PSNR in dB; misfit in units of the noise; a gradient counts as three calls."
    write(o.results / "few_numbers", rows, command, note)


if __name__ == "__main__":
    main()
