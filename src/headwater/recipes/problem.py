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
from headwater.flows.latent import LatentModel
from headwater.problem.cost import Misfit
from headwater.recipes.posterior.result import Posterior
from headwater.recipes.posterior.sample import posterior
from headwater.recipes.recipe import Recipe, RecipeOptions
from headwater.recipes.warm_start import WarmStart

Model = TypeVar("Model", contravariant=True)
Sample = TypeVar("Sample", covariant=True)


@dataclass(frozen=True)
class Problem:
    """A batch of inverse problems on a flow.

    Parameters
    ----------
    flow
        The prior, on the canvas of the problem; its events have the shape `[*event]`.
    misfit
        What was measured, by which operator, with how much noise.
    guess
        A rough x1 `[batch or 1, *event]`.
    recipe
        The method that suits the problem.
    latent
        The model with the decoder, if states are latents; None means that states are data.

    Examples
    --------
    >>> import torch
    >>> from headwater import Gaussian, Identity, Misfit, Paper
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(Identity(), torch.tensor([[0.5, -0.5]]), 0.1)
    >>> problem = Problem(flow, misfit, guess=torch.zeros(1, 2))
    >>> problem.solve([0]).status[0].name, problem.solve([0, 1], recipe=Paper()).x1.shape
    ('REACHED', torch.Size([2, 2]))
    """

    flow: Flow
    misfit: Misfit
    guess: Tensor
    recipe: Recipe = field(default_factory=WarmStart)
    latent: LatentModel | None = None

    @property
    def range(self) -> tuple[float, float] | None:
        """The range of the data, None if unbounded."""
        return self.flow.range if self.latent is None else self.latent.range

    def to_data(self, x1: Tensor) -> Tensor:
        """The data `[samples, ...]` of states x1 `[samples, *event]`: decoded latents, else x1 itself."""
        return x1 if self.latent is None else self.latent.decode(x1)

    def solve(
        self, seeds: Sequence[int], *, recipe: Recipe | None = None, options: RecipeOptions | None = None
    ) -> Result:
        """The result for one problem per seed, x1 `[len(seeds), *event]`.

        `recipe` and `options` None mean the problem's own recipe and that recipe's own settings.

        Raises
        ------
        Misuse
            As the recipe does.
        """
        method = self.recipe if recipe is None else recipe
        return method(self.flow, self.misfit, seeds, guess=self.guess, options=options or RecipeOptions())

    def posterior(self, seeds: Sequence[int], **options: Any) -> Posterior:
        """Draws of x1 for one problem per seed; the options are those of `headwater.posterior`.

        Raises
        ------
        Misuse
            As `headwater.posterior` does.
        """
        return posterior(self.flow, self.misfit, seeds, **options)


class Solvable(Protocol):
    """A problem on a flow: `Problem`, or a domain's own with another aim than a measurement."""

    def solve(self, seeds: Any, *, recipe: Any = None, options: RecipeOptions | None = None) -> Any:
        """The samples `[len(seeds), *event]`, one per seed, with how each problem ended."""


class Task(Protocol[Model, Sample]):
    """What a domain brings: a photo to restore, a gap to fill, a molecule to find.

    A protocol with two methods. A file is read into a task, `pose` puts it on the flow of a model, a recipe solves
    it, and `finish` brings the samples back into the form of the file.

    Examples
    --------
    A list of numbers with noise, which the domain measures in units of 100:

    >>> import torch
    >>> from headwater import Gaussian, Misfit, OneEvaluation
    >>> from headwater.recipes.problem import Problem
    >>> class Numbers:
    ...     def __init__(self, numbers):
    ...         self.y = torch.tensor([numbers]) / 100
    ...     def pose(self, model):
    ...         return Problem(model.flow, Misfit(lambda x: x, self.y, 0.5), self.y, OneEvaluation())
    ...     def finish(self, x1):
    ...         return (100 * x1[0]).round().tolist()
    >>> task = Numbers([100.0, -50.0])
    >>> problem = task.pose(Gaussian(torch.zeros(2), torch.ones(2)))
    >>> task.finish(problem.solve([0]).x1)  # the noise has a variance of 0.25: y / 1.25
    [80.0, -40.0]
    """

    def pose(self, model: Model) -> Solvable | None:
        """The problem on the flow of a model; None if there is nothing to solve."""

    def finish(self, x1: Tensor) -> Sample:
        """Samples `[batch, *event]` of the flow in the form of the file that they go into."""
