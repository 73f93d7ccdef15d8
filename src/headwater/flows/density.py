"""Control of the log-density along a flow: density guidance, and prior guidance of the source point.

Along a path x_t' = v'(x_t, t) the log-density of the flow's own marginals changes by

    d log p_t(x_t) / dt = -div v + (v' - v) . s,        s = grad log p_t = -eps / sigma

The v' nearest to v that adds a rate b to it is v' = v + b s / |s|^2 (Karczewski et al., ICML 2025). It costs nothing,
since eps is known from v. Two rates:

    gain      b = G / (end - begin): G nats more, in all
    quantile  b = (alpha'/alpha - sigma'/sigma) sqrt(2 d) Phi^-1(q): the rate that a share q of the states would have
              less of, where sigma^2 (lap log p + |s|^2) / sqrt(2 d) ~ N(0, 1); v' is v with eps scaled by
              1 + sqrt(2 d) Phi^-1(q) / |eps|^2

Prior guidance scales x0 alone. For Gaussian data log p1(x1) = const - |x0|^2 / 2, so it is exact there.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.scaled import BEGIN, require_data, within
from headwater.problem.batch import per_problem, select_rows


@dataclass(frozen=True, eq=False)
class DensityGuidedVelocity:
    """v + b s / |s|^2 from the time `begin` to `end`; see `guide_density`."""

    flow: Flow
    gain: Tensor | None
    quantile: float
    begin: float
    end: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v = self.flow(x, t)
        eps = self.flow.path.eps_from_v(x, v, t)
        # At a mode eps is 0 and the direction is none: nothing is pushed there.
        square = per_problem(eps.flatten(1).square().sum(1).clamp(min=1e-12), x)
        if self.gain is None:
            a, b, da, db = self.flow.path.coefficients(x, t.clamp(min=self.begin))
            d = torch.as_tensor(self.flow.source_dimension, dtype=x.dtype, device=x.device)
            normal = torch.special.ndtri(torch.tensor(self.quantile, dtype=torch.float64)).to(x)
            push = (db - b * da / a) * per_problem((2 * d).sqrt() * normal, x) / square
        else:
            sigma = self.flow.path.coefficients(x, t)[1]
            rate = per_problem(self.gain.to(x.device) / (self.end - self.begin), x)
            push = -rate * sigma / square  # s / |s|^2 = -sigma eps / |eps|^2
        return v + within(t, self.begin, self.end, x) * push * eps

    def select(self, index: Tensor) -> DensityGuidedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, flow=self.flow.select(index), gain=select_rows(self.gain, index))


def guide_density(
    flow: Flow,
    *,
    gain: float | Tensor | None = None,
    quantile: float | None = None,
    begin: float | None = None,
    end: float = 1.0,
) -> Flow:
    """The flow whose samples have a higher, or lower, log-density: smoother, or richer in detail.

    Exactly one of `gain` and `quantile` is given. Both add to d log p_t(x_t) / dt exactly what the module says, on
    any flow whose eps is exact. What div v contributes changes with the path, except for Gaussian data: there
    log p1(x1) is larger by exactly `gain`.

    Parameters
    ----------
    flow
        The model, with events `[*event]`.
    gain
        Nats of log-density to add on the way, a number or one per problem `[batch]`, at an even rate. Draws of d
        numbers differ by about sqrt(d / 2).
    quantile
        q in (0, 1): 0.5 changes nothing, more is smoother. It is a quantile of the *rate* at every noise level, not
        of log p1: held over all levels, q = 0.9 takes a sample far out of the draws.
    begin, end
        The times between which it holds, begin <= t < end, best on the grid. `begin` is 0, and 0.02 for a quantile,
        whose rate is infinite where alpha is 0.

    Returns
    -------
    flow
        With events `[*event]`; an evaluation costs one of the model.

    Raises
    ------
    Misuse
        If not exactly one of `gain` and `quantile` is given, one is out of its range, or the times do not rise within
        [0, 1].

    References
    ----------
    Karczewski, Heinonen & Garg, "Devil is in the Details: Density Guidance for Detail-Aware Generation with Flow
    Models", ICML 2025.

    Examples
    --------
    >>> from headwater import Gaussian, solve
    >>> law = Gaussian(torch.zeros(4), torch.tensor([1.0, 2.0, 0.5, 1.0]))
    >>> x0 = torch.full((1, 4), 1.5, dtype=torch.float64)
    >>> x1 = [solve(f, x0, steps=50) for f in (law.flow, guide_density(law.flow, gain=1.0))]
    >>> round((law.log_density(x1[1]) - law.log_density(x1[0])).item(), 3)
    1.0
    """
    if (gain is None) == (quantile is None):
        raise Misuse("Give a gain in nats or a quantile, and not both.", "Say gain=20.0, or quantile=0.6.")
    nats = None if gain is None else torch.as_tensor(gain, dtype=torch.float64)
    if nats is not None and (nats.ndim > 1 or not bool(nats.isfinite().all())):
        raise Misuse(f"The gain {gain} is no finite number of nats.", "Give one number, or one per problem.")
    if quantile is not None and not 0 < quantile < 1:
        raise Misuse(
            f"{quantile} is no quantile between 0 and 1.", "Give one such as 0.4 or 0.6; 0.5 changes nothing."
        )
    first = (0.0 if quantile is None else BEGIN) if begin is None else begin
    if not 0 <= first < end <= 1:
        raise Misuse(
            f"The times {first} and {end} do not rise within [0, 1].", "Give, say, begin=0.02, end=1.0."
        )
    if quantile is not None:
        require_data(flow, first)
    velocity = DensityGuidedVelocity(flow, nats, 0.5 if quantile is None else quantile, first, end)
    return replace(flow, velocity=velocity, dtype=None)


def scale_to_quantile(x0: Tensor, quantile: float | Tensor, dimension: int | Tensor | None = None) -> Tensor:
    """x0 with its length changed so that log N(x0; 0, I) is at this quantile among draws: prior guidance.

    |x0|^2 follows the chi-square law of d degrees, and log N falls with it: |x0|^2 becomes its quantile at 1 - q. For
    Gaussian data log p1(x1) is then at the quantile q among draws, too; elsewhere only where the flow is aligned with
    its scores. It is differentiable in x0.

    Parameters
    ----------
    x0
        Source points `[batch, *event]`, not zero.
    quantile
        q in (0, 1), a number or one per problem `[batch]`; more is smoother.
    dimension
        d, a number or one per problem `[batch]`; None means the entries of x0. For a flow with a support give
        `flow.source_dimension`.

    Returns
    -------
    x0
        `[batch, *event]`, along the same directions.

    Raises
    ------
    Misuse
        If a quantile is not between 0 and 1, a point is zero or not finite, or there are quantiles or dimensions for
        another number of points.

    References
    ----------
    Karczewski, Heinonen & Garg, "Devil is in the Details", ICML 2025: prior guidance and score alignment.

    Examples
    --------
    In two dimensions the median of |x0|^2 is 2 ln 2.

    >>> x0 = scale_to_quantile(torch.tensor([[3.0, 4.0]]), 0.5)
    >>> round(x0.square().sum().item(), 4)
    1.3863
    """
    q = torch.as_tensor(quantile, dtype=torch.float64).to(x0.device)
    if not bool(((q > 0) & (q < 1)).all()):
        raise Misuse(f"{quantile} is no quantile between 0 and 1.", "Give one such as 0.2 or 0.9.")
    d = torch.as_tensor(x0[0].numel() if dimension is None else dimension, dtype=torch.float64).to(x0.device)
    for given in (q, d):
        if given.ndim and given.shape != (len(x0),) and given.numel() != 1:
            raise Misuse(
                f"There are {given.numel()} quantiles or dimensions for {len(x0)} points.",
                "Give one number, or one for each point.",
            )
    square = x0.flatten(1).square().sum(1)
    if not bool((square.isfinite() & (square > 0)).all()):
        raise Misuse("A source point is zero or not finite.", "Give draws, such as flow.noise(seeds).")
    return x0 * per_problem((chi_square_quantile(q, d, upper=True).to(square) / square).sqrt(), x0)


def chi_square_quantile(q: Tensor, d: Tensor, *, upper: bool = False) -> Tensor:
    """The quantile of the chi-square law with d degrees of freedom at q, both `[]` or `[batch]`, float64.

    Bisection on its distribution function, the regularised gamma function P(d / 2, x / 2); with `upper` the quantile
    at 1 - q by Q = 1 - P, which has digits for q that are lost in 1 - q.

    Examples
    --------
    >>> chi_square_quantile(torch.tensor(0.95), torch.tensor(10.0)).round(decimals=3).item()
    18.307
    """
    q = q.to(torch.float64)
    d = d.to(torch.float64) + torch.zeros_like(q)
    low, high = torch.zeros_like(d), d + 60 * d.sqrt() + 1400  # beyond it less than e^-600
    for _ in range(100):
        middle = (low + high) / 2
        if upper:
            below = torch.special.gammaincc(d / 2, middle / 2) > q
        else:
            below = torch.special.gammainc(d / 2, middle / 2) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
