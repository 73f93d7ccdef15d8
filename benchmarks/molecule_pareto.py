"""Target against validity: what the prior of the source, the rounding term and the choice of starts trade.

    python benchmarks/molecule_pareto.py --qm9 build/qm9 --count 64

Gap targets drawn from half_b, one row per setting; all else as `design`'s defaults.
"""

from __future__ import annotations

from common import write
from molecule_targets import run
from molecules import from_data, load, options

SETTINGS: dict[str, dict[str, object]] = {
    "default": {},
    "no renormalisation": {"renormalise": False},
    "chi prior 0.1, no renormalisation": {"renormalise": False, "prior": 0.1},
    "chi prior 1, no renormalisation": {"renormalise": False, "prior": 1.0},
    "chi prior 10, no renormalisation": {"renormalise": False, "prior": 10.0},
    "no rounding term": {"undecided": 0.0},
    "rounding term x 10": {"undecided": 10.0},
    "1 candidate": {"candidates": 1},
    "8 candidates": {"candidates": 8},
    "1 attempt": {"attempts": 1},
    "stability not asked": {"stable": False},
    "1 candidate, 1 attempt, stability not asked, 25 gradients": {
        "candidates": 1,
        "attempts": 1,
        "stable": False,
        "undecided": 0.0,
        "gradients": 25,
    },
    "6 steps": {"steps": 6},
    "24 steps": {"steps": 24},
    "4 gradients": {"gradients": 4},
    "30 gradients": {"gradients": 30},
}


def main() -> None:
    o = options(__doc__.splitlines()[0], count=64)
    molecules = load(o.qm9)
    rows, table = from_data(molecules, o.count, seed=7), []
    for name, how in SETTINGS.items():
        line = {"setting": name} | run(molecules, "gap", rows, **how)[1]
        table.append({k: v for k, v in line.items() if k != "property"})
        print(table[-1], flush=True)
    command = f"python benchmarks/molecule_pareto.py --qm9 build/qm9 --count {o.count}"
    write("molecule_pareto", table, command, "Gap targets, MAE in meV by the evaluator after rounding.")


if __name__ == "__main__":
    main()
