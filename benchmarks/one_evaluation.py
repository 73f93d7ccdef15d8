"""What one evaluation of a shipped network removes of known noise: the simplest rival of every recipe.

    python benchmarks/one_evaluation.py --data val.zip --photographs photos.zip

xhat(x_t, t) at t = 1 / (1 + sigma_y), where x_t = t y has the noise of y. Mean PSNR in dB of `--count` held-out
pictures of 64 x 64, and of the centre crops of the last 40 photographs at their own resolution, in colour and in grey
(its noise is completed to white noise in three channels, see `headwater.image.model.train.denoised_psnr`). Noise is
in the range [-1, 1]. The last column is what `WarmStart` reaches on the same 100 pictures (`quality.md`).
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from common import options, write
from headwater import zoo
from headwater.image.model import models
from headwater.image.model.train import denoised_psnr
from headwater.image.model.training_data import load_photographs
from images import held_out


def warm_start_psnr() -> float:
    """The PSNR of the recipe at noise 0.2 on the first 100 pictures, from the committed table."""
    rows = json.loads((Path(__file__).parent / "results" / "quality.json").read_text())["rows"]
    return next(r["psnr"] for r in rows if r["task"] == "denoise" and "D-Flow" in r["method"])


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=100, photographs="photos.zip")
    pictures = ((held_out(o.data, o.count) + 1) * 127.5).round().to(torch.uint8)
    _, crops = load_photographs([Path(o.photographs)], 64)
    rows: list[dict[str, object]] = []
    for name in zoo.list_models("image"):
        for what, images in (("pictures", pictures), ("crops", crops)):
            for grey in (False, True):
                row: dict[str, object] = {"network": name, "images": what, "grey": grey}
                for sigma in (0.1, 0.2):
                    psnr = denoised_psnr(models.network(name), images, sigma, grey=grey)
                    row[f"PSNR, noise {sigma}"] = round(psnr, 2)
                recipe = what == "pictures" and not grey and name == "tiny64"
                rows.append(row | {"WarmStart, noise 0.2": warm_start_psnr() if recipe else ""})
                print(rows[-1], flush=True)
    command = "python benchmarks/one_evaluation.py --data val.zip --photographs photos.zip"
    note = f"{len(pictures)} pictures, {len(crops)} crops; one evaluation of the network each."
    write(o.results / "one_evaluation", rows, command, note)


if __name__ == "__main__":
    main()
