"""Peak memory of the gradient strategies, and how well `forecast` predicts it.

    python benchmarks/memory.py

Bytes are those of tensors (headwater.solvers.memory.PeakMemory), without the network's weights.
"""

from __future__ import annotations

import torch

from common import options, write
from headwater import Checkpoint, Direct, Misfit, control
from headwater.dflow.forecast import forecast
from headwater.image.model import models
from headwater.solvers.memory import PeakMemory


def main() -> None:
    o = options(__doc__.splitlines()[0])
    flow = models.flow()
    rows: list[dict[str, object]] = []
    for batch in (1, 4):
        misfit = Misfit(lambda x: x, torch.zeros(batch, *flow.shape), 0.05)
        for strategy in (Direct(), Checkpoint()):
            for steps in (6, 12, 48):
                if steps == 48 and isinstance(strategy, Direct):
                    continue
                said = forecast(flow, misfit, batch, steps=steps, gradient=strategy)
                with PeakMemory() as m:
                    control(
                        flow, misfit, flow.noise(range(batch)), steps=steps, gradients=2, gradient=strategy
                    )
                rows.append(
                    {
                        "strategy": type(strategy).__name__,
                        "batch": batch,
                        "midpoint steps": steps,
                        "measured MB": round(m.peak / 1e6, 1),
                        "forecast MB": round(said.bytes / 1e6, 1),
                        "forecast / measured": round(said.bytes / m.peak, 2),
                    }
                )
                print(rows[-1], flush=True)
    write(o.results / "memory", rows, "python benchmarks/memory.py")


if __name__ == "__main__":
    main()
