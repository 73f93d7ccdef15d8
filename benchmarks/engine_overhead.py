"""One gradient evaluation of midpoint-6 at batch 8 against the bare forwards and products of the same network.

    python benchmarks/engine_overhead.py

Both are timed alternately; the ratio is that of the medians.
"""

from __future__ import annotations

import statistics
import time

import torch

from common import options, write
from headwater import Direct, Misfit, solve
from headwater.image.model import models


def main() -> None:
    o = options(__doc__.splitlines()[0], repeats=9)
    flow = models.flow()
    x0 = flow.noise(range(8))
    misfit = Misfit(lambda x: x, torch.zeros(8, *flow.shape), 0.05)

    def engine() -> None:
        z = x0.clone().requires_grad_()
        torch.autograd.grad(misfit(solve(flow, z, steps=6, gradient=Direct())).sum(), z)

    def bare() -> None:
        kept = []
        for i in range(12):
            x = x0.clone().requires_grad_()
            kept.append((x, flow.velocity(x, torch.tensor(i / 12))))
        for x, v in reversed(kept):
            torch.autograd.grad(v, x, x0)

    times: dict[str, list[float]] = {"engine": [], "bare": []}
    for f in (engine, bare):
        f()
    for _ in range(o.repeats):
        for name, f in (("engine", engine), ("bare", bare)):
            start = time.perf_counter()
            f()
            times[name].append(time.perf_counter() - start)
    medians = {k: statistics.median(v) for k, v in times.items()}
    ratio = medians["engine"] / medians["bare"]
    row = {
        "engine s": round(medians["engine"], 3),
        "bare s": round(medians["bare"], 3),
        "ratio": round(ratio, 3),
    }
    write(
        o.results / "engine_overhead",
        [row],
        "python benchmarks/engine_overhead.py",
        f"Median of {o.repeats} alternating.",
    )


if __name__ == "__main__":
    main()
