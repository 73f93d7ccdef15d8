"""Free-form holes in drawings, filled by a text-to-image flow on latents: every method at equal seconds.

    python benchmarks/latent_holes.py --drawings pictograms.npz --judge judge.safetensors --keep lines.jsonl
    python benchmarks/latent_holes.py --drawings pictograms.npz --judge judge.safetensors --keep few.jsonl --count 6 \
        --seconds 3 --only nothing,plausible,red-diff,flow-dps,paper --sheet sheet.png

The second experiment of Ben-Hamu et al. 2024 on the shipped model `pictograms`: held-out drawings, the prompt is
their label, brush strokes hide a quarter of the pixels, noise 0.05, and the misfit goes through the decoder. Steps or
gradients of each method are set so that a problem takes about `--seconds` (measured on eight problems, as a proximal
step through the decoder costs far more than a call of the flow). `faithful` and `plausible` are what the command does
at its own cost. `autoencoder` is the truth encoded and decoded, which nothing on latents can beat by much;
`prompt alone` knows the label and no pixel.

PSNR and SSIM of the whole picture, perceptual distance, kernel distance to the truths, and the share of pictures
whose label a judge that never guided finds among 500 in its first five.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from common import kept, lower, options, with_precision, write
from headwater import MAP, Average, Estimate, LatentModel, WarmStart, solve
from headwater.cli.image.samples import contact_sheet
from headwater.image.io.files import write_image
from headwater.image.metrics.fidelity import psnr, ssim
from headwater.image.metrics.kernel import kernel_distance
from headwater.image.metrics.perceptual import perceptual_distance, pooled_features
from headwater.image.operators import Inpaint
from headwater.image.pictograms import data as drawings
from headwater.image.pictograms.evaluate import first_of_each
from headwater.image.pictograms.judge import candidate_labels, load_judge, shares
from headwater.image.pictograms.models import latent_model
from headwater.image.pictograms.texts import embed_texts
from headwater.image.pictograms.train_autoencoder import to_range
from headwater.image.task import ImageTask
from headwater.recipes.methods import find_method

NOISE = 0.05
METHODS = {
    "estimate": "times",
    "warm-start": "gradients",
    "map": "gradients",
    "paper": "gradients",
    "dps": "steps",
    "red-diff": "steps",
    "pnp-flow": "steps",
    "flower": "steps",
    "flow-chef": "steps",
    "flow-dps": "steps",
    "dno": "gradients",
    "diffpir": "steps",
}
"""Methods that take any operator, and the setting that their cost grows with."""


SHORT = Estimate(times=3)
STARTED = {
    "warm-start": replace(WarmStart(), estimate=SHORT),
    "map": replace(MAP(), start=Average(SHORT, count=1)),
}
"""Control from an estimate, which has to be short here: each of its proximal steps goes through the decoder."""


SHOWN = 6
"""Drawings in a row of the sheet: the truths, then a row for each method that is worked out now."""
TRIED, AT_ONCE = 8, 20
"""The problems that tell what a method costs, and those that are solved together: the decoder takes much memory."""


def stroke_mask(seed: int, size: int, hidden: float = 0.25) -> Tensor:
    """A free-form mask `[1, 1, size, size]`, True where a pixel is known: brush strokes hide about a quarter."""
    generator = torch.Generator().manual_seed(seed)

    def draw(n: int = 1) -> Tensor:
        return torch.rand(n, generator=generator)

    known = torch.ones(size, size, dtype=torch.bool)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    while known.float().mean() > 1 - hidden:
        at, angle = size * draw(2), float(6.28 * draw())
        radius = float(size * (0.03 + 0.04 * draw()))
        for _ in range(int(4 + 8 * draw())):
            known &= (rows - at[0]) ** 2 + (columns - at[1]) ** 2 > radius**2
            angle += float(1.2 * (draw() - 0.5))
            step = radius * torch.tensor([torch.sin(torch.tensor(angle)), torch.cos(torch.tensor(angle))])
            at = (at + step).clamp(0, size - 1)
    return known[None, None]


def choose(task: ImageTask, model: LatentModel, rows: Tensor) -> tuple[ImageTask, LatentModel]:
    """The task and the model of some of the drawings."""
    part = replace(task, y=task.y[rows], operator=task.operator.select(rows))
    return part, replace(model, flow=model.flow.select(rows))


def setting_for(name: str, task: ImageTask, model: LatentModel, seconds: float) -> Any:
    """The recipe of a method whose cost for one problem is about `seconds`, from two runs on a few problems."""
    field, recipe = METHODS[name], STARTED.get(name) or find_method(name)

    few, part = choose(task, model, torch.arange(min(TRIED, len(task.y))))

    def measure(n: int) -> float:
        start = time.perf_counter()
        few.pose(part).solve(range(len(few.y)), recipe=replace(recipe, **{field: n}))
        return (time.perf_counter() - start) / len(few.y)

    measure(2)
    low, high = measure(2), measure(6)
    slope = max((high - low) / 4, 1e-6)
    n = max(1, round(2 + (seconds - low) / slope))
    return replace(recipe, **{field: n})


def score(
    x: Tensor, truth: Tensor, labels: list[str], judge: Any, candidates: tuple[list[str], Tensor]
) -> dict[str, Any]:
    """Fidelity, perceptual and kernel distance, and the judge's share."""
    x = x.clamp(-1, 1)
    with torch.no_grad():
        seen = torch.cat(
            [perceptual_distance(a, b) for a, b in zip(x.split(16), truth.split(16), strict=True)]
        )
        features, clean = (torch.cat([pooled_features(p) for p in t.split(16)]) for t in (x, truth))
    kernel = kernel_distance(features, clean, paired=True)
    places = torch.tensor([candidates[0].index(label) for label in labels])
    return {
        "psnr": round(psnr(x, truth).mean().item(), 2),
        "ssim": round(ssim(x, truth).mean().item(), 4),
        "perceptual": round(seen.mean().item(), 4),
        "kernel": round(kernel.value.item(), 4),
        "kernel error": round(kernel.error.item(), 4),
        "label in the first five": shares(judge.ranks(features, places, candidates[1]))["top5"],
    }


