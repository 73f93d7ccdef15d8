"""log p_t of several flows along one stochastic path, without a divergence: the Ito density estimator.

An ancestral step of flow i goes from x at t to N(mean_i, s^2) at t', and noise goes back from x' by the kernel
q(x | x') = N(alpha/alpha' x', c^2) with c^2 = sigma^2 - (alpha/alpha')^2 sigma'^2. Bayes' rule
p_t'(x') q(x | x') = p_t(x) p(x' | x), which holds for any x and x', gives

    log p_t'(x') = log p_t(x) + log N(x'; mean_i, s^2) - log q(x | x')

whoever moved x to x'. For short steps it is Ito's formula, d log p = score . (dx - v dt) - d alpha'/alpha dt (d the
dimension), with the noise g^2 = 2 sigma (sigma alpha'/alpha - sigma') that makes both terms with a divergence cancel.
Unlike that formula it holds at t = 0, where alpha'/alpha is infinite. A Gaussian stands for p(x' | x), with the
variance that x1 given x would have in isotropic data of standard deviation `spread`,

    s'^2 = s^2 + weight^2 spread^2 sigma^2 / (sigma^2 + alpha^2 spread^2),    m_i = weight xhat_i + (...) x

so it is exact for such data, in steps of any length, and for spread 0 where the data are one point. Otherwise its
error falls with the root of the step length: the draws of the path are probes of a divergence, one for each step.

(Skreta et al. 2024, theorem 1; Bao et al., "Analytic-DPM", 2022, for the variance.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.path import cast_time
from headwater.solvers.fixed import Grid, rising_grid
from headwater.solvers.stochastic import Ancestral, step_law

ANCESTRAL = Ancestral()


@dataclass(frozen=True)
class SharedStep:
    """One ancestral step of several flows from the same states.

    Attributes
    ----------
    means
        Where each flow would go, float64 `[batch, flows, size]`, the entries of an event in a row.
    std
        The noise of the step, the same for all; 0 at the last step, where sigma is 0.
    wide
        The standard deviation of x' given x for data of the spread, at least `std`.
    keep, back
        alpha / alpha' and c of the kernel that noises x' again.
    """

    means: Tensor
    std: float
    wide: float
    keep: float
    back: float

    def gain(self, x: Tensor, x_next: Tensor, dimension: int | Tensor) -> Tensor:
        """log p_t'(x') - log p_t(x) of every flow, float64 `[batch, flows]`, x and x' `[batch, size]` float64."""
        forth = (x_next[:, None] - self.means).square().sum(2) / self.wide**2
        again = (x - self.keep * x_next).square().sum(1) / self.back**2
        scale = torch.as_tensor(dimension, dtype=x.dtype, device=x.device) * math.log(self.back / self.wide)
        return (again[:, None] - forth) / 2 + scale.reshape(-1, 1)


def share_step(
    flows: tuple[Flow, ...], x: Tensor, t: float, t_next: float, spread: float = 0.0
) -> SharedStep:
    """The step of every flow from x `[batch, *event]`: one evaluation of each."""
    laws = [step_law(flow, x, t, t_next, ANCESTRAL) for flow in flows]
    path = flows[0].path
    now, end = (cast_time(torch.tensor(u, dtype=torch.float64)) for u in (t, t_next))
    now = now.clamp(*path.span)
    a, b, a_next, b_next = (float(f(u)) for u in (now, end) for f in (path.alpha, path.sigma))
    keep = a / a_next
    back = math.sqrt(max(b**2 - (keep * b_next) ** 2, 0.0))
    weight = a_next - keep * (b_next / b) ** 2 * a
    left = spread**2 * b**2 / (b**2 + a**2 * spread**2)
    std = float(laws[0].std)
    means = torch.stack([law.mean.flatten(1).to(torch.float64) for law in laws], dim=1)
    return SharedStep(means, std, math.hypot(std, weight * math.sqrt(left)), keep, back)


def density_grid(steps: int | Sequence[float]) -> Grid:
    """The times of `even_grid` for a number of steps, or those given, which have to begin at 0.

    Raises
    ------
    Misuse
        As `rising_grid`, or if they begin later: only at the source the density is known.
    """
    grid = even_grid(steps) if isinstance(steps, int) else rising_grid(steps)
    if grid[0] != 0:
        raise Misuse(
            f"The times begin at {grid[0]:g}, where the density of the flows is not known.",
            "Give times from 0, where every flow has the density N(0, I).",
        )
    return grid


def even_grid(steps: int, first: float = 0.02, last: float = 0.98) -> Grid:
    """Times from 0 to 1 whose logits are evenly spaced between `first` and `last`: even in the log signal-to-noise.

    A density that is tracked needs steps that are short against sigma, also near t = 1.

    Examples
    --------
    >>> [round(t, 2) for t in even_grid(4)]
    [0.0, 0.02, 0.5, 0.98, 1.0]
    """
    if steps < 3:
        raise Misuse(f"A path of {steps} steps is too short for an even grid.", "Give 3 steps or more.")
    low, high = (math.log(t / (1 - t)) for t in (first, last))
    logits = (low + (high - low) * i / (steps - 2) for i in range(steps - 1))
    return (0.0, *(1 / (1 + math.exp(-u)) for u in logits), 1.0)
