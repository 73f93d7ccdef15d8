"""How many times decoupled annealing needs, and which error it should assume of the denoiser.

    python benchmarks/decisions/annealing.py

Truths that the shipped models drew, as in `calibration.py`: coverage and CRPS of what was lost, and the mean rank of
the truth's misfit among those of the draws, 0.5 if they fit y as the truth does, above it if they fit it better. The
assumed error is spread * sigma_t. The last rows are two Gaussian parts whose sum is measured: how far the mean is
off, in stds of the exact posterior, and the std over the exact one.
"""

from __future__ import annotations

from typing import Any

import torch

import _path  # noqa: F401
import calibration
from common import kept, options, write
from headwater import Estimate, Gaussian, Misfit
from headwater.flows.composed import stack_flows
from headwater.problem.parts import SumOfParts
from headwater.recipes.covariance import White

CASES = {"digits": 60, "photographs": 20, "pictograms": 40, "music": 10}
"""Replicates of each case."""
SETTINGS = ((32, 1.0), (64, 0.8), (64, 1.0), (64, 1.25), (128, 1.0))
"""Times, and the assumed error in units of sigma_t."""
EACH = 4


def judge(case: str, times: int, spread: float) -> dict[str, Any]:
    """One line: draws of a setting on a trained flow."""
    calibration.RECIPES["tried"] = Estimate(times=times, last=0.99, covariance=White(spread), perturb=True)
    row = calibration.judge_method(case, "tried", CASES[case], EACH, "bfloat16")
    names = ("replicates", "coverage of 90 %", "CRPS", "seconds", "mean rank of the misfit")
    return {"case": case, "times": times, "spread": spread} | {name: row[name] for name in names}


def separate(times: int, spread: float) -> dict[str, Any]:
    """One line: the first of two Gaussian parts of two numbers, of whose sum y is known with noise 0.3."""
    g = torch.Generator().manual_seed(0)
    a, b = (torch.randn(2, 2, generator=g, dtype=torch.float64) for _ in range(2))
    one, other = a @ a.T + 0.2 * torch.eye(2), b @ b.T + 0.2 * torch.eye(2)
    mean, y, sigma_y = torch.tensor([1.0, -1.0], dtype=torch.float64), torch.tensor([[0.5, 1.0]]), 0.3
    flow = stack_flows([Gaussian(mean, one).flow, Gaussian(torch.zeros(2, dtype=torch.float64), other).flow])
    gain = one @ torch.linalg.inv(one + other + sigma_y**2 * torch.eye(2))
    exact, std = mean + gain @ (y[0] - mean), (one - gain @ one).diagonal().sqrt()
    recipe = Estimate(times=times, last=0.99, covariance=White(spread), perturb=True)
    misfit = Misfit(SumOfParts(), y, sigma_y)
    x = recipe.sample(flow, misfit, range(2000), guess=torch.zeros(1, *flow.shape))[:, 0].double()
    return {
        "case": "two parts",
        "times": times,
        "spread": spread,
        "mean off, stds": round(float(((x.mean(0) - exact) / std).abs().max()), 2),
        "std ratio": round(float((x.std(0) / std).mean()), 2),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], keep="")
    rows = [
        kept(o.keep, f"{case} {times} {spread}", lambda c=case, t=times, s=spread: judge(c, t, s))
        for case in CASES
        for times, spread in SETTINGS
    ]
    rows += [separate(times, spread) for times, spread in (*SETTINGS, (256, 1.0), (1024, 1.0))]
    note = f"{EACH} draws a replicate, networks in bfloat16."
    write(o.results / "annealing", rows, "python benchmarks/decisions/annealing.py", note)


if __name__ == "__main__":
    main()
