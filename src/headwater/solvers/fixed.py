"""The solve on a fixed time grid, forwards (source to data) and backwards (inversion)."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence

from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.solvers.checks import require_evaluation_mode
from headwater.solvers.differentiation import Direct, Strategy
from headwater.solvers.method import MIDPOINT, Method

Grid = tuple[float, ...]


def uniform_grid(steps: int, start: float = 0.0, end: float = 1.0) -> Grid:
    """`steps + 1` equally spaced times, start + (end - start) i / steps for i = 0 to `steps`.

    Parameters
    ----------
    steps
        The number of steps, at least 1.
    start
        The first time, in [0, 1] for a solve.
    end
        The last one.

    Returns
    -------
    grid
        A tuple of `steps + 1` floats, exact at both ends.

    Raises
    ------
    Misuse
        If `steps` is below 1.

    Examples
    --------
    >>> uniform_grid(4)
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    if steps < 1:
        raise Misuse(f"A solve of {steps} steps does not move.", "Give at least 1 step.")
    return (*tuple(start + (end - start) * i / steps for i in range(steps)), end)


def logit_grid(steps: int, slope: float = 1.3, shift: float = -0.7) -> Grid:
    """Times sigmoid(slope logit(i / steps) + shift), finer at both ends: about even in the log signal-to-noise.

    logit(s) = log(s / (1 - s)); the first time is 0 and the last 1. A flow of images moves fastest near t = 0, where
    coarse structure of large variance is decided, and again near t = 1. With 8 steps on the shipped model the solve
    has 0.4 of the uniform grid's error, the inversion 0.36.

    Parameters
    ----------
    steps
        The number of steps, at least 1.
    slope
        Above 1 the times are finer at both ends; 1, with shift 0, gives the uniform grid.
    shift
        Below 0 the times are finer near t = 0, above 0 near t = 1. `benchmarks/decisions/time_grid.py` chose both
        defaults.

    Returns
    -------
    grid
        A tuple of `steps + 1` floats from 0 to 1.

    Raises
    ------
    Misuse
        If `steps` is below 1.

    References
    ----------
    Esser et al., "Scaling rectified flow transformers", ICML 2024, for times of training drawn in the logit of t.

    Examples
    --------
    >>> [round(t, 3) for t in logit_grid(4)]
    [0.0, 0.106, 0.332, 0.674, 1.0]
    >>> logit_grid(4, slope=1.0, shift=0.0)
    (0.0, 0.25, 0.5, 0.75, 1.0)
    """
    inner = (i / steps for i in range(1, len(uniform_grid(steps)) - 1))
    times = (1 / (1 + math.exp(-shift) * (1 / s - 1) ** slope) for s in inner)
    return (0.0, *times, 1.0)


def reverse_grid(grid: Grid) -> Grid:
    """The same times in reverse, from data to source: what `invert` steps along.

    Parameters
    ----------
    grid
        Times, such as those of `uniform_grid`.

    Returns
    -------
    grid
        A tuple of as many floats.

    Examples
    --------
    >>> reverse_grid((0.0, 0.25, 1.0))
    (1.0, 0.25, 0.0)
    """
    return tuple(reversed(grid))


def as_grid(steps: int | Sequence[float], start: float = 0.0) -> Grid:
    """The uniform grid of a number of steps from `start` to 1, or the given times, checked.

    Raises
    ------
    Misuse
        If the times are not strictly monotone, leave [0, 1], or are not numbers.
    """
    try:  # a 0-d tensor or a NumPy integer is a number of steps, too
        if getattr(steps, "ndim", None) == 0 or not hasattr(steps, "__len__"):
            return uniform_grid(operator.index(steps), start)  # type: ignore[arg-type]
        grid = tuple(float(t) for t in steps)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise Misuse(
            f"The steps {steps!r} are neither a whole number nor times.",
            "Give a number of steps, or a list, tensor or array of times from 0 to 1.",
        ) from None
    rises = [b - a for a, b in itertools.pairwise(grid)]
    if len(grid) < 2 or not (all(r > 0 for r in rises) or all(r < 0 for r in rises)):
        raise Misuse(
            f"The time grid {grid} is not strictly monotone.", "Give at least two rising or falling times."
        )
    if min(grid) < 0 or max(grid) > 1:
        raise Misuse(f"The time grid {grid} leaves [0, 1].", "Give times from 0, the source, to 1, the data.")
    return grid


