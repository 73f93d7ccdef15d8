"""What every whole method has in common: how it is called, and the options that a user may set for any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headwater.dflow.result import Callback, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.cost import Misfit
from headwater.solvers.differentiation import Strategy


@dataclass(frozen=True)
class RecipeOptions:
    """The options of any recipe; None means the recipe's own setting.

    Attributes
    ----------
    steps
        Steps of the solver.
    gradients
        The most gradient evaluations per problem.
    tau
        The discrepancy level: a problem is solved when the rms of its misfit is `tau` times the noise.
    gradient
        How the solve is differentiated, which decides how much memory it needs.
    callback
        As in `control`.

    Raises
    ------
    Misuse
        If `steps` or `gradients` is below 1.
    """

    steps: int | None = None
    gradients: int | None = None
    tau: float | None = None
    gradient: Strategy | None = None
    callback: Callback | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "gradients"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise Misuse(f"The limit {name} = {value} leaves nothing to do.", "Give at least 1.")


class Recipe(Protocol):
    """A whole method as a frozen dataclass; its fields are its settings."""

    def __call__(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        options: RecipeOptions = ...,
    ) -> Result:
        """Solve a batch of inverse problems.

        Parameters
        ----------
        flow
            The prior.
        misfit
            What was measured.
        seeds
            One per problem; a problem's result depends on its own seed alone.
        guess
            A rough x1 `[batch or 1, *event]` to begin with.
        options
            What differs from the recipe's own settings.

        Returns
        -------
        result
            One problem per seed: x0 and x1 `[len(seeds), *event]`.
        """
        ...
