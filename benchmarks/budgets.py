"""Every method at a budget of calls of the network, and the settings that are tuned, by the same number of trials.

A gradient counts as three calls. What a method needs at least may be more than a budget: then it has no recipe there.
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headwater import Average, Estimate
from headwater.recipes.covariance import White
from headwater.recipes.methods import METHODS, find_method

GRADIENT = 3  # calls that a gradient counts as
BUDGETS = (32, 160, 800)  # 2, 10 and 50 plain solves of 8 midpoint steps
TUNED = Path(__file__).resolve().parent / "results" / "tuning.json"

SPACES: dict[str, dict[str, tuple[float, float, str]]] = {
    "estimate": {"spread": (0.5, 2, "log"), "first": (0.02, 0.3, "log")},
    "average": {"spread": (0.5, 2, "log"), "each": (8, 64, "whole")},
    "warm-start": {"spread": (0.5, 2, "log"), "fresh": (0.25, 1, "even")},
    "map": {"spread": (0.5, 2, "log"), "fresh": (0.25, 1, "even")},
    "map-from-noise": {"steps": (1, 4, "whole"), "first_step": (0.005, 0.2, "log")},
    "paper": {"a": (0.0, 0.9, "even"), "steps": (3, 8, "whole")},
    "dps": {"zeta": (0.3, 30, "log")},
    "pigdm": {"eta": (0.0, 1, "even"), "adaptive": (0, 1, "flag")},
    "ot-ode": {"start": (0.05, 0.4, "even"), "gamma": (0.3, 3, "log")},
    "red-diff": {"weight": (0.05, 4, "log"), "lr": (0.02, 0.5, "log")},
    "flow-priors": {"weight": (100, 10_000, "log"), "lr": (0.005, 0.2, "log")},
    "pnp-flow": {"exponent": (0.01, 1, "even"), "averages": (1, 5, "whole")},
    "flower": {"covariance": (0, 1, "flag")},
    "flow-chef": {"step": (0.02, 1, "log")},
    "flow-dps": {"shift": (1, 6, "even"), "data_steps": (1, 12, "whole")},
    "oc-flow": {"gamma": (0.0003, 0.3, "log"), "steps": (6, 20, "whole")},
    "dno": {"lr": (0.02, 0.5, "log"), "steps": (4, 10, "whole")},
    "reno": {"lr": (1, 50, "log"), "weight": (0.0001, 0.1, "log")},
    "lanpaint": {"step": (0.05, 0.5, "log"), "inner": (1, 8, "whole")},
    "diffpir": {"weight": (0.5, 20, "log"), "zeta": (0.1, 1, "even")},
    "cow": {"cycles": (2, 20, "whole")},
    "steered": {"loops": (1, 4, "whole")},
}
"""The settings that are tried, with their ends; a method without any has nothing to choose at a budget."""


def propose(name: str, trials: int) -> list[dict[str, Any]]:
    """The settings of each trial: the method's own, then those of a scrambled Sobol sequence in its space."""
    space = SPACES.get(name, {})
    if not space:
        return [{}]
    draws = torch.quasirandom.SobolEngine(len(space), scramble=True, seed=0).draw(trials - 1).tolist()
    found: list[dict[str, Any]] = [{}]
    for draw in draws:
        found.append({key: place(u, *ends) for u, (key, ends) in zip(draw, space.items(), strict=True)})
    return found


def place(u: float, low: float, high: float, scale: str) -> float | int | bool:
    """The value at u in [0, 1) between two ends."""
    if scale == "flag":
        return u >= 0.5
    if scale == "whole":
        return min(int(high), int(low + u * (high - low + 1)))
    value = math.exp(math.log(low) + u * math.log(high / low)) if scale == "log" else low + u * (high - low)
    return float(f"{value:.3g}")


def make_recipe(name: str, calls: int, settings: dict[str, Any]) -> Any:
    """The recipe of a method with some settings and about `calls` calls of the network; None if it needs more."""
    recipe, settings = find_method(name), dict(settings)
    if name == "one-evaluation":
        return recipe
    parts = {key: settings.pop(key) for key in ("first", "fresh") if key in settings}
    if "spread" in settings:
        parts["covariance"] = White(settings.pop("spread"))
    each = settings.pop("each", 32)
    recipe = replace(recipe, **settings)
    if name == "estimate":
        return replace(recipe, times=calls, **parts)
    if name == "average":
        count = max(1, round(calls / each))
        return Average(Estimate(times=calls // count, **parts), count)
    if name == "warm-start":
        times = 8 if calls < 100 else 32
        recipe = replace(recipe, estimate=Estimate(times=times, **parts))
        return with_gradients(recipe, calls - times - 24, 2 * recipe.steps)
    if name == "map":
        start = Average(Estimate(times=8 if calls < 400 else 32, **parts), 4)
        used = start.count * start.estimate.times
        recipe = replace(recipe, start=start, steps=4 if calls < 400 else 8)
        return with_gradients(recipe, calls - used - 3 * recipe.steps, 2 * recipe.steps)
    if name == "paper":
        return with_gradients(recipe, calls - 2 * recipe.steps, 2 * recipe.steps)
    if name in ("dno", "reno", "oc-flow", "map-from-noise"):
        return with_gradients(recipe, calls, recipe.steps)
    if name == "pnp-flow":
        return replace(recipe, steps=max(1, calls // recipe.averages))
    if name == "lanpaint":
        return replace(recipe, steps=max(1, calls // (recipe.inner + 1)))
    if name == "cow":  # 1.2 of its steps, and 0.2 a cycle
        return replace(recipe, steps=max(1, int(calls / (1.2 + 0.2 * recipe.cycles))))
    if name == "steered":  # no gradient, as all tasks here are linear
        return replace(recipe, steps=max(1, calls // recipe.loops))
    if name == "flow-priors":
        return replace(recipe, steps=max(1, calls // (GRADIENT + 1)))
    gradient = METHODS[name].about.network_gradient
    return replace(recipe, steps=calls // GRADIENT if gradient else calls)


def with_gradients(recipe: Any, calls: int, evaluations: int) -> Any:
    """The recipe with as many gradients of `evaluations` each as `calls` pay for; None if not one."""
    gradients = calls // (GRADIENT * evaluations)
    return None if gradients < 1 else replace(recipe, gradients=gradients)


def load_tuned() -> dict[str, dict[str, Any]]:
    """The chosen settings by "METHOD TASK", from `tuning.py`; empty before it ran."""
    if not TUNED.exists():
        return {}
    rows = json.loads(TUNED.read_text())["rows"]
    return {f"{row['method']} {row['task']}": row["settings"] for row in rows if "settings" in row}