def rising_grid(steps: int | Sequence[float], start: float = 0.0) -> Grid:
    """As `as_grid`, and refuse times that run from the data to the source.

    Raises
    ------
    Misuse
        As `as_grid`, or if the times fall: time runs from the source, 0, to the data, 1.
    """
    grid = as_grid(steps, start)
    if grid[0] > grid[-1]:
        raise Misuse(
            f"The times fall from {grid[0]:g} to {grid[-1]:g}, but time runs from the source, 0, to the data, 1.",
            "Give rising times; `invert` runs them backwards by itself.",
        )
    return grid


def full_grid(steps: int | Sequence[float]) -> Grid:
    """As `rising_grid`, and refuse times that do not run over all of [0, 1], from the source to the data.

    Raises
    ------
    Misuse
        As `rising_grid`, or if the times begin later than 0 or end before 1.

    Examples
    --------
    >>> full_grid([0.0, 0.3, 1.0])
    (0.0, 0.3, 1.0)
    """
    grid = rising_grid(steps)
    if grid[0] != 0 or grid[-1] != 1:
        raise Misuse(
            f"The times run from {grid[0]:g} to {grid[-1]:g}, not from the source, 0, to the data, 1.",
            "Give times whose first is 0 and whose last is 1.",
        )
    return grid


def solve(
    flow: Flow,
    x0: Tensor,
    *,
    method: Method = MIDPOINT,
    steps: int | Sequence[float] = 6,
    gradient: Strategy | None = None,
) -> Tensor:
    """x1, the solution of dx/dt = v(x, t) from x(0) = x0; it carries gradients to x0 exactly if x0 does.

    Parameters
    ----------
    flow
        The velocity field v, with events `[*event]`.
    x0
        The state `[batch, *event]` at the first time, float32 or float64.
    method
        The rule for one step: a Runge-Kutta tableau or `DDIM`.
    steps
        A number of uniform steps from 0 to 1, or the times themselves, strictly rising or falling in [0, 1]: a list,
        tensor or array. NFE = steps * method.evaluations.
    gradient
        How the solve is differentiated; None means `Direct()`.

    Returns
    -------
    x1
        The state at the last time, `[batch, *event]`, in data units.

    Raises
    ------
    Misuse
        If x0 has another event shape than the flow or is in half precision; if a network is in training mode; if the
        times are not strictly monotone or leave [0, 1].

    References
    ----------
    Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), section II.1.

    Examples
    --------
    >>> from headwater import Flow
    >>> flow = Flow(lambda x, t: -x, shape=(1,))
    >>> x1 = solve(flow, torch.ones(1, 1, dtype=torch.float64), steps=100)
    >>> round(x1.item(), 4)  # exp(-1)
    0.3679
    """
    if x0.ndim != len(flow.shape) + 1 or tuple(x0.shape[1:]) != flow.shape:
        raise Misuse(
            f"x0 has shape {tuple(x0.shape)} but the flow's events have shape {flow.shape}.",
            "Give x0 of shape [batch, *flow.shape]; the first axis is the problem.",
        )
    require_full_precision(x0)
    require_evaluation_mode(flow)
    strategy = gradient or Direct()
    return strategy.integrate(flow, method, x0, as_grid(steps))


def invert(flow: Flow, x1: Tensor, *, method: Method = MIDPOINT, steps: int | Sequence[float] = 24) -> Tensor:
    """y0, the solution at t = 0 of the flow run backwards from x(1) = x1, in the shape of x1 `[batch, *event]`.

    The round trip `solve(flow, invert(flow, x1))` returns to x1 up to the error of the method, which `inversion`
    measures. It carries gradients to x1 exactly if x1 does.

    Parameters
    ----------
    flow
        The velocity field v.
    x1
        Samples `[batch, *event]` in data units, float32 or float64.
    method
        As in `solve`.
    steps
        A number of uniform steps, or the times of the forward grid, rising.

    Returns
    -------
    y0
        Source points `[batch, *event]`.

    Raises
    ------
    Misuse
        As `solve`, or if the times fall.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, section 3.3.

    Examples
    --------
    >>> from headwater import Flow
    >>> flow = Flow(lambda x, t: -x, shape=(1,))
    >>> y0 = invert(flow, torch.full((1, 1), 0.3679))  # exp(-1)
    >>> round(y0.item(), 2)
    1.0
    """
    return solve(flow, x1, method=method, steps=reverse_grid(rising_grid(steps)))
