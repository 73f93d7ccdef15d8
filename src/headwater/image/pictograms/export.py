"""Turn the checkpoints of both stages into the shipped model `pictograms`.

    python -m headwater.image.pictograms.export --work FOLDER --data pictograms.npz --guidance 3
        --evaluation pictograms-evaluation.json --hardware "what it was trained on" --limits "what it cannot do"

Puts the averaged weights of the two networks and the embeddings of all labels into one checkpoint, and that into a
card and weights with `headwater.zoo.export`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from headwater import zoo
from headwater.image.pictograms.data import Pictograms, load
from headwater.image.pictograms.icons import SETS
from headwater.image.pictograms.models import KIND
from headwater.image.pictograms.prompts import pack_captions, plain_text
from headwater.image.pictograms.texts import embed_texts
from headwater.zoo.export import export_model


def join_stages(
    autoencoder: dict[str, Any], flow: dict[str, Any], captions: dict[str, Tensor]
) -> dict[str, Any]:
    """One checkpoint of those of both stages, in the form that `export_model` reads."""
    weights = {f"flow.{k}": v for k, v in flow["ema"].items()}
    weights |= {f"autoencoder.{k}": v for k, v in autoencoder["ema"].items()}
    facts = flow["facts"]
    config = {
        "flow": facts["config"],
        "autoencoder": autoencoder["facts"]["config"],
        "mean": facts["mean"],
        "std": facts["std"],
    }
    return {
        "ema": weights | captions,
        "counters": flow["counters"],
        "log": flow["log"],
        "facts": {"config": config},
    }


def stage_of(state: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the training of the autoencoder."""
    step, seen, seconds = state["counters"]
    last = {k: v for k, v in state["log"][-1].items() if k.startswith(("psnr", "held_out"))}
    return {"steps": step, "images_seen": seen, "minutes": round(seconds / 60, 1)} | last


def facts_of(data: Pictograms, first: dict[str, Any]) -> dict[str, Any]:
    """What the card says of the model and its data; `first` is the checkpoint of the autoencoder."""
    parts = {part: data.part(part) for part in ("train", "judge", "held-out")}
    train, judge, held_out = (f"{len(p)} drawings of {len(set(p.codes))} emoji" for p in parts.values())
    sets = "; ".join(f"{name} by {author}, {licence}" for name, (_, _, licence, author) in SETS.items())
    return {
        "kind": KIND,
        "styles": list(SETS),
        "range": [-1, 1],
        "what": "Pictures of 128 x 128 from words: velocity of a Cond-OT flow on latents of 4 x 16 x 16, told a text "
        "and a style, and the autoencoder of the latents.",
        "data": f"Emoji of seven icon sets without skin tones, on white: {train} for the flow, {judge} for the judge "
        f"alone, {held_out} held out in all sets. Packages and versions: headwater.image.pictograms.icons.SETS.",
        "data_licence": f"{sets}. The drawings were rendered at 128 x 128 and learnt from.",
        "weights_licence": "Apache-2.0",
        "text": "all-MiniLM-L6-v2 (Apache-2.0), labels and tags of emojibase-data (MIT)",
        "held_out": "drawings of emoji that no set showed in training, told label and style, stratified t",
        "autoencoder_training": stage_of(first),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the checkpoints of both stages")
    p.add_argument("--data", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--hardware", required=True, help="what it was trained on, in words")
    p.add_argument("--limits", required=True, help="what it cannot do, in words")
    p.add_argument("--guidance", type=float, required=True, help="the weight of the prompt by default")
    p.add_argument("--evaluation", type=Path, required=True, help="the output of the evaluation")
    p.add_argument("--name", default="pictograms")
    p.add_argument("--folder", type=Path, default=zoo.FOLDER)
    o = p.parse_args(arguments)
    first, second = (
        torch.load(o.work / stage / "checkpoint.pt", map_location="cpu", weights_only=True)
        for stage in ("autoencoder", "flow")
    )
    data = load(o.data)
    labels = sorted({plain_text(label) for label in data.labels})
    joined, facts = o.work / "joined.pt", o.work / "facts.json"
    torch.save(join_stages(first, second, pack_captions(labels, embed_texts(labels))), joined)
    known = facts_of(data, first) | {k: vars(o)[k] for k in ("hardware", "limits", "guidance")}
    known["evaluation"] = json.loads(o.evaluation.read_text(encoding="utf-8"))["rows"]
    facts.write_text(json.dumps(known), encoding="utf-8")
    export_model(joined, facts, o.name, o.folder)


if __name__ == "__main__":
    main()
