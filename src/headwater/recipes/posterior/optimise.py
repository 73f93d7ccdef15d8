"""What randomised optimisation needs: a batched minimisation, and measurements with new noise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from headwater.dflow.control import optimize_step
from headwater.dflow.evaluation import Evaluation
from headwater.errors import Misuse
from headwater.optimizers import LBFGS, RUNNING, OptimizerState
from headwater.problem.cost import Cost, Misfit
from headwater.recipes.estimate import perturb_measurement
from headwater.recipes.posterior.noise import Noise


def minimise(
    evaluate: Callable[[Tensor, Tensor], Evaluation], x0: Tensor, gradients: int, first_step: float
) -> OptimizerState:
    """The state of L-BFGS after at most some gradients for every row.

    Parameters
    ----------
    evaluate
        Rows that still run `[k]` and all points `[chains, *event]` -> their evaluation.
    x0
        Where it begins, `[chains, *event]`.
    gradients
        The most gradients of every row.
    first_step
        The first step, rms per coordinate.
    """
    optimizer = LBFGS(first_step=first_step)
    state = optimizer.init(x0)
    for _ in range(gradients):
        active = torch.nonzero(state.code == RUNNING).flatten()
        if len(active) == 0:
            break
        state = optimize_step(optimizer, state, active, evaluate(active, state.trial))
    return state


def require_measurement(cost: Cost) -> Misfit:
    """The cost as a Gaussian misfit, whose measurement can be drawn again.

    Raises
    ------
    Misuse
        If it is another cost.
    """
    if isinstance(cost, Misfit):
        return cost
    raise Misuse(
        f"This sampler draws the measurement again, and {type(cost).__name__} has none.",
        "Give a Misfit(operator, y, sigma_y), or take a Markov chain such as InfinityHMC().",
    )


def draw_measurement(misfit: Misfit, chains: int, noise: Noise) -> Misfit:
    """The misfit with y + sigma_y n in place of y, n ~ N(0, I), a draw of its own for every chain.

    For complex y each of the two parts of n is N(0, I).
    """
    return perturb_measurement(misfit, chains, noise.normal)
