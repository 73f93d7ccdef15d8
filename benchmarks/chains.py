"""All chains of all problems as one batch, against one chain after another; and what was forecast of it.

    python benchmarks/chains.py

Both run the same steps in one process, so the ratio of their seconds is what the batch brings. Bytes are those of
tensors (headwater.solvers.memory.PeakMemory), without the network's weights.
"""

from __future__ import annotations

import time

import torch

from calibration import cases, replicate
from common import options, write
from headwater import InfinityHMC, InfinityMALA, forecast_posterior, posterior
from headwater.solvers.memory import PeakMemory

RUNS = {
    "mixture": (InfinityMALA(burn_in=10, thin=2), 16, 5),
    "digits": (InfinityHMC(burn_in=0, thin=1, leaps=2), 2, 1),
}


def compare(name: str, chains: int) -> dict[str, object]:
    """One line: a case."""
    method, problems, draws = RUNS[name]
    case = cases()[name]()
    _, misfit = replicate(case, problems)
    x0 = case.flow.noise(range(problems * chains)).reshape(problems, chains, *case.flow.shape)
    setting = {"method": method, "draws": draws, "steps": case.grid}
    said = forecast_posterior(case.flow, misfit, problems, chains=chains, **setting)
    with PeakMemory() as memory:
        found = posterior(case.flow, misfit, range(problems), chains=chains, start=x0, **setting)
    begin = time.perf_counter()
    posterior(case.flow, misfit, range(problems), chains=chains, start=x0, **setting)
    together = time.perf_counter() - begin
    begin = time.perf_counter()
    for i in range(problems):
        part = misfit.select(torch.tensor([i]))
        for j in range(chains):
            posterior(case.flow, part, [i], chains=1, start=x0[i : i + 1, j], **setting)
    apart = time.perf_counter() - begin
    return {
        "case": name,
        "sampler": type(method).__name__,
        "problems": problems,
        "chains each": chains,
        "one batch, s": round(together, 2),
        "one after another, s": round(apart, 2),
        "ratio": round(apart / together, 1),
        "gradients, forecast / counted": f"{said.gradients} / {int(found.gradients[0].sum())}",
        "MB, forecast / measured": f"{said.bytes / 1e6:.1f} / {memory.peak / 1e6:.1f}",
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], chains=4)
    rows = [compare(name, o.chains) for name in RUNS]
    note = "The start of the chains is given; the forecast counts the 20 gradients that it would take each."
    write(o.results / "chains", rows, "python benchmarks/chains.py", note)


if __name__ == "__main__":
    main()
