"""Seconds, evaluations and error per molecule: Headwater against the usual construction.

    python benchmarks/molecule_time.py --qm9 build/qm9 --count 32

Same network, guide, targets and numbers of atoms, one batch, one run. The usual construction: Euler with 50 steps
through the whole graph, squared error of the guide on relaxed types summed over the batch, one torch optimiser over
all molecules: L-BFGS, 5 outer steps of 5 evaluations, which a line search may exceed; or SGD, the gradient norm of
each molecule clipped to 10 and a gradient that is not finite left out, after 25 and 100 gradients, at the best of
five rates for half as many other molecules. The source is renormalised per feature after each step, and the best
iterate of every molecule is kept; `alive` are the molecules whose last gradient was finite. All are judged by the
evaluator after rounding. With `--keep FILE` the lines of a property are kept there and not run again, and
`--only gap` runs these alone.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from torch import Tensor

from common import kept, write
from headwater.molecule.model.data import Molecules
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict, predict_batch
from headwater.molecule.structure.state import MoleculeBatch, relaxed_types, round_state
from headwater.molecule.targets.design import design
from headwater.molecule.targets.flow import FeatureShell, molecule_flow
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.target import Target
from headwater.solvers import EULER, solve
from headwater.solvers.differentiation import Direct
from molecules import from_data, load, mae, options, quality

STEPS, OUTER, INNER = 50, 5, 5
RATES = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Learning rates of SGD."""
MARKS = (25, 100)
"""Gradients after which SGD is looked at."""


class Seen(NamedTuple):
    """The best molecules after so many gradients (and evaluations) of each, and the seconds for all."""

    batch: MoleculeBatch
    gradients: float
    evaluations: float
    seconds: float
    alive: float = 1.0


def usual(
    networks: Networks, name: str, asked: Tensor, atoms: Tensor, rate: float = 0, marks: tuple[int, ...] = ()
) -> list[Seen]:
    """The usual construction: by SGD with a `rate`, seen after each of the `marks`, or else by L-BFGS."""
    start = time.perf_counter()
    flow = molecule_flow(networks.generator, atoms)
    mask = flow.support.mask
    normalise = FeatureShell(mask)
    x0 = normalise(flow.noise(range(len(atoms)))).requires_grad_()
    calls, best, least = 0, torch.zeros_like(x0), torch.full((len(atoms),), torch.inf)
    alive = torch.ones(len(atoms), dtype=torch.bool)

    def cost(x0: Tensor) -> Tensor:
        x1 = solve(flow, x0, method=EULER, steps=STEPS, gradient=Direct())
        out = predict(networks.guide, x1[..., :3], relaxed_types(x1), mask)
        square = (out[name] - asked).square()
        with torch.no_grad():
            better = square < least
            best[better], least[better] = x1[better], square[better]
        return square.sum()

    optimizer: torch.optim.Optimizer
    if rate:
        optimizer = torch.optim.SGD([x0], lr=rate)
    else:
        optimizer = torch.optim.LBFGS(
            [x0], lr=1, max_iter=INNER, max_eval=INNER, line_search_fn="strong_wolfe"
        )

    def closure() -> Tensor:
        nonlocal calls, alive
        calls += 1
        optimizer.zero_grad()
        value = cost(x0)
        value.backward()
        norm = x0.grad.flatten(1).norm(dim=1)
        alive = torch.isfinite(norm)
        if rate:
            factor = (10 / norm.clamp(min=10)).where(alive, 0)[:, None, None]
            x0.grad.copy_(torch.nan_to_num(x0.grad, 0, 0, 0) * factor)
        return value

    def seen() -> Seen:
        spent = time.perf_counter() - start
        return Seen(round_state(best.clone(), mask), calls, calls * STEPS, spent, float(alive.float().mean()))

    found = []
    for step in range(marks[-1] if rate else OUTER):
        optimizer.step(closure)
        with torch.no_grad():
            x0.copy_(normalise(x0))
        if step + 1 in marks:
            found.append(seen())
    return found or [seen()]


def ours(name: str, asked: Tensor, atoms: Tensor) -> Seen:
    """Headwater: search, then control."""
    start = time.perf_counter()
    d = design(Request(len(atoms), targets=(Target(name, asked),), atoms=atoms), recipe=SearchThenControl())
    counts = (float(n.float().mean()) for n in (d.gradients, d.evaluations))
    return Seen(d.molecules, *counts, time.perf_counter() - start)


def tuned(networks: Networks, name: str, asked: Tensor, atoms: Tensor) -> float:
    """The rate of SGD whose molecules are nearest to what is asked, by the guide."""
    errors = {}
    for rate in RATES:
        (found,) = usual(networks, name, asked, atoms, rate, MARKS[:1])
        values = predict_batch(networks.guide, found.batch)[name]
        errors[rate] = float((values - asked).abs().nan_to_num(nan=torch.inf).mean())
        print(name, rate, errors[rate], flush=True)
    return min(errors, key=lambda rate: errors[rate])


def compared(networks: Networks, name: str, molecules: Molecules, count: int) -> list[dict[str, object]]:
    """The lines of one property."""
    rows, others = from_data(molecules, count, seed=3), from_data(molecules, count // 2, seed=4)
    values = molecules.properties[name].float()
    atoms, asked = molecules.counts[rows], values[rows]
    rate = tuned(networks, name, values[others], molecules.counts[others])
    first = ours(name, asked, atoms)
    runs = [("Headwater", first)]
    runs += [("usual, L-BFGS", s) for s in usual(networks, name, asked, atoms)]
    runs += [(f"usual, SGD at {rate}", s) for s in usual(networks, name, asked, atoms, rate, MARKS)]
    lines = []
    for method, s in runs:
        shares = quality(s.batch)
        lines.append(
            {
                "property": name,
                "method": method,
                "seconds a molecule": round(s.seconds / count, 2),
                "times Headwater": round(s.seconds / first.seconds, 1),
                "gradients": round(s.gradients, 1),
                "NFE": round(s.evaluations),
                "alive": round(100 * s.alive, 1),
                "MAE": mae(name, predict_batch(networks.evaluator, s.batch)[name], asked),
                **{k: shares[k] for k in ("sound", "molecule_stable", "valid", "unique")},
            }
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    o = options(__doc__.splitlines()[0], count=32, keep="", only="")
    molecules, networks, table = load(o.qm9), Networks.load(), []
    for name in o.only.split(",") if o.only else ("gap", "mu"):

        def lines(name: str = name) -> dict[str, object]:
            return {"lines": compared(networks, name, molecules, o.count)}

        table += kept(o.keep, f"{name}, {o.count}", lines)["lines"]
    if o.only:
        return
    note = (
        "MAE by the evaluator after rounding (meV, D); the paper reports about 3 minutes a molecule on a GPU."
    )
    write(
        o.results / "molecule_time",
        table,
        f"python benchmarks/molecule_time.py --qm9 build/qm9 --count {o.count}",
        note,
    )


if __name__ == "__main__":
    main()
