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


class Point(NamedTuple):
    """A point on the line: the step alpha, the cost and its slope there, each [batch] float64."""

    alpha: Tensor
    phi: Tensor
    dphi: Tensor

    def where(self, rows: Tensor, other: Point) -> Point:
        """Take self in `rows` [batch] bool, the other elsewhere."""
        return Point(*(torch.where(rows, a, b) for a, b in zip(self, other, strict=True)))


class Search(NamedTuple):
    """One line search per problem, in float64; stored packed as [batch, 13]."""

    start: Point  # alpha = 0
    lo: Point  # the best point so far
    hi: Point  # the other end of the bracket; alpha infinite if there is none yet
    step: Tensor  # [batch], the step to evaluate
    longest: Tensor  # [batch], the longest step allowed
    resolution: Tensor  # [batch], steps closer than this differ by less than the rounding of x
    trials: Tensor  # [batch], evaluations so far

    @staticmethod
    def unpack(packed: Tensor) -> Search:
        """The fields of a packed search [batch, 13]."""
        c = packed.unbind(1)
        return Search(Point(*c[0:3]), Point(*c[3:6]), Point(*c[6:9]), *c[9:13])

    def pack(self) -> Tensor:
        """All fields as one tensor [batch, 13]."""
        return torch.stack((*self.start, *self.lo, *self.hi, *self[3:]), dim=1)


PACKED = 13
"""Columns of a packed search."""


class Verdict(NamedTuple):
    """What one evaluation decided, each [batch]."""

    search: Tensor  # the search with its next trial, packed
    accept: Tensor  # the trial satisfies the Wolfe conditions
    better: Tensor  # the trial is the new `lo`
    exhausted: Tensor  # no further evaluation is worth while: `lo` is all there is
    lo: Tensor  # the step of `lo`; zero if no point was better than the start
    phi_lo: Tensor  # its cost


def begin_search(phi: Tensor, dphi: Tensor, alpha: Tensor, longest: Tensor, resolution: Tensor) -> Tensor:
    """A packed search [batch, 13] from cost phi and slope dphi at zero that tries the step alpha first."""
    zero, inf = torch.zeros_like(phi), torch.full_like(phi, torch.inf)
    start = Point(zero, phi, dphi)
    return Search(start, start, Point(inf, inf, inf), alpha, longest, resolution, trials=zero).pack()


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
        trial, start = Point(search.step, phi, dphi), search.start
        finite = torch.isfinite(phi) & torch.isfinite(dphi)
        armijo = phi <= start.phi + self.c1 * trial.alpha * start.dphi  # (3.7a)
        flat = finite & (dphi.abs() <= -self.c2 * start.dphi)  # (3.7b)
        better = finite & armijo & (phi < search.lo.phi)
        level = phi <= search.lo.phi + noise * start.phi.abs()
        at_limit = (trial.alpha >= search.longest) & better & (dphi < 0)
        turned = better & (dphi * (search.hi.alpha - search.lo.alpha) >= 0)

        lo = trial.where(better, search.lo)
        hi = search.lo.where(turned, search.hi.where(better, trial))
        trials = search.trials + 1
        step = propose(search.lo, lo, hi, search.longest, trials)
        exhausted = (trials >= self.max_evaluations) | ((hi.alpha - lo.alpha).abs() <= search.resolution)
        return Verdict(
            search=search._replace(lo=lo, hi=hi, step=step, trials=trials).pack(),
            accept=flat & (better | level) | at_limit,
            better=better,
            exhausted=exhausted,
            lo=lo.alpha,
            phi_lo=lo.phi,
        )


def propose(previous: Point, lo: Point, hi: Point, longest: Tensor, trials: Tensor) -> Tensor:
    """The next step [batch]: beyond `lo` while there is no bracket, inside the bracket afterwards.

    `previous` is the best point before `lo`. The minimiser of the cubic is kept within 2 to 10 times the last
    extension, or off the ends of the bracket by a tenth; every third trial bisects, and an end that is not finite is
    approached by quarters.
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
    """The minimiser of the cubic through two points, as a fraction of the way from a to b, [batch].

    Nocedal & Wright (3.59) with costs and slopes; NaN where the cubic has no minimum.

    >>> point = lambda alpha: Point(*torch.tensor([[alpha], [(alpha - 3.0) ** 2], [2 * (alpha - 3.0)]]))
    >>> cubic_minimum(point(1.0), point(2.0))
    tensor([2.])
    """
    width = b.alpha - a.alpha
    d1 = a.dphi + b.dphi - 3 * (b.phi - a.phi) / width
    d2 = torch.sign(width) * torch.sqrt(d1 * d1 - a.dphi * b.dphi)
    return 1 - (b.dphi + d2 - d1) / (b.dphi - a.dphi + 2 * d2)
