"""Do the two answers reach their goal on flows that their settings were not chosen on, and at what cost?

    python benchmarks/other_flows.py

It reads results/comparison.jsonl, which `comparison.py` writes, and computes nothing. The settings were chosen on
`pictures` with photo64. `digits` and `drawings` are 200 held-out pictures of two other networks, of one channel and
of three. The goal is met if the answer ends at its noise level: a mean below it, a sample near it. `calls` are those
of the network, a gradient counted as three, and the ratio is to what the same answer needs on `pictures`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from common import options, write
from picture_sets import TASKS

HOME, OTHERS = "pictures", ("digits", "drawings")
DEFAULTS = {"box": "plausible"}
"""The answer that a task has by default, where it is not the faithful one."""
GOAL, COST = 0.98, 2.0
"""The share of problems that should reach their goal, and the most calls, in those at home."""


def read_lines(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The lines of the answers by set, task and answer; of several those of most pictures."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for text in path.read_text().splitlines():
        row = json.loads(text)["line"]
        key = (row["set"], row["task"], row["method"])
        if row["method"] in ("faithful", "plausible") and "ok" in row:
            found[key] = max(found.get(key, row), row, key=lambda r: r["count"])
    return found


def main() -> None:
    o = options(__doc__.splitlines()[0])
    lines, rows = read_lines(o.results / "comparison.jsonl"), []
    for task in TASKS:
        for answer in ("faithful", "plausible"):
            home = lines.get((HOME, task, answer))
            for name in OTHERS:
                row = lines.get((name, task, answer))
                if home is None or row is None or row["count"] < 200:
                    continue
                ratio = row["calls"] / home["calls"]
                rows.append(
                    {
                        "task": task,
                        "answer": answer,
                        "default": "yes" if answer == DEFAULTS.get(task, "faithful") else "",
                        "set": name,
                        "reached": f"{row['ok']} of {row['count']}",
                        "misfit": row["misfit"],
                        "calls": row["calls"],
                        "of those at home": round(ratio, 2),
                        "as it should": "yes" if row["ok"] >= GOAL * row["count"] and ratio <= COST else "NO",
                    }
                )
    note = f"Settings of {HOME} with photo64. At least {GOAL:.0%} should reach the goal, in {COST:g} times the calls."
    write(o.results / "other_flows", rows, "python benchmarks/other_flows.py", note)


if __name__ == "__main__":
    main()
