"""What it brings that molecules of like size go through the network together.

    python benchmarks/decisions/molecule_grouping.py --qm9 build/qm9 --repeats 5

On the CPU a batch is cut into groups by size (`groups.group_by_size`), each padded to its own largest molecule only;
beside that one group of all. Sizes are those of molecules of half_b. Seconds are of the processor (both ways take
turns, `--repeats` times, and medians are compared), so what else the machine does matters less. `generate` is a
whole job, with work outside the networks.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
from torch import Tensor

import _path  # noqa: F401
from common import write
from headwater import solve
from headwater.molecule.model.data import Molecules
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.structure import groups
from headwater.molecule.structure.state import round_state
from headwater.molecule.targets.design import generate
from headwater.molecule.targets.flow import molecule_flow
from headwater.molecule.targets.search import SearchThenControl
from molecules import from_data, load, options

GROUP = 16
"""Molecules of a group, as shipped."""


def jobs(molecules: Molecules, count: int) -> dict[str, Callable[[], object]]:
    """What is timed: the generator alone, with its gradient, the guide, and molecules drawn until they are sound."""
    atoms = molecules.counts[from_data(molecules, count, seed=3)]
    networks = Networks.load()
    flow = molecule_flow(networks.generator, atoms)
    x0 = flow.noise(seeds=range(count))
    found = round_state(solve(flow, x0, steps=SearchThenControl().steps), flow.support.mask)

    def gradient() -> Tensor:
        x = x0.clone().requires_grad_()
        return torch.autograd.grad(flow.velocity(x, torch.full((count,), 0.5)).square().sum(), x)[0]

    return {
        "velocity": partial(torch.no_grad()(flow.velocity), x0, torch.full((count,), 0.5)),
        "velocity and gradient": gradient,
        "guide": partial(predict_batch, networks.guide, found),
        "generate": partial(generate, count, atoms=atoms, networks=networks),
    }


def seconds(job: Callable[[], object], group: int) -> float:
    """Processor seconds of a job with groups of this size."""
    groups.group_by_size.__defaults__ = (group,)
    start = time.process_time()
    try:
        job()
    finally:
        groups.group_by_size.__defaults__ = (GROUP,)
    return time.process_time() - start


def main() -> None:
    o = options(__doc__.splitlines()[0], count=64, repeats=5)
    rows: list[dict[str, object]] = []
    for name, job in jobs(load(o.qm9), o.count).items():
        job()  # what is done once only
        turns = [(seconds(job, GROUP), seconds(job, o.count)) for _ in range(o.repeats)]
        grouped, whole = (median(t) for t in zip(*turns, strict=True))
        rows.append(
            {
                "what": name,
                "one group, s": round(whole, 3),
                f"groups of {GROUP}, s": round(grouped, 3),
                "times faster": round(whole / grouped, 2),
            }
        )
        print(rows[-1], flush=True)
    command = "python benchmarks/decisions/molecule_grouping.py --qm9 build/qm9"
    command += f" --count {o.count} --repeats {o.repeats}"
    write(o.results / "molecule_grouping", rows, command, f"{o.count} molecules, medians of {o.repeats}.")


if __name__ == "__main__":
    main()
