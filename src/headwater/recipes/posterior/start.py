"""Where chains begin: source points that agree with the measurement, one of its own for every chain."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.problem.cost import Cost
from headwater.recipes.estimate import Estimate
from headwater.solvers.fixed import invert

INVERSION = 12
"""Midpoint steps of the inversion of an estimate."""


def start_chains(
    flow: Flow, cost: Cost, seeds: Sequence[int], guess: Tensor | None, device: torch.device
) -> tuple[Tensor, int]:
    """A start for every chain, and the network evaluations it took.

    For a misfit it is the inversion of an `Estimate`: each chain has noise of its own, so that they begin apart, yet
    near the measurement. For any other cost it is a draw of the source.

    Parameters
    ----------
    flow, cost
        Of all chains.
    seeds
        One per chain.
    guess
        A rough x1 `[chains or 1, *event]`; None means zeros.
    device
        Of the start.

    Returns
    -------
    x0, evaluations
        `[chains, *event]`, and network evaluations per chain.
    """
    if not (hasattr(cost, "operator") and hasattr(cost, "rms")):
        return flow.noise(seeds, device=device), 0
    estimate = Estimate()
    rough = torch.zeros(1, *flow.shape, device=device) if guess is None else guess
    x1 = estimate.sample(flow, cost, seeds, guess=rough)  # type: ignore[arg-type]
    return invert(flow, x1, steps=INVERSION), estimate.times + 2 * INVERSION


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
