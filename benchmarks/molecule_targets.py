"""Mean absolute error of property targets, beside the quality of the very same molecules.

    python benchmarks/molecule_targets.py --qm9 build/qm9 --count 1000 --side 100

All requests by `search then control`. What does the control bring? On the first `--side` requests: `search`, draws
chosen by the guide, as many as cost what all attempts of search then control can spend (a gradient counted as three
solves); `control`, one draw, one attempt, soundness not asked; `nothing asked` is the unconditional generator at the
same solver steps. A hit is sound and within the tolerance by the evaluator; `reached` by the guide, which ends the
search. `MAE of the first` is that of the hundred that every row has. With `--keep FILE` finished lines are kept there
and not run again, and `--only gap,mu` writes `molecule_targets_part` of these alone: several processes can share the
work.

Targets and numbers of atoms are drawn jointly from half_b. The control sees the guide only; the evaluator, trained
on half_a, judges the rounded molecules. `lower bound`: the evaluator's error on the very data molecules the targets
come from. `number of atoms`: the mean property of that size. `shuffled`: the value of another molecule.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import torch

from common import kept, write
from headwater.molecule.chemistry.soundness import is_sound
from headwater.molecule.model.data import Molecules
from headwater.molecule.model.models import Networks
from headwater.molecule.model.train_regressor import mean_errors
from headwater.molecule.targets.design import FREE, generate
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.sizes import load_statistics
from headwater.molecule.targets.target import Target
from molecules import (
    PROPERTIES,
    PUBLISHED,
    UNITS,
    design_with,
    from_data,
    load,
    mae,
    milli,
    options,
    quality,
    spent,
)


def run(molecules: Molecules, name: str, rows: torch.Tensor, **how: object) -> dict[str, object]:
    """One property on the given rows: its line of the table."""
    asked = molecules.properties[name][rows].float()
    request = Request(len(rows), targets=(Target(name, asked),), atoms=molecules.counts[rows])
    start = time.perf_counter()
    d = design_with(request, how)
    seconds = time.perf_counter() - start
    shares, good = quality(d.molecules), is_sound(d.molecules)
    return {
        "property": f"{name}, {UNITS[name]}",
        "MAE": mae(name, d.evaluator[name], asked),
        "MAE of the first": mae(name, d.evaluator[name][:FIRST], asked[:FIRST]),
        "MAE of the sound": mae(name, d.evaluator[name][good], asked[good]),
        "MAE by the guide": mae(name, d.guide[name], asked),
        "molecule stable %": shares["molecule_stable"],
        "valid %": shares["valid"],
        "unique %": shares["unique"],
        **spent(d, {name: asked}, seconds),
    }


FIRST = 100
"""Molecules that every row has: on these the rows are compared."""


USUAL = SearchThenControl()
DRAWS = USUAL.attempts * (USUAL.candidates + 3 * USUAL.gradients)
"""Draws that cost as many evaluations as search then control can spend: a draw is one solve, a gradient three."""
SIDE: dict[str, dict[str, object]] = {
    "search": {"gradients": 0, "attempts": 1, "candidates": DRAWS},
    "control": {
        "candidates": 1,
        "attempts": 1,
        "sound": False,
        "gradients": USUAL.attempts * USUAL.gradients,
    },
}


def baselines(molecules: Molecules, rows: torch.Tensor) -> list[dict[str, object]]:
    """The rows of the table that need no generator, and the published ones."""
    own = mean_errors(Networks.load().evaluator, molecules, rows)
    by_size = load_statistics()
    counts, other = molecules.counts[rows], rows.roll(1)
    lines: list[dict[str, object]] = [
        {"row": "lower bound: evaluator on the data"} | {p: round(own[p], 3) for p in PROPERTIES}
    ]
    sized, shuffled = {}, {}
    for p in PROPERTIES:
        y = molecules.properties[p][rows]
        sized[p] = round(float((by_size[p][counts, 0] - y).abs().mean()) * milli(p), 3)
        shuffled[p] = round(float((molecules.properties[p][other] - y).abs().mean()) * milli(p), 3)
    lines += [{"row": "number of atoms"} | sized, {"row": "shuffled"} | shuffled]
    lines += [{"row": k} | dict(zip(PROPERTIES, v, strict=True)) for k, v in PUBLISHED.items()]
    return lines


def main() -> None:
    o = options(__doc__.splitlines()[0], count=1000, side=FIRST, keep="", only="")
    molecules = load(o.qm9)
    rows = from_data(molecules, o.count)
    lines = []
    for how, settings in ({"search then control": {}} | SIDE).items():
        some = rows if how == "search then control" else rows[: o.side]
        for name in o.only.split(",") if o.only else PROPERTIES:
            work = partial(run, molecules, name, some, **settings)
            lines.append({"how": how} | kept(o.keep, f"{how}, {name}, {len(some)}", work))
    command = f"python benchmarks/molecule_targets.py --qm9 build/qm9 --count {o.count} --side {o.side}"
    note = f"{o.count} molecules a property, {o.side} in the rows of one part alone; MAE by the evaluator."
    if o.only:
        write(o.results / "molecule_targets_part", lines, f"{command} --only {o.only}", note)
        return
    free = generate(o.count, seed=1, recipe=replace(FREE, steps=USUAL.steps, candidates=1))
    lines.append(
        {"how": "nothing asked"}
        | {
            {"molecule_stable": "molecule stable %", "valid": "valid %", "unique": "unique %"}[k]: v
            for k, v in quality(free.molecules).items()
            if k in ("molecule_stable", "valid", "unique")
        }
        | {"sound %": round(100 * float(is_sound(free.molecules).double().mean()), 1)}
    )
    write(o.results / "molecule_targets", lines, command, note)
    ours = {"row": f"Headwater, {o.count} molecules"} | {
        n: line["MAE"] for n, line in zip(PROPERTIES, lines, strict=False)
    }
    write(
        o.results / "molecule_table",
        [*baselines(molecules, rows), ours],
        command,
        "MAE; alpha Bohr^3; gap, homo, lumo meV; mu D; cv cal/mol/K.",
    )


if __name__ == "__main__":
    main()
