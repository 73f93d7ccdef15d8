"""One shape for all domains: a task is posed on a model, a recipe solves it, and the sample is finished.

file -> task.pose(model) -> problem.solve(seeds) -> task.finish(x1) -> file
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from torch import Tensor

from headwater.dflow.result import Result
from headwater.flows.flow import Flow
from headwater.problem.cost import Misfit
from headwater.recipes.recipe import Recipe, RecipeOptions
from headwater.recipes.warm_start import WarmStart

Model = TypeVar("Model", contravariant=True)
Sample = TypeVar("Sample", covariant=True)


@dataclass(frozen=True)
class Problem:
    """A batch of inverse problems on a flow.

    Attributes
    ----------
    flow
        The prior, on the canvas of the problem; its events have the shape `[*event]`.
    misfit
        What was measured, by which operator, with how much noise.
    guess
        A rough x1 `[batch or 1, *event]`.
    recipe
        The method that suits the problem.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x, torch.tensor([[0.5, -0.5]]), 0.1)
    >>> Problem(flow, misfit, guess=torch.zeros(1, 2)).solve([0]).status[0].name
    'REACHED'
    """

    flow: Flow
    misfit: Misfit
    guess: Tensor
    recipe: Recipe = field(default_factory=WarmStart)

    def solve(
        self, seeds: Sequence[int], *, recipe: Recipe | None = None, options: RecipeOptions | None = None
    ) -> Result:
        """The result for one problem per seed, x1 `[len(seeds), *event]`.

        `recipe` and `options` None mean the problem's own recipe and that recipe's own settings.
        """
        method = self.recipe if recipe is None else recipe
        return method(self.flow, self.misfit, seeds, guess=self.guess, options=options or RecipeOptions())


class Solvable(Protocol):
    """A problem on a flow: `Problem`, or a domain's own with another aim than a measurement."""

    def solve(self, seeds: Any, *, recipe: Any = None, options: RecipeOptions | None = None) -> Any:
        """The samples, one per seed, with how each problem ended."""


class Task(Protocol[Model, Sample]):
    """What a domain brings: a photo to restore, a gap to fill, a molecule to find."""

    def pose(self, model: Model) -> Solvable | None:
        """The problem on the flow of a model; None if there is nothing to solve."""

    def finish(self, x1: Tensor) -> Sample:
        """Samples `[batch, *event]` of the flow in the form of the file that they go into."""
