"""Least squares with an operator known only by A and A': conjugate gradients and power iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Linear = Callable[[Tensor], Tensor]


def square(a: Tensor) -> Tensor:
    """|a|^2 of every problem, [batch]."""
    return a.flatten(1).square().sum(1)


def times(scalar: Tensor, a: Tensor) -> Tensor:
    """Each problem of `a` times its own scalar, [batch] x [batch, ...]."""
    return scalar.reshape(-1, *(1,) * (a.ndim - 1)) * a


def least_squares(
    forward: Linear,
    adjoint: Linear,
    y: Tensor,
    *,
    ridge: float = 0.0,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Tensor:
    """The smallest x that minimises |A x - y|^2 + ridge |x|^2, by conjugate gradients (CGLS).

    Each problem has its own scalars and does not depend on the others. |A x - y| never grows; on an
    ill-conditioned A it falls about as 1 / iterations.

    Parameters
    ----------
    forward, adjoint
        x -> A x and y -> A' y.
    y
        Measurements [batch, ...].
    ridge
        Tikhonov weight, at least 0.
    iterations, tolerance
        A problem stops, and stays as it is, at |A x - y| <= tolerance |y| (if ridge = 0), when the gradient
        is down to rounding, or after so many iterations of one A and one A' each.

    References
    ----------
    Hestenes & Stiefel 1952, section 10; Bjorck 1996, Numerical methods for least squares problems, 7.4.1.

    Examples
    --------
    >>> scale = torch.tensor([[1.0, 2.0, 4.0]])
    >>> A = lambda x: scale * x
    >>> least_squares(A, A, torch.ones(1, 3)).round(decimals=5).tolist()
    [[1.0, 0.5, 0.25]]
    """
    r, s = y, adjoint(y)
    x, p, gamma = torch.zeros_like(s), s, square(s)
    goal = tolerance**2 * square(y) if ridge == 0 else torch.zeros_like(gamma)
    rounding = (10 * torch.finfo(y.dtype).eps) ** 2 * gamma
    for _ in range(iterations):
        active = (square(r) > goal) & (gamma > rounding)
        if not bool(active.any()):
            break
        q = forward(p)
        curvature = square(q) + ridge * square(p)
        active = active & (curvature > 0)
        alpha = torch.where(active, gamma / torch.where(active, curvature, 1.0), 0.0)
        x, r = x + times(alpha, p), r - times(alpha, q)
        s = adjoint(r) - ridge * x
        gamma, previous = torch.where(active, square(s), 0.0), gamma
        p = s + times(torch.where(active, gamma / torch.where(active, previous, 1.0), 0.0), p)
    return x


def power_norm(forward: Linear, adjoint: Linear, shape: Sequence[int], iterations: int = 100) -> Tensor:
    """The largest singular value of A for every problem, float64 [batch], by power iteration on A' A.

    The start is noise around a constant image (the leading singular vector of most blurs is smooth), the
    same for every problem and call. After k iterations the result is at most about log(d) / k below the true
    value, relatively, and usually far nearer; it is above by rounding only.

    Examples
    --------
    >>> power_norm(lambda x: 3 * x, lambda y: 3 * y, (1, 1, 4, 4)).round(decimals=9).tolist()
    [3.0]
    """
    generator = torch.Generator().manual_seed(0)
    start = 1.0 + torch.randn((1, *shape[1:]), generator=generator, dtype=torch.float64)
    x = start.expand(*shape)
    for _ in range(iterations):
        x = times(square(x).rsqrt(), x)
        x = adjoint(forward(x))
        x = torch.where(times(square(x), torch.ones_like(x)) > 0, x, torch.ones_like(x))
    return square(forward(times(square(x).rsqrt(), x))).sqrt()
