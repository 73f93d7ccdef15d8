"""How smooth is the map from the source to the molecule? Bonds that change when the source is turned a little.

    python benchmarks/decisions/molecule_roughness.py --qm9 build/qm9 --count 256

Each source x0 is turned towards an independent draw z of the same norm: x0 cos(a) + z sin(a). The midpoint solve with
the steps of `design` leads to two molecules, whose types, bond orders (the distance table) and guide's gap are
compared; atoms keep their rows, and `other SMILES` forgets them. `positions`: rms distance of the atoms after the
best superposition, angstrom.
"""

from __future__ import annotations

import numpy as np
import torch

import _path  # noqa: F401
from common import write
from headwater import solve
from headwater.molecule.checks.xtb import rmsd
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.chemistry.stability import bond_orders
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.structure.state import MoleculeBatch, round_state
from headwater.molecule.targets.flow import FeatureShell, molecule_flow
from headwater.molecule.targets.search import SearchThenControl
from molecules import from_data, load, options

ANGLES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)


def main() -> None:
    o = options(__doc__.splitlines()[0], count=256)
    molecules, networks = load(o.qm9), Networks.load()
    flow = molecule_flow(networks.generator, molecules.counts[from_data(molecules, o.count, seed=9)])
    mask = flow.support.mask
    on_shell = FeatureShell(mask)
    x0, z = (on_shell(flow.noise(range(first, first + o.count))) for first in (0, o.count))

    @torch.no_grad()
    def made(x: torch.Tensor) -> tuple[MoleculeBatch, torch.Tensor, list[str | None], torch.Tensor]:
        m = round_state(solve(flow, on_shell(x), steps=SearchThenControl().steps), mask)
        smiles = [c.structure for c in examine(m)]
        return m, bond_orders(m), smiles, predict_batch(networks.guide, m)["gap"]

    def percent(changed: list[bool]) -> float:
        return round(100 * float(np.mean(changed)), 1)

    start, bonds, smiles, gap = made(x0)
    table = []
    for angle in ANGLES:
        a = torch.tensor(angle)
        there, others, texts, moved = made(x0 * a.cos() + z * a.sin())
        distance = [
            rmsd(p[k].double().numpy(), q[k].double().numpy())
            for p, q, k in zip(start.positions, there.positions, mask, strict=True)
        ]
        table.append(
            {
                "angle, rad": angle,
                "other types %": percent((there.types != start.types).any(1).tolist()),
                "other bonds %": percent((others != bonds).flatten(1).any(1).tolist()),
                "other SMILES %": percent([p != q for p, q in zip(texts, smiles, strict=True)]),
                "positions, median": round(float(np.median(distance)), 3),
                "gap, median change eV": round(float((moved - gap).abs().median()), 3),
            }
        )
        print(table[-1], flush=True)
    command = f"python benchmarks/decisions/molecule_roughness.py --qm9 build/qm9 --count {o.count}"
    write(
        o.results / "molecule_roughness",
        table,
        command,
        f"{o.count} molecules with the numbers of atoms of half_b.",
    )


if __name__ == "__main__":
    main()
