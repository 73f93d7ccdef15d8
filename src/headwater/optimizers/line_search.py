"""The strong Wolfe line search as a state machine: one evaluation per problem and call.

Nocedal & Wright, Numerical Optimization, 2nd ed., Algorithms 3.5 (bracket) and 3.6 (zoom). Both keep a best point
`lo` and refine an interval from `lo` to `hi`; `hi` is infinite while no upper end has been found. With this
convention the two algorithms make the same three decisions, so one set of masks serves problems in either phase.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from headwater.errors import Misuse


class Point(NamedTuple):
    """A point on the line: the step alpha, the cost phi and its slope dphi there, each `[batch]` float64."""

    alpha: Tensor
    phi: Tensor
    dphi: Tensor

    def where(self, rows: Tensor, other: Point) -> Point:
        """Self in `rows`, bool `[batch]`, and the other point elsewhere."""
        return Point(*(torch.where(rows, a, b) for a, b in zip(self, other, strict=True)))


class Search(NamedTuple):
    """One line search per problem, in float64; the optimiser's state stores it packed as `[batch, 13]`."""

    start: Point  # alpha = 0
    lo: Point  # the best point so far
    hi: Point  # the other end of the bracket; alpha infinite if there is none yet
    step: Tensor  # [batch], the step to evaluate
    longest: Tensor  # [batch], the longest step allowed
    resolution: Tensor  # [batch], steps closer than this differ by less than the rounding of x
    trials: Tensor  # [batch], evaluations so far

    @staticmethod
    def unpack(packed: Tensor) -> Search:
        """The search of a packed one `[batch, 13]`."""
        c = packed.unbind(1)
        return Search(Point(*c[0:3]), Point(*c[3:6]), Point(*c[6:9]), *c[9:13])

    def pack(self) -> Tensor:
        """All fields as one tensor `[batch, 13]`."""
        return torch.stack((*self.start, *self.lo, *self.hi, *self[3:]), dim=1)


PACKED = 13
"""Columns of a packed search."""


class Verdict(NamedTuple):
    """What one evaluation has decided, each `[batch]`."""

    search: Tensor  # the search with its next trial, packed
    accept: Tensor  # the trial satisfies the Wolfe conditions
    better: Tensor  # the trial is the new `lo`
    exhausted: Tensor  # further evaluations are pointless: `lo` is the result
    lo: Tensor  # the step of `lo`; zero if no point was better than the start
    phi_lo: Tensor  # its cost


def begin_search(phi: Tensor, dphi: Tensor, alpha: Tensor, longest: Tensor, resolution: Tensor) -> Tensor:
    """A packed search `[batch, 13]` that tries the step alpha first; phi and dphi `[batch]` are those of step 0."""
    zero, inf = torch.zeros_like(phi), torch.full_like(phi, torch.inf)
    start = Point(zero, phi, dphi)
    return Search(start, start, Point(inf, inf, inf), alpha, longest, resolution, trials=zero).pack()


