"""Train the property regressors on one half of QM9: the evaluator on half_a, the guide on half_b.

    python -m headwater.molecule.model.train_regressor --qm9 build/qm9 --part half_a --work build/evaluator \
        --minutes 120

Minimises the sum over the six properties of |error| / bar, the bar being the error published for the
regressors of the literature, and a small share for auxiliary properties and Mulliken charges. Atoms are moved at
random by up to some hundredths of an angstrom, and the network also learns by how much (noisy nodes: Godwin et al.,
ICLR 2022): 50,000 molecules are few, and generated molecules are not quite at a minimum of the energy.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from headwater.errors import Misuse
from headwater.molecule.model import models
from headwater.molecule.model.data import Molecules, load, sample, split
from headwater.molecule.model.network import TrunkConfig
from headwater.molecule.model.regressor import EXTRA, PROPERTIES, Regressor, RegressorConfig
from headwater.molecule.structure.elements import ELEMENTS
from headwater.nn.training import Batch, Run, load_start, make_parser, prepare_device, train_network

BARS = {"alpha": 0.10, "gap": 0.064, "homo": 0.039, "lumo": 0.036, "mu": 0.043, "cv": 0.040}
"""Published test errors of the usual regressors (EDM, Hoogeboom et al. 2022, table 3), in our units."""


def batch_by_size(
    molecules: Molecules, index: Tensor, batch: int, seed: int, chunk: int = 40
) -> Iterator[Tensor]:
    """Endless shuffled batches whose molecules have nearly the same number of atoms.

    An epoch leaves out the few molecules, drawn at random, that do not fill a batch.
    """
    if len(index) < batch:
        raise Misuse(f"{len(index)} molecules do not fill a batch of {batch}.", "Give a smaller --batch.")
    generator = torch.Generator().manual_seed(seed)
    shuffle = random.Random(seed)
    while True:
        order = index[torch.randperm(len(index), generator=generator)]
        parts = []
        for piece in torch.split(order[: len(order) // batch * batch], chunk * batch):
            piece = piece[molecules.counts[piece].argsort()]
            parts += list(torch.split(piece, batch))
        shuffle.shuffle(parts)
        yield from parts


def load_labels(molecules: Molecules, index: Tensor) -> dict[str, Tensor]:
    """Inputs and labels of some molecules."""
    b = molecules.pad(index)
    types = F.one_hot(b["types"], len(ELEMENTS)) * b["mask"][..., None]
    labels = {name: molecules.properties[name][index].float() for name in (*PROPERTIES, *EXTRA)}
    return {
        "positions": b["positions"],
        "types": types.float(),
        "mask": b["mask"],
        "partial": b["partial"],
    } | labels


def jitter_positions(batch: Batch, generator: torch.Generator, most: float = 0.04) -> Batch:
    """The molecules with atoms moved by Gaussian noise, its scale uniform in [0, most] angstrom per molecule.

    `shift [b, n, 3]` says by how much; the centre stays. Labels stay those of the molecule at rest.
    """
    x, keep = batch["positions"], batch["mask"][..., None].to(batch["positions"].dtype)
    scale = most * torch.rand(len(x), 1, 1, generator=generator)
    shift = scale * torch.randn(x.shape, generator=generator) * keep
    shift = (shift - shift.sum(1, keepdim=True) / keep.sum(1, keepdim=True)) * keep
    return {**batch, "positions": x + shift, "shift": shift}


def fit_references(
    molecules: Molecules, index: Tensor
) -> tuple[dict[str, tuple[float, ...]], dict[str, float]]:
    """Least-squares lines in the composition and the spread around them, from the training half."""
    owner = torch.repeat_interleave(torch.arange(len(molecules)), molecules.counts)
    where = owner * len(ELEMENTS) + molecules.types.long()
    composition = torch.bincount(where, minlength=len(molecules) * len(ELEMENTS)).reshape(-1, len(ELEMENTS))
    design = torch.cat([torch.ones(len(index), 1), composition[index]], dim=1).double()
    lines, spreads = {}, {}
    for name in ("alpha", "cv", "zpve", "r2", "u0", "homo", "lumo"):
        y = molecules.properties[name][index]
        line = torch.linalg.lstsq(design, y[:, None]).solution[:, 0]
        lines[name] = tuple(line.tolist())
        spreads[name] = float((y - design @ line).std())
    for name in ("alpha", "cv", "zpve", "r2", "u0"):  # a sum over about 18 atoms
        spreads[name] /= 4
    return lines, spreads


@dataclasses.dataclass(frozen=True)
class RegressorLoss:
    """Mean over molecules of the sum of errors in units of their bars, divided by 50.

    The shipped regressors were trained with these settings. A batch that was moved (`jitter_positions`) adds the
    error of the predicted shift, in units of `jitter` / 2.

    Parameters
    ----------
    jitter
        By how much atoms are moved at most, angstrom.
    extra, partial, shift
        Weights of the auxiliary properties, of Mulliken's charges, and of the predicted shift.
    """

    jitter: float = 0.04
    extra: float = 2.0
    partial: float = 100.0
    shift: float = 0.05

    def __call__(self, net: nn.Module, batch: Batch) -> Tensor:
        """The loss of a batch as `load_labels` makes it."""
        out = net(batch["positions"], batch["types"], batch["mask"])
        main = sum((out[p] - batch[p]).abs().mean() / bar for p, bar in BARS.items())
        scale = net.config.scale  # type: ignore[union-attr]
        extra = sum((out[p] - batch[p]).abs().mean() / scale[p] for p in EXTRA)  # type: ignore[index]
        partial_error = (out["partial"] - batch["partial"]).abs().sum() / batch["mask"].sum()
        loss = (main + self.extra * extra + self.partial * partial_error) / 50
        if "shift" in batch:
            square = (out["shift"] - batch["shift"]).square().sum() / (3 * batch["mask"].sum())
            loss = loss + self.shift * square / (self.jitter / 2) ** 2
        return loss  # type: ignore[no-any-return]


@torch.no_grad()
def mean_errors(net: nn.Module, molecules: Molecules, index: Tensor, batch: int = 128) -> dict[str, float]:
    """Mean absolute error per property: alpha Bohr^3; gap, homo, lumo meV; mu Debye; cv cal/mol/K."""
    device = next(net.parameters()).device
    total = dict.fromkeys(PROPERTIES, 0.0)
    for piece in torch.split(index[molecules.counts[index].argsort()], batch):
        b = {k: v.to(device) for k, v in load_labels(molecules, piece).items()}
        out = net(b["positions"], b["types"], b["mask"])
        for p in PROPERTIES:
            total[p] += float((out[p] - b[p]).abs().sum())
    milli = {"gap", "homo", "lumo"}
    return {p: round(v / len(index) * (1000 if p in milli else 1), 5) for p, v in total.items()}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    p = make_parser(__doc__)
    p.add_argument("--qm9", type=Path, required=True, help="folder of the parsed QM9")
    p.add_argument("--part", choices=("half_a", "half_b"), required=True)
    p.add_argument("--width", type=int, default=160)
    p.add_argument("--blocks", type=int, default=5)
    p.add_argument("--seed", type=int, default=0, help="of weights and batches; judge and guide need two")
    return p.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, or go on training, as the command line says."""
    o = parse(arguments)
    device = prepare_device(o)
    molecules = load(o.qm9)
    index = split(o.part)
    trunk = TrunkConfig(inputs=5, width=o.width, blocks=o.blocks, radial=24, time=False, moves=0)
    lines, spreads = fit_references(molecules, index)
    config = RegressorConfig(trunk, lines, spreads)
    torch.manual_seed(o.seed)
    facts: dict[str, Any] = {"config": dataclasses.asdict(config), "part": o.part}
    run = Run(lambda: Regressor(config), facts, device)
    load_start(run, o, models.load_regressor)
    if o.compile:
        run.net.trunk.compile(dynamic=True)  # type: ignore[union-attr]
    parts = batch_by_size(molecules, index, o.batch, seed=o.seed + run.step)
    noise = torch.Generator().manual_seed(o.seed + run.step)
    held_out = sample("validation", 2000)
    train_network(
        run,
        (jitter_positions(load_labels(molecules, i), noise) for i in parts),
        RegressorLoss(),
        partial(mean_errors, molecules=molecules, index=held_out),
        o,
    )


if __name__ == "__main__":
    main()
