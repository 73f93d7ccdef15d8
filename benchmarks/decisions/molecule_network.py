"""Equivariant network or transformer with rotation augmentation: the same training, data and seconds.

    run="python benchmarks/decisions/molecule_network.py --qm9 build/qm9 --minutes 12"
    $run --work build/equivariant --network equivariant & $run --work build/transformer --network transformer
    $run --work build/equivariant build/transformer --write

Run them side by side, one thread each, so that both see the same machine. The transformer is a standard
pre-norm encoder with adaptive layer norm for the time, on noisy coordinates and types; each batch is rotated at
random. The losses, the alignment of noise and data and the sampler are those of the shipped generator.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import _path  # noqa: F401
from common import write
from headwater.molecule.model.data import load, sample, split
from headwater.molecule.model.generator import Generator
from headwater.molecule.model.network import TrunkConfig, clock_features
from headwater.molecule.model.train_generator import GeneratorLoss, Monitor, pair_with_noise
from headwater.molecule.model.train_regressor import batch_by_size
from headwater.nn.training import Run, train_network

EQUIVARIANT = {"width": 160, "blocks": 8}
TRANSFORMER = {"width": 256, "blocks": 8}


class Layer(nn.Module):
    """Self-attention and a feed-forward part, scaled and shifted by the time."""

    def __init__(self, d: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.modulation = nn.Linear(d, 4 * d)

    def forward(self, h: Tensor, mask: Tensor, e: Tensor) -> Tensor:
        b, n, d = h.shape
        m = self.modulation(e)[:, None].chunk(4, dim=-1)
        q, k, v = (
            self.qkv(self.norm1(h) * (1 + m[0]) + m[1])
            .reshape(b, n, 3, self.heads, -1)
            .permute(2, 0, 3, 1, 4)
        )
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        h = h + self.out(a.transpose(1, 2).reshape(b, n, d))
        return h + self.down(F.gelu(self.up(self.norm2(h) * (1 + m[2]) + m[3])))


class TransformerTrunk(nn.Module):
    """The interface of `network.Trunk`, without its symmetry: vectors are three plain outputs per atom."""

    def __init__(self, c: TrunkConfig) -> None:
        super().__init__()
        d = c.width
        self.vectors = c.vectors
        self.embed = nn.Linear(c.inputs + 3, d)
        self.clock = nn.Sequential(nn.Linear(64, d), nn.SiLU(), nn.Linear(d, d), nn.SiLU())
        self.layers = nn.ModuleList(Layer(d) for _ in range(c.blocks))
        self.move = nn.Linear(d, 3)

    def forward(self, z: Tensor, x: Tensor, mask: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        e = self.clock(clock_features(t, 64))
        h = self.embed(torch.cat([x, z], dim=-1))
        for layer in self.layers:
            h = layer(h, mask, e)
        return h, h.new_zeros(len(h), 3, h.shape[1], self.vectors), x + self.move(h)


def build(kind: str) -> nn.Module:
    """The generator with one or the other trunk."""
    sizes = EQUIVARIANT if kind == "equivariant" else TRANSFORMER
    net = Generator(TrunkConfig(inputs=6, **sizes))
    if kind == "transformer":
        net.trunk = TransformerTrunk(net.config)
    return net


def turned(batch: dict[str, Tensor], g: torch.Generator) -> dict[str, Tensor]:
    """Noise and data rotated together, at random."""
    q, r = torch.linalg.qr(torch.randn(len(batch["t"]), 3, 3, generator=g))
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None]
    return batch | {k: torch.cat([batch[k][..., :3] @ q, batch[k][..., 3:]], dim=-1) for k in ("x0", "x1")}


def train(o: argparse.Namespace) -> None:
    """One of the two, for `--minutes`."""
    o.work = o.work[0]
    o.work.mkdir(parents=True, exist_ok=True)
    molecules = load(o.qm9)
    torch.manual_seed(0)
    run = Run(lambda: build(o.network), {"config": {}, "part": "half_b"}, torch.device("cpu"))
    run.net.trunk.compile(dynamic=True)
    for batch in (
        pair_with_noise(molecules, split("half_b")[:8], torch.Generator()),
    ):  # compile before the clock starts
        with torch.autocast("cpu", torch.bfloat16):
            GeneratorLoss()(run.net, batch).backward()
    run.net.zero_grad(set_to_none=True)
    g = torch.Generator().manual_seed(0)
    parts = batch_by_size(molecules, split("half_b"), 64, seed=0)
    batches = (pair_with_noise(molecules, i, g) for i in parts)
    if o.network == "transformer":
        batches = (turned(b, g) for b in batches)
    train_network(
        run,
        batches,
        GeneratorLoss(),
        Monitor(molecules, sample("validation", 1000), samples=200, steps=25),
        o,
    )
    size = sum(p.numel() for p in run.net.parameters())
    facts = {"network": o.network, "parameters": size}
    (o.work / "last.json").write_text(json.dumps(facts | run.log[-1]))


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--qm9", type=Path, required=True)
    p.add_argument("--work", type=Path, nargs="+", required=True)
    p.add_argument("--network", choices=("equivariant", "transformer"))
    p.add_argument("--minutes", type=float, default=12)
    p.add_argument("--write", action="store_true")
    p.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    p.set_defaults(sitting=float("inf"), lr=8e-4, decay=0.4, every=1e9)
    o = p.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    if not o.write:
        train(o)
        return
    rows = [json.loads((w / "last.json").read_text()) for w in o.work]
    note = "Held-out losses (positions: squared error of the preconditioned denoiser) and stability of 200 samples."
    write(
        o.results / "molecule_network",
        rows,
        "see the docstring of benchmarks/decisions/molecule_network.py",
        note,
    )


if __name__ == "__main__":
    main()
