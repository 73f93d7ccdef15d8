"""Train the generator of molecules on half_b of QM9: flow matching with aligned noise.

    python -m headwater.molecule.model.train_generator --qm9 build/qm9 --work build/generator --minutes 120

Minimises, over noise x0 and t = sqrt(u), u uniform, the squared error of the preconditioned denoiser of the
positions and the cross-entropies of types and charges (generator.py); the data point is rotated and reordered
towards the noise (align.py).
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from headwater.molecule.chemistry.align import align_to_noise
from headwater.molecule.chemistry.stability import stability
from headwater.molecule.model import models
from headwater.molecule.model.data import Molecules, load, sample, split
from headwater.molecule.model.generator import Generator, matching_losses
from headwater.molecule.model.network import TrunkConfig
from headwater.molecule.model.train_regressor import batch_by_size
from headwater.molecule.structure.state import atom_mask, encode_state, project, round_state
from headwater.nn.training import Batch, Run, load_start, make_parser, prepare_device, train_network


@dataclasses.dataclass(frozen=True)
class GeneratorLoss:
    """The weighted sum of the three losses, mean over molecules; these weights trained the shipped generator."""

    positions: float = 1.0
    types: float = 0.3
    charges: float = 0.3

    def __call__(self, net: nn.Module, batch: Batch) -> Tensor:
        losses = matching_losses(net, **batch)
        weights: dict[str, float] = dataclasses.asdict(self)
        total: Tensor = sum(w * losses[k].mean() for k, w in weights.items())  # type: ignore[assignment]
        return total


def pair_with_noise(molecules: Molecules, index: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Aligned pairs of noise and data with their times."""
    b = molecules.pad(index)
    x1 = encode_state(b["positions"], b["types"], b["charges"], b["mask"])
    x0 = project(torch.randn(x1.shape, generator=generator), b["mask"])
    x1, order = align_to_noise(x0, x1, b["mask"].sum(1))
    u = (torch.randperm(len(x1), generator=generator) + torch.rand(len(x1), generator=generator)) / len(x1)
    types, charges = b["types"].gather(1, order), b["charges"].gather(1, order)
    t = u.sqrt().clamp(max=0.999)
    return {"x0": x0, "x1": x1, "types": types, "charges": charges, "t": t, "mask": b["mask"]}


class Monitor:
    """Held-out losses with fixed noise, and the stability of a few samples."""

    def __init__(self, molecules: Molecules, held_out: Tensor, samples: int, steps: int) -> None:
        g = torch.Generator().manual_seed(1)
        order = held_out[molecules.counts[held_out].argsort()]
        self.batches = [pair_with_noise(molecules, piece, g) for piece in torch.split(order, 100)]
        self.atoms = molecules.counts[held_out[:samples]]
        self.x0 = project(
            torch.randn(samples, int(self.atoms.max()), 9, generator=g),
            atom_mask(self.atoms, int(self.atoms.max())),
        )
        self.steps = steps

    @torch.no_grad()
    def __call__(self, net: nn.Module) -> dict[str, float]:
        device = next(net.parameters()).device
        total: dict[str, float] = {}
        for batch in self.batches:
            losses = matching_losses(net, **{k: v.to(device) for k, v in batch.items()})
            for k, v in losses.items():
                total[k] = total.get(k, 0.0) + float(v.mean()) / len(self.batches)
        mask = atom_mask(self.atoms, self.x0.shape[1]).to(device)
        x, h = self.x0.to(device), 1 / self.steps
        for i in range(self.steps):
            t = torch.tensor(i * h, device=device)
            middle = x + 0.5 * h * net(x, t, mask)
            x = x + h * net(middle, t + 0.5 * h, mask)
        atoms, molecules = stability(round_state(x.cpu(), mask.cpu()))
        shares = {"atom_stable": float(atoms.mean()), "molecule_stable": float(molecules.float().mean())}
        return {k: round(v, 4) for k, v in (total | shares).items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    p = make_parser(__doc__)
    p.add_argument("--qm9", type=Path, required=True, help="folder of the parsed QM9")
    p.add_argument("--width", type=int, default=160)
    p.add_argument("--blocks", type=int, default=8)
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    o = parse(arguments)
    device = prepare_device(o)
    molecules = load(o.qm9)
    config = TrunkConfig(inputs=6, width=o.width, blocks=o.blocks)
    torch.manual_seed(0)
    run = Run(lambda: Generator(config), {"config": dataclasses.asdict(config), "part": "half_b"}, device)
    load_start(run, o, models.load_generator)
    if o.compile:
        run.net.trunk.compile(dynamic=True)  # type: ignore[union-attr]
    g = torch.Generator().manual_seed(run.step)
    parts = batch_by_size(molecules, split("half_b"), o.batch, seed=run.step)
    monitor = Monitor(molecules, sample("validation", 1000), samples=100, steps=25)
    train_network(run, (pair_with_noise(molecules, i, g) for i in parts), GeneratorLoss(), monitor, o)


if __name__ == "__main__":
    main()
