"""A training run that is bounded by time, survives a kill and continues where it stopped.

The budget is `minutes` of training over all sittings: the learning rate warms up, is constant, and falls linearly to
zero over the last share `decay` of the budget. The moving average of the weights covers about the last 5 % of the
steps.

Matrices are updated by Muon (Jordan et al. 2024, scaled as by Liu et al., arXiv 2502.16982), all others by AdamW.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

Batch = Mapping[str, Tensor]
Loss = Callable[[nn.Module, Batch], Tensor]
Validate = Callable[[nn.Module], dict[str, float]]


def learning_rate(peak: float, step: int, spent: float, decay: float) -> float:
    """Warm-up over 300 steps, constant, then linear to zero over the last share `decay` of the budget.

    Parameters
    ----------
    peak
        The constant rate.
    step
        Steps so far.
    spent
        The share of the budget that is spent, 0 to 1.
    decay
        The share of the budget over which the rate falls; 0 means that it does not.

    Examples
    --------
    >>> learning_rate(1e-3, 1000, 0.5, 0.3), learning_rate(1e-3, 1000, 1.0, 0.3)
    (0.001, 0.0)
    """
    fall = 1.0 if decay <= 0 else max(0.0, (1 - spent) / decay)
    return peak * min(1.0, (step + 1) / 300, fall)


def make_optimizers(net: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (both sides at least 8), AdamW for vectors and thin matrices; one learning rate.

    Examples
    --------
    >>> [len(o.param_groups[0]["params"]) for o in make_optimizers(nn.Linear(8, 8))]
    [1, 1]
    """
    matrices: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    for p in net.parameters():
        (matrices if p.ndim == 2 and min(p.shape) >= 8 else rest).append(p)
    found: list[torch.optim.Optimizer] = []
    if matrices:
        found.append(torch.optim.Muon(matrices, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"))
    if rest:
        found.append(torch.optim.AdamW(rest, betas=(0.9, 0.99), weight_decay=0.01))
    return found


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies matrices in bfloat16 in hardware; a CPU without AMX takes 1.6 times as long so."""
    return device.type != "cpu" or torch.cpu._is_amx_tile_supported()


class Run:
    """What a checkpoint holds: weights, their average, optimisers, counters and the log.

    Parameters
    ----------
    build
        Makes the network.
    facts
        Stored beside the weights: the configuration that rebuilds the network, and what a card needs.
    device
        Where the run computes.
    """

    def __init__(self, build: Callable[[], nn.Module], facts: dict[str, Any], device: torch.device) -> None:
        self.device, self.facts = device, facts
        self.net, self.ema = build().to(device), build().to(device)
        self.ema.load_state_dict(self.net.state_dict())
        self.optimizers = make_optimizers(self.net)
        self.step, self.samples, self.seconds = 0, 0, 0.0
        self.log: list[dict[str, float]] = []

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Start from trained weights of the same architecture, with new optimisers."""
        for net in (self.net, self.ema):
            net.load_state_dict(weights)

    def save(self, path: Path) -> None:
        """Write the checkpoint; a kill during the writing leaves the old one."""
        state = {
            "facts": self.facts,
            "net": self.net.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "counters": [self.step, self.samples, self.seconds],
            "log": self.log,
        }
        temporary = path.with_suffix(".tmp")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def restore(self, path: Path) -> None:
        """Continue from a checkpoint."""
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        for optimizer, before in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(before)
        self.step, self.samples, self.seconds = state["counters"]
        self.log = state["log"]

    def update(self, batch: Batch, loss_of: Loss, lr: float) -> float:
        """One step of the optimisers on a batch of tensors `[batch, ...]`; returns the loss before it."""
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        with torch.autocast(self.device.type, torch.bfloat16, enabled=has_fast_bfloat16(self.device)):
            loss = loss_of(self.net, batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        if torch.isfinite(norm):  # one bad batch must not end a long run
            for optimizer in self.optimizers:
                for group in optimizer.param_groups:
                    group["lr"] = lr
                optimizer.step()
        self.net.zero_grad(set_to_none=True)
        self.step, self.samples = self.step + 1, self.samples + len(next(iter(batch.values())))
        with torch.no_grad():
            # The weight of a step falls as 1 / (0.05 n), so that the average always covers about 5 % of the steps
            # so far, however long the run (power-function average, Karras et al., CVPR 2024, section 3.1).
            weight = 1 / (1 + 0.05 * self.step)
            torch._foreach_lerp_(list(self.ema.parameters()), list(self.net.parameters()), weight)
        return loss.item()


def train_network(
    run: Run, batches: Iterator[Batch], loss_of: Loss, validate: Validate, options: argparse.Namespace
) -> None:
    """Train until the budget is spent; validate, log and save every `options.every` seconds.

    Parameters
    ----------
    run
        What is trained.
    batches
        Batches of tensors `[batch, ...]` without end.
    loss_of
        `loss_of(net, batch)`, a scalar.
    validate
        `validate(net)` of the averaged weights: numbers for the log. Its time does not count.
    options
        Those of the parser below.
    """
    checkpoint = options.work / "checkpoint.pt"
    begun = saved = run.seconds
    clock = time.process_time if getattr(options, "cpu_time", False) else time.perf_counter
    mean, last = math.nan, clock()
    end = min(60 * options.minutes, begun + 60 * options.sitting)
    while run.seconds < end:
        lr = learning_rate(options.lr, run.step, run.seconds / (60 * options.minutes), options.decay)
        loss = run.update(next(batches), loss_of, lr)
        if math.isfinite(loss):
            mean = loss if math.isnan(mean) else 0.99 * mean + 0.01 * loss
        now = clock()
        run.seconds, last = run.seconds + now - last, now
        if run.seconds - saved > options.every or run.seconds >= end:
            saved = run.seconds
            entry = {
                "step": run.step,
                "samples": run.samples,
                "minutes": round(run.seconds / 60, 2),
                "lr": lr,
            }
            run.log.append(entry | {"loss": round(mean, 5)} | validate(run.ema))
            print(json.dumps(run.log[-1]), flush=True)
            run.save(checkpoint)
            last = clock()


def prepare_device(options: argparse.Namespace) -> torch.device:
    """Set the threads, create the work folder, and return the device to compute on."""
    # An untrained network fills with denormals, which are several times slower on CPUs.
    torch.set_flush_denormal(True)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_start(run: Run, options: argparse.Namespace, shipped: Callable[[str], nn.Module]) -> None:
    """Continue from the checkpoint in the work folder, or else start from the weights that `options.begin` names.

    `shipped(name)` is the network of a shipped model. Without a checkpoint and a name the run starts at random.
    """
    checkpoint = options.work / "checkpoint.pt"
    if checkpoint.exists():
        run.restore(checkpoint)
    elif options.begin and options.begin.endswith(".safetensors"):
        run.load_weights({k: v.float() for k, v in load_file(options.begin).items()})
    elif options.begin:
        run.load_weights(shipped(options.begin).state_dict())


def make_parser(description: str | None, **defaults: Any) -> argparse.ArgumentParser:
    """The parser of the options that every training script has; `defaults` replace theirs."""
    p = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--work", type=Path, required=True, help="folder of the checkpoint")
    p.add_argument("--minutes", type=float, default=90, help="training time over all sittings")
    p.add_argument("--sitting", type=float, default=math.inf, help="training time of this call")
    p.add_argument("--batch", type=int, default=64)
    p.add_argument("--lr", type=float, default=1e-3)
    p.add_argument("--decay", type=float, default=0.35)
    p.add_argument(
        "--cpu-time",
        action="store_true",
        help="count the time of the processor, on a machine that others use, too",
    )
    p.add_argument("--every", type=float, default=240, help="seconds between checkpoints")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument(
        "--begin", help="a shipped model or a safetensors file whose weights a new run starts from"
    )
    p.add_argument("--compile", action="store_true", help="torch.compile the network (needs a C++ compiler)")
    p.set_defaults(**defaults)
    return p
