"""An adaptive solve by an embedded pair; step size, error control and counters are those of each problem."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.problem.batch import can_restrict
from headwater.solvers.checks import check_follows, require_evaluation_mode
from headwater.solvers.method import DOPRI5, Field, RungeKutta, combine


@dataclass(frozen=True)
class AdaptiveResult:
    """The end of an adaptive solve, from `solve_adaptive`; every field has the problem as first axis.

    Attributes
    ----------
    x
        The state at the end, or where the problem failed, `[batch, *event]`.
    reached
        Whether the problem came to the end, bool `[batch]`.
    evaluations
        Network evaluations, int64 `[batch]`.
    accepted, rejected
        Accepted and rejected steps, int64 `[batch]`.

    Examples
    --------
    Each problem has its own steps: the second one decays 20 times as fast. A step takes six evaluations.

    >>> from headwater import Each, Flow, solve_adaptive
    >>> decay = Each(lambda x, t, rate: -rate[:, None] * x, rate=torch.tensor([1.0, 20.0]))
    >>> found = solve_adaptive(Flow(decay, shape=(1,)), torch.ones(2, 1))
    >>> bool((found.evaluations == 1 + 6 * (found.accepted + found.rejected)).all())
    True
    >>> bool(found.accepted[0] < found.accepted[1])
    True
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
    """Solve dx/dt = v(x, t) from `start` to `end` (in either direction) to a tolerance, problem by problem.

    A step h is accepted if err = rms(error / (atol + rtol |x|)) <= 1; the next is h 0.9 err^(-1/5), within 0.2 h and
    5 h. A problem that has arrived, or failed by a non-finite slope, is not evaluated any more. Gradients flow
    through accepted steps, not through the choice of their sizes.

    Parameters
    ----------
    flow
        The velocity field.
    x
        The state at `start` `[batch, *event]`, float32 or float64.
    start
        The first time, in [0, 1]: 0 for a sample, 1 for its source point.
    end
        The last time: 1 for a sample, 0 for its source point.
    rtol
        The relative tolerance of one step, above 0.
    atol
        The absolute tolerance of one step, above 0, in data units.
    max_steps
        The most steps tried per problem; a problem that needs more is returned where it is.
    method
        A Runge-Kutta method with an embedded error estimate.

    Returns
    -------
    result
        States `[batch, *event]` and counts `[batch]`, see `AdaptiveResult`. A failure of the numerics is `reached`
        False, never an exception.

    Raises
    ------
    Misuse
        If a tolerance is not positive, the method has no error estimate, x is in half precision, a network is in
        training mode, or the velocity holds data of all problems that does not follow them.

    References
    ----------
    Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), section II.4.

    Examples
    --------
    >>> from headwater import Flow
    >>> flow = Flow(lambda x, t: -x, shape=(1,))
    >>> out = solve_adaptive(flow, torch.ones(2, 1, dtype=torch.float64), rtol=1e-8, atol=1e-8)
    >>> round(out.x[0].item(), 7), out.reached.tolist()  # exp(-1)
    (0.3678794, [True, True])
    """
    if not (rtol > 0 and atol > 0) or not method.b_error:
        raise Misuse(
            f"An adaptive solve needs rtol > 0, atol > 0 and an embedded pair, not {rtol}, {atol}, {method.name}.",
            "Use DOPRI5 with tolerances such as 1e-5.",
        )
    require_full_precision(x)
    require_evaluation_mode(flow)
    if can_restrict(flow) and len(x) > 1:
        check_follows(flow, x.detach(), torch.tensor((start + end) / 2, dtype=torch.float64))
    walk = _Walk(flow, x, start, end, rtol, atol, method)
    for _ in range(max_steps):
        active = walk.select_active()
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
        self.restrictable = can_restrict(flow)
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
        # |x| / |v| is the time in which x would change by its own size; 1e-3 is for v = 0, where any step will do.
        scale = self.atol + self.rtol * self.x.detach().abs()
        size, slope = rms(self.x.detach() / scale), rms(self.k.detach() / scale)
        h = torch.where(slope > 0, 0.01 * size / slope, torch.full_like(size, 1e-3))
        return h.to(torch.float64).clamp(1e-6, abs(self.end - float(self.t[0])))

    def select_active(self) -> Tensor:
        """The indices `[k]` of the problems that have neither arrived nor failed."""
        return torch.nonzero(self.alive & (self.t != self.end)).flatten()

    def _field(self, i: Tensor) -> Field:
        """The velocity of the problems i `[k]`; a `WholeBatch` velocity sees the others where they are."""
        if len(i) == len(self.x):
            return self.flow
        if self.restrictable:
            return self.flow.select(i)
        return lambda y, t: self.flow(self.x.index_copy(0, i, y), self.t.index_copy(0, i, t))[i]

    def attempt(self, i: Tensor) -> None:
        """One step of the problems i `[k]`: accept or reject each, and choose its next step size."""
        # The last step lands on `end` itself: a step short of it by rounding would cost another evaluation.
        last = self.h[i] >= (self.end - self.t[i]).abs() * (1 - 1e-12)
        h = torch.where(last, self.end - self.t[i], self.sign * self.h[i])
        k = self.method.stages(self._field(i), self.x[i], self.t[i], h, first=self.k[i])
        x_new = combine(self.x[i], h, self.method.b, k)
        error = combine(torch.zeros_like(x_new), h, self.method.b_error, k).detach()
        # (4.10): the larger of the two ends, so that a component passing through 0 does not shrink the step.
        scale = self.atol + self.rtol * torch.maximum(self.x[i].detach().abs(), x_new.detach().abs())
        e = rms(error / scale).to(torch.float64)
        finite = torch.isfinite(e)
        accept = finite & (e <= 1)
        # (4.13): the error grows as h^(q + 1), with q = 4 for the pair 5(4), hence the exponent 1/5.
        factor = (0.9 * e.clamp(min=1e-10) ** (-1 / self.method.order)).clamp(0.2, 5.0)
        self.h[i] = h.abs() * torch.where(finite, factor, torch.full_like(factor, 0.2))
        self.evaluations[i] += self.method.evaluations - 1  # the first stage is known: first same as last
        self.accepted[i] += accept.long()
        self.rejected[i] += (~accept).long()
        self.alive[i] &= self.h[i] > 1e-12  # a slope that is never finite shrinks h to here
        j, t_new = i[accept], torch.where(last, torch.full_like(h, self.end), self.t[i] + h)
        self.x = self.x.index_copy(0, j, x_new[accept])
        self.k = self.k.index_copy(0, j, k[-1][accept])  # first same as last
        self.t[j] = t_new[accept]


def rms(x: Tensor) -> Tensor:
    """Root mean square of x `[batch, *event]` over the event, `[batch]`."""
    return x.flatten(1).square().mean(1).sqrt()
