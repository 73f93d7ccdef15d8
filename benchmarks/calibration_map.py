"""Who may claim samples: coverage of the 90 % interval, of every method on every case, from committed output.

    python benchmarks/calibration_map.py

It reads every results/calibration*.json and computes nothing. Of several lines for one method and case that with most
replicates counts, of equals the latest. A method may claim samples of a case if 100 replicates or more have a
coverage of 87 to 93 %, or what chance allows (80 to 97 % on trained networks, whose coordinates are dependent),
and if no other figure of its line says otherwise: a p of the ranks or of the misfit's rank below 0.001, a bias beyond
chance, or a mean std that is off by more than 10 %.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import Any

from common import options, write
from headwater.recipes.methods import RIVALS

CLOSED = ("gaussian", "mixture", "sharp", "curved", "ring")
"""Cases with a closed form, whose truths are independent; the order of the first columns."""
TRAINED = ("digits", "photographs", "pictograms", "music")
COVERAGE = "coverage of 90 %"

Line = dict[str, Any]


def read_lines(folder: Path) -> Iterator[Line]:
    """The lines of all tables, each with its number of replicates, its date and its file."""
    for path in sorted(folder.glob("calibration*.json")):
        table = json.loads(path.read_text())
        said = re.match(r"(\d+) replicates", table["about"]["note"])
        for row in table["rows"]:
            if COVERAGE in row:
                count = row.get("replicates") or (int(said[1]) if said else 0)
                yield row | {"replicates": count, "date": table["about"]["date"], "file": path.stem}


def choose(lines: Iterator[Line]) -> dict[tuple[str, str], Line]:
    """One line for every method and case."""
    found: dict[tuple[str, str], Line] = {}
    for line in lines:
        key = line["sampler"], line["case"]
        other = found.get(key)
        if other is None or (line["replicates"], line["date"]) >= (other["replicates"], other["date"]):
            found[key] = line
    return found


def may_claim(line: Line) -> bool:
    """Whether nothing in a line says that its draws are none of the posterior."""
    count = line["replicates"]
    if count < 100:
        return False
    below, above = (3.0, 3.0) if line["case"] in CLOSED else (10.0, 7.0)
    chance = 196 * sqrt(0.09 / count)
    right = -max(below, chance) <= line[COVERAGE] - 90 <= max(above, chance)
    ranks = min(line.get(name, 1.0) for name in ("least p of ranks", "p of the misfit's rank"))
    biased = line.get("bias of the mean", 0.0) > 3 / sqrt(count)
    # of 20 independent draws the std is 0.97 of the true one
    return right and ranks >= 0.001 and not biased and abs(line.get("std ratio", 1.0) - 0.985) <= 0.115


def warns(line: Line) -> bool:
    """Whether a line's own verdicts say that the chains do not agree, of nearly all problems."""
    agree, judged = map(int, line.get("said to agree", "1 of 1").split(" of "))
    return agree <= 0.1 * judged


def show(line: Line | None) -> str:
    """A cell: coverage, bold if samples may be claimed, and the replicates; a cross if it is wrong and says so."""
    if line is None:
        return ""
    if may_claim(line):
        return f"**{line[COVERAGE]:.1f}** ({line['replicates']})"
    return f"{line[COVERAGE]:.1f}{'†' if warns(line) else ''} ({line['replicates']})"


def arrange(found: dict[tuple[str, str], Line]) -> list[dict[str, object]]:
    """One row for every method: samplers first, other papers' methods last, by how many cases they may claim."""
    seen = list(dict.fromkeys(case for _, case in found))
    order = [case for case in (*CLOSED, *TRAINED) if case in seen]
    order += [case for case in seen if case not in order]
    rivals = {method.about.name for method in RIVALS}
    rows = []
    for name in dict.fromkeys(name for name, _ in found):
        cells = [found.get((name, case)) for case in order]
        sampler = any(cell is not None and "R-hat, median" in cell for cell in cells)
        kind = "sampler" if sampler else "rival" if name in rivals else "ours, one a seed"
        claims = sum(cell is not None and may_claim(cell) for cell in cells)
        judged = sum(cell is not None for cell in cells)
        row = {"method": name, "kind": kind, "may claim": f"{claims} of {judged}"}
        rows.append(
            (
                kind == "rival",
                not sampler,
                -claims / judged,
                row | dict(zip(order, map(show, cells), strict=True)),
            )
        )
    return [row for *_, row in sorted(rows, key=lambda entry: entry[:3])]


def main() -> None:
    o = options(__doc__.splitlines()[0])
    lines = choose(read_lines(o.results))
    files = ", ".join(sorted({line["file"] for line in lines.values()}))
    note = (
        f"Coverage of the 90 % interval in %, and replicates in brackets, from {files}. Bold: 100 replicates or "
        "more, and nothing in the line speaks against samples of the posterior; coverage alone does not show it, as "
        "a wrong mean and a wrong width can make up for each other. †: wrong, or not converged, and its own verdicts "
        "say so."
    )
    write(o.results / "calibration_map", arrange(lines), "python benchmarks/calibration_map.py", note)


if __name__ == "__main__":
    main()
