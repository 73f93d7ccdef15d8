"""Gaps and lost bands by several recipes on the same clips: is control worth its gradients, is a mean?

    python benchmarks/audio_methods.py --music build/music --part validation --count 12
    python benchmarks/audio_methods.py --music build/music --count 16

Settings are chosen on clips of `validation`, and judged on those of `test`. A gap of 100, 400 or 800 ms lies in the
middle of 4 s; a lost band is that of the 1.9 s in the middle, one window of the flow, decimated by 2 or 4. Each
recipe goes through the same task (the join with prediction, the slope of the band); none sees what repeats.

Estimates draw with the share of new noise that the task has today: 0 for gaps, 0.3 for bands. `estimate` has the
seed of `default`, so it is where the control of `default` begins. `default` was the recipe until this table, with
control whatever the estimate is worth. `warm-start` is the same without the correction of the round trip, with 2
gradients, `map` begins at one estimate and takes 3, `flower` has 96 steps: at about equal seconds. These, and
`average`, take 4 iterations of conjugate gradients at every time. `--methods` takes names with semicolons between.

`level` is the power of what was filled in over that of the truth, inside the gap or above the cutoff. Seconds are
those of the processor on one thread. What stands after a score is the mean difference to `estimate`, clip by
clip, and its standard error.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.signal import resample_poly

from common import kept, options, write
from headwater.audio.damage import BandLimit
from headwater.audio.io.channels import Signal
from headwater.audio.io.resample import PASSBAND
from headwater.audio.model import models
from headwater.audio.operators import Decimate
from headwater.audio.prior import warm_start
from headwater.audio.restoration import SolveOptions
from headwater.recipes.average import Average
from headwater.recipes.estimate import Estimate
from headwater.recipes.map import MAP
from headwater.recipes.recipe import Recipe
from headwater.recipes.rivals.flower import Flower
from headwater.recipes.warm_start import WarmStart
from recordings import RATE, Damaged, Repair, around, clips, filled, janssen, repaired, score_clip

BASE = "estimate"
WITHOUT = "without the flow"
"""Prediction of gaps, sinc interpolation of bands."""
BAND = 30_400
"""Samples of a clip with a lost band: with a frame at both ends it fits one window of the flow."""
MOST = 24
"""Clips that are drawn; a smaller count takes the first of them."""


@dataclass(frozen=True)
class Task:
    """A kind of damage on the clips `[count, samples]`.

    Attributes
    ----------
    truth, damaged
        The clips and where they are damaged.
    y
        What is left of them.
    fresh
        The share of new noise of today's recipe.
    plain
        What is done without the flow.
    solve
        What is done with options that name a recipe.
    lost
        The part of a clip that was lost, whose power is compared.
    """

    truth: Signal
    damaged: Damaged
    y: Signal
    fresh: float
    plain: Callable[[Signal], Signal]
    solve: Callable[[Signal, SolveOptions], Repair]
    lost: Callable[[Signal], Signal]


def gap_task(truth: Signal, milliseconds: int) -> Task:
    """A gap in the middle."""
    samples, size = truth.shape[1], milliseconds * RATE // 1000
    start = (samples - size) // 2
    stop = start + size
    y = truth.copy()
    y[:, start:stop] = 0.0
    return Task(
        truth,
        around(start, stop, samples),
        y,
        0.0,
        lambda z: janssen(z, start, stop, RATE),
        lambda z, o: filled(z, start, stop, options=o),
        lambda z: z[start:stop],
    )


def band_task(truth: Signal, factor: int) -> Task:
    """The middle of the clips at a rate lower by a factor."""
    begin = (truth.shape[1] - BAND) // 2
    truth = np.ascontiguousarray(truth[:, begin : begin + BAND])
    damage = BandLimit(PASSBAND * RATE / factor / 2)
    lowpass = damage.lowpass(RATE)
    return Task(
        truth,
        Damaged(np.ones(BAND, dtype=bool), (0, BAND)),
        Decimate.by_factor(factor)(torch.from_numpy(truth)).numpy(),
        0.3,
        lambda z: resample_poly(z, factor, 1)[:BAND],
        lambda z, o: repaired(z, damage, RATE // factor, o),
        lambda z: z - lowpass(torch.from_numpy(z)[None])[0].numpy(),
    )


def make_task(name: str, truth: Signal) -> Task:
    """The task of that name, as in `TASKS`."""
    kind, size = name.split(" ")[:2]
    return gap_task(truth, int(size)) if kind == "gap" else band_task(truth, int(size[1:]))


TASKS = ("gap 100 ms", "gap 400 ms", "gap 800 ms", "band x2", "band x4")


def recipes(fresh: float) -> dict[str, Recipe]:
    """Those that are compared, by name."""
    e = Estimate(fresh=fresh)
    few = replace(e, iterations=4)
    return {
        "default": replace(warm_start(fresh), keep_estimate=None),
        BASE: e,
        "estimate, 4 iterations": few,
        "estimate, 4 iterations, 16 times": replace(few, times=16),
        "average": Average(few),
        "warm-start": WarmStart(estimate=few, gradients=2),
        "map": MAP(start=Average(few, count=1), gradients=3),
        "flower": Flower(steps=96, iterations=4),
    }


def judge(task: Task, method: str, clip: int) -> dict[str, Any]:
    """The scores of a method on a clip, and what it cost."""
    z, truth = task.y[clip], task.truth[clip]
    begin = time.process_time()
    if method == WITHOUT:
        done = Repair(task.plain(z), 0, 0, 0.0)
    else:
        done = task.solve(z, SolveOptions(recipe=recipes(task.fresh)[method]))
    seconds = time.process_time() - begin
    power = [float(np.mean(np.square(task.lost(x)))) for x in (done.x, truth)]
    return score_clip(done.x, truth, task.damaged) | {
        "level": float(10 * np.log10((power[0] + 1e-12) / (power[1] + 1e-12))),
        "gradients": done.gradients,
        "NFE": done.evaluations,
        "seconds": seconds,
    }


def summary(found: dict[str, list[dict[str, Any]]]) -> Iterator[dict[str, object]]:
    """A line for each method: means, medians, and differences to `BASE`."""
    base = found[BASE]
    for method, lines in found.items():
        row: dict[str, object] = {"method": method, "clips": len(lines)}
        for name, digits in (("SI-SDR", 2), ("LSD", 2), ("CDPAM", 4)):
            row[name] = mean_and_difference(
                [line[name] for line in lines], [line[name] for line in base[: len(lines)]], digits
            )
        row["CDPAM, median"] = round(float(np.median([line["CDPAM"] for line in lines])), 4)
        row["loudness off, LU"] = round(float(np.mean([abs(line["loudness"]) for line in lines])), 2)
        row["level, dB"] = round(float(np.median([line["level"] for line in lines])), 1)
        for name, digits in (("gradients", 1), ("NFE", 0), ("seconds", 2)):
            row[name] = round(float(np.mean([line[name] for line in lines])), digits)
        yield row


def mean_and_difference(values: list[float], base: list[float], digits: int) -> str:
    """The mean and, of another than the base, how much more it is with its standard error."""
    more = np.subtract(values, base)
    mean = f"{np.mean(values):.{digits}f}"
    if len(more) < 2 or not more.any():
        return mean
    return f"{mean} ({more.mean():+.{digits}f} ± {more.std(ddof=1) / len(more) ** 0.5:.{digits}f})"


def lines(name: str, truth: Signal, o: argparse.Namespace) -> Iterator[dict[str, object]]:
    """The lines of a task."""
    task = make_task(name, truth)
    chosen = o.methods.split(";") if o.methods else [WITHOUT, *recipes(task.fresh)]
    found = {
        method: [
            kept(o.keep, f"{o.part}, {name}, {method}, {i}", partial(judge, task, method, i))
            for i in range(len(truth))
        ]
        for method in chosen
    }
    return summary(found)


def main() -> None:
    o = options(__doc__.splitlines()[0], "music", count=16, part="test", keep="", tasks="", methods="")
    torch.set_num_threads(1)
    models.load_prior()
    truth = clips(o.music, MOST, part=o.part)[: o.count]
    names = o.tasks.split(",") if o.tasks else TASKS
    rows = [{"task": name} | row for name in names for row in lines(name, truth, o)]
    command = f"python benchmarks/audio_methods.py --music build/music --part {o.part} --count {o.count}"
    stem = "audio_methods" if o.part == "test" else f"audio_methods_{o.part}"
    write(o.results / stem, rows, command, "SI-SDR, LSD and level in dB; CDPAM: less is better.")


if __name__ == "__main__":
    main()
