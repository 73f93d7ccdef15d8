"""What the misfit says of a result: whether noise was fitted."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from headwater.dflow.result import Result
from headwater.optimizers.status import Status


def tell_overfitted(result: Result, count: Tensor, least: float | Tensor = 0.8) -> Result:
    """The result, in which samples far nearer to the measurement than its noise allows are told as failures.

    The measurement of a plausible sample lies at the noise level, like that of the truth: rms 1 +- 1 / sqrt(2n) with
    n measurements. Below `least`, and four such deviations below 1, noise was fitted. A mean (`Status.COMPUTED`) is
    judged by nothing: its misfit is lower by nature (see `OneEvaluation`).

    Parameters
    ----------
    result
        Its `measure` is the misfit in units of the noise, `[batch]`.
    count
        How many measurements each problem has, `[batch]`.
    least
        The misfit below which noise was fitted, if there are enough measurements to tell; one, or `[batch]`.

    Examples
    --------
    >>> from headwater import Misfit
    >>> from headwater.recipes.recipe import result_without_control
    >>> misfit = Misfit(lambda x: x, torch.zeros(1, 1000), 1.0)
    >>> result = result_without_control(misfit, torch.full((1, 1000), 0.7), Status.REACHED, 0)
    >>> [tell_overfitted(result, torch.tensor([n])).status[0].name for n in (1000, 20)]
    ['OVERFITTED', 'REACHED']
    """
    chance = 1 - 4 / (2 * count.to(result.measure)).sqrt()
    lowest = chance.minimum(torch.as_tensor(least).to(chance))
    low = (result.measure < lowest).tolist()
    reached = (Status.REACHED, Status.CONVERGED)
    return replace(
        result,
        status=tuple(
            Status.OVERFITTED if w and s in reached else s for w, s in zip(low, result.status, strict=True)
        ),
    )
