"""Search, control, and search then control, at equal seconds: six properties, then what search may not reach.

    python benchmarks/molecule_search.py --qm9 build/qm9 --count 100 --beyond 16

`search`: draws of the source, screened by the guide, the best kept. `control`: D-Flow from a draw, again from a new
draw after eight gradients. `search then control`: D-Flow from the best of 32 draws, twice. `one control`: the same
with two thirds of the seconds for the draws and one control. All of them keep the best point that they saw, sound
ones before others, and end at a hit by the guide.

Equal seconds: a limit of each molecule, 1 or 3 times that of `search then control` with two attempts. A gradient
counts as many draws as it took CPU seconds in this run (`measure_ratio`), so the results do not depend on the
machine's load. `draws spent` is the mean in the same unit, which a hit shortens, and `s` the CPU seconds.

The targets of the first table are those of `molecule_targets.py`. The others: the values of two or three properties
of one molecule of half_b; values between the 0.1 and the 99.9 percentile that no molecule of QM9 has together, the
nearest one two to six tolerances away; the 99.9 percentile of one property, and 1.1 times its largest value. The
evaluator judges, and never guides; outside the data it guesses as well. `miss` is the largest distance from a target
in tolerances, the median over all molecules, a molecule that is not sound included; its mean is compared with that of
search for the same targets. Errors are standard errors of the mean, or of the median, by 1,000 bootstrap samples.

With `--keep FILE` finished blocks are kept there and not run again. `--methods search` runs these alone and writes
no table: several processes, or several sittings, can share the work.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from common import kept, write
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.model.data import Molecules
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.structure.molecule import to_molecules
from headwater.molecule.targets.design import DesignTask, design
from headwater.molecule.targets.deviation import Grade
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import Control, Search, SearchThenControl
from headwater.molecule.targets.target import TOLERANCE, Target
from molecules import PROPERTIES, UNITS, from_data, load, milli, options

USUAL = SearchThenControl()
BLOCK = 10
"""Molecules that are searched for together and kept together."""
LIMITS = (1, 3)
"""Of the seconds, in those of the usual recipe."""
FIRST = ("search", "search then control", "control")
"""The methods of the first table."""
FURTHER = ("search", "search then control", "one control")
"""The methods of the others."""
SETS = (("gap", "mu"), ("alpha", "gap", "mu"))
FAR = ("gap", "mu", "alpha")


Found = dict[str, Any]
"""One molecule: its rank among those found for the same target, what the networks say of it, what it took."""


@dataclass(frozen=True)
class Asked:
    """Targets by a `name`: property: values `[count]`, and the sizes `[count]` unless they are to be drawn."""

    name: str
    values: dict[str, Tensor]
    atoms: Tensor | None

    def select(self, index: Sequence[int]) -> Asked:
        """The targets of some molecules."""
        values = {k: v[list(index)] for k, v in self.values.items()}
        return Asked(self.name, values, None if self.atoms is None else self.atoms[list(index)])


def measure_ratio() -> dict[str, float]:
    """CPU seconds of a draw, and how many draws a gradient takes; 20 molecules of 18 atoms, the least of three."""
    request = Request(2 * BLOCK, targets=(Target("gap", 100.0),), atoms=18)  # out of reach: all is spent

    def seconds(**how: int) -> float:
        start = time.process_time()
        design(request, recipe=replace(USUAL, attempts=1, **how))
        return time.process_time() - start

    seconds(candidates=1, gradients=0)
    runs = [(seconds(candidates=8, gradients=0), seconds(candidates=1, gradients=8)) for _ in range(3)]
    draws, gradients = (min(one) for one in zip(*runs, strict=True))
    draw = draws / 8 / (2 * BLOCK)
    return {
        "seconds of a draw": round(draw, 4),
        "ratio": round((gradients / (2 * BLOCK) - draw) / 8 / draw, 1),
    }


def make_recipe(method: str, ratio: float, times: int) -> SearchThenControl:
    """A method with `times` the limit of the usual recipe, where a gradient takes `ratio` draws."""
    draws = times * USUAL.attempts * (USUAL.candidates + ratio * USUAL.gradients)
    if method == "search":
        return Search(candidates=round(draws))
    if method == "control":
        each = Control()
        return Control(attempts=round(draws / (each.candidates + ratio * each.gradients)))
    if method == "one control":
        gradients = round(draws / 3 / ratio)
        return SearchThenControl(attempts=1, candidates=round(draws * 2 / 3), gradients=gradients)
    return SearchThenControl(attempts=times * USUAL.attempts)


def search(asked: Asked, seeds: Sequence[int], recipe: SearchThenControl, ratio: float) -> list[Found]:
    """What a recipe finds for each molecule, with the CPU seconds that it took on average."""
    networks, targets = Networks.load(), tuple(Target(k, v.float()) for k, v in asked.values.items())
    start = time.process_time()
    task = DesignTask(Request(len(seeds), targets=targets, atoms=asked.atoms))
    problem = task.pose(networks)
    result = recipe(problem.flow, problem.misfit, seeds)
    seconds = (time.process_time() - start) / len(seeds)
    verdict, m = problem.misfit.judge(result.x0, result.x1).verdict, task.finish(result.x1)
    guide, evaluator = predict_batch(networks.guide, m), predict_batch(networks.evaluator, m)
    spent = result.evaluations / (2 * USUAL.steps) + (ratio - 1) * result.gradients
    return [
        {
            "rank": [int(verdict.grade[i]), float(verdict.value[i])],
            "guide": {k: float(guide[k][i]) for k in asked.values},
            "evaluator": {k: float(evaluator[k][i]) for k in asked.values},
            "sound": c.sound,
            "smiles": c.structure,
            "spent": float(spent[i]),
            "seconds": seconds,
        }
        for i, c in enumerate(examine(to_molecules(m)))
    ]


def go_on(asked: Asked, seeds: range, method: str, ratio: float, before: list[Found]) -> list[Found]:
    """What the higher limit finds: a search from other noise for what has not hit, the better of both kept."""
    left = [i for i, one in enumerate(before) if one["rank"][0] != Grade.HIT]
    if not left:
        return before
    own = [seeds[i] + 1_000_000 for i in left]
    new = search(asked.select(left), own, make_recipe(method, ratio, LIMITS[1] - LIMITS[0]), ratio)
    after = list(before)
    for i, one in zip(left, new, strict=True):
        total = {k: before[i][k] + one[k] for k in ("spent", "seconds")}
        after[i] = min(before[i], one, key=lambda found: found["rank"]) | total
    return after


def run(asked: Asked, count: int, method: str, ratio: float, limit: int, keep: str) -> list[Found]:
    """What a method finds for the first `count` targets at a limit, block by block; kept ones are not run again."""
    whole: list[Found] = []
    for first in range(0, count, BLOCK):
        seeds = range(first, min(first + BLOCK, count))
        part, key = asked.select(seeds), f"{asked.name}, {method}, {ratio}, {seeds}"

        def begin(times: int = LIMITS[0], part: Asked = part, seeds: range = seeds) -> dict[str, Any]:
            return {"found": search(part, seeds, make_recipe(method, ratio, times), ratio)}

        if limit == LIMITS[0]:
            whole += kept(keep, f"{key}, {limit}", begin)["found"]
        elif method == "one control":  # its draws come first, so that it cannot go on
            whole += kept(keep, f"{key}, {limit}", partial(begin, limit))["found"]
        else:
            before = kept(keep, f"{key}, {LIMITS[0]}", begin)["found"]
            work = partial(go_on, part, seeds, method, ratio, before)
            whole += kept(keep, f"{key}, {limit}", lambda work=work: {"found": work()})["found"]
    return whole


def error(values: Tensor, statistic: Callable[[Tensor], Tensor]) -> float:
    """The standard error of a statistic of `values [b]` along the last axis, by bootstrap."""
    pick = torch.randint(len(values), (1000, len(values)), generator=torch.Generator().manual_seed(0))
    return float(statistic(values[pick]).std())


def show(values: Tensor, digits: int = 1, *, median: bool = False) -> str:
    """Mean, or median, and its standard error."""

    def statistic(x: Tensor) -> Tensor:
        return x.median(-1).values if median else x.mean(-1)

    values = values.double()
    return f"{float(statistic(values)):.{digits}f} ± {error(values, statistic):.{digits}f}"


def errors(asked: Asked, found: list[Found], who: str) -> dict[str, Tensor]:
    """Property: how far the molecules are from what was asked, by the evaluator or the guide, `[count]`."""
    return {
        k: (torch.tensor([one[who][k] for one in found]) - v[: len(found)]).abs()
        for k, v in asked.values.items()
    }


def miss(asked: Asked, found: list[Found], who: str = "evaluator") -> Tensor:
    """The largest distance from a target, in tolerances, `[count]`."""
    return torch.stack([v / TOLERANCE[k] for k, v in errors(asked, found, who).items()]).amax(0)


def row(asked: Asked, found: list[Found], searched: list[Found] | None) -> dict[str, object]:
    """The figures of one method at one limit; beside those of search the difference for the same targets."""
    sound = torch.tensor([one["sound"] for one in found])
    off, seen = miss(asked, found), miss(asked, found, "guide")
    line: dict[str, object] = {}
    for name in asked.values if len(asked.values) == 1 else ():
        factor, digits = milli(name), 0 if milli(name) > 1 else 3
        line["MAE"] = show(errors(asked, found, "evaluator")[name] * factor, digits)
        line["MAE by the guide"] = show(errors(asked, found, "guide")[name] * factor, digits)
    line["miss"], line["miss by the guide"] = show(off, 2, median=True), show(seen, 2, median=True)
    line["mean miss less search's"] = "" if searched is None else show(off - miss(asked, searched), 2)
    smiles = [one["smiles"] for one in found if one["sound"]]
    return line | {
        "hit %": show(100.0 * ((off <= 1) & sound)),
        "reached %": show(100.0 * ((seen <= 1) & sound)),
        "sound %": show(100.0 * sound),
        "unique %": round(100 * len(set(smiles)) / max(len(smiles), 1), 1),
        "draws spent": round(sum(one["spent"] for one in found) / len(found), 1),
        "s": round(sum(one["seconds"] for one in found) / len(found), 2),
    }


def several(molecules: Molecules, names: Sequence[str], count: int) -> Iterator[Asked]:
    """Values of several properties of real molecules, and values that no molecule has together, but nearly."""
    rows = from_data(molecules, count, seed=31)
    title = " + ".join(names)
    yield Asked(
        f"{title}, of a molecule", {k: molecules.properties[k][rows] for k in names}, molecules.counts[rows]
    )
    width = torch.tensor([TOLERANCE[k] for k in names], dtype=torch.float64)
    data = torch.stack([molecules.properties[k] for k in names], 1)
    low, high = data.quantile(torch.tensor([0.001, 0.999], dtype=torch.float64), dim=0)
    g, off = torch.Generator().manual_seed(32), []
    while len(off) < count:
        y = low + (high - low) * torch.rand(len(names), dtype=torch.float64, generator=g)
        if 2 < float(((data - y).abs() / width).amax(1).min()) <= 6:
            off.append(y)
    values = dict(zip(names, torch.stack(off).T, strict=True))
    yield Asked(f"{title}, of no molecule", values, None)


def far(molecules: Molecules, name: str, count: int) -> Iterator[Asked]:
    """The 99.9 percentile of a property, and 1.1 times its largest value."""
    y = molecules.properties[name]
    for what, value in (("99.9 percentile", y.quantile(0.999)), ("1.1 x the largest", 1.1 * y.max())):
        shown = f"{float(value):.4g} {UNITS[name].replace('meV', 'eV')}"
        yield Asked(f"{name}, {what}, {shown}", {name: value.expand(count)}, None)


def tabulate(
    asked: list[Asked], count: int, methods: Sequence[str], limits: Sequence[int], ratio: float, keep: str
) -> list[dict[str, object]]:
    """The lines of a table, target by target, limit by limit, method by method, and last of all targets together."""
    lines = []
    every: dict[tuple[int, str], list[tuple[Tensor, Tensor]]] = {}
    for a in asked:
        for times in limits:
            whole = {m: run(a, count, m, ratio, times, keep) for m in methods}
            for m, found in whole.items():
                searched = whole.get("search") if m != "search" else None
                lines.append({"asked": a.name, "limit": f"{times}x", "method": m} | row(a, found, searched))
                less = torch.zeros(count) if searched is None else miss(a, searched)
                every.setdefault((times, m), []).append((miss(a, found), less))
    for (times, m), pairs in every.items():
        off, less = (torch.cat(part) for part in zip(*pairs, strict=True))
        lines.append(
            {"asked": "all", "limit": f"{times}x", "method": m}
            | {"miss": show(off, 2, median=True), "hit %": show(100.0 * (off <= 1))}
            | ({} if m == "search" else {"mean miss less search's": show(off - less, 2)})
        )
    return lines


def main() -> None:
    o = options(
        __doc__.splitlines()[0],
        count=100,
        beyond=16,
        keep="",
        methods="",
        tables="search,beyond",
        limits="1,3",
    )
    molecules = load(o.qm9)
    cost = kept(o.keep, "cost", measure_ratio)
    ratio, rows = cost["ratio"], from_data(molecules, o.count)
    first = [
        Asked(f"{k}, {UNITS[k]}", {k: molecules.properties[k][rows]}, molecules.counts[rows])
        for k in PROPERTIES
    ]
    others = [a for names in SETS for a in several(molecules, names, o.beyond)]
    others += [a for name in FAR for a in far(molecules, name, o.beyond)]
    limit = USUAL.attempts * (USUAL.candidates + ratio * USUAL.gradients)
    note = (
        f"A gradient counts as {ratio} draws; 1x is {limit:.0f} draws for each molecule, "
        f"{limit * cost['seconds of a draw']:.1f} CPU seconds. ± is the standard error."
    )
    command = f"python benchmarks/molecule_search.py --qm9 build/qm9 --count {o.count} --beyond {o.beyond}"
    command += "" if o.limits == "1,3" else f" --limits {o.limits}"
    tables = {"search": (first, o.count, FIRST), "beyond": (others, o.beyond, FURTHER)}
    for name in o.tables.split(","):
        asked, count, methods = tables[name]
        chosen = [m for m in methods if not o.methods or m in o.methods.split(",")]
        lines = tabulate(asked, count, chosen, [int(x) for x in o.limits.split(",")], ratio, o.keep)
        if not o.methods:
            write(o.results / f"molecule_{name}", lines, command, f"{count} molecules a row. {note}")


if __name__ == "__main__":
    main()
