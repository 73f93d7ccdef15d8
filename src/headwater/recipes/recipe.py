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

    Parameters
    ----------
    steps
        Steps of the solver, at least 1.
    gradients
        The most gradient evaluations per problem, at least 1.
    tau
        The discrepancy level: a problem is solved when the rms of its misfit is `tau` times the noise.
    gradient
        How the solve is differentiated, which decides how much memory it needs.
    callback
        As in `control`; also heard while the start is made, as round 0.

    Raises
    ------
    Misuse
        If `steps` or `gradients` is below 1.

    Examples
    --------
    Three gradients at most, for a measurement that is nearly noiseless:

    >>> from headwater import Gaussian, Misfit, Paper
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x, torch.tensor([[3.0, -3.0]]), 1e-6)
    >>> options = RecipeOptions(steps=4, gradients=3)
    >>> result = Paper()(flow, misfit, [0], guess=torch.zeros(1, 2), options=options)
    >>> result.gradients.tolist(), result.nfe_per_gradient, result.status[0].name
    ([3], 8, 'EVALUATIONS')
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
    """A whole method as a frozen dataclass; its fields are its settings.

    A protocol: any callable with these arguments is a recipe.

    Examples
    --------
    A recipe of one's own: plain control from noise.

    >>> from headwater import Gaussian, Misfit, RecipeOptions, control, discrepancy
    >>> def plain(flow, misfit, seeds, *, guess, options=RecipeOptions()):
    ...     return control(flow, misfit, flow.noise(seeds), stop=discrepancy(misfit), callback=options.callback)
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> misfit = Misfit(lambda x: x, torch.tensor([[0.5, -0.5]]), 0.01)
    >>> plain(flow, misfit, [0, 1], guess=misfit.y).x1.shape
    torch.Size([2, 2])
    """

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
            The prior, with events `[*event]`.
        misfit
            What was measured.
        seeds
            One whole number per problem; a problem's result depends on its own seed alone.
        guess
            A rough x1 `[batch or 1, *event]` in data units to begin with.
        options
            What differs from the recipe's own settings.

        Returns
        -------
        result
            One problem per seed: x0 and x1 `[len(seeds), *event]`.
        """
        ...


def require_misfit(misfit: object) -> None:
    """Refuse a plain cost, of which a recipe knows neither operator nor noise level.

    Raises
    ------
    Misuse
        If it has no operator or no `rms`.
    """
    if not (hasattr(misfit, "operator") and hasattr(misfit, "rms")):
        raise Misuse(
            "A recipe was given a cost without operator, measurement and noise level.",
            "Give a Misfit(operator, y, sigma_y), or minimise any cost with `control`.",
        )


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
