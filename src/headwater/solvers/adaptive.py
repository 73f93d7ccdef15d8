"""Dormand-Prince 5(4) with a step size, an error control and counters of its own for each problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.solvers.fixed import require_evaluation_mode
from headwater.solvers.method import DOPRI5, RungeKutta, combine


@dataclass(frozen=True)
class AdaptiveResult:
    """The end of an adaptive solve; every field has the problem as first axis.

    `x` state at the end (or where the problem failed), `reached` whether it got there, `evaluations`,
    `accepted` and `rejected` counts.
    """

    x: Tensor
    reached: Tensor
    evaluations: Tensor
    accepted: Tensor
    rejected: Tensor


def solve_adaptive(
    flow: Flow,
    x: Tensor,
    *,
    start: float = 0.0,
    end: float = 1.0,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 1000,
    method: RungeKutta = DOPRI5,
) -> AdaptiveResult:
    """Solve dx/dt = v from `start` to `end` (either direction) to a tolerance, problem by problem.

    A step is accepted if rms(error / (atol + rtol |x|)) <= 1; the next is h 0.9 err^(-1/5) within [0.2, 5]
    (Hairer, Norsett & Wanner I, II.4). A problem that has arrived, or failed with a non-finite slope or
    `max_steps`, is evaluated no more. Gradients flow through accepted steps.

    >>> flow = Flow(lambda x, t: -x, shape=(1,))
    >>> out = solve_adaptive(flow, torch.ones(2, 1, dtype=torch.float64), rtol=1e-8, atol=1e-8)
    >>> round(out.x[0].item(), 7)
    0.3678794
    """
    if not (rtol > 0 and atol > 0) or not method.b_error:
        raise Misuse(
            f"An adaptive solve needs rtol > 0, atol > 0 and an embedded pair, got {rtol}, {atol}, {method.name}.",
            "Use DOPRI5 with tolerances such as 1e-5.",
        )
    require_full_precision(x)
    require_evaluation_mode(flow)
    walk = _Walk(flow, x, start, end, rtol, atol, method)
    for _ in range(max_steps):
        active = walk.active()
        if not len(active):
            break
        walk.attempt(active)
    reached = walk.t == end
    return AdaptiveResult(walk.x, reached, walk.evaluations, walk.accepted, walk.rejected)


class _Walk:
    """The state of all problems of one adaptive solve."""

    def __init__(
        self, flow: Flow, x: Tensor, start: float, end: float, rtol: float, atol: float, method: RungeKutta
    ) -> None:
        self.flow, self.x, self.end, self.method = flow, x, end, method
        self.rtol, self.atol, self.sign = rtol, atol, 1.0 if end > start else -1.0
        n, device = len(x), x.device
        self.t = torch.full((n,), start, dtype=torch.float64, device=device)
        self.evaluations = torch.ones(n, dtype=torch.long, device=device)
        self.accepted = torch.zeros_like(self.evaluations)
        self.rejected = torch.zeros_like(self.evaluations)
        self.k = flow(x, self.t)
        self.h = self._first_step()
        self.alive = torch.isfinite(self.k).flatten(1).all(1)

    def _first_step(self) -> Tensor:
        """h = 0.01 |x| / |v| in the error norm (Hairer, Norsett & Wanner I, II.4, starting step)."""
        scale = self.atol + self.rtol * self.x.detach().abs()
        size, slope = rms(self.x.detach() / scale), rms(self.k.detach() / scale)
        h = torch.where(slope > 0, 0.01 * size / slope, torch.full_like(size, 1e-3))
        return h.to(torch.float64).clamp(1e-6, abs(self.end - float(self.t[0])))

    def active(self) -> Tensor:
        return torch.nonzero(self.alive & (self.t != self.end)).flatten()

    def attempt(self, i: Tensor) -> None:
        """One step of the problems i: accept or reject each, and choose its next step size."""
        last = self.h[i] >= (self.end - self.t[i]).abs() * (1 - 1e-12)
        h = torch.where(last, self.end - self.t[i], self.sign * self.h[i])
        k = self.method.stages(self.flow.select(i), self.x[i], self.t[i], h, first=self.k[i])
        x_new = combine(self.x[i], h, self.method.b, k)
        error = combine(torch.zeros_like(x_new), h, self.method.b_error, k).detach()
        scale = self.atol + self.rtol * torch.maximum(self.x[i].detach().abs(), x_new.detach().abs())
        e = rms(error / scale).to(torch.float64)
        finite = torch.isfinite(e)
        accept = finite & (e <= 1)
        factor = (0.9 * e.clamp(min=1e-10) ** (-1 / self.method.order)).clamp(0.2, 5.0)
        self.h[i] = h.abs() * torch.where(finite, factor, torch.full_like(factor, 0.2))
        self.evaluations[i] += self.method.evaluations - 1
        self.accepted[i] += accept.long()
        self.rejected[i] += (~accept).long()
        self.alive[i] &= self.h[i] > 1e-12
        j, t_new = i[accept], torch.where(last, torch.full_like(h, self.end), self.t[i] + h)
        self.x = self.x.index_copy(0, j, x_new[accept])
        self.k = self.k.index_copy(0, j, k[-1][accept])  # first same as last
        self.t[j] = t_new[accept]


def rms(x: Tensor) -> Tensor:
    """Root mean square over the event, one value per problem."""
    return x.flatten(1).square().mean(1).sqrt()
