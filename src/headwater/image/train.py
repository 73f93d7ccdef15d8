"""Train the shipped image prior: flow matching on the Cond-OT path.

    python -m headwater.image.train --data train-0.zip train-1.zip --validate val.zip \
        --work build/prior --minutes 90

Minimises E || v(x_t, t, label) - (x1 - x0) ||^2 with x_t = (1 - t) x0 + t x1 over noise x0, images x1
and uniform t (Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, Cond-OT path).
The label is dropped to the null label with probability `--drop` (Ho & Salimans 2022).

The run is bounded by training time, not steps: `--minutes` is the budget over all sittings, the
learning rate is constant after warm-up and falls linearly to zero over the last `--decay` of the
budget. A killed run resumes from `WORK/checkpoint.pt`; a longer budget, another batch size or a GPU
may take it up. The exponential moving average covers the last 5 % of the steps.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import io
import json
import os
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from headwater.image.network import UNet, UNetConfig


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
def held_out_loss(net: nn.Module, images: Tensor, device: torch.device, null: int) -> float:
    """The loss without label on held-out images; fixed noise, t stratified over [0, 1]."""
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


def learning_rate(peak: float, step: int, spent: float, decay: float) -> float:
    """Warm-up over 300 steps, constant, then linear to zero over the last `decay` of the budget."""
    return peak * min(1.0, (step + 1) / 300, max(0.0, (1 - spent) / decay))


class Run:
    """Everything that a checkpoint holds: weights, average, optimiser, counters and the log."""

    def __init__(self, config: UNetConfig, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.net = UNet(config).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = UNet(config).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema.load_state_dict(self.net.state_dict())
        self.optimizer = torch.optim.AdamW(self.net.parameters(), betas=(0.9, 0.99), weight_decay=0.01)
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.log: list[dict[str, float]] = []

    def state(self) -> dict[str, object]:
        return {
            "config": dataclasses.asdict(self.config),
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "counters": [self.step, self.images, self.seconds],
            "log": self.log,
        }

    def begin_with(self, trained: nn.Module) -> None:
        """Start from trained weights of the same architecture, with a fresh optimiser."""
        for net in (self.net, self.ema):
            net.load_state_dict(trained.state_dict())

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        torch.save(self.state(), temporary)
        os.replace(temporary, path)

    @classmethod
    def resume(cls, path: Path, device: torch.device) -> Run:
        state = torch.load(path, map_location=device, weights_only=True)
        run = cls(UNetConfig(**state["config"]), device)
        run.net.load_state_dict(state["net"])
        run.ema.load_state_dict(state["ema"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.step, run.images, run.seconds = state["counters"]
        run.log = state["log"]
        return run

    def update(self, x1: Tensor, label: Tensor, lr: float) -> float:
        """One optimiser step on uint8 images; returns the loss."""
        x1 = x1.to(self.device, non_blocking=True)
        flip = torch.rand(len(x1), 1, 1, 1, device=self.device) < 0.5
        x1 = torch.where(flip, x1.flip(-1), x1).float() / 127.5 - 1
        x0 = torch.randn_like(x1)
        t = (torch.rand(1, device=self.device) + torch.arange(len(x1), device=self.device) / len(x1)) % 1
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = matching_loss(self.net, x1, label.to(self.device), t, x0).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step, self.images = self.step + 1, self.images + len(x1)
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.ema.parameters()), list(self.net.parameters()), 1 / (1 + 0.05 * self.step)
            )
        return loss.item()


def train(run: Run, images: Tensor, labels: Tensor, held_out: Tensor, options: argparse.Namespace) -> None:
    """Train until the budget is spent, saving and validating every `--every` seconds."""
    checkpoint = options.work / "checkpoint.pt"
    null = run.config.classes
    if run.device.type == "cuda":
        images, labels = images.to(run.device), labels.to(run.device)
    last = time.perf_counter()
    saved, loss_mean = run.seconds, None
    stop_at = run.seconds + 60 * options.sitting
    while run.seconds < min(60 * options.minutes, stop_at):
        pick = torch.randint(len(images), (options.batch,), device=images.device)
        label = labels[pick].masked_fill(torch.rand(options.batch, device=images.device) < options.drop, null)
        lr = learning_rate(options.lr, run.step, run.seconds / (60 * options.minutes), options.decay)
        loss = run.update(images[pick], label, lr)
        loss_mean = loss if loss_mean is None else 0.99 * loss_mean + 0.01 * loss
        now = time.perf_counter()
        run.seconds, last = run.seconds + min(now - last, 60.0), now
        if run.seconds - saved > options.every:
            saved = run.seconds
            record(run, held_out, loss_mean, lr)
            run.save(checkpoint)
            last = time.perf_counter()
    record(run, held_out, loss_mean or float("nan"), 0.0)
    run.save(checkpoint)


def record(run: Run, held_out: Tensor, loss: float, lr: float) -> None:
    """Append a line to the log: counters, training loss, held-out loss of the averaged weights."""
    entry = {
        "step": run.step,
        "images": run.images,
        "minutes": round(run.seconds / 60, 2),
        "lr": lr,
        "loss": round(loss, 5),
        "held_out": round(held_out_loss(run.ema, held_out, run.device, run.config.classes), 5),
    }
    run.log.append(entry)
    print(json.dumps(entry), flush=True)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, nargs="+", required=True, help="zip files of CLASS/FILE images")
    p.add_argument("--validate", type=Path, required=True, help="zip file of held-out images")
    p.add_argument("--work", type=Path, required=True, help="folder of the checkpoint and the log")
    p.add_argument("--begin", help="a shipped model whose weights a new run starts from")
    p.add_argument("--minutes", type=float, default=90, help="training time over all sittings")
    p.add_argument("--sitting", type=float, default=float("inf"), help="training time of this call")
    p.add_argument("--batch", type=int, default=48)
    p.add_argument("--lr", type=float, default=8e-4)
    p.add_argument("--decay", type=float, default=0.3)
    p.add_argument("--drop", type=float, default=0.5)
    p.add_argument("--every", type=float, default=240, help="seconds between checkpoints")
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    options = parse(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    images, labels, classes = load_images(options.data, options.work)
    held_out, _, _ = load_images([options.validate], options.work)
    checkpoint = options.work / "checkpoint.pt"
    if checkpoint.exists():
        run = Run.resume(checkpoint, device)
        torch.manual_seed(run.step)
    else:
        torch.manual_seed(0)
        run = Run(UNetConfig(classes=len(classes)), device)
        if options.begin:
            from headwater import zoo

            run.begin_with(zoo.network(options.begin))
    train(run, images, labels, held_out[::4], options)


if __name__ == "__main__":
    main()
