"""Where the optimisation starts, and what keeps x0 a plausible draw of the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import rows, select
from headwater.solvers.fixed import invert, solve
from headwater.solvers.likelihood import _rademacher, divergence
from headwater.solvers.method import MIDPOINT, Method


def blend(y0: Tensor, z: Tensor, a: float) -> Tensor:
    """x0 = sqrt(a) y0 + sqrt(1 - a) z: an inverted observation mixed with fresh noise (D-Flow, sec. 3.3).

    >>> blend(torch.ones(1, 1), torch.zeros(1, 1), 0.25).item()
    0.5
    """
    if not 0 <= a <= 1:
        raise Misuse(f"The blend a = {a} is outside [0, 1].", "Give 0 (noise only) to 1 (inversion only).")
    return math.sqrt(a) * y0 + math.sqrt(1 - a) * z


@dataclass(frozen=True)
class Inversion:
    """The source point of a sample with its diagnostics, each `[batch]`.

    `round_trip` is rms(solve(y0) - x1), in data units; `radius` is |y0| / sqrt(d), 1 for a draw of the
    source. A radius far from 1 says that the flow finds x1 implausible: blend with a small a, or start from
    noise.
    """

    y0: Tensor
    round_trip: Tensor
    radius: Tensor


def inversion(
    flow: Flow, x1: Tensor, *, method: Method = MIDPOINT, steps: int | Sequence[float] = 24
) -> Inversion:
    """Invert x1 to t = 0 and check the way back.

    >>> flow = Flow(lambda x, t: -x, shape=(4,))
    >>> inversion(flow, torch.ones(1, 4)).round_trip.item() < 1e-3
    True
    """
    y0 = invert(flow, x1, method=method, steps=steps)
    back = solve(flow, y0, method=method, steps=steps)
    rms = (back - x1).flatten(1).square().mean(1).sqrt()
    return Inversion(y0, rms, y0.flatten(1).square().mean(1).sqrt())


def shell(x0: Tensor) -> Tensor:
    """x0 projected on the shell |x0| = sqrt(d), where the mass of N(0, I) lies; differentiable.

    >>> round(shell(torch.tensor([[3.0, 4.0]])).norm().item(), 4)
    1.4142
    """
    norm = x0.flatten(1).norm(dim=1).clamp(min=1e-12).reshape(-1, *[1] * (x0.ndim - 1))
    scaled: Tensor = x0 * (math.sqrt(x0[0].numel()) / norm)
    return scaled


@dataclass(frozen=True)
class ChiPrior:
    """weight (|x0|^2 / 2 - (d - 1) ln |x0|), `[batch]`: minus the log density of |x0| for x0 ~ N(0, I).

    Added to the cost; its minimum is the shell |x0| = sqrt(d - 1) (D-Flow, sec. 3.4, where the norm of a
    Gaussian follows the chi^d law). |x0|^2 / 2 alone would pull x0 to 0. `dimension` is d, one or one per
    problem: for a flow with a support give `flow.dimension`.

    >>> x0 = torch.tensor([[1.0, 1.0, 1.0]], requires_grad=True)   # d = 3, |x0|^2 = 3 > d - 1
    >>> bool((torch.autograd.grad(ChiPrior()(x0).sum(), x0)[0] > 0).all())
    True
    """

    weight: float = 1.0
    dimension: int | Tensor | None = None

    def select(self, index: Tensor) -> ChiPrior:
        """The prior of the problems in `index`."""
        d = self.dimension
        return ChiPrior(self.weight, rows(d, index) if isinstance(d, Tensor) else d)

    def __call__(self, x0: Tensor) -> Tensor:
        flat = x0.flatten(1)
        d = flat.shape[1] if self.dimension is None else self.dimension
        square = flat.square().sum(1)
        return self.weight * (0.5 * square - 0.5 * (d - 1) * torch.log(square + 1e-20))


@dataclass(frozen=True)
class TargetLikelihood:
    """-weight log p1(x1(x0)), `[batch]`, by the change of variables along the solve from x0.

    log p1(x1) = log N(x0) - integral div v dt; `probes` Rademacher probes (None: exact), fixed by `seed`.
    Costs a second derivative of the network per probe.
    """

    flow: Flow
    weight: float = 1.0
    probes: int | None = 1
    seed: int = 0
    method: Method = MIDPOINT
    steps: int = 6

    def select(self, index: Tensor) -> TargetLikelihood:
        """The prior of the problems in `index`."""
        return TargetLikelihood(
            select(self.flow, index), self.weight, self.probes, self.seed, self.method, self.steps
        )

    def __call__(self, x0: Tensor) -> Tensor:
        z = _rademacher(x0, self.probes, self.seed)

        def augmented(state: Tensor, t: Tensor) -> Tensor:
            v, div = divergence(self.flow, state[:, :-1].reshape_as(x0), t, z, graph=True)
            return torch.cat([v.flatten(1), div[:, None]], dim=1)

        state = torch.cat([x0.flatten(1), x0.new_zeros(len(x0), 1)], dim=1)
        for i in range(self.steps):
            t, t_next = (torch.tensor(j / self.steps, dtype=torch.float64) for j in (i, i + 1))
            state = self.method.step(augmented, self.flow.path, state, t, t_next)
        d = self.flow.dimension
        log_source = -0.5 * (x0.flatten(1).square().sum(1) + d * math.log(2 * math.pi))
        return -self.weight * (log_source - state[:, -1])
