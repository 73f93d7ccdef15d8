"""Every method on the five tasks, at a budget of about eight plain solves: a first screening on held-out pictures.

    python benchmarks/methods.py --data val.zip

The methods of other papers have their authors' settings, but for the number of steps, which `BUDGET` cuts so that
all take about 128 calls of the network; a gradient counts as three. (`map` takes 344, as its start alone takes 152.)
Those that were made for 500 to 1,000 steps cannot show here what they can. Nothing is tuned, ours was chosen on
pictures like these, and a few pictures are few: this says which methods are worth a careful comparison, no more. The
line `nothing` is y itself, for super-resolution each of its pixels four times.
"""

from __future__ import annotations

import time

from common import kept, options, write
from headwater import Misuse, RecipeOptions
from headwater.image.model import models
from headwater.problem.operator import Identity
from headwater.recipes.methods import METHODS, find_method, require_fit
from images import held_out, measure, scores, tasks

BUDGET = {
    "paper": RecipeOptions(gradients=4),
    "warm-start": RecipeOptions(gradients=4),
    "map": RecipeOptions(gradients=4),
    "dps": RecipeOptions(steps=43),
    "pigdm": RecipeOptions(steps=43),
    "ot-ode": RecipeOptions(steps=43),
    "red-diff": RecipeOptions(steps=128),
    "flow-priors": RecipeOptions(steps=21),
    "pnp-flow": RecipeOptions(steps=26),
    "flow-chef": RecipeOptions(steps=128),
    "dno": RecipeOptions(gradients=5),
    "reno": RecipeOptions(gradients=11),
    "oc-flow": RecipeOptions(steps=8, gradients=6),
}


def judge(name: str, task: str, count: int, data: object, model: str) -> dict[str, object]:
    """One line: a method on a task."""
    operator, sigma_y = tasks()[task]
    row: dict[str, object] = {"task": task, "method": name}
    x = held_out(data, count)
    misfit = measure(operator, sigma_y, x)
    if name == "nothing":
        return row | scores(misfit.y if misfit.y.shape == x.shape else operator.pinv(misfit.y), x)
    try:
        require_fit(name, operator, denoising=isinstance(operator, Identity))
        start = time.perf_counter()
        result = find_method(name)(
            models.flow(model),
            misfit,
            range(count),
            guess=operator.pinv(misfit.y),
            options=BUDGET.get(name, RecipeOptions()),
        )
    except Misuse:
        return row | {"note": "does not take it"}
    seconds = time.perf_counter() - start
    reached = sum(status.ok for status in result.status)
    return (
        row
        | scores(result.x1, x)
        | {
            "misfit": round(float(misfit.rms(result.x1).mean()), 2),
            "ok": f"{reached} of {count}",
            "calls": round(float(result.evaluations.double().mean())),
            "of them with a gradient": round(
                float(result.gradients.double().mean()) * result.nfe_per_gradient
            ),
            "s an image": round(seconds / count, 2),
        }
    )


def main() -> None:
    o = options(__doc__.splitlines()[0], "data", count=24, keep="", model="photo64", only="")
    chosen = [task for task in tasks() if not o.only or task.startswith(o.only)]
    rows = [
        kept(
            o.keep,
            f"{task} {name} {o.count} {o.model}",
            lambda n=name, t=task: judge(n, t, o.count, o.data, o.model),
        )
        for task in chosen
        for name in ("nothing", *METHODS)
    ]
    note = (
        f"{o.count} held-out pictures of 64 x 64, {o.model}; steps cut to about 128 calls a picture, a gradient "
        "counted as three (map: 344), which cripples methods made for hundreds of steps; nothing is tuned. PSNR in "
        "dB; misfit in units of the noise; seconds from a busy machine."
    )
    write(o.results / "methods", rows, "python benchmarks/methods.py --data val.zip", note)


if __name__ == "__main__":
    main()
