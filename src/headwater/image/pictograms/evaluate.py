"""Evaluate the model `pictograms` for its card: a sheet, distances to held-out drawings, and the judge's verdict.

    python -m headwater.image.pictograms.evaluate --data pictograms.npz --work FOLDER --out docs

`--work` is the folder of the checkpoints and of the judge; with `--model` the shipped model is evaluated in place of
the checkpoints. The prompts are the labels of the held-out emoji, which the flow has never learnt, and of as many
emoji that it has. The distances compare pooled EfficientNet-Lite0 features (not FID) with held-out drawings; the
autoencoder's reconstructions of these stand beside the samples, and other held-out drawings as the floor. The output
is `pictograms-evaluation.json`, `pictograms-samples.png` and `pictograms-reconstructions.png`. Needs the extras
`pictograms` and `images`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater.image.metrics.kernel import kernel_distance
from headwater.image.metrics.perceptual import pooled_features
from headwater.image.model.evaluate import save_contact_sheet
from headwater.image.pictograms.data import Pictograms, fraction, load
from headwater.image.pictograms.icons import SETS
from headwater.image.pictograms.judge import Judge, candidate_labels, features_of, load_judge, shares
from headwater.image.pictograms.models import Parts, load_parts, make_model
from headwater.image.pictograms.texts import embed_texts
from headwater.image.pictograms.train_autoencoder import to_range
from headwater.image.pictograms.train_flow import load_checkpoints
from headwater.metrics.frechet import frechet_distance
from headwater.solvers import solve
from headwater.zoo.evaluation import write_evaluation

PROMPTS = (
    "a red apple",
    "a smiling cat",
    "a cat with a crown",
    "a dog",
    "a yellow star",
    "a blue heart",
    "a house with a tree",
    "a sailing boat",
    "a red car",
    "a slice of pizza",
    "a full moon at night",
    "a sad face",
)
"""The prompts of the sheet."""


@torch.no_grad()
def draw(parts: Parts, texts: Tensor, styles: Tensor, guidance: float, steps: int, first: int = 0) -> Tensor:
    """Pictures `[n, 3, 128, 128]` of embeddings `[n, 384]` and styles `[n]`, from the seeds `first`, ...; clamped."""
    pictures = []
    for i in range(0, len(texts), 32):
        part = slice(i, i + 32)
        model = make_model(parts, texts[part], styles[part], guidance)
        x0 = model.flow.noise(range(first + i, first + i + len(texts[part])))
        pictures.append(model.decode(solve(model.flow, x0, steps=steps)).clamp(-1, 1))
    return torch.cat(pictures)


@torch.no_grad()
def reconstruct(parts: Parts, pixels: Tensor) -> Tensor:
    """Pictures uint8 `[n, 3, 128, 128]` encoded and decoded, in [-1, 1]."""
    net = parts.autoencoder
    return torch.cat(
        [net.decode(net.encode(to_range(part))).clamp(-1, 1) for part in torch.split(pixels, 32)]
    )


def first_of_each(data: Pictograms, count: int) -> Pictograms:
    """One drawing, of a set that a hash chooses, of up to `count` emoji, flags apart; in the order of a hash."""
    order = sorted(
        range(len(data)), key=lambda i: fraction(f"{data.codes[i]}") + 1e-6 * fraction(data.sets[i])
    )
    chosen: dict[str, int] = {}
    for i in order:
        if not data.labels[i].startswith("flag of "):
            chosen.setdefault(data.codes[i], i)
    return data.select(list(chosen.values())[:count])


def style_rows(data: Pictograms) -> Tensor:
    """The numbers of the drawings' sets, `[n]`."""
    return torch.tensor([list(SETS).index(name) for name in data.sets])


def compare(name: str, a: Tensor, b: Tensor) -> dict[str, Any]:
    """Frechet and kernel distance of features `[n, d]` and `[m, d]`."""
    kernel = kernel_distance(a, b, draws=100)
    return {
        "against held-out drawings": name,
        "images": len(a),
        "Frechet": round(float(frechet_distance(a, b)), 2),
        "kernel": round(float(kernel.value), 4),
        "kernel error": round(float(kernel.error), 4),
    }


