"""The Gauss-Newton approximation at the most likely point, for problems small enough for a dense Jacobian.

With H(x0) = (x0, (A x1(x0) - y) / sigma_y) the posterior is exp(-|H|^2 / 2). At its most likely point x* the Jacobian
of H is Q R, so that R'R = I + J'J with J the Jacobian of (A x1 - y) / sigma_y, and near x* the posterior is about
N(x*, (R'R)^-1).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from headwater.dflow.prior import GaussianPrior
from headwater.errors import Misuse
from headwater.recipes.posterior.optimise import minimise, require_measurement
from headwater.recipes.posterior.potential import Potential
from headwater.solvers.differentiation import Direct
from headwater.solvers.fixed import solve

LARGEST = 1000
"""The dimension d up to which a Jacobian of d columns and its factors are worth their time."""


def require_small(potential: Potential, x0: Tensor) -> None:
    """Refuse what has no dense Jacobian: x0 `[chains, *event]` of many entries, a flow with a support, another cost.

    Raises
    ------
    Misuse
        If the cost is no `Misfit`, x0 has more than 1,000 entries, or the flow has a support.
    """
    require_measurement(potential.cost)
    if x0[0].numel() > LARGEST or potential.flow.support is not None:
        raise Misuse(
            f"This sampler needs the Jacobian of the measurement, here of {x0[0].numel():,} columns.",
            f"It takes up to {LARGEST:,}, and no flow with a support; take a Markov chain such as InfinityHMC().",
        )


def linearise(
    potential: Potential, x0: Tensor, gradients: int, first_step: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The most likely point that L-BFGS finds from x0 `[chains, *event]`, and the factors of the Jacobian there.

    Returns
    -------
    mode, q, r, spent
        x* `[chains, *event]`; Q `[chains, d + m, d]` and R `[chains, d, d]`; gradients of every chain, int64.
    """
    whole = replace(potential.objective, prior=GaussianPrior())
    found = minimise(whole.evaluate_problems, x0, gradients, first_step)
    j = jacobian(potential, found.x)
    q, r = torch.linalg.qr(torch.where(j.isfinite(), j, 0.0))
    return found.x, q, r, found.evaluations + j.shape[1] - j.shape[2]


def unwhiten(mode: Tensor, r: Tensor, w: Tensor) -> Tensor:
    """x0 = x* + R^-1 w, `[k, *event]`, of x* `[k, *event]`, R `[k, d, d]` and w `[k, d]`."""
    step = torch.linalg.solve_triangular(r, w[..., None], upper=True)[..., 0]
    point: Tensor = mode + step.reshape(mode.shape)
    return point


def residual(potential: Potential, x1: Tensor) -> Tensor:
    """(A x1 - y) / sigma_y as real numbers, `[chains, m]`, of x1 `[chains, *event]`."""
    r = require_measurement(potential.cost).standardise_residual(x1)
    real: Tensor = torch.view_as_real(r).flatten(1) if r.is_complex() else r
    return real.to(x1.dtype)


def jacobian(potential: Potential, x0: Tensor) -> Tensor:
    """The Jacobian of H at x0 `[chains, *event]`, `[chains, d + m, d]`; one gradient for each of m measurements."""
    x = x0.detach().requires_grad_()
    with torch.enable_grad():
        solver = {**potential.objective.solver, "gradient": Direct()}
        r = residual(potential, solve(potential.flow, x, **solver))
        rows = [
            torch.autograd.grad(r[:, i].sum(), x, retain_graph=True)[0].flatten(1) for i in range(r.shape[1])
        ]
    d = x0[0].numel()
    eye = torch.eye(d, dtype=x0.dtype, device=x0.device).expand(len(x0), d, d)
    return torch.cat([eye, torch.stack(rows, 1)], 1)
