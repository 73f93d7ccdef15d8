"""Train the shipped image priors: flow matching on the Cond-OT path.

    python -m headwater.image.model.train --data train-0.zip train-1.zip --validate val.zip \
        --photographs photos.zip --work build/prior --minutes 90

Minimises E || v(x_t, t, label) - (x1 - x0) ||^2 with x_t = (1 - t) x0 + t x1 over noise x0, images x1
and uniform t (Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, Cond-OT path).
The label is dropped to the null label with probability `--drop` (Ho & Salimans 2022).

`--data` are zip files of `CLASS/FILE` pictures of one size; with `--photographs` a third of all images are random
crops of photographs (all but the last 40, which are held out), and a tenth of all images are grey.

Budget, schedule, checkpoints and weight average are those of `headwater.nn.training`: a killed run resumes from
`WORK/checkpoint.pt`, and a longer budget, another batch size or a GPU may take it up.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from headwater.image.model import models
from headwater.image.model.network import UNet, UNetConfig
from headwater.image.model.training_data import (
    Mixture,
    Photographs,
    Pictures,
    Source,
    load_images,
    load_photographs,
    to_grey,
)
from headwater.nn.training import Batch, Run, load_start, make_parser, prepare_device, train_network


def matching_loss(net: nn.Module, x1: Tensor, label: Tensor, t: Tensor, x0: Tensor) -> Tensor:
    """Mean squared error of the velocity on the Cond-OT path, `[batch]`, x1 and x0 `[batch, 3, h, w]`."""
    s = t[:, None, None, None]
    v = net((1 - s) * x0 + s * x1, t, label)
    return (v.float() - (x1 - x0)).square().flatten(1).mean(1)  # type: ignore[no-any-return]


@torch.no_grad()
def held_out_loss(net: nn.Module, images: Tensor, null: int) -> float:
    """The loss without label on held-out images, uint8 `[n, 3, h, w]`; fixed noise, t stratified over [0, 1]."""
    device = next(net.parameters()).device
    g = torch.Generator().manual_seed(0)
    n = len(images)
    t_all = (torch.arange(n) + 0.5) / n
    t_all = t_all[torch.randperm(n, generator=g)]
    x0_all = torch.randn(images.shape, generator=g)
    total = 0.0
    for i in range(0, n, 101):
        x1 = images[i : i + 101].to(device).float() / 127.5 - 1
        label = torch.full((len(x1),), null, device=device)
        t, x0 = t_all[i : i + 101].to(device), x0_all[i : i + 101].to(device)
        total += matching_loss(net, x1, label, t, x0).sum().item()
    return total / n


@torch.no_grad()
def denoised_psnr(net: nn.Module, images: Tensor, sigma: float, *, grey: bool = False) -> float:
    """Mean PSNR in dB of noisy images that one evaluation of the denoiser has cleaned.

    The images are uint8 `[n, 3, h, w]`, `sigma` is the noise in the range [-1, 1].

    xhat(x_t, t) = x_t + (1 - t) v(x_t, t) at t = 1 / (1 + sigma), where x_t = t y has the noise of y.

    A grey picture is one measurement per pixel with noise sigma. It becomes three channels with white noise
    sqrt(3) sigma whose mean is the measurement; the channels are averaged again at the end.
    """
    device, g = next(net.parameters()).device, torch.Generator().manual_seed(0)
    x1 = (to_grey(images) if grey else images).to(device).float() / 127.5 - 1
    noise = torch.randn(x1.shape, generator=g).to(device)
    if grey:
        fresh = torch.randn(x1.shape, generator=g).to(device)
        noise = noise[:, :1] + 3**0.5 * (fresh - fresh.mean(1, keepdim=True))
    level = 3**0.5 * sigma if grey else sigma
    # on the Cond-OT path x_t = t x1 + (1 - t) x0, so x_t / t has the noise (1 - t) / t = level
    t = torch.tensor(1 / (1 + level), device=device)
    x = t * (x1 + sigma * noise)
    xhat = torch.cat([part + (1 - t) * net(part, t, None) for part in torch.split(x, 50)])
    if grey:
        xhat = xhat.mean(1, keepdim=True)
    error = (xhat.clamp(-1, 1) - x1[:, : xhat.shape[1]]).square().flatten(1).mean(1)
    return float((10 * torch.log10(4 / error)).mean())


def held_out_figures(net: nn.Module, null: int, pictures: Tensor, crops: Tensor | None) -> dict[str, float]:
    """What the log and the card say of a network: loss, and PSNR at noise 0.1 and 0.2 of colour and grey."""
    found = {"held_out": round(held_out_loss(net, pictures, null), 5)}
    if crops is not None:
        found["held_out_crops"] = round(held_out_loss(net, crops, null), 5)
    for name, images in (("pictures", pictures[::5]), ("crops", crops)):
        for sigma in (0.1, 0.2) if images is not None else ():
            for grey in (False, True):
                key = f"psnr_{name}_{'grey' if grey else 'colour'}_{sigma}"
                found[key] = round(denoised_psnr(net, images, sigma, grey=grey), 3)  # type: ignore[arg-type]
    return found


def batches_of(source: Source, batch: int, drop: float, null: int) -> Iterator[Batch]:
    """Endless batches of what `loss_of` takes: flipped images in [-1, 1], noise, stratified times, labels."""
    while True:
        images, labels = source.draw(batch)
        flip = torch.rand(batch, 1, 1, 1) < 0.5
        x1 = torch.where(flip, images.flip(-1), images).float() / 127.5 - 1
        yield {
            "x1": x1,
            "label": labels.masked_fill(torch.rand(batch) < drop, null),
            "t": (torch.rand(1) + torch.arange(batch) / batch) % 1,
            "x0": torch.randn_like(x1),
        }


def loss_of(net: nn.Module, batch: Batch) -> Tensor:
    """`matching_loss`, mean over the images."""
    return matching_loss(net, **batch).mean()


def new_run(config: UNetConfig, device: torch.device) -> Run:
    """A run at its beginning, with random weights."""
    return Run(lambda: UNet(config), {"config": dataclasses.asdict(config)}, device)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    p = make_parser(__doc__, batch=48, lr=8e-4, decay=0.3, threads=2)
    p.add_argument("--data", type=Path, nargs="+", required=True, help="zip files of CLASS/FILE images")
    p.add_argument("--validate", type=Path, required=True, help="zip file of held-out images")
    p.add_argument("--photographs", type=Path, nargs="+", help="zip files of photographs to take crops of")
    p.add_argument("--drop", type=float, default=0.5, help="share of images without their label")
    p.add_argument("--widths", type=int, nargs="+", help="channels at each resolution, e.g. 48 96 192")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or resume a training, as the command line says."""
    o = parse(arguments)
    device = prepare_device(o)
    images, labels, classes = load_images(o.data, o.work)
    pictures, crops, null = load_images([o.validate], o.work)[0][::4], None, len(classes)
    config = UNetConfig(classes=null)
    source: Source = Pictures(images, labels)
    if o.photographs:
        photographs, crops = load_photographs(o.photographs, config.size)
        source = Mixture(source, Photographs(photographs, config.size, null))
    if o.widths:
        config = dataclasses.replace(config, widths=tuple(o.widths))
    torch.manual_seed(0)
    run = new_run(config, device)
    load_start(run, o, models.network)
    torch.manual_seed(run.step)
    if o.compile:
        run.net.compile()
    batches = batches_of(source, o.batch, o.drop, null)
    train_network(run, batches, loss_of, lambda net: held_out_figures(net, null, pictures, crops), o)


if __name__ == "__main__":
    main()
