"""Make the shipped model `pictograms-captions`: which caption does a drawing show? For rewards of a text.

    python -m headwater.image.pictograms.export_captions --data pictograms.npz

Two ridge regressions from pooled features of drawings to embeddings of their labels, as in `judge`, which share
neither the network nor the drawings:

    guide    EfficientNet-Lite0 at its own size, on the part "judge"
    judge    EfficientNet-Lite1 at the size of the drawings, on 2560 of the part "train", chosen by a hash

Both are judged on drawings of held-out emoji: whether their own label is among the five nearest of 500. Needs the
extras `pictograms` and `images`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from headwater import zoo
from headwater.image.metrics.efficientnet import Variant, pool_features
from headwater.image.pictograms.data import SIZE, Pictograms, fraction, load
from headwater.image.pictograms.export import facts_of
from headwater.image.pictograms.judge import Judge, candidate_labels, fit_judge, shares
from headwater.image.pictograms.texts import embed_texts
from headwater.image.pictograms.train_autoencoder import to_range

NAME = "pictograms-captions"
KIND = "captions"
SEEN: dict[str, tuple[Variant, int]] = {"guide": ("lite0", 224), "judge": ("lite1", SIZE)}
"""The network of each part, and the side at which it sees a drawing."""


def choose(data: Pictograms, count: int) -> Pictograms:
    """Up to `count` of the drawings, chosen by a hash of their names."""
    order = sorted(range(len(data)), key=lambda i: fraction(f"sample {data.sets[i]} {data.names[i]}"))
    return data.select(order[:count])


def choose_learnt(data: Pictograms) -> dict[str, Pictograms]:
    """The drawings that each part learns from; none is shared, and none is held out."""
    return {"guide": data.part("judge"), "judge": choose(data.part("train"), 2560)}


@torch.no_grad()
def features(data: Pictograms, part: str) -> Tensor:
    """Pooled features `[n, 1280]` of drawings, as a part sees them."""
    variant, side = SEEN[part]
    return torch.cat([pool_features(to_range(some), variant, side) for some in torch.split(data.pixels, 64)])


def pack(part: str, judge: Judge) -> dict[str, Tensor]:
    """A regression as tensors for a file: its weight in bytes with a scale for each column.

    Examples
    --------
    >>> one = Judge(torch.tensor([[1.0, -2.0]]), torch.zeros(1), torch.ones(1), torch.zeros(2))
    >>> stored = pack("guide", one)
    >>> (stored["guide.weight"] * stored["guide.scale"].float()).round(decimals=2).tolist()
    [[1.0, -2.0]]
    """
    scale = (judge.weight.abs().amax(0, keepdim=True) / 127).clamp(min=1e-4)
    return {
        f"{part}.weight": (judge.weight / scale).round().to(torch.int8),
        f"{part}.scale": scale.half(),
        f"{part}.centre": judge.centre.half(),
        f"{part}.spread": judge.spread.half(),
        f"{part}.text": judge.text.half(),
    }


def write_model(judges: dict[str, Judge], found: dict[str, Any], facts: dict[str, Any], folder: Path) -> None:
    """Write the card and the weights of both parts: `found` how well each does, `facts` what is said of the data."""
    packed = {key: value for part, judge in judges.items() for key, value in pack(part, judge).items()}
    save_file({key: value.contiguous() for key, value in packed.items()}, folder / f"{NAME}.safetensors")
    card = {
        "name": NAME,
        "files": [f"{NAME}.safetensors"],
        "kind": KIND,
        "architecture": {part: {"network": variant, "side": side} for part, (variant, side) in SEEN.items()},
        "what": "The embedding that the caption of a drawing should have, from pooled features of EfficientNet-Lite: "
        "twice, a guide for rewards and a judge that shares neither network nor drawings with it.",
        "training": {"script": "headwater.image.pictograms.export_captions", "method": "ridge regression"},
        **facts,
        "limits": "It knows drawings of emoji on white, and no photographs.",
        "evaluation": found,
    }
    (folder / f"{NAME}.json").write_text(json.dumps(card, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def describe(data: Pictograms) -> dict[str, Any]:
    """What the card says of the data and of licences."""
    known = facts_of(data, {"counters": (0, 0, 0.0), "log": [{}]})
    return {key: known[key] for key in ("data", "data_licence", "weights_licence", "text")}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--folder", type=Path, default=zoo.FOLDER)
    p.add_argument("--threads", type=int, default=1)
    o = p.parse_args(arguments)
    torch.set_num_threads(o.threads)
    data = load(o.data)
    held_out, labels = data.part("held-out"), candidate_labels(data)
    learnt = choose_learnt(data)
    shown = {"guide": held_out, "judge": choose(held_out, 256)}
    judges, found = {}, {}
    for part, drawings in learnt.items():
        judges[part] = fit_judge(features(drawings, part), embed_texts(drawings.labels), drawings.codes)
        truth = torch.tensor([labels.index(label) for label in shown[part].labels])
        ranks = judges[part].ranks(features(shown[part], part), truth, embed_texts(labels))
        found[part] = {
            "learnt": len(drawings),
            "held_out": len(truth),
            "captions": len(labels),
            **shares(ranks),
        }
    write_model(judges, found, describe(data), o.folder)
    print(found)


if __name__ == "__main__":
    main()
