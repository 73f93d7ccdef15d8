"""Least squares with an operator known only by A and A': conjugate gradients and power iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headwater.problem.batch import per_problem

Linear = Callable[[Tensor], Tensor]


def square(a: Tensor) -> Tensor:
    """|a|^2 of every problem, `[batch]`."""
    return a.flatten(1).square().sum(1)


def least_squares(
    forward: Linear,
    adjoint: Linear,
    y: Tensor,
    *,
    ridge: float | Tensor = 0.0,
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
        Tikhonov weight, at least 0: a number, or one per problem `[batch]`.
    iterations, tolerance
        A problem stops, and stays as it is: without ridge at |A x - y| <= tolerance |y|, with ridge once the
        gradient A'(y - A x) - ridge x has fallen to `tolerance` of its first value, always when it is down to
        rounding, or after `iterations` of one A and one A' each.

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
    weight = torch.as_tensor(ridge, dtype=gamma.dtype, device=gamma.device)
    goal = torch.where(weight == 0, tolerance**2 * square(y), 0.0)
    least = torch.where(weight == 0, 10 * torch.finfo(s.dtype).eps, tolerance) ** 2 * gamma
    for _ in range(iterations):
        active = (square(r) > goal) & (gamma > least)
        if not bool(active.any()):
            break
        q = forward(p)
        curvature = square(q) + weight * square(p)
        active = active & (curvature > 0)
        alpha = torch.where(active, gamma / torch.where(active, curvature, 1.0), 0.0)
        x, r = x + per_problem(alpha, p) * p, r - per_problem(alpha, q) * q
        s = adjoint(r) - per_problem(weight, x) * x
        gamma, previous = torch.where(active, square(s), 0.0), gamma
        p = s + per_problem(torch.where(active, gamma / torch.where(active, previous, 1.0), 0.0), p) * p
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
        x = per_problem(square(x).rsqrt(), x) * x
        x = adjoint(forward(x))
        x = torch.where(per_problem(square(x), x) > 0, x, torch.ones_like(x))  # A is zero: any x will do
    return square(forward(per_problem(square(x).rsqrt(), x) * x)).sqrt()
