"""Where the optimisation starts: inverted observations, blends with noise, the shell of the source."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import per_problem
from headwater.solvers.fixed import invert, solve
from headwater.solvers.method import MIDPOINT, Method


def blend(y0: Tensor, z: Tensor, a: float) -> Tensor:
    """x0 = sqrt(a) y0 + sqrt(1 - a) z: an inverted observation mixed with fresh noise.

    The squares of the weights sum to 1, so x0 is a draw of N(0, I) if y0 and z are.

    Parameters
    ----------
    y0, z
        The inverted observation and a draw of N(0, I), `[batch, *event]` each.
    a
        The share of y0 in the variance, 0 to 1.

    Returns
    -------
    x0
        `[batch, *event]`.

    Raises
    ------
    Misuse
        If a is outside [0, 1].

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, section 3.3.

    Examples
    --------
    >>> blend(torch.ones(1, 1), torch.zeros(1, 1), 0.25).item()
    0.5
    """
    if not 0 <= a <= 1:
        raise Misuse(f"The blend a = {a} is outside [0, 1].", "Give 0 (noise only) to 1 (inversion only).")
    return math.sqrt(a) * y0 + math.sqrt(1 - a) * z


@dataclass(frozen=True)
class Inversion:
    """The source point of a sample, with its diagnostics; from `inversion`.

    Attributes
    ----------
    y0
        The source point `[batch, *event]`.
    round_trip
        rms(solve(y0) - x1) `[batch]`, in data units.
    radius
        |y0| / sqrt(d) `[batch]`, about 1 for a draw of the source. A radius far from 1 says that the flow finds x1
        implausible: blend with a small a, or start from noise.

    Examples
    --------
    >>> from headwater import Flow, inversion
    >>> found = inversion(Flow(lambda x, t: 0 * x, shape=(4,)), torch.tensor([[2.0, 2.0, 2.0, 2.0]]))
    >>> found.y0.tolist(), found.round_trip.tolist(), found.radius.tolist()
    ([[2.0, 2.0, 2.0, 2.0]], [0.0], [2.0])
    """

    y0: Tensor
    round_trip: Tensor
    radius: Tensor


def inversion(
    flow: Flow, x1: Tensor, *, method: Method = MIDPOINT, steps: int | Sequence[float] = 24
) -> Inversion:
    """Invert x1 `[batch, *event]` to t = 0, solve back to t = 1, and say how far the round trip missed x1.

    Parameters
    ----------
    flow
        The velocity field.
    x1
        Samples `[batch, *event]` in data units, float32 or float64.
    method
        The rule for one step, of both ways.
    steps
        A number of uniform steps, or the times of the forward grid, rising within [0, 1].

    Returns
    -------
    inversion
        An `Inversion`: `y0` `[batch, *event]`; `round_trip`, the rms of the miss in data units, and `radius` =
        |y0| / sqrt(d), both `[batch]`.

    Raises
    ------
    Misuse
        If x1 is not a batch of the flow's events, the times do not rise within [0, 1], or a network is in training
        mode.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, section 3.3.

    Examples
    --------
    The flow of N(0, 4) halves x1 on the way to x0, so x1 = 8, four standard deviations out, has the radius 4.

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(4), torch.full((4,), 2.0)).flow
    >>> found = inversion(flow, torch.tensor([[2.0] * 4, [8.0] * 4]))
    >>> found.radius.round(decimals=2).tolist(), bool(found.round_trip.max() < 0.01)
    ([1.0, 4.0], True)
    """
    y0 = invert(flow, x1, method=method, steps=steps)
    back = solve(flow, y0, method=method, steps=steps)
    rms = (back - x1).flatten(1).square().mean(1).sqrt()
    return Inversion(y0, rms, y0.flatten(1).square().mean(1).sqrt())


def shell(x0: Tensor) -> Tensor:
    """x0 `[batch, *event]` projected on the shell |x0| = sqrt(d), where the mass of N(0, I) lies; differentiable.

    A hard form of `ChiPrior`, for `control(..., constraint=shell)`: x0 = sqrt(d) z / |z|. d is the number of entries
    of an event, which is not the dimension of a flow with a support.

    Parameters
    ----------
    x0
        `[batch, *event]`, not zero.

    Returns
    -------
    x0
        The projection, `[batch, *event]`.

    References
    ----------
    Vershynin, High-Dimensional Probability (2018), theorem 3.1.1: the norm of N(0, I) concentrates at sqrt(d).

    Examples
    --------
    >>> round(shell(torch.tensor([[3.0, 4.0]])).norm().item(), 4)  # sqrt(2)
    1.4142
    """
    norm = per_problem(x0.flatten(1).norm(dim=1).clamp(min=1e-12), x0)
    scaled: Tensor = x0 * (math.sqrt(x0[0].numel()) / norm)
    return scaled
