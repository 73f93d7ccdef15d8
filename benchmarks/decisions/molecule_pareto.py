"""Target against validity: what the prior of the source, the rounding term and the optimiser trade.

    python benchmarks/decisions/molecule_pareto.py --qm9 build/qm9 --count 64

Gap targets drawn from half_b, one row per setting. `control alone` has one draw and one attempt and does not ask
for soundness; the rows with a prior, and the one beside them without, take L-BFGS steps, since their least cost is
not known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import _path  # noqa: F401
from common import write
from headwater import LBFGS
from headwater.molecule.targets.search import SearchThenControl
from molecule_targets import SIDE, run
from molecules import from_data, load, options

STEP = SearchThenControl().step_length
PRIOR: dict[str, object] = SIDE["control"] | {"renormalise": False, "optimizer": LBFGS(first_step=STEP)}
SETTINGS: dict[str, dict[str, object]] = {
    "default": {},
    "search": SIDE["search"],
    "control alone": SIDE["control"],
    "control alone, L-BFGS": SIDE["control"] | {"optimizer": LBFGS(first_step=STEP)},
    "control alone, no rounding term": SIDE["control"] | {"rounding_weight": 0.0},
    "control alone, rounding term x 10": SIDE["control"] | {"rounding_weight": 10.0},
    "control alone, not renormalised": SIDE["control"] | {"renormalise": False},
    "control alone, not renormalised, L-BFGS": PRIOR,
    "control alone, chi prior 0.1": PRIOR | {"chi_weight": 0.1},
    "control alone, chi prior 1": PRIOR | {"chi_weight": 1.0},
    "control alone, chi prior 10": PRIOR | {"chi_weight": 10.0},
    "default, 3 steps": {"steps": 3},
    "default, 12 steps": {"steps": 12},
    "default, 24 steps": {"steps": 24},
}


def curve(table: list[dict[str, Any]], path: Path) -> None:
    """Error against stability: a picture beside the table, settings by number; a line joins the prior's weights."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for number, line in enumerate(table, 1):
        name, x, y = str(line["setting"]), line["molecule stable %"], line["MAE"]
        colour = "#c8553d" if "prior" in name else "#1f6f8b"
        axes.plot(x, y, "o", color=colour, ms=4, label=f"{number}  {name}")
        place = (5, -3) if number % 2 else (-4, -11)
        axes.annotate(str(number), (x, y), place, textcoords="offset points", size=8, color=colour)
    weights = [t for t in table if t["setting"] == "control alone, not renormalised, L-BFGS"]
    weights += [t for t in table if "prior" in str(t["setting"])]
    axes.plot([t["molecule stable %"] for t in weights], [t["MAE"] for t in weights], color="#c8553d", lw=0.8)
    axes.set(xlabel="molecule stable, %", ylabel="MAE of the gap, meV", xlim=(20, 100), yscale="log")
    axes.set_yticks([100, 150, 200, 300, 400, 600], labels=["100", "150", "200", "300", "400", "600"])
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8, handlelength=0.5)
    figure.savefig(path, dpi=120)


def main() -> None:
    o = options(__doc__.splitlines()[0], count=64)
    molecules = load(o.qm9)
    rows, table = from_data(molecules, o.count, seed=7), []
    for name, how in SETTINGS.items():
        line = {"setting": name} | run(molecules, "gap", rows, **how)
        table.append({k: v for k, v in line.items() if k != "property"})
        print(table[-1], flush=True)
    curve(table, o.results / "molecule_pareto.png")
    command = f"python benchmarks/decisions/molecule_pareto.py --qm9 build/qm9 --count {o.count}"
    write(
        o.results / "molecule_pareto",
        table,
        command,
        "Gap targets, MAE in meV by the evaluator after rounding.",
    )


if __name__ == "__main__":
    main()
