"""Inversion of a solve step by step: each step is an equation for the state before it, solved by iteration.

A step of the solve is x' = F(x). From x' the state before it is found by

    x <- x' ;  repeat  g = x' - F(x) ;  x <- x + g        until |g| is small

which is ReNoise's renoising (Garibi et al. 2024, algorithm 1) without its averages, for any method; the plain
inversion by Euler's step is its second iterate. Anderson's mixing of the last iterates makes it converge where it is
slow.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.problem.batch import per_problem
from headwater.solvers.checks import require_evaluation_mode
from headwater.solvers.fixed import reverse_grid, rising_grid
from headwater.solvers.method import DDIM, Method

Equation = Callable[[Tensor, Tensor], Tensor]
"""residual(x, rows): g = x' - F(x) of the problems in `rows` int64 `[k]`, both `[k, *event]`."""


@dataclass(frozen=True)
class FixedPointInversion:
    """What `invert_fixed_point` found; the first axis is the problem.

    Attributes
    ----------
    y0
        The source points `[batch, *event]`.
    residual
        The largest rms of x' - F(x) over the steps, in data units, `[batch]`.
    converged
        Whether that of every step is within the tolerance, bool `[batch]`.
    evaluations
        Of the network, int64 `[batch]`.
    states
        The states at all times in rising order, of which y0 is the first, each `[batch, *event]`.

    Examples
    --------
    >>> import torch
    >>> from headwater import Flow
    >>> from headwater.solvers import invert_fixed_point
    >>> found = invert_fixed_point(Flow(lambda x, t: 0 * x, shape=(1,)), torch.ones(1, 1), steps=2)
    >>> found.converged.tolist(), found.evaluations.tolist(), len(found.states)
    ([True], [2], 3)
    """

    y0: Tensor
    residual: Tensor
    converged: Tensor
    evaluations: Tensor
    states: tuple[Tensor, ...]


def invert_fixed_point(
    flow: Flow,
    x1: Tensor,
    *,
    method: Method = DDIM,
    steps: int | Sequence[float] = 12,
    iterations: int = 20,
    tolerance: float = 1e-5,
    memory: int = 2,
) -> FixedPointInversion:
    """The source point that this very solve carries to x1, by a fixed-point iteration for every step.

    It carries no gradient to x1.

    Parameters
    ----------
    flow
        The velocity field v.
    x1
        Samples `[batch, *event]` in data units, float32 or float64.
    method, steps
        Those of the solve that is inverted: `solve(flow, y0, method=method, steps=steps)` is x1, up to the residuals.
    iterations
        Most of them a step, each one step of the solve. Every problem stops for itself.
    tolerance
        The rms of x' - F(x) that counts as solved, in data units.
    memory
        Earlier iterates that Anderson's mixing uses; 0 is the plain iteration.

    Returns
    -------
    found
        A `FixedPointInversion`, whose `converged` says for which problems the inversion closes. A problem that does
        not converge keeps the best iterate of each step; one whose state is no longer finite ends there.

    Raises
    ------
    Misuse
        If x1 is no batch of the flow's events, the times do not rise in [0, 1], or a number is out of range.

    Notes
    -----
    The plain iteration converges where h L < 1, with L the Lipschitz constant of the velocity and h the step: more
    steps help. A step that folds (two states before one) has an iteration that ends at one of them, or at none.

    References
    ----------
    Garibi et al., "ReNoise: Real image inversion through iterative noising", ECCV 2024, algorithm 1; Pan et al.,
    "Effective real image editing with accelerated iterative diffusion inversion", ICCV 2023, for Anderson's mixing;
    Walker & Ni, "Anderson acceleration for fixed-point iterations", SIAM J. Numer. Anal. 49 (2011).

    Examples
    --------
    Four Euler steps of dx/dt = -x multiply by (3/4)^4, and this is undone exactly.

    >>> from headwater import EULER, Flow, invert
    >>> flow, x1 = Flow(lambda x, t: -x, shape=(1,)), torch.full((1, 1), 0.75**4)
    >>> found = invert_fixed_point(flow, x1, method=EULER, steps=4)
    >>> round(found.y0.item(), 4), round(invert(flow, x1, method=EULER, steps=4).item(), 4)
    (1.0, 0.7725)
    """
    x1 = check_inversion(flow, x1, iterations, tolerance, memory)
    states, residual = [x1], x1.new_zeros(len(x1), dtype=torch.float64)
    count = torch.zeros(len(x1), dtype=torch.int64)
    for t_next, t in itertools.pairwise(reverse_grid(rising_grid(steps))):
        now, end = (torch.tensor(s, dtype=torch.float64) for s in (t, t_next))
        target = states[-1]

        def equation(
            x: Tensor, rows: Tensor, target: Tensor = target, now: Tensor = now, end: Tensor = end
        ) -> Tensor:
            part = flow.select(rows)
            return target[rows] - method.step(part, part.path, x, now, end)

        x, size, spent = solve_step(equation, target, iterations, tolerance, memory)
        states.append(x)
        residual = torch.maximum(residual, size)
        count += spent * method.evaluations
    return FixedPointInversion(states[-1], residual, residual <= tolerance, count, tuple(states[::-1]))


