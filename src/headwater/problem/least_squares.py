"""Least squares with an operator that is given by A and A' alone: conjugate gradients and power iteration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem

Linear = Callable[[Tensor], Tensor]


def squared_norm(a: Tensor) -> Tensor:
    """|a|^2 of a `[batch, ...]`, real or complex, for every problem, `[batch]` real."""
    flat = a.flatten(1)
    return (torch.view_as_real(flat).flatten(1) if flat.is_complex() else flat).square().sum(1)


def check_adjoint(operator: object, x: Tensor) -> None:
    """Refuse an operator whose `adjoint` is not the adjoint of its linear part, at the cost of two A and one A'.

    It compares |A u|^2 with <u, A'A u> for one u of the shape of x `[batch, *event]`. Conjugate gradients with a
    wrong adjoint diverge, or converge to something else.

    Raises
    ------
    Misuse
        If the two differ by more than a hundredth for some problem.

    Examples
    --------
    >>> class Wrong:
    ...     def __call__(self, x): return 2 * x
    ...     def adjoint(self, y): return 6 * y
    >>> check_adjoint(Wrong(), torch.zeros(1, 3))
    Traceback (most recent call last):
    headwater.errors.Misuse: The adjoint of Wrong is not that of its operator: <A u, A u> is 9 and <u, A' A u> is \
27. Mend it, or leave it out and give a plain function.
    """
    forward: Any = operator
    if (adjoint := getattr(operator, "adjoint", None)) is None:
        return
    with torch.no_grad():
        u = torch.ones_like(x)
        flat = u.flatten(1)
        flat[:, 1::2] *= 0.5  # no kernel of a difference
        y = forward(u) - forward(torch.zeros_like(x))
        left, right = squared_norm(y), (u * adjoint(y)).flatten(1).sum(1)
    wrong = (left - right).abs() > 0.01 * left.clamp(min=1e-12)
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        raise Misuse(
            f"The adjoint of {type(operator).__name__} is not that of its operator: <A u, A u> is "
            f"{float(left[i]):.3g} and <u, A' A u> is {float(right[i]):.3g}.",
            "Mend it, or leave it out and give a plain function.",
        )


def solve_least_squares(
    forward: Linear,
    adjoint: Linear,
    y: Tensor,
    *,
    ridge: float | Tensor = 0.0,
    iterations: int = 100,
    tolerance: float = 1e-6,
) -> Tensor:
    """The smallest x that minimises |A x - y|^2 + ridge |x|^2, by conjugate gradients (CGLS).

    Each problem has its own scalars and does not depend on the others. |A x - y| never grows; if A is
    ill-conditioned it falls about as 1 / iterations.

    Parameters
    ----------
    forward, adjoint
        x -> A x and y -> A' y; A' y has the shape of x, `[batch, ...]`.
    y
        Measurements `[batch, ...]`.
    ridge
        Tikhonov weight, at least 0: a number, or one per problem `[batch]`.
    iterations, tolerance
        A problem stops after `iterations`, of one A and one A' each, or earlier: without ridge at
        |A x - y| <= tolerance |y|, with ridge once the gradient A'(y - A x) - ridge x has fallen to `tolerance` of
        its first value, and always when the gradient has fallen to rounding.

    Returns
    -------
    x
        The solutions, in the shape of A' y.

    References
    ----------
    Hestenes & Stiefel 1952, section 10; Bjorck 1996, Numerical methods for least squares problems, Algorithm 7.4.1.

    Examples
    --------
    >>> scale = torch.tensor([[1.0, 2.0, 4.0]])
    >>> A = lambda x: scale * x
    >>> solve_least_squares(A, A, torch.ones(1, 3)).round(decimals=5).tolist()
    [[1.0, 0.5, 0.25]]
    """
    r, s = y, adjoint(y)
    # From x = 0 every iterate lies in the range of A', so the limit is the smallest of the minimisers.
    x, p, gamma = torch.zeros_like(s), s, squared_norm(s)
    weight = torch.as_tensor(ridge, dtype=gamma.dtype, device=gamma.device)
    # With a ridge |A x - y| does not fall to zero, so only the gradient can tell that a problem is solved.
    goal = torch.where(weight == 0, tolerance**2 * squared_norm(y), 0.0)
    least = torch.where(weight == 0, 10 * torch.finfo(s.dtype).eps, tolerance) ** 2 * gamma
    for _ in range(iterations):
        active = (squared_norm(r) > goal) & (gamma > least)
        if not bool(active.any()):
            break
        q = forward(p)
        curvature = squared_norm(q) + weight * squared_norm(p)
        active = active & (curvature > 0)  # p in the kernel of A: nothing is left to gain
        alpha = torch.where(active, gamma / torch.where(active, curvature, 1.0), 0.0)
        x, r = x + per_problem(alpha, p) * p, r - per_problem(alpha, q) * q
        s = adjoint(r) - per_problem(weight, x) * x
        gamma, previous = torch.where(active, squared_norm(s), 0.0), gamma
        p = s + per_problem(torch.where(active, gamma / torch.where(active, previous, 1.0), 0.0), p) * p
    return x


def estimate_norm(forward: Linear, adjoint: Linear, shape: Sequence[int], iterations: int = 100) -> Tensor:
    """The largest singular value of A for every problem, float64 `[batch]`, by power iteration on A' A.

    The start is noise around a constant image (the leading singular vector of most blurs is smooth), the same for
    every problem and call. After k iterations the result is below the true value by a relative error of at most about
    log(d) / k, usually far less, and never above it but for rounding.

    Parameters
    ----------
    forward, adjoint
        x -> A x and y -> A' y.
    shape
        The shape of x, `[batch, ...]`.
    iterations
        Power iterations, of one A and one A' each.

    References
    ----------
    Kuczynski & Wozniakowski, SIAM J. Matrix Anal. Appl. 13 (1992), the bound log(d) / k.

    Examples
    --------
    >>> estimate_norm(lambda x: 3 * x, lambda y: 3 * y, (1, 1, 4, 4)).round(decimals=9).tolist()
    [3.0]
    """
    generator = torch.Generator().manual_seed(0)
    start = 1.0 + torch.randn((1, *shape[1:]), generator=generator, dtype=torch.float64)
    x = start.expand(*shape)
    for _ in range(iterations):
        x = per_problem(squared_norm(x).rsqrt(), x) * x
        x = adjoint(forward(x))
        # Where A is zero any x will do.
        x = torch.where(per_problem(squared_norm(x), x) > 0, x, torch.ones_like(x))
    return squared_norm(forward(per_problem(squared_norm(x).rsqrt(), x) * x)).sqrt()
