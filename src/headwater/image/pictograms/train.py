"""Train the model `pictograms`: first the autoencoder, then the flow on its latents.

    python -m headwater.image.pictograms.train --stage autoencoder --data pictograms.npz --work FOLDER --minutes 35
    python -m headwater.image.pictograms.train --stage flow --data pictograms.npz --work FOLDER --minutes 120

`--data` is the file of `headwater.image.pictograms.data`. A stage keeps its checkpoint in `FOLDER/STAGE`, and the
flow takes the autoencoder from `FOLDER/autoencoder`, or else from the model that `--begin` names. A killed run
resumes, and a larger budget goes on: see `headwater.nn.training`. Needs the extras `pictograms` and `images`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from headwater.image.pictograms import train_autoencoder, train_flow
from headwater.image.pictograms.autoencoder import Autoencoder, AutoencoderConfig
from headwater.image.pictograms.data import load
from headwater.image.pictograms.models import load_parts
from headwater.image.pictograms.network import PictogramConfig
from headwater.nn.training import load_start, make_parser, prepare_device, train_network


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    p = make_parser(__doc__, batch=0, lr=1e-3, decay=0.35)
    p.add_argument("--data", type=Path, required=True, help="pictograms.npz")
    p.add_argument("--stage", choices=["autoencoder", "flow"], required=True)
    o = p.parse_args(arguments)
    o.batch = o.batch or (16 if o.stage == "autoencoder" else 48)
    o.folder, o.work = o.work, o.work / o.stage
    return o


def run_autoencoder(o: argparse.Namespace, device: torch.device) -> None:
    """The first stage."""
    data = load(o.data)
    pixels, held_out = data.part("train").pixels, data.part("held-out").pixels[::23]
    del data
    config = AutoencoderConfig(size=pixels.shape[-1])
    torch.manual_seed(0)
    run = train_autoencoder.new_run(config, device)
    load_start(run, o, lambda name: load_parts(name).autoencoder)
    torch.manual_seed(run.step)
    batches = train_autoencoder.batches_of(pixels, o.batch, config)
    train_network(
        run,
        batches,
        train_autoencoder.loss_of,
        lambda net: train_autoencoder.held_out_figures(net, held_out),
        o,
    )


def find_autoencoder(o: argparse.Namespace) -> tuple[Autoencoder, int]:
    """The autoencoder of the first stage and its steps; or that of the model that `--begin` names, with 0 steps."""
    checkpoint = o.folder / "autoencoder" / "checkpoint.pt"
    if o.begin and not checkpoint.exists():
        return load_parts(o.begin).autoencoder, 0
    return train_flow.load_autoencoder(checkpoint)


def run_flow(o: argparse.Namespace, device: torch.device) -> None:
    """The second stage."""
    net, steps = find_autoencoder(o)
    data = load(o.data)
    train, held_out, scale = train_flow.load_latents(
        data.part("train"), data.part("held-out"), net, steps, o.work
    )
    del data, net
    config = PictogramConfig(latents=train.x.shape[1], side=train.x.shape[-1])
    torch.manual_seed(0)
    run = train_flow.new_run(config, scale, device)
    load_start(run, o, lambda name: load_parts(name).flow)
    torch.manual_seed(run.step)
    few, seen = train_flow.thin(held_out, 240), train_flow.thin(train, 240)
    train_network(
        run,
        train_flow.batches_of(train, o.batch),
        train_flow.loss_of,
        lambda net: train_flow.figures(net, seen, few),
        o,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or resume a training, as the command line says."""
    o = parse(arguments)
    device = prepare_device(o)
    (run_flow if o.stage == "flow" else run_autoencoder)(o, device)


if __name__ == "__main__":
    main()
