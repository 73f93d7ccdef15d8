"""Whether chains agree, and how many independent draws theirs are worth (Vehtari et al., 2021)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from headwater.extras import import_optional
from headwater.text import counted

COORDINATES = 32
"""The coordinates of x1 that are looked at, spread evenly over the event."""
FEWEST = 4
"""Draws per chain below which neither figure exists."""
FEW = 100
"""Effective draws below which quantiles are rough."""


def summaries(x0: Tensor, x1: Tensor, potential: Tensor) -> Tensor:
    """What the diagnostics look at, float64 `[chains, draws, quantities]`, of the draws of one problem.

    They are up to 32 coordinates of x1, spread evenly over the event, the potential Phi, and |x0|^2. x0 and x1 are
    `[chains, draws, *event]`, the potential `[chains, draws]`.
    """
    flat = x1.flatten(2).to(torch.float64)
    chosen = torch.linspace(0, flat.shape[2] - 1, min(flat.shape[2], COORDINATES), dtype=torch.float64)
    norm = x0.flatten(2).to(torch.float64).square().sum(2)
    return torch.cat([flat[:, :, chosen.round().long()], potential[..., None], norm[..., None]], 2)


def split_r_hat(quantities: Tensor) -> float:
    """The largest rank-normalised split R-hat of some quantities `[chains, draws, quantities]`; 1 if they agree.

    NaN with fewer than four draws. Quantities that never change do not count.

    References
    ----------
    Vehtari, Gelman, Simpson, Carpenter & Buerkner, "Rank-normalization, folding, and localization: an improved R-hat
    for assessing convergence of MCMC", Bayesian Analysis 16 (2021).
    """
    return _worst("rhat", quantities, max)


def bulk_ess(quantities: Tensor) -> float:
    """The smallest bulk effective sample size of some quantities `[chains, draws, quantities]`.

    NaN with fewer than four draws. Quantities that never change do not count.
    """
    return _worst("ess", quantities, min)


def _worst(figure: str, quantities: Tensor, choose: Any) -> float:
    q = quantities.to(torch.float64).cpu()
    if q.shape[0] == 0 or q.shape[1] < FEWEST:
        return math.nan
    q = q[:, :, (q.amax((0, 1)) > q.amin((0, 1)))]
    if q.shape[2] == 0:
        return math.nan
    stats = import_optional("arviz_stats.base", extra="posterior").array_stats
    found = getattr(stats, figure)(q.numpy(), chain_axis=0, draw_axis=1)
    return float(choose(float(value) for value in found.ravel()))


def largest_r_hat(draws: int) -> float:
    """The R-hat up to which chains of so many draws agree: 1.01, or what independent draws reach themselves.

    For independent draws R-hat^2 is about 1 + (F - 1) / m, with m the draws of half a chain and F a ratio of two
    variances. With four chains, in the worst of some thirty quantities, 95 of 100 runs have F - 1 below
    3.2 + 23 / m^2, from m = 2 to 8.

    Examples
    --------
    >>> round(largest_r_hat(4), 2), round(largest_r_hat(16), 2), round(largest_r_hat(1000), 2)
    (2.34, 1.2, 1.01)
    """
    half = max(draws // 2, 2)
    return max(1.01, math.sqrt(1 + (3.2 + 23 / half**2) / half))


def judge_chains(r_hat: float, ess: float, draws: int, chains: int, lost: int = 0, stuck: int = 0) -> str:
    """One sentence on the chains of a problem, and a second one if some were lost.

    Parameters
    ----------
    r_hat, ess
        The two figures.
    draws, chains
        Draws of a chain, and chains.
    lost, stuck
        Chains that could not start, and chains none of whose steps was accepted.

    Examples
    --------
    >>> judge_chains(1.004, 230.0, 1000, 4)
    'The chains agree: R-hat 1.00, 230 effective draws.'
    >>> judge_chains(1.4, 12.3, 100, 4)
    'The chains do not agree yet (R-hat 1.40, 12 effective draws): run longer, or start from other points.'
    """
    if lost == chains:
        return "No chain could start, as the misfit was not finite there."
    if draws == 0:
        return "No draw was kept, as the run ended before: go on from its state."
    note = f" {counted(lost, 'chain')} could not start, as the misfit was not finite there." if lost else ""
    if stuck and draws >= FEWEST:
        where = "" if stuck == chains - lost else f" in {counted(stuck, 'chain')}"
        return f"No step was accepted{where}: give a longer burn-in, or a smaller first step." + note
    if math.isnan(r_hat):
        return "There are too few draws to tell whether the chains agree: run longer." + note
    if r_hat > largest_r_hat(draws):
        return (
            f"The chains do not agree yet (R-hat {r_hat:.2f}, {counted(round(ess), 'effective draw')}): run longer, "
            "or start from other points." + note
        )
    few = "; quantiles are rough" if ess < FEW else ""
    return f"The chains agree: R-hat {r_hat:.2f}, {counted(round(ess), 'effective draw')}{few}." + note
