"""The methods of editing by the names of the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headwater.errors import Misuse, suggest
from headwater.recipes.editing.boundary import Boundary, BoundaryEdit
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
    "boundary": BoundaryEdit,
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
    "boundary": ("examples",),
}
"""What every method can be asked for: a changed condition, a reward, or examples with and without something."""
NUMBERS: dict[str, tuple[str, ...]] = {
    "sdedit": ("steps",),
    "inversion": ("steps",),
    "flowedit": ("steps",),
    "rf-inversion": ("steps",),
    "h-edit": ("steps", "weight"),
    "reward": ("steps", "weight", "gradients"),
    "trajectory": ("steps", "weight", "gradients"),
    "boundary": ("steps", "distance"),
}
"""The numbers of every method that the command line gives."""
DRAWLESS = ("inversion", "reward", "trajectory", "boundary")
"""The methods that draw nothing: every seed gives the same result."""


def take_numbers(name: str, numbers: Mapping[str, float | None]) -> dict[str, float]:
    """The numbers that are not None, of a method by its name.

    Parameters
    ----------
    name
        Of `EDITS`.
    numbers
        Some of steps, weight, gradients and distance, as `NUMBERS` has them for each method.

    Raises
    ------
    Misuse
        If there is no such method, or it takes no such number.

    Examples
    --------
    >>> take_numbers("h-edit", {"weight": 2.0, "steps": None})
    {'weight': 2.0}
    """
    if name not in EDITS:
        raise Misuse(f"There is no method of editing named {name!r}.", suggest(name, EDITS))
    given = {key: value for key, value in numbers.items() if value is not None}
    for key in given:
        if key not in NUMBERS[name]:
            raise Misuse(
                f"The method {name} takes no {key}.", f"Leave --{key} out, or give another --method."
            )
    return given


def make_edit(name: str, boundary: Boundary | None = None, **numbers: float | None) -> Any:
    """A method of editing by its name; numbers that are None stay the method's own.

    Parameters
    ----------
    name
        Of `EDITS`.
    boundary
        Of the method "boundary", from `find_boundary`.
    numbers
        As of `take_numbers`.

    Raises
    ------
    Misuse
        As `take_numbers`; if the method boundary has none, or another has one.

    Examples
    --------
    >>> make_edit("reward", weight=2.0, gradients=5, steps=None).weight
    2.0
    """
    given = take_numbers(name, numbers)
    if (boundary is None) == (name == "boundary"):
        raise Misuse(
            f"The method {name} {'needs a boundary' if boundary is None else 'takes no boundary'}.",
            "Give what find_boundary returns to the method boundary, and to no other.",
        )
    return EDITS[name](**given) if boundary is None else EDITS[name](boundary, **given)


def choose_edit(target: bool, reward: bool, examples: bool = False) -> str:
    """The method for a changed condition, a reward or both, or for examples with and without something.

    Raises
    ------
    Misuse
        If nothing is asked for.

    Examples
    --------
    >>> choose_edit(True, False), choose_edit(False, True), choose_edit(True, True), choose_edit(False, False, True)
    ('flowedit', 'reward', 'h-edit', 'boundary')
    """
    if examples:
        return "boundary"
    if target and reward:
        return "h-edit"
    if target or reward:
        return "reward" if reward else "flowedit"
    raise Misuse("Nothing is to be changed.", "Give --prompt, --label, --reward or --with.")
