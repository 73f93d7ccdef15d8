"""Two fields of Darcy flow from 3 % of their points, and how sure events are: examples/fields against its rivals.

    python benchmarks/darcy_fields.py --threads 1

recovery   relative errors of the coefficient a and the solution u, and the residual of the equation in % of u. `NFE`
           are evaluations of the network per field, all of them with a gradient; the estimate has none. The settings
           of the guidance are the best of the rows `choice`, on other fields.
19 draws   of the posterior: errors of their mean, and what they say of three quantities. `coverage %` is how often
           the truth lies between the least and the largest draw, 90 for exact draws; `width` is the length of that
           interval and `off` the distance of the truth from the mean, in spreads of the quantity among all fields,
           means over the three. An event is that the quantity is above its median among all fields; `Brier` is the
           mean squared error of its probability, 0.25 for always saying one half.
paired     the mean over the fields of how much more one method has than another, and `s.e.`, the standard error of
           that mean: one truth, one set of points and one draw of the noise for both.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))

from fields.costs import pose
from fields.data import SIZE, simulate, to_fields
from fields.model import load_flow
from fields.recover import NOISE, POINTS, TOLERANCE, Control, draw_fields, find_errors, measure_fields
from fields.rivals import GaussianProcess, Guidance

Solve = Callable[[Tensor, Tensor], Tensor]
PROCESS, CONTROL = "Gaussian process, both fields", "control, points and equation"
GUIDANCE, LONGER = (f"guidance (DiffusionPDE), residual{more}" for more in ("", ", 480 steps"))
POSTERIOR = "posterior, points and equation"
PAIRS = (
    (CONTROL, PROCESS),
    (CONTROL, GUIDANCE),
    (CONTROL, LONGER),
    (POSTERIOR, PROCESS),
    (POSTERIOR, CONTROL),
)


def estimate(flow: hw.Flow, tolerance: float | None, y: Tensor, sensors: Tensor) -> Tensor:
    """The fast estimate of the library, without a gradient of the network."""
    guess = torch.zeros(1, *flow.shape)
    return hw.Estimate()(flow, pose(y, sensors, NOISE, tolerance), range(len(y)), guess=guess).x1


def recover(
    name: str, solve: Solve, nfe: int, count: int, seed: int, part: str = "recovery"
) -> dict[str, object]:
    """A line of the table, with the errors of each field."""
    truth, y, sensors = measure_fields(count, POINTS, seed)
    began = time.process_time()
    x = solve(y, sensors)
    seconds = (time.process_time() - began) / count
    return {"part": part, "method": name, **summarise(find_errors(x, truth)), **spent(nfe, seconds)}


def summarise(found: dict[str, Tensor]) -> dict[str, object]:
    """The means of what was measured of fields `[n]`, and under `each` all values."""
    means = {name: round(float(values.double().mean()), 3) for name, values in found.items()}
    return means | {"each": {name: values.tolist() for name, values in found.items()}}


def spent(nfe: int, seconds: float) -> dict[str, object]:
    """The last columns of a line."""
    return {"NFE": nfe, "seconds": round(seconds, 2)}


def compare(
    one: str, other: str, first: dict[str, list[float]], second: dict[str, list[float]]
) -> dict[str, object]:
    """The paired line of two methods: the mean difference of what both were measured by, and its standard error."""
    row: dict[str, object] = {"part": "paired", "method": f"{one}, minus {other}"}
    for name, title in {"error of a %": "a", "error of u %": "u", "Brier": "Brier"}.items():
        if name in first and name in second:
            gap = torch.tensor(first[name]).double() - torch.tensor(second[name]).double()
            row[name] = round(float(gap.mean()), 3)
            row[f"s.e. of {title}"] = round(float(gap.std()) / math.sqrt(len(gap)), 3)
    return row


def find_quantities(x: Tensor) -> dict[str, Tensor]:
    """What events are about, of states x `[..., 2, 32, 32]`, `[...]` each."""
    a, u = to_fields(x.flatten(0, -4))
    q = SIZE // 4
    found = {
        "largest u": u.flatten(1).amax(1),
        "a in the middle": a[:, q:-q, q:-q].flatten(1).mean(1),
        "share of hard rock": (a < 6).flatten(1).double().mean(1),
    }
    return {name: value.reshape(x.shape[:-3]) for name, value in found.items()}


def judge_draws(
    name: str, draw: Solve, nfe: int, count: int, climate: dict[str, Tensor]
) -> dict[str, object]:
    """A line of the table of events: figures of the draws, means over the quantities."""
    truth, y, sensors = measure_fields(count, POINTS, 500)
    began = time.process_time()
    x = draw(y, sensors)
    seconds = (time.process_time() - began) / count
    drawn, found = find_quantities(x), find_errors(x.mean(1), truth)
    each: dict[str, list[Tensor]] = {"width": [], "off": [], "Brier": []}
    for quantity, true in find_quantities(truth).items():
        d, spread, level = drawn[quantity], climate[quantity].std(), climate[quantity].median()
        inside = (d.amin(1) < true) & (true < d.amax(1))
        found[f"coverage %, {quantity}"] = 100 * inside.double()
        each["width"].append((d.amax(1) - d.amin(1)) / spread)
        each["off"].append((d.mean(1) - true).abs() / spread)
        each["Brier"].append(((d > level).double().mean(1) - (true > level).double()).square())
    found |= {name: torch.stack(values).double().mean(0) for name, values in each.items()}
    return {"part": "19 draws", "method": name, **summarise(found), **spent(nfe, seconds)}


def choose_rivals(flow: hw.Flow, keep: str) -> tuple[list[dict[str, object]], dict[str, Guidance]]:
    """The rows of the choice of the guidance's weights on four other fields, and the best for either residual.

    First the weight of the points, without the equation, then that of the equation.
    """
    rows: list[dict[str, object]] = []

    def try_out(zeta_obs: float, zeta_pde: float, smooth: bool) -> tuple[float, float, float]:
        method = Guidance(60, zeta_obs, zeta_pde, smooth)
        name = f"guidance, {'r' if smooth else 'residual'}, zeta {zeta_obs:g}, {zeta_pde:g}"
        work = partial(recover, name, partial(guided, flow, method), 120, 4, 300, "choice")
        rows.append(kept(keep, name, work))
        return float(rows[-1]["error of a %"]) + float(rows[-1]["error of u %"]), zeta_obs, zeta_pde

    _, z, _ = min(try_out(z, 0.0, False) for z in (1.0, 3.0, 10.0, 20.0, 40.0, 80.0))
    best = {"points": Guidance(120, z, 0.0)}
    for title, smooth, scales in (("residual", False, (1.0, 10.0)), ("residual r", True, (1e2, 1e3, 1e4))):
        _, _, p = min(try_out(z, p, smooth) for p in scales)
        best[title] = Guidance(120, z, p, smooth)
    return rows, best


def guided(flow: hw.Flow, method: Guidance, y: Tensor, sensors: Tensor) -> Tensor:
    """The guidance, with one seed per field."""
    return method(flow, y, sensors, range(len(y)))


def controlled(flow: hw.Flow, method: Control, y: Tensor, sensors: Tensor) -> Tensor:
    """Control, with one seed per field."""
    return method(flow, y, sensors, range(len(y)))


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__.splitlines()[0], count=32, keep="")
    flow = load_flow()
    rows, best = choose_rivals(flow, o.keep)
    usual = best["residual"]  # four times the steps, each a fourth as strong
    longer = Guidance(480, usual.zeta_obs / 4, usual.zeta_pde / 4)
    control, alone = Control(), Control(tolerance=None)
    nfe = control.steps * control.gradients
    methods: dict[str, tuple[Solve, int]] = {
        "Gaussian process, each field": (GaussianProcess(False, NOISE), 0),
        PROCESS: (GaussianProcess(True, NOISE), 0),
        "estimate, points and equation": (partial(estimate, flow, TOLERANCE), 32),
        **{
            f"guidance (DiffusionPDE), {title}": (partial(guided, flow, method), 240)
            for title, method in best.items()
        },
        LONGER: (partial(guided, flow, longer), 960),
        "control, points": (partial(controlled, flow, alone), nfe),
        CONTROL: (partial(controlled, flow, control), nfe),
    }
    for name, (solve, evaluations) in methods.items():
        rows.append(kept(o.keep, name, partial(recover, name, solve, evaluations, o.count, 500)))
    climate = find_quantities(simulate(500, seed=0))
    for name, draw, evaluations in (
        (PROCESS, draw_process, 0),
        (POSTERIOR, partial(draw_many, flow), 19 * 80),
    ):
        work = partial(judge_draws, name, draw, evaluations, o.count, climate)
        rows.append(kept(o.keep, f"{name}, draws", work))
    rows += pair(rows)
    write(
        o.results / "darcy_fields",
        [{k: "not finite" if v != v else v for k, v in row.items() if k != "each"} for row in rows],
        "python benchmarks/darcy_fields.py --threads 1",
        f"Means over {o.count} fields with {POINTS} points of each and noise {NOISE}; `choice` over 4 others. `NFE` "
        "evaluations of the network with a gradient a field (estimate: without), `seconds` of CPU a field.",
    )


def pair(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """The lines of PAIRS; the error of a method with a mean of its own is that of this mean, and not of 19 draws."""
    each: dict[str, dict[str, list[float]]] = {}
    for part in ("19 draws", "recovery"):
        for row in rows:
            if row["part"] == part:
                each[row["method"]] = each.get(row["method"], {}) | row["each"]
    return [compare(one, other, each[one], each[other]) for one, other in PAIRS]


def draw_process(y: Tensor, sensors: Tensor) -> Tensor:
    """19 draws of the posterior of the Gaussian process of every field."""
    return GaussianProcess(True, NOISE).draw(y, sensors, range(len(y)), draws=19)


def draw_many(flow: hw.Flow, y: Tensor, sensors: Tensor) -> Tensor:
    """19 draws of the posterior of every field."""
    return draw_fields(flow, y, sensors, range(len(y)), draws=19)


if __name__ == "__main__":
    main()
