"""Priors of the source point, added to the cost: what keeps x0 a plausible draw of N(0, I)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.problem.batch import select_rows
from headwater.solvers.fixed import uniform_grid
from headwater.solvers.likelihood import draw_rademacher, solve_with_divergence, source_log_density
from headwater.solvers.method import MIDPOINT, Method


@dataclass(frozen=True)
class ChiPrior:
    """weight (|x0|^2 / 2 - (d - 1) ln |x0|), `[batch]`: minus the log density of |x0| for x0 ~ N(0, I).

    Added to the cost; its minimum is the shell |x0| = sqrt(d - 1). |x0|^2 / 2 alone would pull x0 to 0.

    Parameters
    ----------
    weight
        The factor in front; 1 makes exp(-R) the density of the norm.
    dimension
        d, a number or one per problem `[batch]`; None means the entries of x0. For a flow with a support give
        `flow.source_dimension`.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, section 3.4: the norm of a Gaussian follows the chi^d law.

    Examples
    --------
    The gradient x0 (1 - (d - 1) / |x0|^2) vanishes on the shell; outside of it a step of descent shortens x0.

    >>> x0 = torch.tensor([[1.0, 1.0, 0.0], [2.0, 0.0, 0.0]], requires_grad=True)   # d = 3, |x0|^2 = 2 and 4
    >>> torch.autograd.grad(ChiPrior()(x0).sum(), x0)[0].tolist()
    [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]
    """

    weight: float = 1.0
    dimension: int | Tensor | None = None

    def select(self, index: Tensor) -> ChiPrior:
        """The prior of the problems in `index`, int64 `[k]`."""
        return replace(self, dimension=select_rows(self.dimension, index))

    def __call__(self, x0: Tensor) -> Tensor:
        """R(x0) in nats, `[batch]`, of x0 `[batch, *event]`."""
        flat = x0.flatten(1)
        d = flat.shape[1] if self.dimension is None else self.dimension
        square = flat.square().sum(1)
        # (d - 1) ln |x0| is subtracted: with the other sign the penalty would push x0 away from the shell.
        return self.weight * (0.5 * square - 0.5 * (d - 1) * torch.log(square + 1e-20))


@dataclass(frozen=True)
class GaussianPrior:
    """|x0|^2 / 2, `[batch]`: minus the log density of x0 ~ N(0, I), up to a constant.

    Beside a `Misfit`, whose unit is minus a log likelihood, it makes the cost minus the log posterior of the source:
    its minimum is the most likely x0. Beside a cost of any other scale it pulls x0 to 0.

    Examples
    --------
    >>> import torch
    >>> from headwater import GaussianPrior
    >>> GaussianPrior()(torch.tensor([[3.0, 4.0]])).item()
    12.5
    """

    def __call__(self, x0: Tensor) -> Tensor:
        """|x0|^2 / 2 of x0 `[batch, *event]`, `[batch]`."""
        return 0.5 * x0.flatten(1).square().sum(1)


@dataclass(frozen=True, eq=False)
class NearDraw:
    """weight |x0 - z|^2 / 2, `[batch]`: keeps x0 near the draw z that its problem starts from.

    Beside the cost -lambda r(x1), with r linear in x0, its minimum is a draw of the law of the flow times
    exp(lambda r / weight), for z ~ N(0, I): x0 = z + lambda grad r / weight. `ChiPrior` holds the norm alone, and a
    reward then turns x0 far into one direction.

    Parameters
    ----------
    draw
        z, `[batch, *event]`, such as `flow.noise(seeds)`.
    weight
        The factor in front.

    Examples
    --------
    >>> x0, z = torch.tensor([[3.0, 1.0]]), torch.tensor([[1.0, 1.0]])
    >>> NearDraw(z)(x0).item()
    2.0
    """

    draw: Tensor
    weight: float = 1.0

    def select(self, index: Tensor) -> NearDraw:
        """The prior of the problems in `index`, int64 `[k]`."""
        return replace(self, draw=select_rows(self.draw, index))

    def __call__(self, x0: Tensor) -> Tensor:
        """weight |x0 - z|^2 / 2 of x0 `[batch, *event]`, `[batch]`."""
        return 0.5 * self.weight * (x0 - self.draw.to(x0)).flatten(1).square().sum(1)


@dataclass(frozen=True)
class TargetLikelihood:
    """-weight log p1(x1(x0)), `[batch]`, by the change of variables along the solve from x0.

    log p1(x1) = log N(x0; 0, I) - integral_0^1 div v(x_t, t) dt. A prior of x0 for `control(..., prior=)`. It costs
    a second derivative of the network per probe.

    Parameters
    ----------
    flow
        The flow that `control` is given.
    weight
        The factor in front; the log density is in nats.
    probes
        Rademacher probes of the divergence, the same in every evaluation; None means exact, d products.
    seed
        The seed of the probes.
    method, steps
        The solve along which the divergence is summed; uniform steps.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024 (regularisers); Grathwohl et al., "FFJORD", ICLR 2019.

    Examples
    --------
    x0 = 1 is carried to x1 = 2 by the flow of N(0, 4), where -log p1 = log(2 sqrt(2 pi)) + 1 / 2.

    >>> import math
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([2.0])).flow
    >>> x0 = torch.ones(1, 1, dtype=torch.float64)
    >>> round(TargetLikelihood(flow, probes=None, steps=24)(x0).item(), 3)
    2.112
    >>> round(math.log(2 * math.sqrt(2 * math.pi)) + 1 / 2, 3)
    2.112
    """

    flow: Flow
    weight: float = 1.0
    probes: int | None = 1
    seed: int = 0
    method: Method = MIDPOINT
    steps: int = 6

    def select(self, index: Tensor) -> TargetLikelihood:
        """The prior of the problems in `index`, int64 `[k]`."""
        return replace(self, flow=self.flow.select(index))

    def __call__(self, x0: Tensor) -> Tensor:
        """-weight log p1(x1(x0)) in nats, `[batch]`, of x0 `[batch, *event]`."""
        probes, grid = draw_rademacher(x0, self.probes, self.seed), uniform_grid(self.steps)
        _, change = solve_with_divergence(self.flow, x0, probes, grid, method=self.method, graph=True)
        return -self.weight * (source_log_density(self.flow, x0) - change)