def check_inversion(flow: Flow, x1: Tensor, iterations: int, tolerance: float, memory: int) -> Tensor:
    """x1 `[batch, *event]` without its graph; a `Misuse` if it is no batch of events, or a number is out of range."""
    if x1.ndim != len(flow.shape) + 1 or tuple(x1.shape[1:]) != flow.shape:
        raise Misuse(
            f"x1 has shape {tuple(x1.shape)} but the flow's events have shape {flow.shape}.",
            "Give it in the shape [batch, *flow.shape].",
        )
    if iterations < 1 or memory < 0 or not 0 < tolerance < float("inf"):
        raise Misuse(
            f"{iterations} iterations to {tolerance:g} with a memory of {memory} solve nothing.",
            "Give at least 1 iteration, a positive tolerance, and a memory of 0 or more.",
        )
    require_full_precision(x1)
    require_evaluation_mode(flow)
    return x1.detach()


def solve_step(
    equation: Equation, first: Tensor, iterations: int, tolerance: float, memory: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The iterate with the smallest g of each problem `[batch, *event]`, its rms `[batch]` and the iterations."""
    best, size = first.clone(), torch.full((len(first),), torch.inf, dtype=torch.float64, device=first.device)
    count = torch.zeros(len(first), dtype=torch.int64)
    rows, x, history = torch.arange(len(first)), first, list[tuple[Tensor, Tensor]]()
    for _ in range(iterations):
        g = equation(x, rows)
        rms = event_rms(g)
        count[rows] += 1
        better = rms < size[rows]
        chosen = rows[better.cpu()]  # rows stay on the CPU, as `Flow.select` takes them
        best[chosen], size[chosen] = x[better], rms[better]
        going = (rms > tolerance) & torch.isfinite(rms)
        if not bool(going.any()):
            break
        history = [(a[going], b[going]) for a, b in (*history, (x, g))][-(memory + 1) :]
        rows, x = rows[going.cpu()], mix(history)
    return best, size, count


def event_rms(x: Tensor) -> Tensor:
    """The root of the mean square of each event of x `[batch, *event]`, float64 `[batch]`."""
    return x.flatten(1).to(torch.float64).square().mean(1).sqrt()


def mix(history: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """The next iterate of pairs (x, g), the newest last: x + g - (dX + dG) argmin_w |g - dG w|, problem by problem.

    dX and dG are the differences to the iterates before; with one pair it is x + g.
    """
    x, g = history[-1]
    if len(history) == 1:
        return x + g
    dx = torch.stack([(x - a).flatten(1) for a, _ in history[:-1]], 2).to(torch.float64)
    dg = torch.stack([(g - b).flatten(1) for _, b in history[:-1]], 2).to(torch.float64)
    gram, right = dg.mT @ dg, dg.mT @ g.flatten(1).to(torch.float64)[..., None]
    # Where iterates repeat themselves the differences are dependent: a little of the identity keeps w small.
    ridge = 1e-10 * gram.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-60)
    w = torch.linalg.solve(gram + ridge[:, None, None] * torch.eye(gram.shape[1], device=x.device), right)
    change = ((dx + dg) @ w)[..., 0].reshape(x.shape)
    mixed: Tensor = x + g - change.to(x)
    bad = ~torch.isfinite(mixed).flatten(1).all(1)
    return torch.where(per_problem(bad, x), x + g, mixed)
