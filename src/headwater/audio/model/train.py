"""Train the music flow on rendered scores: flow matching on the Cond-OT path, over frames.

    python -m headwater.audio.model.train --data build/music --work build/audio --minutes 240

Windows are cut at random from the recordings, brought to an rms of 1 and then made up to 8 dB louder or softer. Two
frames more are cut than are learned, so that every learned frame has both its neighbours, as in a long recording.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headwater.audio.model import models
from headwater.audio.model.models import WINDOW
from headwater.audio.model.network import Plane, PlaneConfig, matching_loss
from headwater.audio.model.render import RATE
from headwater.audio.model.space import Patches, Space, Spectral
from headwater.nn.training import Batch, Run, load_start, make_parser, prepare_device, train_network


@dataclass(frozen=True)
class Augmentation:
    """How windows are varied; chosen by hand for the training that docs/music16.md describes.

    Parameters
    ----------
    quiet
        Windows whose rms is below this share of full scale are not learned.
    level
        Standard deviation of the log of the loudness of a window (4 dB).
    tilt, ripple
        Standard deviations of how a window is coloured: its slope, dB an octave, and each octave by itself, dB.
    lowest
        The frequency, Hz, from which octaves are counted.
    """

    quiet: float = 0.01
    level: float = 0.45
    tilt: float = 2.0
    ripple: float = 2.0
    lowest: float = 62.5


AUGMENTATION = Augmentation()


class Recordings:
    """Recordings stored end to end; windows never run over the end of one."""

    def __init__(self, files: Sequence[Path], augmentation: Augmentation = AUGMENTATION) -> None:
        self.augmentation = augmentation
        self.samples: list[NDArray[np.int16]] = []
        starts: list[tuple[int, int, int]] = []
        for i, file in enumerate(files):
            with np.load(file) as z:
                self.samples.append(z["samples"])
                ends = z["offsets"]
            starts += [(i, int(a), int(b)) for a, b in itertools.pairwise(ends)]
        self.spans = np.array(starts)

    def windows(self, count: int, length: int, r: np.random.Generator) -> Tensor:
        """Windows float32 `[count, length]` of rms about 1; recordings are drawn by their length."""
        a = self.augmentation
        sizes = np.maximum(self.spans[:, 2] - self.spans[:, 1] - length, 0)
        found: list[NDArray[np.float32]] = []
        while len(found) < count:
            shard, first, _ = self.spans[r.choice(len(sizes), p=sizes / sizes.sum())]
            size = sizes[np.nonzero((self.spans[:, 0] == shard) & (self.spans[:, 1] == first))[0][0]]
            begin = int(first + r.integers(size))
            x = self.samples[shard][begin : begin + length].astype(np.float32) / 32768
            rms = float(np.sqrt(np.mean(np.square(x))))
            if rms > a.quiet:
                found.append(x * np.float32(np.exp(a.level * r.standard_normal()) / rms))
        return torch.from_numpy(np.stack(found))


def fit_space(name: str, bins: int, recordings: Recordings) -> Space:
    """The space of that name, its scales such that coefficients have unit variance."""
    x = recordings.windows(2048, WINDOW, np.random.default_rng(0))
    if name == "patches":
        return Patches(x.std(), bins)
    power = {"mdct": 1.0, "companded": 0.5}[name]
    c = Spectral(torch.ones(bins)).encode(x)
    scale = (c.abs() ** (2 * power)).mean((0, 1)) ** (0.5 / power)
    return Spectral(scale, power)


def choose_architecture(o: argparse.Namespace, data: Recordings) -> tuple[PlaneConfig, Space]:
    """The architecture and space of the checkpoint, of the shipped model that is begun with, or those asked for."""
    checkpoint = o.work / "checkpoint.pt"
    if checkpoint.exists() or o.begin:
        prior = models.load_checkpoint(checkpoint) if checkpoint.exists() else models.load_prior(o.begin)
        assert isinstance(prior.flow.velocity, Plane)
        return prior.flow.velocity.config, prior.space
    config = PlaneConfig(bins=o.bins, widths=tuple(o.width * 2**i for i in range(4)))
    return config, fit_space(o.space, o.bins, data)


def earlier_training(o: argparse.Namespace) -> dict[str, float]:
    """Minutes and windows of the training whose weights the run began with; empty if it began with none."""
    checkpoint = o.work / "checkpoint.pt"
    if checkpoint.exists():
        facts = torch.load(checkpoint, map_location="cpu", weights_only=True)["facts"]
        return dict(facts.get("before", {}))
    if not o.begin:
        return {}
    card = models.read_card(o.begin)["training"]
    earlier = card.get("before", {})
    return {k: card[k] + earlier.get(k, 0) for k in ("minutes", "windows_seen")}


def colour(x: Tensor, r: np.random.Generator, augmentation: Augmentation = AUGMENTATION) -> Tensor:
    """Windows `[batch, samples]` as loud as they were, each as by another microphone, loudspeaker and room.

    The gain in dB is a random slope and a random value for every octave, linear in between, without a phase.
    """
    a = augmentation
    octaves = np.log2(np.maximum(np.fft.rfftfreq(x.shape[1], 1 / RATE) / a.lowest, 1))
    knots = np.arange(int(np.ceil(octaves[-1])) + 1)
    gains = [
        np.interp(
            octaves, knots, a.tilt * r.standard_normal() * knots + a.ripple * r.standard_normal(len(knots))
        )
        for _ in x
    ]
    gain = torch.from_numpy(10 ** (np.stack(gains) / 20)).to(x)
    found: Tensor = torch.fft.irfft(torch.fft.rfft(x) * gain, x.shape[1])
    return found * (x.square().mean(1, keepdim=True) / found.square().mean(1, keepdim=True)).sqrt()


def encode_windows(space: Space, x: Tensor) -> Tensor:
    """The states of windows, without the frames at both ends, which lack a neighbour."""
    return space.encode(x)[:, 1:-1]


def draw_batches(
    recordings: Recordings, space: Space, frames: int, batch: int, r: np.random.Generator
) -> Iterator[Batch]:
    """Endless batches of states, noise and stratified times, more of them where the flow decides."""
    while True:
        x1 = encode_windows(space, colour(recordings.windows(batch, (frames + 2) * space.bins, r), r))
        u = (torch.rand(1) + torch.arange(batch) / batch) % 1
        t = torch.sigmoid(1.2 * torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)))
        yield {"x0": torch.randn_like(x1), "x1": x1, "t": t}


def weighted_loss(net: nn.Module, batch: Batch) -> Tensor:
    """`matching_loss`, mean over the windows; a bright one, many times the mean power, counts as others do."""
    weight = 2 / (1 + batch["x1"].square().mean((1, 2)))
    return (weight * matching_loss(net, **batch)).mean()  # type: ignore[arg-type]


@torch.no_grad()
def held_out_loss(net: nn.Module, x1: Tensor) -> dict[str, float]:
    """The loss on held-out windows; fixed noise and times."""
    device = next(net.parameters()).device
    g = torch.Generator().manual_seed(0)
    x0 = torch.randn(x1.shape, generator=g)
    t = ((torch.arange(len(x1)) + 0.5) / len(x1))[torch.randperm(len(x1), generator=g)]
    parts = [
        matching_loss(net, a.to(device), b.to(device), c.to(device))  # type: ignore[arg-type]
        for a, b, c in zip(*(torch.split(z, 32) for z in (x0, x1, t)), strict=True)
    ]
    return {"held_out": round(torch.cat(parts).mean().item(), 5)}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    p = make_parser(__doc__, batch=16, lr=1e-3, decay=0.35)
    p.add_argument("--data", type=Path, required=True, help="folder of the recordings")
    p.add_argument("--space", choices=("mdct", "companded", "patches"), default="mdct")
    p.add_argument("--bins", type=int, default=512)
    p.add_argument(
        "--width", type=int, default=32, help="channels at the finest resolution, a multiple of 16"
    )
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    o = parse(arguments)
    device = prepare_device(o)
    data = Recordings(sorted(o.data.glob("train-*.npz")))
    kept = Recordings(sorted(o.data.glob("validation-*.npz")))
    config, space = choose_architecture(o, data)
    frames = WINDOW // config.bins
    facts = {
        "config": dataclasses.asdict(config),
        "space": space.name,
        "scale": space.scale.tolist(),
        "before": earlier_training(o),
    }
    torch.manual_seed(0)
    run = Run(lambda: Plane(config), facts, device)
    load_start(run, o, models.load_network)
    torch.manual_seed(run.step)
    if o.compile:
        assert isinstance(run.net, Plane)
        run.net.inner = torch.compile(run.net.inner)  # type: ignore[method-assign]
    x1 = encode_windows(space, kept.windows(256, (frames + 2) * config.bins, np.random.default_rng(1)))
    batches = draw_batches(data, space, frames, o.batch, np.random.default_rng(run.step))
    train_network(run, batches, weighted_loss, lambda net: held_out_loss(net, x1), o)


if __name__ == "__main__":
    main()