def main() -> None:
    o = options(
        __doc__.splitlines()[0],
        count=16,
        seconds=8,
        keep="",
        drawings="pictograms.npz",
        judge="judge.safetensors",
        precision="float32",
        sheet="",
        only=",".join(["nothing", "prompt alone", "autoencoder", "faithful", "plausible", *METHODS]),
    )
    if not o.keep:
        raise SystemExit("Say with --keep in which file the lines of the table are.")
    every = drawings.load(Path(o.drawings))
    data = first_of_each(every.part("held-out"), o.count)
    truth, labels = to_range(data.pixels), list(data.labels)
    model = latent_model(labels)
    model = lower(model, o.precision)
    judge, names = load_judge(Path(o.judge)), candidate_labels(every)
    candidates = (names, embed_texts(names))
    mask = torch.cat([stroke_mask(i, truth.shape[-1]) for i in range(len(truth))])
    operator = Inpaint(mask)
    noise = torch.stack(
        [torch.randn(truth.shape[1:], generator=torch.Generator().manual_seed(i)) for i in range(len(truth))]
    )
    task = ImageTask(
        operator, operator(truth + NOISE * noise), NOISE, tuple(truth.shape[-2:]), check_span=False
    )

    shown = list(truth[:SHOWN])

    def work(name: str) -> dict[str, object]:
        start, cost = time.perf_counter(), {}
        if name == "nothing":
            x = operator.pinv(task.y)
        elif name == "autoencoder":
            with torch.no_grad():
                x = model.decode(model.encode(truth))
        elif name == "prompt alone":
            with torch.no_grad():
                x = model.decode(solve(model.flow, model.flow.noise(range(len(truth))), steps=10))
        else:
            answer = name in ("faithful", "plausible")
            recipe = task.recipe(name, latent=True) if answer else setting_for(name, task, model, o.seconds)
            start, parts, found = time.perf_counter(), [], []
            for rows in torch.arange(len(truth)).split(AT_ONCE):
                part, its_model = choose(task, model, rows)
                problem = part.pose(its_model)
                result = problem.solve(rows.tolist(), recipe=recipe)
                parts.append(problem.to_data(result.x1).detach())
                found.append(
                    torch.stack([problem.misfit.rms(result.x1), result.evaluations, result.gradients])
                )
            x, means = torch.cat(parts), torch.cat(found, 1).double().mean(1).tolist()
            cost = {
                "setting": "" if answer else f"{METHODS[name]} {getattr(recipe, METHODS[name])}",
                "misfit": round(means[0], 2),
                "evaluations": round(means[1]),
                "gradients": round(means[2], 1),
            }
        seconds = (time.perf_counter() - start) / len(truth)
        shown.extend(x[:SHOWN].clamp(-1, 1))
        found = score(x, truth, labels, judge, candidates)
        return {"method": name} | found | cost | {"seconds": round(seconds, 2), "count": len(truth)}

    for name in o.only.split(","):
        kept(o.keep, with_precision(f"{name} {o.count} {o.seconds}", o.precision), lambda m=name: work(m))
    if o.sheet:
        write_image(contact_sheet(shown, columns=min(SHOWN, o.count)), Path(o.sheet))
    rows = [json.loads(line)["line"] for line in Path(o.keep).read_text().splitlines()]
    write(
        o.results / "latent_holes",
        sorted(rows, key=lambda row: -row["psnr"]),
        "python benchmarks/latent_holes.py --drawings pictograms.npz --judge judge.safetensors "
        f"--count {o.count} --seconds {o.seconds}"
        + (f" --precision {o.precision}" if o.precision != "float32" else ""),
        f"{o.count} held-out drawings, noise {NOISE}; about {o.seconds} s a problem on a busy machine.",
    )


if __name__ == "__main__":
    main()
