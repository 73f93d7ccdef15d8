"""Edits of real data: do inversions close, what does a change cost the rest, what does a reward gain?

    python benchmarks/edits.py --drawings pictograms.npz --data val.zip --threads 1

round trip   held-out drawings by `pictograms`, on latents, and held-out photographs by `photo64`: inverted and solved
             back by the same solver. `round trip` is the rms of the miss in units of the state, `radius` that of the
             source point, 1 for a draw; `closed %` the share that misses by less than 1e-3. "One budget" is 84
             evaluations there and back.
prompt       eight held-out drawings with another text each. `place` is the median place of the new text among 1,919
             captions, by the judge of `pictograms`, which guided nothing; `changed` the rms to the drawing's own
             reconstruction by the autoencoder. `kept` is that of the left half, where a map lets only the right half
             change, before the original is put back there. A boundary is that between the other drawings of the old
             text and those of the new one.
reward       colours (blue and white) of drawings and photographs. `reward` in standard deviations among draws, `gain`
             over the original, `strangeness` by EfficientNet-Lite1 among draws, 1 for a draw.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import headwater as hw
from common import kept, options, write
from headwater.image.editing import edit_picture, find_picture_boundary, to_range, to_states
from headwater.image.pictograms import data as pictograms
from headwater.image.pictograms.train_autoencoder import to_range as pixels_to_range
from headwater.image.rewards import RewardJudge, rank_text, read_reward
from headwater.problem.rewards import RewardSum
from headwater.recipes.editing import (
    BoundaryEdit,
    FlowEdit,
    HEdit,
    InversionEdit,
    RewardEdit,
    RFInversion,
    StochasticEdit,
    TrajectoryEdit,
)
from headwater.solvers import Reversible, invert_dual_conditional, invert_fixed_point
from images import held_out

CHANGES = (
    ("green book", "blue book"),
    ("tangerine", "red apple"),
    ("monkey face", "panda"),
    ("expressionless face", "grinning face"),
    ("duck", "penguin"),
    ("glowing star", "red heart"),
    ("soccer ball", "basketball"),
    ("carrot", "banana"),
)
"""The label of a held-out drawing, and the text that it is changed to."""
ONE_BUDGET = (
    ("plain DDIM", 42),
    ("plain midpoint", 21),
    ("reversible DDIM", 21),
    ("fixed point, 6 iterations", 12),
    ("dual-conditional, 5 iterations", 12),
    ("dual-conditional, 5 iterations, pull 0.1", 12),
)
"""Inversions and their steps, of 84 evaluations there and back."""


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__, data="data", drawings="", photographs=2, keep="", tasks="prompt,reward,round trip")
    every = pictograms.load(Path(o.drawings))
    d = every.part("held-out")
    missing = [label for label, _ in CHANGES if label not in d.labels]
    if missing:
        raise SystemExit(f"Not among the held-out drawings: {missing}")
    x = pixels_to_range(torch.stack([d.pixels[d.labels.index(label)] for label, _ in CHANGES]))
    photographs = held_out(Path(o.data), o.photographs)
    makers: dict[str, Callable[[], list[dict[str, object]]]] = {
        "round trip": partial(round_trips, x[:6], photographs, o.keep),
        "prompt": partial(prompts, x, every, o.keep),
        "reward": partial(rewards, x[:3], photographs, o.keep),
    }
    rows = [line for name in o.tasks.split(",") for line in makers[name]()]
    write(
        o.results / "edits",
        rows,
        "python benchmarks/edits.py --drawings pictograms.npz --data val.zip --threads 1",
        f"Means over 6 drawings and {o.photographs} photographs (round trip), {len(CHANGES)} drawings (prompt), 3 "
        f"drawings and {o.photographs} photographs (reward). `NFE` evaluations of the network a problem, of which a "
        "guided one is two calls, those of gradients included; `seconds` of CPU a problem, beside other work.",
    )


# Round trips


def round_trips(x: Tensor, photographs: Tensor, keep: str) -> list[dict[str, object]]:
    """The lines of the inversions."""
    labels = [label for label, _ in CHANGES[: len(x)]]
    plain, told = hw.image.latent_model(None), hw.image.latent_model(labels)
    z = to_states(plain, x)
    cases: dict[str, tuple[hw.Flow, Tensor]] = {
        "drawings, no text": (plain.flow, z),
        "drawings, their text, guidance 3": (told.flow, z),
        "photographs": (hw.image.flow("photo64"), photographs),
    }
    rows = []
    for case, (flow, state) in cases.items():
        for steps in {"photographs": (12,), "drawings, no text": (6, 12, 24)}.get(case, (6, 12)):
            for name in (
                "plain DDIM",
                *(["plain DDIM, logistic times", "plain midpoint, logistic times"] if steps == 12 else []),
                "plain midpoint",
                "fixed point",
                "reversible DDIM",
                "reversible midpoint",
            ):
                line = partial(round_trip, flow, state, name, steps)
                key = {"task": "round trip", "case": case, "method": f"{name}, {steps} steps"}
                rows.append(key | kept(keep, f"{case}, {name}, {steps}", line))
        for name, steps in ONE_BUDGET:
            line = partial(round_trip, flow, state, name, steps)
            key = {"task": "round trip", "case": case, "method": f"{name}, {steps} steps, one budget"}
            rows.append(key | kept(keep, f"{case}, {name}, {steps}, one budget", line))
    return rows


@torch.no_grad()
def round_trip(flow: hw.Flow, x1: Tensor, name: str, steps: int) -> dict[str, object]:
    """One line: there and back."""
    began = time.process_time()
    if name.startswith(("fixed point", "dual-conditional")):
        most = 6 if "6 iterations" in name else 5 if "5 iterations" in name else 20
        if name.startswith("fixed point"):
            found = invert_fixed_point(flow, x1, steps=steps, iterations=most, tolerance=1e-5)
        else:
            pull = 0.1 if "pull 0.1" in name else 0.016
            found = invert_dual_conditional(flow, x1, pull=pull, steps=steps, iterations=most, tolerance=1e-5)
        y0, nfe = found.y0, float(found.evaluations.double().mean()) + steps
        back = hw.solve(flow, y0, method=hw.DDIM, steps=steps)
    elif name.startswith("reversible"):
        solver = Reversible(hw.DDIM if "DDIM" in name else hw.MIDPOINT, steps)
        pair = solver.invert(flow, x1)
        y0, nfe, back = pair.y, 2 * solver.evaluations, solver.solve(flow, pair).y
    else:
        method = hw.DDIM if "DDIM" in name else hw.MIDPOINT
        grid = hw.logit_grid(steps) if "logistic" in name else hw.uniform_grid(steps)
        y0 = hw.invert(flow, x1, method=method, steps=grid)
        back, nfe = hw.solve(flow, y0, method=method, steps=grid), 2 * steps * method.evaluations
    miss = (back - x1).flatten(1).square().mean(1).sqrt()
    return {
        "round trip": float(f"{float(miss.mean()):.1e}"),
        "closed %": round(100 * float((miss < 1e-3).double().mean())),
        "radius": round(float(y0.square().mean().sqrt()), 3),
        "NFE": round(nfe),
        "seconds": round((time.process_time() - began) / len(x1), 2),
    }


# Prompts


def prompts(x: Tensor, d: pictograms.Pictograms, keep: str) -> list[dict[str, object]]:
    """The lines of the changed texts."""
    methods: dict[str, tuple[Any, tuple[float, ...]]] = {
        "noise, ODE (SDEdit)": (StochasticEdit(), (0.6, 0.8)),
        "noise, SDE (SDEdit)": (StochasticEdit(noise=1.0), (0.8,)),
        "plain inversion": (InversionEdit("plain"), (0.8,)),
        "reversible inversion": (InversionEdit(), (0.8,)),
        "fixed-point inversion": (InversionEdit("fixed-point", iterations=10, tolerance=1e-4), (0.8,)),
        "dual-conditional inversion": (InversionEdit("dual-conditional", iterations=5), (0.8,)),
        "dual-conditional inversion, pull 0.1": (
            InversionEdit("dual-conditional", iterations=5, pull=0.1),
            (0.8,),
        ),
        "RF-Inversion": (RFInversion(), (0.8,)),
        "FlowEdit": (FlowEdit(), (0.6, 0.8)),
        "h-transform": (HEdit(), (0.6, 0.8)),
        "h-transform, 4 steps": (HEdit(steps=4), (0.75,)),
        "h-transform, 4 steps, guidance 1.5": (HEdit(steps=4, guidance=1.5), (0.75,)),
        "h-transform, 4 steps, shift 0.2": (HEdit(steps=4, shift=0.2), (0.75,)),
        "h-transform, 4 steps, guidance 1.5, shift 0.2": (HEdit(steps=4, guidance=1.5, shift=0.2), (0.75,)),
        "h-transform, 3 steps": (HEdit(steps=3), (2 / 3 + 1e-6,)),
        "h-transform, 3 steps, guidance 2, shift 0.2": (
            HEdit(steps=3, guidance=2.0, shift=0.2),
            (2 / 3 + 1e-6,),
        ),
        "noise, ODE, 3 steps": (StochasticEdit(steps=3), (2 / 3 + 1e-6,)),
        "noise, ODE, 4 steps": (StochasticEdit(steps=4), (0.75,)),
    }
    rows: list[dict[str, object]] = [
        {"task": "prompt", "method": "doing nothing"} | kept(keep, "prompt, nothing", partial(untouched, x))
    ]
    for name, (method, strengths) in methods.items():
        for s in strengths:
            line = partial(prompt, method, x, s)
            key = {"task": "prompt", "method": f"{name}, strength {s:g}"}
            rows.append(key | kept(keep, f"prompt, {name}, {s:g}", line))
    crossed = partial(cross_boundary, x, d)
    rows.append({"task": "prompt", "method": "boundary"} | kept(keep, "prompt, boundary", crossed))
    anew = partial(prompt, StochasticEdit(), x, 1.0)
    rows.append({"task": "prompt", "method": "drawn anew"} | kept(keep, "prompt, anew", anew))
    return rows


def places(x: Tensor) -> Tensor:
    """The place of the new text of each drawing, 1 the best, float64 `[n]`."""
    return torch.cat([1 + rank_text(x[i : i + 1], text) for i, (_, text) in enumerate(CHANGES)]).double()


def untouched(x: Tensor) -> dict[str, object]:
    """The line of doing nothing."""
    found = places(x)
    return {"place": round(float(found.median())), "first ten %": first_ten(found), "changed": 0.0}


def first_ten(found: Tensor) -> int:
    """The share of drawings whose text is among the first ten, in percent."""
    return round(100 * float((found <= 10).double().mean()))


def prompt(method: Any, x: Tensor, strength: float) -> dict[str, object]:
    """One line: all of the drawing free, and then its right half alone."""
    source = hw.image.latent_model([a for a, _ in CHANGES], guidance=1.0)
    target = hw.image.latent_model([b for _, b in CHANGES])
    with torch.no_grad():
        same = to_range(source, to_states(source, x))
    began = time.process_time()
    seeds = range(len(x))
    all_free = edit_picture(method, source, x, seeds, target=target, strength=strength)
    seconds = (time.process_time() - began) / len(x)
    half = torch.zeros(1, 1, 128, 128)
    half[..., 64:] = strength
    right = edit_picture(method, source, x, seeds, target=target, strength=half)
    found = places(all_free.made)
    return {
        "place": round(float(found.median())),
        "first ten %": first_ten(found),
        "changed": round(rms(all_free.made - same), 3),
        "kept": round(rms((right.made - same)[..., :64]), 3),
        "NFE": round(float(all_free.result.evaluations.double().mean())),
        "seconds": round(seconds, 2),
    }


def cross_boundary(x: Tensor, d: pictograms.Pictograms) -> dict[str, object]:
    """The line of the boundary: each drawing goes as far beyond it as the drawings of the new text lie."""
    model, began = hw.image.latent_model(None), time.process_time()
    made, calls = [], []
    with torch.no_grad():
        same = to_range(model, to_states(model, x))
    for i, (old, new) in enumerate(CHANGES):
        # The first drawing of the old text among those held out is the one that is edited.
        numbers = [[k for k, label in enumerate(d.labels) if label == text] for text in (new, old)]
        first = next(k for k in numbers[1] if d.parts[k] == "held-out")
        numbers[1].remove(first)
        sides = [pixels_to_range(d.pixels[ks]) for ks in numbers]
        plane = find_picture_boundary(model, *sides)
        found = edit_picture(BoundaryEdit(plane), model, x[i : i + 1], [i])
        made.append(found.made)
        calls.append(float(found.result.evaluations[0]) + plane.evaluations)
    seconds = (time.process_time() - began) / len(x)
    every = torch.cat(made)
    place = places(every)
    return {
        "place": round(float(place.median())),
        "first ten %": first_ten(place),
        "changed": round(rms(every - same), 3),
        "NFE": round(sum(calls) / len(calls)),
        "seconds": round(seconds, 2),
    }


def rms(x: Tensor) -> float:
    """The root of the mean square."""
    return float(x.double().square().mean().sqrt())


# Rewards

FEW: dict[str, Any] = {"steps": 8, "gradients": 8}


def rewards(x: Tensor, photographs: Tensor, keep: str) -> list[dict[str, object]]:
    """The lines of the rewards."""
    methods: dict[str, Any] = {
        "doing nothing": None,
        "noise, ODE (SDEdit), strength 0.6": (StochasticEdit(), 0.6),
        "source control, weight 2": (RewardEdit(weight=2.0, **FEW), 1.0),
        "source control, weight 8": (RewardEdit(weight=8.0, **FEW), 1.0),
        "trajectory control, weight 8, strength 0.6": (TrajectoryEdit(weight=8.0, **FEW), 0.6),
        "h-transform, weight 2, strength 0.8": (HEdit(weight=2.0), 0.8),
        "h-transform, weight 8, strength 0.8": (HEdit(weight=8.0), 0.8),
    }
    models: dict[str, tuple[hw.Flow | hw.LatentModel, Tensor]] = {
        "drawings": (hw.image.latent_model(None), x),
        "photographs": (hw.image.flow("photo64"), photographs),
    }
    rows = []
    for case, (model, pictures) in models.items():
        bench = None
        for name, setting in methods.items():

            def line(
                case: str = case, model: Any = model, pictures: Tensor = pictures, setting: Any = setting
            ) -> dict[str, object]:
                nonlocal bench
                bench = bench or RewardBench(model)
                return bench.line(pictures, setting)

            key = {"task": "reward", "case": case, "method": name}
            rows.append(key | kept(keep, f"reward, {case}, {name}", line))
    return rows


class RewardBench:
    """A model, its reward in standard deviations among draws, and the judge of these draws."""

    def __init__(self, model: hw.Flow | hw.LatentModel) -> None:
        flow = model.flow if isinstance(model, hw.LatentModel) else model
        with torch.no_grad():
            z = hw.solve(flow, flow.noise(range(20_000, 20_016)), method=hw.DDIM, steps=6)
            draws = to_range(model, z).clamp(-1, 1)
        self.model, self.judge = model, RewardJudge(draws)
        self.total = RewardSum(((1.0, read_reward("palette: #2060d0, #fff")),), ("palette",)).standardise(
            draws
        )

    def line(self, x: Tensor, setting: Any) -> dict[str, object]:
        """One line."""
        with torch.no_grad():
            before = self.total(x)
            same = to_range(self.model, to_states(self.model, x))
        if setting is None:
            return {
                "reward": round(float(before.mean()), 2),
                "gain": 0.0,
                "changed": 0.0,
                "strangeness": round(float(self.judge.strangeness(x).mean()), 2),
            }
        method, strength = setting
        reward = None if isinstance(method, StochasticEdit) else self.total
        began = time.process_time()
        found = edit_picture(method, self.model, x, range(len(x)), reward=reward, strength=strength)
        seconds = (time.process_time() - began) / len(x)
        with torch.no_grad():
            after = self.total(found.made)
        return {
            "reward": round(float(after.mean()), 2),
            "gain": round(float((after - before).mean()), 2),
            "changed": round(rms(found.made - same), 3),
            "strangeness": round(float(self.judge.strangeness(found.made).mean()), 2),
            "NFE": round(float(found.result.evaluations.double().mean())),
            "seconds": round(seconds, 1),
        }


if __name__ == "__main__":
    main()
