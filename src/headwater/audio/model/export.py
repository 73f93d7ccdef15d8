"""Turn a training checkpoint of the music flow into the shipped model, with its card.

python -m headwater.audio.model.export --checkpoint build/audio/checkpoint.pt --hours 20 --name music16
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headwater import zoo
from headwater.audio.model import models
from headwater.zoo.export import export_model

DATA = (
    "public-domain scores of the music21 corpus (21 collections, Josquin to Joplin, Irish and American dances), "
    "played by FluidSynth with the FluidR3 soundfont; a twentieth of the scores and seven instruments held out"
)
LICENCES = (
    "compositions out of copyright; music21 and its corpus BSD or as each file says, free to use; FluidR3 MIT"
)


EMBEDDING = "CDPAM, pieces of half a second"


def collect_facts(
    checkpoint: Path, hours: float, hardware: str, frechet: float | None = None
) -> dict[str, Any]:
    """What the card says beside the training log; `headwater.audio.model.evaluate` gives the Frechet distance."""
    facts = torch.load(checkpoint, map_location="cpu", weights_only=True)["facts"]
    return {
        "kind": models.KIND,
        "what": "Velocity of a Cond-OT flow on windows of 2 s of music, mono, 16 kHz.",
        "rate": models.RATE,
        "window": models.WINDOW,
        "space": {"name": facts["space"], "scale": _round(facts["scale"])},
        "data": DATA,
        "hours": hours,
        "data_licence": LICENCES,
        "weights_licence": "Apache-2.0",
        "script": "headwater.audio.model.train",
        "frechet": {
            "distance": frechet,
            "embedding": EMBEDDING,
            "script": "headwater.audio.model.evaluate",
        },
        "hardware": hardware,
    }


def _round(scale: float | list[float]) -> float | list[float]:
    return [round(s, 6) for s in scale] if isinstance(scale, list) else round(scale, 6)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", type=Path, required=True)
    p.add_argument("--hours", type=float, required=True, help="hours of recordings that it was trained on")
    p.add_argument("--name", default=models.MUSIC)
    p.add_argument("--frechet", type=float, help="of its draws, as headwater.audio.model.evaluate says")
    p.add_argument("--hardware", default="2 CPU cores, shared")
    o = p.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "facts.json"
        file.write_text(
            json.dumps(collect_facts(o.checkpoint, o.hours, o.hardware, o.frechet)), encoding="utf-8"
        )
        export_model(o.checkpoint, file, o.name, zoo.FOLDER)


if __name__ == "__main__":
    main()
