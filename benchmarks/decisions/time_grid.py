"""Error of the solve and of its inversion on several time grids, same network.

    python benchmarks/decisions/time_grid.py --data val.zip

`solve` is rms(x1 - reference) from noise, against midpoint with 120 steps; `round trip` is rms(solve(invert(photo)) -
photo) on the same grid.
"""

from __future__ import annotations

import torch

import _path  # noqa: F401
from common import options, write
from headwater import invert, logit_grid, solve, uniform_grid
from headwater.image.model import models
from images import held_out


@torch.no_grad()
def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=16)
    flow, photos = models.flow(), held_out(o.data, o.count)
    noise = flow.noise(range(o.count))
    reference = solve(flow, noise, steps=tuple((i / 120) ** 1.5 for i in range(121)))
    grids = {f"uniform {n}": uniform_grid(n) for n in (4, 6, 8, 12)}
    grids |= {f"logit {n}": logit_grid(n) for n in (4, 6, 8, 12)}
    grids |= {
        f"power 2 (fine near t = 1), {n}": tuple(1 - (1 - s) ** 2 for s in uniform_grid(n)) for n in (6, 8)
    }
    rows: list[dict[str, object]] = []
    for name, grid in grids.items():
        x1 = solve(flow, noise, steps=grid)
        back = solve(flow, invert(flow, photos, steps=grid), steps=grid)
        rows.append(
            {
                "grid": name,
                "evaluations": 2 * (len(grid) - 1),
                "solve": round((x1 - reference).square().mean().sqrt().item(), 4),
                "round trip": round((back - photos).square().mean().sqrt().item(), 4),
            }
        )
    write(
        o.results / "time_grid",
        rows,
        "python benchmarks/decisions/time_grid.py --data val.zip",
        f"Midpoint, {o.count} events.",
    )


if __name__ == "__main__":
    main()
