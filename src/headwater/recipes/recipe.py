"""What every whole method has in common: how it is called, and the options that a user may set for any of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from headwater.dflow.result import Callback, Result
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.optimizers.status import Status
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


def result_without_control(
    misfit: Misfit, x1: Tensor, status: Status | Sequence[Status], evaluations: int
) -> Result:
    """The result for samples x1 `[batch, *event]` that no source point was sought for: x0 is NaN.

    Parameters
    ----------
    misfit
        What was measured.
    x1
        The samples.
    status
        How all problems ended, or one for each.
    evaluations
        Network evaluations per problem.
    """
    each = (status,) * len(x1) if isinstance(status, Status) else tuple(status)
    with torch.no_grad():
        return Result(
            x0=torch.full_like(x1, torch.nan),
            x1=x1,
            cost=misfit(x1).to(torch.float64),
            measure=misfit.rms(x1).to(torch.float64),
            status=each,
            gradients=torch.zeros(len(x1), dtype=torch.long, device=x1.device),
            nfe_per_gradient=0,
            trace=torch.zeros(0, 2, len(x1)),
            state=None,
            preparation=evaluations,
            on_flow=False,
        )


def judge_answer(misfit: Misfit, x1: Tensor, tau: float, ended: Status | None, evaluations: int) -> Result:
    """The result for samples x1 `[batch, *event]` without a source point, judged by their misfit.

    Parameters
    ----------
    misfit
        What was measured.
    x1
        The samples. One that is not finite is DIVERGED.
    tau
        The misfit, in units of the noise, up to which a sample is REACHED; else it is MISSED.
    ended
        The status that ended the run early, if one did.
    evaluations
        Network evaluations per problem.

    Examples
    --------
    >>> misfit = Misfit(lambda x: x, torch.zeros(1, 4), 0.1)
    >>> [s.name for s in judge_answer(misfit, torch.tensor([[0.1] * 4, [0.2] * 4]), 1.05, None, 32).status]
    ['REACHED', 'MISSED']
    """
    with torch.no_grad():
        rms = misfit.rms(x1)
    status = [ended or (Status.REACHED if value <= tau else Status.MISSED) for value in rms.tolist()]
    finite = torch.isfinite(x1).flatten(1).all(1).tolist()
    each = [s if ok else Status.DIVERGED for s, ok in zip(status, finite, strict=True)]
    return result_without_control(misfit, x1, each, evaluations)
