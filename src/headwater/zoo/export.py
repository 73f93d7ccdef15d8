"""Turn a training checkpoint into a shipped model: half-precision averaged weights and a card.

    python -m headwater.zoo.export --checkpoint build/prior/checkpoint.pt --facts facts.json --name photo64

`facts` is a JSON object with what the checkpoint cannot know: kind, data, licence, hardware, classes, evaluation.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from headwater.errors import Misuse

SHARD = 15 * 2**20
"""The most bytes of one file of weights; the weights of a larger model are cut into several files."""
SEEN = {"image": "images", "latent image": "images", "music": "windows"}
"""The word on the card for what a kind of model is trained on; all other kinds are trained on molecules."""


def split_weights(weights: dict[str, Tensor], limit: int = SHARD) -> list[dict[str, Tensor]]:
    """The weights, in order, in parts of at most `limit` bytes (a larger tensor is a part of its own)."""
    parts: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in weights.items():
        if parts[-1] and size + value.nbytes > limit:
            parts.append({})
            size = 0
        parts[-1][name] = value
        size += value.nbytes
    return parts


def shrink(weights: Tensor) -> Tensor:
    """Half precision for numbers with a point; bytes stay bytes.

    Examples
    --------
    >>> shrink(torch.ones(2)).dtype, shrink(torch.ones(2, dtype=torch.int8)).dtype
    (torch.float16, torch.int8)
    """
    return (weights.half() if weights.is_floating_point() else weights).contiguous()


def export_model(checkpoint: Path, facts: Path, name: str, folder: Path) -> None:
    """Write the card `NAME.json` and the weights `NAME[-i].safetensors` of a checkpoint into the folder.

    `facts` is the JSON file described above; `name` becomes NAME.

    Raises
    ------
    Misuse
        The facts name no kind.
    """
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    parts = split_weights({k: shrink(v) for k, v in state["ema"].items()})
    files = (
        [f"{name}.safetensors"] if len(parts) == 1 else [f"{name}-{i}.safetensors" for i in range(len(parts))]
    )
    folder.mkdir(parents=True, exist_ok=True)
    for file, part in zip(files, parts, strict=True):
        save_file(part, folder / file)
    step, seen, seconds = state["counters"]
    known = json.loads(facts.read_text(encoding="utf-8"))
    if "kind" not in known:
        raise Misuse(f"The facts {facts} name no kind of model.", 'Say "kind", such as "image".')
    kind = known["kind"]
    state["log"] = [{k: v if math.isfinite(v) else None for k, v in line.items()} for line in state["log"]]
    training: dict[str, object] = {"steps": step, f"{SEEN.get(kind, 'molecules')}_seen": seen}
    training["minutes"] = round(seconds / 60, 1)
    if state["facts"].get("before"):  # of the weights that the run began with
        training["before"] = state["facts"]["before"]
    model = {"architecture": state["facts"]["config"]}
    if "part" in state["facts"]:  # a molecule model
        training |= {"part": state["facts"]["part"], "held_out": state["log"][-1]}
    else:
        training["held_out_loss"] = state["log"][-1]["held_out"]
    if kind == "image":
        training["script"] = "headwater.image.model.train"
        model = {"kind": kind, **model, "range": [-1, 1]}
    card = {"name": name, "files": files, **model, "training": training | {"log": state["log"]}, **known}
    (folder / f"{name}.json").write_text(json.dumps(card, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--facts", type=Path, required=True)
    p.add_argument("--name", required=True)
    p.add_argument("--folder", type=Path, default=Path(__file__).parent / "weights")
    o = p.parse_args(arguments)
    export_model(o.checkpoint, o.facts, o.name, o.folder)


if __name__ == "__main__":
    main()
