"""Dual-conditional inversion: fixed points with the noise drawn to a reference (Li et al. 2025, algorithm 1).

A DDIM step from t to t' leads from x to x'. With eps the noise that the flow sees in x, told its condition, and r the
reference, the state before x' is a fixed point of

    x <- c x' + (sigma - c sigma') eps^,    c = alpha / alpha'
    eps^ = eps(x, t) + min(pull, |r - eps|) (r - eps) / |r - eps|,    | | the rms of an event

which without a pull is the inverse of the very step. The paper descends |x - f(x)| by gradients of the network; here
x <- f(x) is iterated as in `invert_fixed_point`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.path import cast_time
from headwater.problem.batch import per_problem
from headwater.solvers.fixed import reverse_grid, rising_grid
from headwater.solvers.fixed_point import FixedPointInversion, check_inversion, event_rms, solve_step
from headwater.solvers.method import DDIM


def invert_dual_conditional(
    flow: Flow,
    x1: Tensor,
    *,
    reference: Tensor | None = None,
    pull: float = 0.016,
    steps: int | Sequence[float] = 12,
    iterations: int = 20,
    tolerance: float = 1e-5,
    memory: int = 2,
) -> FixedPointInversion:
    """A source point of x1 under two conditions: that of the flow, and a reference that the noise is drawn to.

    Between the fixed-point inversion, a pull of 0, and noising x1 by the reference, an infinite one. It carries no
    gradient to x1.

    Parameters
    ----------
    flow
        The velocity field v, told what x1 shows.
    x1
        Samples `[batch, *event]` in data units, float32 or float64.
    reference
        r `[batch, *event]`; None means x1 itself, as in the paper.
    pull
        How far the noise is moved towards r, rms, and never beyond it. The default is the paper's 2 over the root of
        its 4 x 64 x 64 entries.
    steps
        Those of the solve that is inverted, by `DDIM`.
    iterations, tolerance, memory
        Of each step's fixed point, see `invert_fixed_point`.

    Returns
    -------
    found
        A `FixedPointInversion`. Its `residual` is that of the plain step, by which the way back misses; its
        `converged` says whether the fixed points with the pull were found.

    Raises
    ------
    Misuse
        As `invert_fixed_point`; or if the pull is negative, or the reference is not like x1.

    Notes
    -----
    The way back is exact without a pull alone. With one it misses by pull (sigma alpha' / alpha - sigma') in a step
    from t to t', on a straight path by pull (t' - t) / t. A step from alpha = 0 has no pull: there the noise is the
    state itself, whatever the flow. A step takes one evaluation more than its iterations, for the residual.

    References
    ----------
    Li et al., "DCI: Dual-conditional inversion for boosting diffusion-based image editing", NeurIPS 2025, alg. 1.

    Examples
    --------
    Of two steps that from t = 1/2 misses by the pull, that from 0 by nothing.

    >>> from headwater import Gaussian
    >>> from headwater.solvers import invert_dual_conditional
    >>> flow, x1 = Gaussian(torch.zeros(2), torch.full((2,), 0.5)).flow, torch.ones(1, 2, dtype=torch.float64)
    >>> [round(invert_dual_conditional(flow, x1, pull=p, steps=2).residual.item(), 3) for p in (0.0, 0.1)]
    [0.0, 0.1]
    """
    x1 = check_inversion(flow, x1, iterations, tolerance, memory)
    r = x1 if reference is None else reference.detach()
    if not pull >= 0 or r.shape != x1.shape:
        raise Misuse(
            f"The pull is {pull:g}, to a reference of shape {tuple(r.shape)} for x1 of shape {tuple(x1.shape)}.",
            "Give a pull of 0 or more, and a reference in the shape of x1.",
        )
    r, path, states = flow.project(r.to(x1)), flow.path, [x1]
    residual, size = (x1.new_zeros(len(x1), dtype=torch.float64) for _ in range(2))
    count = torch.zeros(len(x1), dtype=torch.int64)
    for t_next, t in itertools.pairwise(reverse_grid(rising_grid(steps))):
        now, end = (torch.tensor(s, dtype=torch.float64) for s in (t, t_next))
        after, clamped = states[-1], cast_time(now.clamp(*path.span))
        alpha, sigma = path.alpha(clamped), path.sigma(clamped)
        keep = float(alpha / path.alpha(cast_time(end)))
        add = float(sigma) - keep * float(path.sigma(cast_time(end)))

        def equation(
            x: Tensor,
            rows: Tensor,
            after: Tensor = after,
            now: Tensor = now,
            end: Tensor = end,
            keep: float = keep,
            add: float = add,
        ) -> Tensor:
            part = flow.select(rows)
            if keep == 0:
                return after[rows] - DDIM.step(part, path, x, now, end)
            time = part.time(x, now)
            eps = draw_to(path.eps_from_v(x, part(x, now), time), r[rows], pull)
            return keep * after[rows] + add * eps - x

        x, missed, spent = solve_step(equation, after, iterations, tolerance, memory)
        states.append(x)
        size = torch.maximum(size, missed)
        residual = torch.maximum(residual, event_rms(after - DDIM.step(flow, path, x, now, end)))
        count += spent + 1
    return FixedPointInversion(states[-1], residual, size <= tolerance, count, tuple(states[::-1]))


def draw_to(eps: Tensor, reference: Tensor, pull: float) -> Tensor:
    """eps moved by `pull`, rms, towards the reference and not beyond it, all `[batch, *event]`.

    >>> draw_to(torch.zeros(2, 2), torch.tensor([[3.0, 0.0], [0.0, 0.1]]), 1.0)
    tensor([[1.4142, 0.0000],
            [0.0000, 0.1000]])
    """
    way = reference - eps
    share = (pull / event_rms(way).clamp(min=1e-30)).clamp(max=1.0)
    return eps + per_problem(share.to(eps), eps) * way
