"""Train the shipped image prior: flow matching on the Cond-OT path.

    python -m headwater.image.train --data train-0.zip train-1.zip --validate val.zip \
        --work build/prior --minutes 90

Minimises E || v(x_t, t, label) - (x1 - x0) ||^2 with x_t = (1 - t) x0 + t x1 over noise x0, images x1
and uniform t (Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, Cond-OT path).
The label is dropped to the null label with probability `--drop` (Ho & Salimans 2022).

Budget, schedule, checkpoints and weight average are those of `headwater.training`: a killed run resumes from
`WORK/checkpoint.pt`, and a longer budget, another batch size or a GPU may take it up.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from headwater import zoo
from headwater.image.network import UNet, UNetConfig
from headwater.training import Batch, Run, fit, machine, options_for, resume


def load_images(archives: Sequence[Path], cache: Path | None) -> tuple[Tensor, Tensor, list[str]]:
    """Decode zip files of `CLASS/FILE` images once: uint8 `[n, 3, h, w]`, labels, class names."""
    from PIL import Image

    key = hashlib.sha256("|".join(f"{a.name}:{a.stat().st_size}" for a in archives).encode())
    stored = cache / f"images-{key.hexdigest()[:12]}.npz" if cache else None
    if stored and stored.exists():
        with np.load(stored) as z:
            return torch.from_numpy(z["x"]), torch.from_numpy(z["y"]), [str(c) for c in z["c"]]
    pixels, names = [], []
    for archive in archives:
        with zipfile.ZipFile(archive) as z:
            for name in sorted(n for n in z.namelist() if not n.endswith("/")):
                image = Image.open(io.BytesIO(z.read(name))).convert("RGB")
                pixels.append(np.asarray(image).transpose(2, 0, 1))
                names.append(name.split("/")[0])
    classes = sorted(set(names))
    x, y = np.stack(pixels), np.array([classes.index(n) for n in names])
    if stored:
        stored.parent.mkdir(parents=True, exist_ok=True)
        temporary = stored.with_suffix(".tmp.npz")  # a cache cut off by a kill would break the next run
        np.savez(temporary, x=x, y=y, c=np.array(classes))
        os.replace(temporary, stored)
    return torch.from_numpy(x), torch.from_numpy(y), classes


def matching_loss(net: nn.Module, x1: Tensor, label: Tensor, t: Tensor, x0: Tensor) -> Tensor:
    """Mean squared error of the velocity on the Cond-OT path, one value per image."""
    s = t[:, None, None, None]
    v = net((1 - s) * x0 + s * x1, t, label)
    return (v.float() - (x1 - x0)).square().flatten(1).mean(1)  # type: ignore[no-any-return]


@torch.no_grad()
def held_out_loss(net: nn.Module, images: Tensor, null: int) -> float:
    """The loss without label on held-out images; fixed noise, t stratified over [0, 1]."""
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


def batches_of(images: Tensor, labels: Tensor, batch: int, drop: float, null: int) -> Iterator[Batch]:
    """Endless batches of what `loss_of` takes: flipped images in [-1, 1], noise, stratified times, labels."""
    device = images.device
    while True:
        pick = torch.randint(len(images), (batch,), device=device)
        flip = torch.rand(batch, 1, 1, 1, device=device) < 0.5
        x1 = images[pick]
        x1 = torch.where(flip, x1.flip(-1), x1).float() / 127.5 - 1
        yield {
            "x1": x1,
            "label": labels[pick].masked_fill(torch.rand(batch, device=device) < drop, null),
            "t": (torch.rand(1, device=device) + torch.arange(batch, device=device) / batch) % 1,
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
    p = options_for(__doc__, batch=48, lr=8e-4, decay=0.3, threads=2)
    p.add_argument("--data", type=Path, nargs="+", required=True, help="zip files of CLASS/FILE images")
    p.add_argument("--validate", type=Path, required=True, help="zip file of held-out images")
    p.add_argument("--drop", type=float, default=0.5, help="share of images without their label")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    o = parse(arguments)
    device = machine(o)
    images, labels, classes = load_images(o.data, o.work)
    held_out = load_images([o.validate], o.work)[0][::4]
    torch.manual_seed(0)
    run = new_run(UNetConfig(classes=len(classes)), device)
    resume(run, o, zoo.network)
    torch.manual_seed(run.step)
    if o.compile:
        run.net.compile()
    batches = batches_of(images.to(device), labels.to(device), o.batch, o.drop, len(classes))
    fit(
        run,
        batches,
        loss_of,
        lambda net: {"held_out": round(held_out_loss(net, held_out, len(classes)), 5)},
        o,
    )


if __name__ == "__main__":
    main()
