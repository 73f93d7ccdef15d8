"""The tables of `comparison.py`, from the lines that it kept: every method, our answers, the best at every budget.

    python benchmarks/comparison_tables.py --keep results/comparison.jsonl

It needs no data and no network. Differences between methods are taken picture by picture.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from budgets import BUDGETS
from common import options, write
from picture_sets import SETS, TASKS

Rows = list[dict[str, Any]]
COMMAND = (
    "python benchmarks/comparison.py --data val.zip --photographs photos.zip --keep results/comparison.jsonl"
)


def compare(rows: Rows) -> Rows:
    """The rows that have a score, by set, task and PSNR, with how far each is below the best of its budget.

    The error is that of the mean difference, picture by picture. What has a cost of its own stands with the smallest
    budget that pays for it.
    """

    def group(row: dict[str, Any]) -> int:
        paid = [b for b in BUDGETS if b >= row.get("calls", 0)]
        return row["budget"] or min(paid, default=BUDGETS[-1])

    tried = {(row["set"], row["task"]) for row in rows if "psnr" in row and row["method"] != "nothing"}
    scored = [row for row in rows if "psnr" in row and (row["set"], row["task"]) in tried]
    found = []
    for row in sorted(
        scored, key=lambda r: (SETS.index(r["set"]), TASKS.index(r["task"]), r["budget"], -r["psnr"])
    ):
        rivals = [r for r in scored if all(r[k] == row[k] for k in ("set", "task", "count"))]
        same = [r for r in rivals if group(r) == group(row)]
        best = max(same, key=lambda r: r["psnr"])
        below = {"below the best": difference(best, row)}
        found.append({k: v for k, v in row.items() if k != "each"} | below)
    return found


def summarise(rows: Rows, near: float = 3.0) -> Rows:
    """Our two answers and the best of all others at up to 160 calls, one row for each set and task.

    The kernel distance is compared among what is `near` dB of PSNR to the best: noise can be near in features alone.
    """
    tried = [r for r in rows if "psnr" in r and r["budget"] in (0, 160)]
    found = []
    for (name, task, count), group in problems_of(tried):
        if not any(r["budget"] == 160 for r in group):
            continue
        ours = {r["method"]: r for r in group if r["method"] in ("faithful", "plausible")}
        others = [r for r in group if r["method"] not in ours]
        if len(ours) < 2 or not others:
            continue
        first, second = ours["faithful"], ours["plausible"]
        best = max(others, key=lambda r: r["psnr"])
        likely = min(
            (r for r in others if r["psnr"] > best["psnr"] - near),
            key=lambda r: r["kernel"],
        )
        found.append(
            {
                "set": name,
                "task": task,
                "pictures": count,
                "faithful, dB": first["psnr"],
                "best other, dB": f"{best['psnr']} ({best['method']})",
                "faithful less it": difference(first, best),
                "plausible, kernel": f"{second['kernel']} ± {second['kernel error']}",
                "least other, kernel": f"{likely['kernel']} ± {likely['kernel error']} ({likely['method']})",
                "calls of ours": f"{first.get('calls', '')}, {second.get('calls', '')}",
                "others tried": len({r["method"] for r in others}),
            }
        )
    return found


def best_by_budget(rows: Rows, near: float = 3.0) -> Rows:
    """At every budget the method nearest to the truth and the one nearest to the set of true pictures.

    Where fewer than four methods were tried a budget is left out. The kernel distance is compared among what is
    `near` dB of PSNR to the best. The answer `faithful` has a cost of its own, which may be above the budget.
    """
    found = []
    for (name, task, count), group in problems_of([r for r in rows if "psnr" in r]):
        ours = next((r for r in group if r["method"] == "faithful"), None)
        for budget in BUDGETS:
            rivals = [r for r in group if r["budget"] == budget]
            if len(rivals) < 4 or ours is None:
                continue
            best = max(rivals, key=lambda r: r["psnr"])
            likely = min((r for r in rivals if r["psnr"] > best["psnr"] - near), key=lambda r: r["kernel"])
            found.append(
                {
                    "set": name,
                    "task": task,
                    "pictures": count,
                    "budget": budget,
                    "methods": len(rivals),
                    "best, dB": f"{best['psnr']} ({best['method']})",
                    "faithful less it": difference(ours, best),
                    "calls of faithful": ours.get("calls", ""),
                    "least kernel distance": f"{likely['kernel']} ± {likely['kernel error']} ({likely['method']})",
                }
            )
    return found


def problems_of(rows: Rows) -> list[tuple[tuple[str, str, int], Rows]]:
    """The rows of every set, task and number of pictures, in the order of the sets and tasks."""
    found: dict[tuple[str, str, int], Rows] = {}
    for row in rows:
        found.setdefault((row["set"], row["task"], row["count"]), []).append(row)
    return sorted(
        found.items(), key=lambda item: (SETS.index(item[0][0]), TASKS.index(item[0][1]), item[0][2])
    )


def difference(first: dict[str, Any], second: dict[str, Any]) -> str:
    """The mean difference of PSNR, picture by picture, and its standard error."""
    gap = torch.tensor(first["each"]) - torch.tensor(second["each"])
    return f"{float(gap.mean()):.2f} ± {float(gap.std()) / len(gap) ** 0.5:.2f}"


def drop_repetitions(rows: Rows) -> Rows:
    """The rows without repetitions: of a line in two precisions the later one."""
    keys = ("set", "task", "method", "budget", "count")
    return list({tuple(row[k] for k in keys): row for row in rows}.values())


def write_tables(folder: Path, kept: Path) -> None:
    """Write all tables of the lines in a file into a folder."""
    rows = drop_repetitions([json.loads(line)["line"] for line in kept.read_text().splitlines()])
    note = (
        "photo64; PSNR in dB; misfit in units of the noise; ok: problems that reached their goal; calls of the "
        "network, a gradient counted as three; seconds an image, of a busy machine."
    )
    write(folder / "comparison", compare(rows), COMMAND, note)
    note = (
        "Of the same lines: our two answers beside the best of all others with up to 160 calls of the network, a "
        "gradient counted as three, and of the methods without a network. ± is the standard error."
    )
    write(folder / "comparison_best", summarise(rows), COMMAND, note)
    note = (
        "Of the same lines: at every budget of calls the method nearest to the truth, and the one nearest to the set "
        "of true pictures among those within 3 dB; `faithful`, whose calls do not depend on the budget, less the "
        "former with its standard error."
    )
    write(folder / "comparison_budgets", best_by_budget(rows), COMMAND, note)


def main() -> None:
    o = options(__doc__.splitlines()[0], keep="results/comparison.jsonl")
    write_tables(o.results, Path(o.keep))


if __name__ == "__main__":
    main()
