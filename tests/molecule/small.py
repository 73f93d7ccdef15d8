"""Small molecules with properties of a known law, small networks and runs."""

import torch
from core_laws import F64

from headwater.molecule.model import train_generator
from headwater.molecule.model.data import Molecules
from headwater.molecule.model.generator import Generator
from headwater.molecule.model.network import TrunkConfig
from headwater.nn.training import Run

SIZES = {"width": 16, "vectors": 8, "pairs": 8, "dots": 4, "heads": 4, "blocks": 2, "radial": 6}
SUMS = ("alpha", "cv", "zpve", "r2", "u0")
LINES = {
    n: [10.0 * i - 7, *(i + 1.5 * j - 3 for j in range(5))] for i, n in enumerate((*SUMS, "homo", "lumo"))
}
ALL = torch.arange(48)


def planted(count=48, seed=0, noise=0.0):
    """Random molecules of 2 to 6 atoms; properties linear in the composition, plus noise of a given deviation."""
    g = torch.Generator().manual_seed(seed)
    counts = 2 + torch.arange(count) % 5
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    n = int(offsets[-1])
    types = torch.randint(0, 5, (n,), generator=g)
    composition = torch.stack([torch.bincount(t, minlength=5) for t in types.split(counts.tolist())]).to(F64)
    properties = {
        name: line[0] + composition @ torch.tensor(line[1:], dtype=F64) for name, line in LINES.items()
    }
    properties = {k: v + noise * torch.randn(count, generator=g, dtype=F64) for k, v in properties.items()}
    properties |= {
        "gap": properties["lumo"] - properties["homo"],
        "mu": torch.rand(count, generator=g, dtype=F64),
    }
    positions = torch.cat([p - p.mean(0) for p in torch.randn(n, 3, generator=g).split(counts.tolist())])
    return Molecules(
        offsets, positions, types.to(torch.uint8), torch.zeros(n, dtype=torch.int8), torch.zeros(n), properties,
        ["?"] * count,
    )  # fmt: skip


def tiny_generator():
    return Generator(TrunkConfig(inputs=6, **SIZES))


def run_of(build, seed=0):
    torch.manual_seed(seed)
    return Run(build, {"config": 1}, torch.device("cpu"))


def same(a, b):
    """Bitwise equality of nested states."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def generator_batches(count, seed=0):
    m, g = planted(), torch.Generator().manual_seed(seed)
    return [train_generator.pair_with_noise(m, ALL[8 * i : 8 * i + 8], g) for i in range(count)]