@dataclass(frozen=True)
class StrongWolfe:
    """The strong Wolfe conditions and the limits of the search for a step that satisfies them.

    phi(alpha) <= phi(0) + c1 alpha dphi(0)  and  |dphi(alpha)| <= c2 |dphi(0)|   (3.7)

    phi(alpha) is the cost of a problem at x + alpha p. Where the costs differ by less than their rounding error,
    `noise` |phi(0)|, the second condition alone decides. A NaN or infinite evaluation counts as a step that is too
    long.

    Parameters
    ----------
    c1, c2
        The constants of the two conditions, 0 < c1 < c2 < 1.
    max_evaluations
        The most evaluations of one search, at least 2.

    Raises
    ------
    Misuse
        If the constants are not in this order, or `max_evaluations` is below 2.

    References
    ----------
    Nocedal & Wright (2006), eq. 3.7; Hager & Zhang, SIAM J. Optim. 16 (2005), section 2 (approximate Wolfe).

    Examples
    --------
    >>> from headwater import LBFGS
    >>> optimizer = LBFGS(wolfe=StrongWolfe(c2=0.5))  # a more accurate search: more evaluations, fewer iterations
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

    def judge(self, packed: Tensor, phi: Tensor, dphi: Tensor, noise: float) -> Verdict:
        """What the evaluation (phi, dphi), each `[batch]` float64, of every search's trial decides.

        `packed` are the searches `[batch, 13]`; `noise` is the relative rounding error of a cost.
        """
        search = Search.unpack(packed)
        trial, start = Point(search.step, phi, dphi), search.start
        finite = torch.isfinite(phi) & torch.isfinite(dphi)
        armijo = phi <= start.phi + self.c1 * trial.alpha * start.dphi  # (3.7a)
        flat = finite & (dphi.abs() <= -self.c2 * start.dphi)  # (3.7b)
        better = finite & armijo & (phi < search.lo.phi)
        # Approximate Wolfe: near a minimum costs differ by rounding only, and (3.7a) would be a matter of chance.
        level = phi <= search.lo.phi + noise * start.phi.abs()
        # Still falling at the longest step: (3.7b) cannot be met, so the step is taken as it is.
        at_limit = (trial.alpha >= search.longest) & better & (dphi < 0)
        turned = better & (dphi * (search.hi.alpha - search.lo.alpha) >= 0)

        # Algorithm 3.6: a better trial becomes `lo`, another one `hi`; where it is better but the cost rises towards
        # `hi`, the old `lo` becomes `hi`.
        lo = trial.where(better, search.lo)
        hi = search.lo.where(turned, search.hi.where(better, trial))
        trials = search.trials + 1
        step = propose_step(search.lo, lo, hi, search.longest, trials)
        exhausted = (trials >= self.max_evaluations) | ((hi.alpha - lo.alpha).abs() <= search.resolution)
        return Verdict(
            search=search._replace(lo=lo, hi=hi, step=step, trials=trials).pack(),
            accept=flat & (better | level) | at_limit,
            better=better,
            exhausted=exhausted,
            lo=lo.alpha,
            phi_lo=lo.phi,
        )


def propose_step(previous: Point, lo: Point, hi: Point, longest: Tensor, trials: Tensor) -> Tensor:
    """The next step `[batch]`: beyond `lo` while there is no bracket, inside the bracket afterwards.

    `previous` is the best point before `lo`. The minimiser of the cubic is kept within 2 to 10 times the last
    extension, or a tenth of the bracket away from its ends. Every third trial bisects, and if the far end is not
    finite the step is a quarter of the way.
    """
    extend = torch.isinf(hi.alpha)
    a, b = previous.where(extend, lo), lo.where(extend, hi)
    fraction = cubic_minimum(a, b)
    inside = torch.where(trials % 3 == 0, 0.5, fraction.clamp(0.1, 0.9).nan_to_num(nan=0.5))
    inside = torch.where(torch.isfinite(b.phi + b.dphi), inside, 0.25)
    outside = fraction.clamp(2.0, 10.0).nan_to_num(nan=4.0)
    step = a.alpha + torch.where(extend, outside, inside) * (b.alpha - a.alpha)
    return torch.minimum(step, longest)


def cubic_minimum(a: Point, b: Point) -> Tensor:
    """The minimiser of the cubic through the costs and slopes of two points, as a fraction of the way from a to b.

    `[batch]` float64; NaN where the cubic has no minimum.

    References
    ----------
    Nocedal & Wright (2006), eq. 3.59.

    Examples
    --------
    >>> point = lambda alpha: Point(*torch.tensor([[alpha], [(alpha - 3.0) ** 2], [2 * (alpha - 3.0)]]))
    >>> cubic_minimum(point(1.0), point(2.0))
    tensor([2.])
    """
    width = b.alpha - a.alpha
    d1 = a.dphi + b.dphi - 3 * (b.phi - a.phi) / width
    d2 = torch.sign(width) * torch.sqrt(d1 * d1 - a.dphi * b.dphi)
    return 1 - (b.dphi + d2 - d1) / (b.dphi - a.dphi + 2 * d2)
