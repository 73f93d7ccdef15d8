"""The damped oscillator in a heat bath: the linear part of underdamped Langevin dynamics, solved exactly."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def oscillate(
    u: Tensor, v: Tensor, f: Tensor, noise: tuple[Tensor, Tensor], a: float, friction: float, time: float
) -> tuple[Tensor, Tensor]:
    """The exact solution of du = g v dt, dv = (g (f - a u) - g^2 v) dt + sqrt(2) g dW, g^2 = friction^2 a.

    It rests at u ~ N(f / a, 1 / a), v ~ N(0, 1).

    Parameters
    ----------
    u, v, f
        Position, scaled velocity and constant force `[batch, *event]`.
    noise
        Two draws of N(0, I).
    a, friction, time
        The curvature of the potential, the friction, and the time of the step.

    Examples
    --------
    After a long time the start is forgotten.

    >>> import torch
    >>> one, two = torch.ones(1), torch.full((1,), 2.0)
    >>> u, v = oscillate(one, one, two, (one, one), a=4.0, friction=3.0, time=100.0)
    >>> round(u.item(), 4), round(v.item(), 4)  # 2 / 4 + 1 / sqrt(4), 1
    (1.0, 1.0)
    """
    g = friction * math.sqrt(a)
    drift = torch.tensor([[0.0, g], [-g * a, -(g**2)]], dtype=torch.float64)
    decay, rest = (
        torch.linalg.matrix_exp(drift * time),
        torch.diag(torch.tensor([1 / a, 1.0], dtype=torch.float64)),
    )
    (p, q), (r, s) = decay.tolist()
    # Cov = rest - decay rest decay', that of the stationary law less what is left of the start.
    (b, _), (c, d) = torch.linalg.cholesky(rest - decay @ rest @ decay.T).tolist()
    off = u - f / a
    return f / a + p * off + q * v + b * noise[0], r * off + s * v + c * noise[0] + d * noise[1]
