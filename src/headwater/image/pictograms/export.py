"""Turn the checkpoints of both stages into the shipped model `pictograms`.

    python -m headwater.image.pictograms.export --work FOLDER --data pictograms.npz --facts facts.json

Puts the averaged weights of the two networks and the embeddings of all labels into one checkpoint, and that into a
card and weights with `headwater.zoo.export`. `facts` is a JSON object with what the checkpoints cannot know: data,
licence, hardware, guidance, evaluation.
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
from headwater.image.pictograms.data import load
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


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the checkpoints of both stages")
    p.add_argument("--data", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--facts", type=Path, required=True)
    p.add_argument("--name", default="pictograms")
    p.add_argument("--folder", type=Path, default=zoo.FOLDER)
    o = p.parse_args(arguments)
    first, second = (
        torch.load(o.work / stage / "checkpoint.pt", map_location="cpu", weights_only=True)
        for stage in ("autoencoder", "flow")
    )
    labels = sorted({plain_text(label) for label in load(o.data).labels})
    joined, facts = o.work / "joined.pt", o.work / "facts.json"
    torch.save(join_stages(first, second, pack_captions(labels, embed_texts(labels))), joined)
    known = json.loads(o.facts.read_text(encoding="utf-8"))
    known |= {"kind": KIND, "styles": list(SETS), "range": [-1, 1], "autoencoder_training": stage_of(first)}
    facts.write_text(json.dumps(known), encoding="utf-8")
    export_model(joined, facts, o.name, o.folder)


if __name__ == "__main__":
    main()
