"""Where chains begin: each near the measurement, and apart from the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headwater.dflow.prior import NearDraw
from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.problem.cost import Misfit
from headwater.recipes.estimate import Estimate
from headwater.recipes.posterior.chains import Sampler
from headwater.recipes.posterior.noise import Noise
from headwater.recipes.posterior.optimise import draw_measurement, minimise, require_measurement
from headwater.recipes.posterior.perturb_and_map import calls_of_estimate, invert_estimate
from headwater.recipes.posterior.potential import Potential

GRADIENTS = 20
"""The most gradients that the start of a chain takes."""


def start_chains(potential: Potential, method: Sampler, z: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """A start for every chain from its draw z of the source `[chains, *event]`, and the gradients it took `[chains]`.

    Where `count_start` says so it is a draw of `PerturbAndMAP`: near the measurement, with the norm of a draw. An
    inverted estimate is nearer to the measurement, but far from where the posterior is. Else it is z.
    """
    gradients = count_start(method)
    if gradients == 0:
        return z, torch.zeros(len(z), dtype=torch.int64, device=z.device)
    cost = potential.cost
    if isinstance(cost, Misfit):
        cost = draw_measurement(cost, len(z), noise)
    objective = replace(potential.objective, cost=cost, prior=NearDraw(z))
    found = minimise(objective.evaluate_problems, z, gradients, first_step=0.05)
    return found.x, found.evaluations


def start_at_estimates(
    potential: Potential, estimate: Estimate, seeds: Sequence[int], like: Tensor
) -> tuple[Tensor, Tensor]:
    """The source points of estimates from the noise of the seeds, and the evaluations they took.

    `like` `[chains, *event]` has the dtype; the two are `[chains, *event]` and int64 `[chains]`.
    """
    x0 = invert_estimate(estimate, potential.flow, require_measurement(potential.cost), seeds, like)
    return x0, torch.full((len(x0),), calls_of_estimate(estimate), device=x0.device)


def count_start(method: Sampler) -> int:
    """The most gradients of a chain's start: none if no draw depends on it, or if the sampler takes no gradient."""
    return GRADIENTS if method.needs_start and method.calls_per_step().gradients else 0


def spread_start(start: Tensor, flow: Flow, problems: int, chains: int) -> Tensor:
    """A given start `[problems, *event]` or `[problems, chains, *event]`, for every chain.

    Raises
    ------
    Misuse
        If it has another shape, or is in half precision.
    """
    if tuple(start.shape) == (problems, *flow.shape):
        start = start.repeat_interleave(chains, 0)
    elif tuple(start.shape) == (problems, chains, *flow.shape):
        start = start.flatten(0, 1)
    else:
        raise Misuse(
            f"The start has the shape {list(start.shape)}.",
            f"Give x0 as {[problems, *flow.shape]}, or one for each chain, {[problems, chains, *flow.shape]}.",
        )
    require_full_precision(start)
    return start.detach()
