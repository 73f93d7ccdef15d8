"""What a user may say about a repair, and what a repair tells of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from headwater.audio.io.files import Patch
from headwater.dflow.result import Result
from headwater.errors import Misuse
from headwater.problem.cost import Misfit
from headwater.recipes.problem import Problem
from headwater.recipes.recipe import Recipe, RecipeOptions

Solver = Callable[..., Result]
"""What `Problem.solve` is: `solver(problem, seeds, recipe=..., options=...)`."""


@dataclass(frozen=True)
class SolveOptions:
    """How a repair is solved.

    Parameters
    ----------
    seed
        Of the noise; each segment and signal has its own, made from it.
    recipe
        A recipe always asks the flow. With None the task's own is used, and the flow is not asked where it improves
        nothing.
    options
        What the user says about any recipe.
    solver
        What solves a problem, by default at once and alone; a batch of recordings solves those of several together.

    Raises
    ------
    Misuse
        The seed is negative.

    Examples
    --------
    >>> import headwater as hw
    >>> options = hw.audio.SolveOptions(seed=3, options=hw.RecipeOptions(gradients=5))
    >>> options.recipe is None, options.options.gradients
    (True, 5)
    """

    seed: int = 0
    recipe: Recipe | None = None
    options: RecipeOptions = field(default_factory=RecipeOptions)
    solver: Solver = Problem.solve

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise Misuse(f"The seed {self.seed} is negative.", "Give a whole number from 0 on.")

    def solve(self, problem: Problem, seeds: Sequence[int]) -> Result:
        """The result for one problem per seed, x1 `[len(seeds), *event]`."""
        return self.solver(problem, seeds, recipe=self.recipe, options=self.options)


@dataclass(frozen=True)
class Solution:
    """A solved problem: `result` of the control run, and the `misfit` that it was to bring down."""

    result: Result
    misfit: Misfit

    @property
    def rms(self) -> Tensor:
        """The misfits reached, rms in units of the noise, `[batch]`."""
        return self.misfit.rms(self.result.x1)


@dataclass(frozen=True)
class Restoration:
    """A repaired segment of a recording.

    Parameters
    ----------
    patch
        The repaired samples, `[frames, channels]`.
    filled_by
        What filled its gaps: "linear prediction", "linear prediction and room tone", "flow and linear prediction",
        "repetition", "repetition and" or "repetition," and one of these, or "silence"; empty for other damage.
    solutions
        Those of the flow, if it was asked: each with the `result` of the recipe, and `rms`, the misfits reached in
        units of the noise, `[batch]`.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> patch = hw.audio.Patch(start=100, samples=np.zeros((2, 1)), changed=np.ones((2, 1), dtype=bool))
    >>> restoration = hw.audio.Restoration(patch, filled_by="silence")
    >>> restoration.patch.samples.shape, restoration.solutions
    ((2, 1), ())
    """

    patch: Patch
    filled_by: str = ""
    solutions: tuple[Solution, ...] = ()
