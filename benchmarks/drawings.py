"""A small flow of drawings, 32 x 32 in colour: a third prior of images, to check defaults that others were chosen on.

    python -m headwater.image.pictograms.data --out build/pictograms
    python benchmarks/drawings.py --drawings build/pictograms/pictograms.npz --work build/drawings

The drawings are those of the model `pictograms`, from the icon sets of seven npm packages under Apache, MIT and CC BY
licences, averaged over squares of 4 x 4 pixels. The parts are the same: one emoji in seven is held out of all sets.
The command trains the U-Net of `digits.py` with three channels on the part "train", half of its drawings mirrored,
and writes `models/drawings32.safetensors`. A killed run resumes.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from digits import CONFIG, MODEL, export_runs, load_part
from headwater import Flow
from headwater.image.model import models
from headwater.image.model.network import UNet
from headwater.image.model.train import denoised_psnr, held_out_loss, matching_loss
from headwater.image.pictograms import data as drawings
from headwater.image.pictograms.evaluate import first_of_each
from headwater.nn.training import Batch, Run, load_start, make_parser, prepare_device, train_network

WEIGHTS = MODEL.with_name("drawings32.safetensors")
ARCHITECTURE = dataclasses.replace(CONFIG, channels=3)
SIZE = ARCHITECTURE.size


def shrink(pixels: Tensor) -> Tensor:
    """Pictures `[n, 3, 32, 32]` uint8 of drawings `[n, 3, 128, 128]` uint8."""
    parts = [F.avg_pool2d(part.float(), pixels.shape[-1] // SIZE) for part in pixels.split(1000)]
    return torch.cat(parts).round().byte()


def load_drawings(file: Path, count: int, *, tuning: bool) -> Tensor:
    """`count` drawings `[count, 3, 32, 32]` in [-1, 1], of emoji that no network saw; or of some that it did."""
    found = first_of_each(drawings.load(file).part("train" if tuning else "held-out"), count)
    return shrink(found.pixels).float() / 127.5 - 1


@lru_cache(maxsize=1)
def drawings_flow(file: Path = WEIGHTS) -> Flow:
    """The flow of drawings, on states `[batch, 3, 32, 32]` in the data range (-1, 1)."""
    network = models.ChannelsLast(load_part(UNet(ARCHITECTURE), "flow", file))
    return Flow(network, (3, SIZE, SIZE), range=(-1, 1))


def batches_of(images: Tensor, batch: int) -> Iterator[Batch]:
    """Endless batches of `images` `[n, 3, 32, 32]` uint8, half of them mirrored, with noise and stratified times."""
    while True:
        x1 = images[torch.randint(len(images), (batch,))].float() / 127.5 - 1
        x1 = torch.where(torch.rand(batch, 1, 1, 1) < 0.5, x1.flip(-1), x1)
        t = (torch.rand(1) + torch.arange(batch) / batch) % 1
        yield {"x1": x1, "t": t, "x0": torch.randn_like(x1), "label": torch.zeros(batch, dtype=torch.long)}


def loss_of(net: nn.Module, batch: Batch) -> Tensor:
    """The loss of flow matching."""
    return matching_loss(net, batch["x1"], batch["label"], batch["t"], batch["x0"]).mean()


def train(o: argparse.Namespace) -> Run:
    """The trained run."""
    device, every = prepare_device(o), drawings.load(o.drawings)
    seen, held_out = (shrink(every.part(part).pixels) for part in ("train", "held-out"))

    def figures(net: nn.Module) -> dict[str, float]:
        found = {
            "held_out": held_out_loss(net, held_out[:1000], 0),
            "seen": held_out_loss(net, seen[:1000], 0),
        }
        found |= {f"psnr_{sigma}": denoised_psnr(net, held_out[:500], sigma) for sigma in (0.2, 0.5)}
        return {name: round(value, 4) for name, value in found.items()}

    torch.manual_seed(0)
    run = Run(lambda: UNet(ARCHITECTURE), {"part": "flow"}, device)
    load_start(run, o, models.network)
    torch.manual_seed(run.step)
    train_network(run, batches_of(seen, o.batch), loss_of, figures, o)
    return run


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or resume a training, as the command line says."""
    p = make_parser(__doc__, minutes=20, batch=32, lr=2e-3, decay=0.5, every=60)
    p.add_argument("--drawings", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--out", type=Path, default=WEIGHTS, help="file of the weights")
    o = p.parse_args(arguments)
    facts = {
        "data": "drawings of seven icon sets by python -m headwater.image.pictograms.data, the part train",
        "command": f"python benchmarks/drawings.py --drawings FILE --minutes {o.minutes:g} --work build/drawings",
        "architecture": dataclasses.asdict(ARCHITECTURE),
    }
    export_runs({"flow": train(o)}, facts, o.out)


if __name__ == "__main__":
    main()
