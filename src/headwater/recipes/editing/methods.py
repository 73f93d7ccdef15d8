"""The methods of editing by the names of the command line."""

from __future__ import annotations

from typing import Any

from headwater.errors import Misuse, suggest
from headwater.recipes.editing.flow_edit import FlowEdit
from headwater.recipes.editing.h_edit import HEdit
from headwater.recipes.editing.inverted import InversionEdit
from headwater.recipes.editing.reward import RewardEdit
from headwater.recipes.editing.rf_inversion import RFInversion
from headwater.recipes.editing.stochastic import StochasticEdit
from headwater.recipes.editing.trajectory import TrajectoryEdit

EDITS: dict[str, type[Any]] = {
    "sdedit": StochasticEdit,
    "inversion": InversionEdit,
    "flowedit": FlowEdit,
    "rf-inversion": RFInversion,
    "h-edit": HEdit,
    "reward": RewardEdit,
    "trajectory": TrajectoryEdit,
}
"""The class of every method."""
TAKES: dict[str, tuple[str, ...]] = {
    "sdedit": ("target",),
    "inversion": ("target",),
    "flowedit": ("target",),
    "rf-inversion": ("target",),
    "h-edit": ("target", "reward"),
    "reward": ("reward",),
    "trajectory": ("reward",),
}
"""What every method can be asked for: a changed condition, a reward, or both."""
NUMBERS: dict[str, tuple[str, ...]] = {
    "sdedit": ("steps",),
    "inversion": ("steps",),
    "flowedit": ("steps",),
    "rf-inversion": ("steps",),
    "h-edit": ("steps", "weight"),
    "reward": ("steps", "weight", "gradients"),
    "trajectory": ("steps", "weight", "gradients"),
}
"""The numbers of every method that the command line gives."""
DRAWLESS = ("inversion", "reward", "trajectory")
"""The methods that draw nothing: every seed gives the same result."""


def make_edit(name: str, **numbers: float | None) -> Any:
    """A method of editing by its name; numbers that are None stay the method's own.

    Parameters
    ----------
    name
        Of `EDITS`.
    numbers
        Some of steps, weight and gradients, as `NUMBERS` has them for each method.

    Raises
    ------
    Misuse
        If there is no such method, or it takes no such number.

    Examples
    --------
    >>> make_edit("reward", weight=2.0, gradients=5, steps=None).weight
    2.0
    """
    if name not in EDITS:
        raise Misuse(f"There is no method of editing named {name!r}.", suggest(name, EDITS))
    given = {key: value for key, value in numbers.items() if value is not None}
    for key in given:
        if key not in NUMBERS[name]:
            raise Misuse(
                f"The method {name} takes no {key}.", f"Leave --{key} out, or give another --method."
            )
    return EDITS[name](**given)


def choose_edit(target: bool, reward: bool) -> str:
    """The method for a changed condition, a reward or both.

    Raises
    ------
    Misuse
        If nothing is asked for.

    Examples
    --------
    >>> choose_edit(True, False), choose_edit(False, True), choose_edit(True, True)
    ('dual-velocity', 'reward', 'h-edit')
    """
    if target and reward:
        return "h-edit"
    if target or reward:
        return "reward" if reward else "flowedit"
    raise Misuse("Nothing is to be changed.", "Give --prompt, --label or --reward.")
