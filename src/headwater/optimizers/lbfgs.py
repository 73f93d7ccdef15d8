"""L-BFGS for many problems in lockstep, with a strong Wolfe search whose phases may differ between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.optimizers.line_search import PACKED, Search, StrongWolfe, begin_search
from headwater.optimizers.pairs import Memory, apply_two_loop, push_pair
from headwater.optimizers.state import (
    CONVERGED,
    DIVERGED,
    RUNNING,
    STALLED,
    OptimizerState,
    dot,
    initial_fields,
    largest_modulus,
    read_evaluation,
)
from headwater.problem.batch import per_problem


@dataclass(frozen=True, kw_only=True)
class LBFGSState(OptimizerState):
    """The state of `LBFGS`: the common fields, the line search and the memory.

    Attributes
    ----------
    direction
        p, along which the search runs, `[batch, *event]`.
    gradient_lo
        The gradient at the best point of the search, `[batch, *event]`.
    search
        A packed `line_search.Search`, float64 `[batch, 13]`.
    s, y
        The ring of steps and gradient differences, `[batch, memory, *event]` each.
    sy, yy
        s_i.y_j for i <= j and y_i.y_j, newest last, float64 `[batch, memory, memory]`.
    head
        The slot of the ring that is written next, int64 `[batch]`.
    count
        Pairs in use, int64 `[batch]`; 0 means steepest descent.
    idle
        Consecutive steps that changed the cost by no more than its rounding error, int64 `[batch]`.
    """

    direction: Tensor
    gradient_lo: Tensor
    search: Tensor
    s: Tensor
    y: Tensor
    sy: Tensor
    yy: Tensor
    head: Tensor
    count: Tensor
    idle: Tensor


@dataclass(frozen=True)
class LBFGS:
    """Limited-memory BFGS with a strong Wolfe line search, for a batch of independent problems.

    x <- x + alpha p with p = -H g, all `[batch, *event]`. H is the BFGS inverse Hessian of the last `memory` pairs
    s = x_new - x and y = g_new - g, with the initial scaling gamma = s.y / y.y. Its state holds 2 memory + 5
    tensors of the size of x.

    Parameters
    ----------
    memory
        The pairs kept, at least 1.
    first_step
        The length of the first trial step, as a root mean square per coordinate, in the unit of x.
    max_step
        The longest step allowed, in the same unit; None means no limit.
    tolerance
        A problem has converged when no coordinate of its gradient exceeds this.
    curvature
        Pairs with s.y <= `curvature` |s| |y| are not kept.
    noise
        The relative rounding error of a cost; None means 10 machine epsilons of x.
    patience
        The number of consecutive steps within the noise after which a problem has converged.
    wolfe
        Conditions and limits of the line search.

    Notes
    -----
    A problem ends as CONVERGED by `tolerance`, or by `patience` at the rounding floor of its cost; as STALLED if the
    search fails along the negative gradient, too (after a failure with memory the memory is dropped); as DIVERGED if
    its starting point has no finite cost and gradient. Rows that have ended ignore further evaluations. States are
    never modified in place, so any of them can be continued.

    Raises
    ------
    Misuse
        If `memory` or `patience` is below 1, a step is not positive and finite, or `tolerance`, `curvature` or
        `noise` is negative.

    References
    ----------
    Nocedal & Wright, Numerical Optimization (2006), Algorithms 7.4 and 7.5.

    Examples
    --------
    C(x) = |x|^2 / 2 from two starts; a code of 0 is RUNNING, and 1 is CONVERGED.

    >>> optimizer = LBFGS(tolerance=1e-6)
    >>> state = optimizer.init(torch.tensor([[3.0, 1.0], [0.0, -2.0]]))
    >>> while bool((state.code == 0).any()):
    ...     x = state.trial
    ...     state = optimizer.step(state, 0.5 * (x**2).sum(1), x)
    >>> state.code.tolist(), bool(state.x.abs().max() < 1e-6)
    ([1, 1], True)
    """

    memory: int = 10
    first_step: float = 0.1
    max_step: float | None = None
    tolerance: float = 1e-10
    curvature: float = 1e-8
    noise: float | None = None
    patience: int = 5
    wolfe: StrongWolfe = field(default_factory=StrongWolfe)

    def __post_init__(self) -> None:
        for name in ("memory", "patience"):
            if getattr(self, name) < 1:
                raise Misuse(f"{name} is {getattr(self, name)}.", "Give a positive whole number.")
        for name in ("first_step", "max_step"):
            length = getattr(self, name)
            if length is not None and not 0 < length < math.inf:
                raise Misuse(f"{name} is {length}.", "Give a positive length per coordinate.")
        for name in ("tolerance", "curvature", "noise"):
            if (getattr(self, name) or 0.0) < 0:
                raise Misuse(f"{name} is {getattr(self, name)}.", "Give zero or a positive number.")

    def init(self, x0: Tensor) -> LBFGSState:
        """The state before any evaluation, at x0 `[batch, *event]`; a `Misuse` unless float32 or float64."""
        common = initial_fields(x0)
        x, zero = common["x"], common["iterations"]
        size, m = x.shape[0], self.memory
        small = torch.zeros(size, m, m, dtype=torch.float64, device=x.device)
        ring = x.new_zeros(size, m, *x.shape[1:])
        return LBFGSState(
            **common,
            direction=torch.zeros_like(x),
            gradient_lo=torch.zeros_like(x),
            search=small.new_zeros(size, PACKED),
            s=ring,
            y=ring,
            sy=small,
            yy=small,
            head=zero,
            count=zero,
            idle=zero,
        )

    def step(self, state: LBFGSState, value: Tensor, gradient: Tensor) -> LBFGSState:
        """The next state, from the cost `value` `[batch]` and its `gradient` `[batch, *event]` at `state.trial`.

        Other shapes are a `Misuse`.
        """
        phi, gradient = read_evaluation(state, value, gradient)
        running = state.code == RUNNING
        first, searching = running & state.fresh, running & ~state.fresh
        dphi = dot(gradient, state.direction)  # not finite if the gradient is not, for p = 0 as well
        verdict = self.wolfe.judge(state.search, phi, dphi, self._noise(state.x))

        good = torch.isfinite(phi) & torch.isfinite(dphi)
        here = (first & good) | (searching & verdict.accept)
        ended = searching & ~verdict.accept & verdict.exhausted
        back = ended & (verdict.lo > 0)  # the best point of the search is taken instead of the trial
        # Pairs from far away can make H wrong here: before a problem counts as stalled, -g is tried without them.
        dropped = ended & ~back & (state.count > 0)
        stalled = ended & ~back & ~dropped
        accepted = here | back

        better = per_problem(searching & verdict.better, gradient)
        gradient_lo = torch.where(better, gradient, state.gradient_lo)
        code = torch.where(first & ~good, DIVERGED, torch.where(stalled, STALLED, state.code))
        new = replace(
            state,
            value=torch.where(first, phi, state.value),
            evaluations=state.evaluations + running,
            accepted=torch.where(running, accepted, state.accepted),
            code=code.to(torch.int8),
            fresh=state.fresh & ~running,
            gradient_lo=gradient_lo,
            search=torch.where(searching[:, None], verdict.search, state.search),
            count=torch.where(dropped, 0, state.count),
        )
        if bool((accepted | dropped).any()):
            alpha = torch.where(back, verdict.lo, Search.unpack(state.search).step)
            phi = torch.where(back, verdict.phi_lo, phi)
            gradient = torch.where(per_problem(back, gradient), gradient_lo, gradient)
            new = self._move(new, accepted, first, alpha, phi, gradient)
            new = self._aim(new, (accepted | dropped) & (new.code == RUNNING))
        step = Search.unpack(new.search).step
        trial = new.x + per_problem(step, new.x) * new.direction
        return replace(new, trial=torch.where(per_problem(new.code == RUNNING, trial), trial, new.x))

    def _noise(self, x: Tensor) -> float:
        return 10 * torch.finfo(x.dtype).eps if self.noise is None else self.noise

    def _move(
        self, state: LBFGSState, rows: Tensor, first: Tensor, alpha: Tensor, phi: Tensor, gradient: Tensor
    ) -> LBFGSState:
        """Make x + alpha p the iterate of `rows`, remember the pairs, and see who has ended."""
        x = torch.where(
            per_problem(rows, state.x), state.x + per_problem(alpha, state.x) * state.direction, state.x
        )
        gradient = torch.where(per_problem(rows, state.x), gradient, state.gradient)
        stepped = rows & ~first
        s, y = x - state.x, gradient - state.gradient
        bend = dot(s, y)
        # s.y > 0 keeps H positive definite (6.7); the Wolfe conditions give it, but not a step at the limit or
        # within the noise.
        keep = stepped & (bend > self.curvature * (dot(s, s) * dot(y, y)).sqrt()) & torch.isfinite(bend)
        memory = push_pair(_pairs(state), s, y, keep)

        # At the rounding floor costs only jitter: several such steps in a row, and the problem has converged.
        gain = state.value - phi
        flat = stepped & (gain <= self._noise(x) * state.value.abs())
        idle = torch.where(flat, state.idle + 1, torch.where(stepped, 0, state.idle))
        code = torch.where(rows & (idle >= self.patience), CONVERGED, state.code)
        code = torch.where(rows & (largest_modulus(gradient) <= self.tolerance), CONVERGED, code)
        return replace(
            state,
            x=x,
            value=torch.where(rows, phi, state.value),
            gradient=gradient,
            iterations=state.iterations + stepped,
            code=code.to(torch.int8),
            idle=idle,
            **vars(memory),
        )

    def _aim(self, state: LBFGSState, rows: Tensor) -> LBFGSState:
        """Begin a search in `rows`, along -H g or, without memory or descent, along -g."""
        g = state.gradient
        p = -apply_two_loop(_pairs(state), g)
        slope = dot(p, g)
        newton = (state.count > 0) & (slope < 0) & torch.isfinite(slope)
        # Scaled by its largest entry, the gradient's own square can neither overflow nor vanish.
        p = torch.where(per_problem(newton, g), p, -g / per_problem(largest_modulus(g), g))
        unit = g[:1].numel() ** 0.5 / dot(p, p).sqrt()  # the step of one unit per coordinate
        longest = torch.full_like(unit, math.inf) if self.max_step is None else self.max_step * unit
        # With pairs the unit step comes first, as for Newton's method; along -g it has no meaning, so `first_step`.
        alpha = torch.minimum(torch.where(newton, 1.0, self.first_step * unit), longest)
        # Steps closer than this differ by less than the rounding of x.
        resolution = torch.finfo(g.dtype).eps * largest_modulus(state.x) / largest_modulus(p)
        search = begin_search(state.value, dot(p, g), alpha, longest, resolution)
        return replace(
            state,
            direction=torch.where(per_problem(rows, p), p, state.direction),
            search=torch.where(rows[:, None], search, state.search),
            count=torch.where(rows & ~newton, 0, state.count),
        )


def _pairs(state: LBFGSState) -> Memory:
    return Memory(s=state.s, y=state.y, sy=state.sy, yy=state.yy, head=state.head, count=state.count)
