"""Choose the settings of every method for every task, on pictures that no table uses, by equally many trials.

    python benchmarks/tuning.py --data val.zip --photographs photos.zip --keep results/tuning.jsonl

`--trials` settings are tried for each, the method's own and those of a Sobol sequence in the space of `budgets.py`,
on `--count` pictures half-way between those of the tables, at `--calls` calls of the network. The best mean PSNR
wins. What is chosen here holds for all budgets, sets and flows of `comparison.py`. Finished lines stay in the file
that --keep names; --only says which tasks are computed now, and the table has all that is there.
"""

from __future__ import annotations

import json
from pathlib import Path

from budgets import SPACES, make_recipe, propose
from common import kept, options, write
from headwater import Misuse
from headwater.image.metrics.fidelity import psnr
from headwater.recipes.methods import require_fit
from picture_sets import TASKS, PictureSet, align, load_set, pose


def choose(name: str, task: str, pictures: PictureSet, calls: int, trials: int) -> dict[str, object]:
    """One line: the best settings of a method for a task, and what its own settings give."""
    row: dict[str, object] = {"task": task, "method": name}
    posed, problem = pose(pictures, task)
    try:
        require_fit(name, posed.operator, denoising=posed.is_denoising)
    except Misuse:
        return row
    found = []
    for settings in propose(name, trials):
        recipe = make_recipe(name, calls, settings)
        if recipe is None:
            return row | {"note": "needs more"}
        result = problem.solve(range(len(pictures.images)), recipe=recipe)
        x = posed.finish(result.x1, problem)
        if task == "phase":
            x = align(x, pictures.images)
        found.append((round(psnr(x, pictures.images).nan_to_num(0).mean().item(), 2), settings))
    best, settings = max(found, key=lambda pair: pair[0])
    return row | {"own": found[0][0], "best": best, "settings": settings}


def main() -> None:
    o = options(
        __doc__.splitlines()[0],
        "data",
        count=4,
        calls=160,
        trials=8,
        keep="",
        model="photo64",
        photographs="photos.zip",
        only=",".join(TASKS),
    )
    if not o.keep:
        raise SystemExit("Say with --keep in which file the lines of the table are.")
    pictures = load_set(
        "pictures", o.count, tuning=True, data=o.data, photographs=Path(o.photographs), model=o.model
    )
    for task in o.only.split(","):
        for name in SPACES:
            key = f"{task} {name} {o.count} {o.calls} {o.trials} {o.model}"
            kept(o.keep, key, lambda n=name, t=task: choose(n, t, pictures, o.calls, o.trials))
    rows = [json.loads(line)["line"] for line in Path(o.keep).read_text().splitlines()]
    note = (
        f"{o.count} pictures that no table uses, {o.model}, about {o.calls} calls of the network, {o.trials} trials "
        "each, the first with the method's own settings; PSNR in dB."
    )
    write(
        o.results / "tuning",
        [row for row in rows if "best" in row],
        "python benchmarks/tuning.py --data val.zip --photographs photos.zip",
        note,
    )


if __name__ == "__main__":
    main()