def verdicts(
    judge: Judge, labels: list[str], asked: Sequence[tuple[str, Tensor, Sequence[str]]]
) -> list[Any]:
    """The judge's shares for features `[n, d]` of pictures by the labels that they should show."""
    candidates = embed_texts(labels)
    rows = []
    for name, features, wanted in asked:
        truth = torch.tensor([labels.index(label) for label in wanted])
        found = shares(judge.ranks(features, truth, candidates))
        rows.append({"judged of 500 captions": name, "images": len(truth)} | found)
    return rows


def psnr_of(x: Tensor, reference: Tensor) -> float:
    """The mean PSNR in dB of pictures in [-1, 1]."""
    error = (x - reference).square().flatten(1).mean(1)
    return round(float((10 * torch.log10(4 / error)).mean()), 2)


def evaluate(
    data: Pictograms, parts: Parts, judge: Judge, guidance: float, steps: int, count: int
) -> list[Any]:
    """The rows of the evaluation."""
    labels = candidate_labels(data)
    all_held_out, train = data.part("held-out"), data.part("train")
    held_out = first_of_each(all_held_out, count)
    trained = first_of_each(train.select([i for i, k in enumerate(train.labels) if k in labels]), count)
    shown = set(zip(held_out.sets, held_out.names, strict=True))
    names = zip(all_held_out.sets, all_held_out.names, strict=True)
    others = all_held_out.select([i for i, name in enumerate(names) if name not in shown][::4])
    again = reconstruct(parts, held_out.pixels)
    samples = {
        name: draw(parts, embed_texts(d.labels), style_rows(d), guidance, steps)
        for name, d in (("held-out", held_out), ("trained", trained))
    }
    features = {name: pooled_features(x) for name, x in samples.items()}
    true, decoded, real = features_of(held_out), pooled_features(again), features_of(others)
    return [
        {"reconstruction of held-out drawings, PSNR in dB": psnr_of(again, to_range(held_out.pixels))},
        compare("samples of held-out labels", features["held-out"], real),
        compare("samples of trained labels", features["trained"], real),
        compare("reconstructions", decoded, real),
        compare("one true drawing of each held-out emoji", true, real),
        *verdicts(
            judge,
            labels,
            [
                ("samples of held-out labels", features["held-out"], held_out.labels),
                ("samples of trained labels", features["trained"], trained.labels),
                ("reconstructions of true held-out drawings", decoded, held_out.labels),
                ("true held-out drawings", true, held_out.labels),
                ("true drawings of trained emoji", features_of(trained), trained.labels),
            ],
        ),
    ]


def save_sheets(parts: Parts, data: Pictograms, guidance: float, steps: int, out: Path) -> None:
    """The sheet of the prompts, three seeds each, and that of reconstructions under their originals."""
    texts = embed_texts(PROMPTS).repeat_interleave(3, 0)
    style = torch.full((len(texts),), len(SETS))
    save_contact_sheet(
        out / "pictograms-samples.png", draw(parts, texts, style, guidance, steps), columns=12, zoom=1
    )
    some = first_of_each(data.part("held-out"), 12)
    pair = torch.cat([to_range(some.pixels), reconstruct(parts, some.pixels)])
    save_contact_sheet(out / "pictograms-reconstructions.png", pair, columns=12, zoom=1)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--work", type=Path, required=True, help="folder of the checkpoints and the judge")
    p.add_argument("--out", type=Path, required=True, help="folder of the sheets and the figures")
    p.add_argument("--model", help="a shipped model in place of the checkpoints")
    p.add_argument("--guidance", type=float, default=3.0)
    p.add_argument("--steps", type=int, default=10, help="midpoint steps of a sample")
    p.add_argument("--count", type=int, default=200, help="prompts of each kind")
    p.add_argument("--threads", type=int, default=1)
    o = p.parse_args(arguments)
    torch.set_num_threads(o.threads)
    data = load(o.data)
    parts = load_parts(o.model) if o.model else load_checkpoints(o.work)
    save_sheets(parts, data, o.guidance, o.steps, o.out)
    if o.count:
        rows = evaluate(data, parts, load_judge(o.work / "judge.safetensors"), o.guidance, o.steps, o.count)
        command = (
            "python -m headwater.image.pictograms.evaluate --data pictograms.npz --work FOLDER --out docs"
        )
        note = f"Guidance {o.guidance}, {o.steps} midpoint steps, {4 * o.steps} evaluations a sample."
        write_evaluation(o.out / "pictograms-evaluation.json", rows, command, note)
        for row in rows:
            print(row, flush=True)


if __name__ == "__main__":
    main()
