"""64 ten-dimensional Rosenbrock problems: L-BFGS in one batch against torch.optim.LBFGS one by one.

    python benchmarks/lbfgs_batch.py

Both take turns, `--repeats` times; medians are compared.
"""

from __future__ import annotations

import json
import statistics
import time

import torch
from torch import Tensor

from common import options, processor
from headwater.optimizers import LBFGS, RUNNING

PROBLEMS, DIMENSION, TOLERANCE, LIMIT = 64, 10, 1e-7, 2000


def rosenbrock(x: Tensor) -> Tensor:
    a, b = x[..., :-1], x[..., 1:]
    return (100 * (b - a * a) ** 2 + (1 - a) ** 2).sum(-1)


def batched(x0: Tensor) -> tuple[Tensor, Tensor]:
    optimizer = LBFGS(memory=10, tolerance=TOLERANCE)
    state = optimizer.init(x0)
    for _ in range(LIMIT):
        x = state.trial.clone().requires_grad_()
        value = rosenbrock(x)
        (gradient,) = torch.autograd.grad(value.sum(), x)
        state = optimizer.step(state, value, gradient)
        if not bool((state.code == RUNNING).any()):
            break
    return state.value, state.evaluations


def one_by_one(x0: Tensor) -> tuple[Tensor, Tensor]:
    values, evaluations = [], []
    for start in x0:
        x = start.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [x],
            max_iter=LIMIT,
            max_eval=LIMIT,
            history_size=10,
            tolerance_grad=TOLERANCE,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )
        calls = 0

        def closure(x=x, optimizer=optimizer) -> Tensor:
            nonlocal calls
            calls += 1
            optimizer.zero_grad()
            value = rosenbrock(x)
            value.backward()
            return value

        optimizer.step(closure)
        values.append(rosenbrock(x.detach()))
        evaluations.append(calls)
    return torch.stack(values), torch.tensor(evaluations)


def main() -> None:
    o = options(__doc__.splitlines()[0], repeats=5)
    torch.set_num_threads(1)
    x0 = torch.randn(PROBLEMS, DIMENSION, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    methods = {"headwater, one batch": batched, "torch.optim.LBFGS, one by one": one_by_one}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    results = {}
    for method in methods.values():
        method(x0[:2])  # warm up
    for _ in range(o.repeats):
        for name, method in methods.items():
            begun = time.perf_counter()
            results[name] = method(x0)
            seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    ours, theirs = medians.values()
    report = {
        "problem": f"{PROBLEMS} Rosenbrock problems of {DIMENSION} dimensions from N(0, 1), float64",
        "stop": f"largest gradient entry <= {TOLERANCE}",
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "processor": processor(),
        "repeats": o.repeats,
        "median_ratio": round(theirs / ours, 2),
        "methods": {
            name: {
                "median_seconds": round(medians[name], 4),
                "seconds": [round(s, 4) for s in seconds[name]],
                "evaluations_total": int(evaluations.sum()),
                "evaluations_most": int(evaluations.max()),
                "solved_below_1e-10": int((values < 1e-10).sum()),
                "final_values": [float(f"{v:.3g}") for v in values],
            }
            for name, (values, evaluations) in results.items()
        },
    }
    (o.results / "lbfgs_batch.json").write_text(json.dumps(report, indent=1) + "\n")
    for name, row in report["methods"].items():
        print(name, {k: v for k, v in row.items() if k not in ("final_values", "seconds")})
    print("ratio", report["median_ratio"])


if __name__ == "__main__":
    main()
