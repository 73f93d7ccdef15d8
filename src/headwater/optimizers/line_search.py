"""The strong Wolfe line search as a state machine: one evaluation per problem and call.

Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithms 3.5 (bracket) and 3.6 (zoom). Both keep a best
point `lo` and refine an interval from `lo` to `hi`; while no upper end has been found `hi` is infinite. With
this convention the two algorithms make the same three decisions, so one set of masks serves problems in
either phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from headwater.errors import Misuse


class Search(NamedTuple):
    """One line search per problem; all in float64, stored together as [batch, 13].

    A point on the line is a row (alpha, phi, dphi): the step, the cost and its slope there.
    """

    start: Tensor  # [batch, 3], alpha = 0
    lo: Tensor  # [batch, 3], the best point so far
    hi: Tensor  # [batch, 3], the other end of the bracket; alpha infinite if there is none yet
    plan: Tensor  # [batch, 3]: the step to evaluate, the longest step allowed, the resolution of steps
    trials: Tensor  # [batch, 1], evaluations so far

    @staticmethod
    def unpack(packed: Tensor) -> Search:
        """Views of the columns."""
        return Search(*torch.split(packed, [3, 3, 3, 3, 1], dim=1))

    def pack(self) -> Tensor:
        """All columns as one tensor [batch, 13]."""
        return torch.cat(self, dim=1)


class Verdict(NamedTuple):
    """What one evaluation decided, each [batch]."""

    search: Tensor  # the search with its next trial, packed
    accept: Tensor  # the trial satisfies the Wolfe conditions
    better: Tensor  # the trial is the new `lo`
    exhausted: Tensor  # no further evaluation is worth while: `lo` is all there is
    lo: Tensor  # the step of `lo`; zero if no point was better than the start
    phi_lo: Tensor  # its cost


def begin(phi: Tensor, dphi: Tensor, alpha: Tensor, longest: Tensor, resolution: Tensor) -> Tensor:
    """A packed search [batch, 13] from cost phi and slope dphi at zero that tries the step alpha first."""
    zero, inf = torch.zeros_like(phi), torch.full_like(phi, torch.inf)
    start = (zero, phi, dphi)
    return torch.stack((*start, *start, inf, inf, inf, alpha, longest, resolution, zero), dim=1)


@dataclass(frozen=True)
class StrongWolfe:
    """The strong Wolfe conditions and the limits of the search for a step that satisfies them.

    phi(alpha) <= phi(0) + c1 alpha dphi(0)  and  |dphi(alpha)| <= c2 |dphi(0)|   (3.7)

    Where the costs differ by less than their rounding error, `noise` |phi(0)|, the second condition alone
    decides (the approximate Wolfe conditions of Hager & Zhang, SIAM J. Optim. 16 (2005), section 2). A NaN or
    infinite evaluation counts as too long a step.

    >>> StrongWolfe(c1=0.5, c2=0.1)
    Traceback (most recent call last):
        ...
    headwater.errors.Misuse: c1 is 0.5 and c2 is 0.1. Choose 0 < c1 < c2 < 1.
    """

    c1: float = 1e-4
    c2: float = 0.9
    max_evaluations: int = 20

    def __post_init__(self) -> None:
        if not 0 < self.c1 < self.c2 < 1:
            raise Misuse(f"c1 is {self.c1} and c2 is {self.c2}.", "Choose 0 < c1 < c2 < 1.")
        if self.max_evaluations < 2:
            raise Misuse(f"max_evaluations is {self.max_evaluations}.", "Allow at least 2 per search.")

    def tell(self, packed: Tensor, phi: Tensor, dphi: Tensor, noise: float) -> Verdict:
        """Consume the evaluation (phi, dphi), each [batch] float64, of every search's trial."""
        search = Search.unpack(packed)
        alpha, longest, resolution = search.plan.unbind(1)
        _, phi0, dphi0 = search.start.unbind(1)
        finite = torch.isfinite(phi) & torch.isfinite(dphi)
        armijo = phi <= phi0 + self.c1 * alpha * dphi0  # (3.7a)
        flat = finite & (dphi.abs() <= -self.c2 * dphi0)  # (3.7b)
        better = finite & armijo & (phi < search.lo[:, 1])
        level = phi <= search.lo[:, 1] + noise * phi0.abs()
        at_limit = (alpha >= longest) & better & (dphi < 0)
        turned = better & (dphi * (search.hi[:, 0] - search.lo[:, 0]) >= 0)

        point = torch.stack((alpha, phi, dphi), dim=1)
        lo = torch.where(better[:, None], point, search.lo)
        hi = torch.where(turned[:, None], search.lo, torch.where(better[:, None], search.hi, point))
        trials = search.trials + 1
        step = propose(search.lo, lo, hi, longest, trials[:, 0])
        exhausted = (trials[:, 0] >= self.max_evaluations) | ((hi[:, 0] - lo[:, 0]).abs() <= resolution)
        plan = torch.stack((step, longest, resolution), dim=1)
        return Verdict(
            search=Search(search.start, lo, hi, plan, trials).pack(),
            accept=flat & (better | level) | at_limit,
            better=better,
            exhausted=exhausted,
            lo=lo[:, 0],
            phi_lo=lo[:, 1],
        )


def propose(previous: Tensor, lo: Tensor, hi: Tensor, longest: Tensor, trials: Tensor) -> Tensor:
    """The next step [batch]: beyond `lo` while there is no bracket, inside the bracket afterwards.

    `previous` is the best point before `lo`; points are [batch, 3]. The minimiser of the cubic is kept within
    2 to 10 times the last extension, or off the ends of the bracket by a tenth; every third trial bisects,
    and an end that is not finite is approached by quarters.
    """
    extend = torch.isinf(hi[:, 0])
    a = torch.where(extend[:, None], previous, lo)
    b = torch.where(extend[:, None], lo, hi)
    base, width = a[:, 0], b[:, 0] - a[:, 0]
    fraction = cubic_minimum(a, b)
    inside = torch.where(trials % 3 == 0, 0.5, fraction.clamp(0.1, 0.9).nan_to_num(nan=0.5))
    inside = torch.where(torch.isfinite(b[:, 1] + b[:, 2]), inside, 0.25)
    outside = fraction.clamp(2.0, 10.0).nan_to_num(nan=4.0)
    step = base + torch.where(extend, outside, inside) * width
    return torch.minimum(step, longest)


def cubic_minimum(a: Tensor, b: Tensor) -> Tensor:
    """The minimiser of the cubic through two points [batch, 3], as a fraction of the way from a to b.

    Nocedal & Wright (3.59) with costs and slopes; NaN where the cubic has no minimum.

    >>> line = lambda alpha: torch.tensor([[alpha, (alpha - 3.0) ** 2, 2 * (alpha - 3.0)]])
    >>> cubic_minimum(line(1.0), line(2.0))
    tensor([2.])
    """
    alpha_a, phi_a, dphi_a = a.unbind(1)
    alpha_b, phi_b, dphi_b = b.unbind(1)
    width = alpha_b - alpha_a
    d1 = dphi_a + dphi_b - 3 * (phi_b - phi_a) / width
    d2 = torch.sign(width) * torch.sqrt(d1 * d1 - dphi_a * dphi_b)
    return 1 - (dphi_b + d2 - d1) / (dphi_b - dphi_a + 2 * d2)
