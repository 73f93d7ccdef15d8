"""A small flow of handwritten digits, 32 x 32 and grey: a second, quite different prior of images for benchmarks.

    python benchmarks/digits.py --minutes 16 --work build/digits

The digits are the 1,797 of scikit-learn's `load_digits` (a part of the UCI data set of Alpaydin and Kaynak, 8 x 8),
enlarged smoothly, each in a pose of its own: a random turn, size, slant and place. The last 297 are held out. The
command trains the U-Net of the shipped image priors on the others, on one thread, and a classifier whose features
compare sets of digits, and writes `models/digits32.safetensors`. A killed run resumes, and a longer one may take it
up. Needs scikit-learn, as do `held_out_digits` and `tuning_digits`; `digits_flow` and `digit_features` do not.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from headwater import Flow, Misuse
from headwater.image.model import models
from headwater.image.model.network import UNet, UNetConfig
from headwater.image.model.train import denoised_psnr, held_out_loss, matching_loss
from headwater.nn.training import Batch, Run, load_start, make_parser, prepare_device, train_network

MODEL = Path(__file__).resolve().parent / "models" / "digits32.safetensors"
COUNT, HELD_OUT, SIZE = 1797, 297, 32
CONFIG = UNetConfig(
    size=SIZE, channels=1, widths=(32, 64, 64), blocks=(1, 1, 1), classes=0, embedding=128, heads=4
)


class Classifier(nn.Module):
    """The class of a digit `[batch, 1, 32, 32]` as logits `[batch, 10]`, from `features` `[batch, 64]`.

    The features, of mean 0 and mean square 1, tell more than the class: `traits`, `[batch, 8]`, are the pose, the
    noise and the blur of a picture.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((1, 16), (16, 32), (32, 64)):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after), nn.SiLU()]
        self.features = nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, 64))
        self.features.append(nn.LayerNorm(64, elementwise_affine=False))
        self.head, self.traits = nn.Linear(64, 10), nn.Linear(64, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def draw_poses(count: int, generator: torch.Generator | None = None) -> Tensor:
    """Random turns, sizes, slants and places as affine maps `[count, 2, 3]` from the picture to the 8 x 8 digit."""
    angle, size, slant, right, down = torch.randn(5, count, generator=generator).clamp(-2.5, 2.5)
    a, s = 0.12 * angle, 1.3 * (0.06 * size).exp()
    rows = [s * a.cos(), 0.1 * slant - s * a.sin(), 0.05 * right, s * a.sin(), s * a.cos(), 0.05 * down]
    return torch.stack(rows, dim=1).reshape(count, 2, 3)


def enlarge(ink: Tensor, poses: Tensor) -> Tensor:
    """Pictures `[n, 1, 32, 32]` in [-1, 1] of digits whose ink, `[n, 1, 8, 8]`, is 0 to 1; strokes are white."""
    grid = F.affine_grid(poses, [len(ink), 1, SIZE, SIZE], align_corners=False)
    u = F.grid_sample(ink, grid, mode="bicubic", align_corners=False)
    return (torch.tanh(4 * u - 2) / math.tanh(2)).clamp(-1, 1)


@lru_cache(maxsize=1)
def load_ink() -> tuple[Tensor, Tensor]:
    """The ink of all digits, `[1797, 1, 8, 8]` in [0, 1], and their classes `[1797]`."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.from_numpy(found.images).float()[:, None] / 16, torch.from_numpy(found.target).long()


def numbers(count: int, *, held_out: bool) -> range:
    """The numbers of `count` digits in `load_digits`, spread evenly over the held-out part or the training part."""
    first, size = (COUNT - HELD_OUT, HELD_OUT) if held_out else (0, COUNT - HELD_OUT)
    if not 1 <= count <= size:
        raise Misuse(f"This part has {size} digits, and {count} were asked for.", f"Give 1 to {size}.")
    return range(first, first + size, size // count)[:count]


def posed_digits(which: range) -> tuple[Tensor, Tensor]:
    """Digits `[n, 1, 32, 32]` in [-1, 1], each in the pose that depends on its number alone, and classes `[n]`."""
    ink, classes = load_ink()
    poses = draw_poses(COUNT, torch.Generator().manual_seed(1))
    pick = torch.tensor(which)
    return enlarge(ink[pick], poses[pick]), classes[pick]


def held_out_digits(count: int) -> Tensor:
    """`count` digits `[count, 1, 32, 32]` in [-1, 1] that no network here was trained on; at most 297."""
    return posed_digits(numbers(count, held_out=True))[0]


def tuning_digits(count: int) -> Tensor:
    """`count` digits `[count, 1, 32, 32]` of the training part, to choose settings on; at most 1,500.

    The networks saw these digits in other poses.
    """
    return posed_digits(numbers(count, held_out=False))[0]


def read_facts(file: Path = MODEL) -> dict[str, object]:
    """How the networks were trained, and their figures on the held-out digits."""
    with safe_open(file, "pt") as weights:
        return json.loads(weights.metadata()["facts"])


def load_part(net: nn.Module, part: str, file: Path) -> nn.Module:
    """The network with the weights `PART.*` of the file, float32, in evaluation mode."""
    with safe_open(file, "pt") as weights:
        names = [name for name in weights.keys() if name.startswith(f"{part}.")]  # noqa: SIM118
        net.load_state_dict({name[len(part) + 1 :]: weights.get_tensor(name).float() for name in names})
    return net.eval().requires_grad_(False)


@lru_cache(maxsize=1)
def digits_flow(file: Path = MODEL) -> Flow:
    """The flow of digits, on states `[batch, 1, 32, 32]` in the data range (-1, 1)."""
    network = models.ChannelsLast(load_part(UNet(CONFIG), "flow", file))
    return Flow(network, (1, SIZE, SIZE), range=(-1, 1))


@lru_cache(maxsize=1)
def digit_classifier(file: Path = MODEL) -> nn.Module:
    """The classifier of digits: logits `[n, 10]` of pictures `[n, 1, 32, 32]` in [-1, 1]."""
    return load_part(Classifier(), "classifier", file)


def digit_features(x: Tensor) -> Tensor:
    """Features `[n, 64]` of pictures `[n, 1, 32, 32]` in [-1, 1], to compare sets of digits by a kernel distance.

    Each row has mean 0 and mean square 1.
    """
    return digit_classifier().features(x.clamp(-1, 1))


def batches_of(batch: int) -> Iterator[Batch]:
    """Endless batches of training digits in fresh poses, with classes, noise and stratified times."""
    ink, classes = load_ink()
    while True:
        pick = torch.randint(COUNT - HELD_OUT, (batch,))
        poses = draw_poses(batch)
        x1 = enlarge(ink[pick], poses)
        t = (torch.rand(1) + torch.arange(batch) / batch) % 1
        yield {"x1": x1, "class": classes[pick], "pose": poses, "t": t, "x0": torch.randn_like(x1)}


def flow_loss(net: nn.Module, batch: Batch) -> Tensor:
    """`matching_loss` in single precision, which is faster than half on most CPUs."""
    label = torch.zeros_like(batch["class"])
    with torch.autocast(label.device.type, enabled=False):
        return matching_loss(net, batch["x1"], label, batch["t"], batch["x0"]).mean()


def class_loss(net: nn.Module, batch: Batch) -> Tensor:
    """Cross entropy and squared error of the traits, half of the pictures noisy and half blurred."""
    x, pose = batch["x1"], batch["pose"]
    noise = (batch["t"] - 0.5).relu()
    blur = (2 * torch.rand_like(noise) - 1).relu()
    soft = F.avg_pool2d(x + 1, 5, stride=1, padding=2) - 1
    x = x.lerp(soft, blur[:, None, None, None]) + noise[:, None, None, None] * batch["x0"]
    turn = 10 * (pose[:, :, :2] - 1.3 * torch.eye(2, device=pose.device))
    traits = torch.cat([turn.flatten(1), 20 * pose[:, :, 2], 5 * noise[:, None], 2 * blur[:, None]], dim=1)
    with torch.autocast(x.device.type, enabled=False):
        features = net.features(x.clamp(-1, 1))
        error = (net.traits(features) - traits).square().mean()
        return F.cross_entropy(net.head(features), batch["class"]) + error


def flow_figures(net: nn.Module) -> dict[str, float]:
    """Loss on held-out and on training digits, and PSNR of held-out ones that one evaluation has cleaned."""
    parts = [numbers(HELD_OUT, held_out=held_out) for held_out in (True, False)]
    held_out, seen = (((posed_digits(part)[0] + 1) * 127.5).round().byte() for part in parts)
    found = {"held_out": held_out_loss(net, held_out, 0), "seen": held_out_loss(net, seen, 0)}
    found |= {f"psnr_{sigma}": denoised_psnr(net, held_out, sigma) for sigma in (0.2, 0.5)}
    return {name: round(value, 4) for name, value in found.items()}


@torch.no_grad()
def class_figures(net: nn.Module) -> dict[str, float]:
    """Share of the held-out digits that the classifier names."""
    x, classes = posed_digits(numbers(HELD_OUT, held_out=True))
    device = next(net.parameters()).device
    right = net(x.to(device)).argmax(1).cpu() == classes
    return {"accuracy": round(right.double().mean().item(), 4)}


def train_part(part: str, o: argparse.Namespace) -> Run:
    """The trained run of the "flow" or of the "classifier", which gets an eighth of the minutes."""
    minutes = o.minutes if part == "flow" else o.minutes / 8
    o = argparse.Namespace(**vars(o) | {"work": o.work / part, "minutes": minutes})
    device = prepare_device(o)
    torch.manual_seed(0)
    run = Run((lambda: UNet(CONFIG)) if part == "flow" else Classifier, {"part": part}, device)
    load_start(run, o, models.network)
    torch.manual_seed(run.step)
    loss_of, figures = (flow_loss, flow_figures) if part == "flow" else (class_loss, class_figures)
    train_network(run, batches_of(o.batch), loss_of, figures, o)
    return run


def export_runs(runs: dict[str, Run], about: dict[str, object], file: Path) -> None:
    """Write the averaged weights of the runs in half precision, and the facts as metadata."""
    facts = about | {"torch": torch.__version__}
    weights: dict[str, Tensor] = {}
    for part, run in runs.items():
        facts |= {part: run.log[-1], f"{part} log": run.log}
        weights |= {f"{part}.{k}": v.half().cpu().contiguous() for k, v in run.ema.state_dict().items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    save_file(weights, temporary, metadata={"facts": json.dumps(facts)})
    os.replace(temporary, file)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or resume a training, as the command line says."""
    p = make_parser(__doc__, minutes=16, batch=32, lr=2e-3, decay=0.5, every=60)
    p.add_argument("--out", type=Path, default=MODEL, help="file of the weights")
    o = p.parse_args(arguments)
    facts = {
        "data": f"scikit-learn load_digits, the first {COUNT - HELD_OUT} in random poses; {HELD_OUT} held out",
        "command": f"python benchmarks/digits.py --minutes {o.minutes:g} --work build/digits",
        "architecture": dataclasses.asdict(CONFIG),
    }
    export_runs({part: train_part(part, o) for part in ("classifier", "flow")}, facts, o.out)


if __name__ == "__main__":
    main()
