"""A fast estimate of x1 from a measurement, one pass of the denoiser along t: where D-Flow starts from.

Plug-and-play with the flow's own denoiser (PnP-Flow, Martin et al., ICLR 2025; DiffPIR, Zhu et al., 2023):

    for t from early to late
        xhat <- E[x1 | x_t]                                             denoise
        z    <- argmin_x |x - xhat|^2 / (2 r_t^2) + |A x - y|^2 / (2 sigma_y^2)   agree with the measurement
        x_t' <- alpha_t' z + sigma_t' eps                               go on from a later time

with r_t = spread * sigma_t, the distrust of the denoiser, and
eps = sqrt(fresh) N(0, I) + sqrt(1 - fresh) (x_t - alpha_t xhat) / sigma_t: new noise, or what the denoiser took for
noise (DDIM, Song et al., 2021). New noise at every time draws towards the mean of what is likely; the old one keeps
the energy of a draw where nothing was measured. No gradient of the network is needed: one evaluation per time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.path import expand
from headwater.optimizers import LBFGS
from headwater.optimizers.state import spread as along
from headwater.problem.cost import Misfit


def estimate(
    flow: Flow,
    misfit: Misfit,
    guess: Tensor,
    seeds: Sequence[int],
    *,
    steps: int = 32,
    spread: float = 1.0,
    first: float = 0.05,
    last: float = 0.97,
    fresh: float = 1.0,
    watch: Callable[[Tensor], bool] | None = None,
) -> Tensor:
    """An x1 that the flow finds plausible and that agrees with the measurement, `[len(seeds), *event]`.

    guess `[batch or 1, *event]` enters at the time `first`, almost drowned in noise; the times are even in the
    logit up to `last`. `fresh`, 0 to 1, is the share of new noise at every time; `spread` scales how far the
    denoiser is distrusted: r_t = spread * sigma_t, in data units.

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
    >>> misfit = Misfit(lambda x: x, torch.tensor([[0.5, -0.5]]), 0.01)
    >>> x1 = estimate(flow, misfit, torch.zeros(1, 2), seeds=[0])
    >>> bool(misfit.rms(x1) < 2)
    True
    """
    generators = [torch.Generator().manual_seed(int(s)) for s in seeds]
    path, times = flow.path, logit_times(steps, first, last)

    def noise() -> Tensor:
        eps = torch.stack([torch.randn(flow.shape, generator=g) for g in generators])
        return flow.project(eps.to(guess))

    with torch.no_grad():
        z = guess.expand(len(seeds), *flow.shape)
        eps = noise()
        for t in times:
            x = path.interpolate(eps, z, t)
            xhat = flow.denoise(x, t)
            r = spread * float(path.sigma(t))
            z = proximal(misfit, xhat, r)
            found = (x - path.alpha(t) * xhat) / path.sigma(t)
            eps = math.sqrt(1 - fresh) * found + math.sqrt(fresh) * noise()
            if watch is not None and watch(z):
                break
    return z


def logit_times(steps: int, first: float, last: float) -> list[Tensor]:
    """Times from `first` to `last`, even in log(t / (1 - t))."""
    ends = [math.log(t / (1 - t)) for t in (first, last)]
    return list(torch.sigmoid(torch.linspace(ends[0], ends[1], steps, dtype=torch.float64)))


def proximal(misfit: Misfit, xhat: Tensor, r: float, iterations: int = 16) -> Tensor:
    """argmin_x |x - xhat|^2 / (2 r^2) + misfit(x), shape as xhat.

    Linear operators with an `adjoint`: conjugate gradients on (I + r^2 A'A / sigma^2) dx = r^2 A'(y - A xhat) /
    sigma^2. Others: `iterations` evaluations of the batched L-BFGS.
    """
    adjoint = getattr(misfit.operator, "adjoint", None)
    if adjoint is None:
        return _proximal_nonlinear(misfit, xhat, r, iterations)
    sigma = torch.as_tensor(misfit.sigma_y).to(xhat)
    weight = expand((r / sigma) ** 2, xhat) if sigma.ndim else (r / sigma) ** 2
    residual = getattr(misfit.operator, "residual", None)
    gap = misfit.operator(xhat) - misfit.y if residual is None else residual(xhat, misfit.y)
    return xhat + conjugate_gradients(
        lambda v: v + weight * adjoint(misfit.operator(v)), -weight * adjoint(gap), iterations
    )


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-3
) -> Tensor:
    """Solve apply(x) = b for symmetric positive maps (Nocedal & Wright, 5.2).

    Each problem has its own scalars and stays as it is from |r| <= tolerance |b| on, whatever the others do.
    """
    x, r, p = torch.zeros_like(b), b, b
    rr = _dot(r, r)
    enough = tolerance**2 * rr
    for _ in range(iterations):
        active = rr > enough
        if not bool(active.any()):
            break
        q = apply(p)
        step = along(torch.where(active, rr / _dot(p, q).clamp(min=1e-30), 0.0), b)
        x, r = x + step * p, r - step * q
        rr, before = _dot(r, r), rr
        p = r + along(rr / before.clamp(min=1e-30), b) * p
    return x


def _proximal_nonlinear(misfit: Misfit, xhat: Tensor, r: float, evaluations: int) -> Tensor:
    optimizer = LBFGS(first_step=0.1 * r, memory=5)
    state = optimizer.init(xhat)
    for _ in range(evaluations):
        x = state.trial.detach().requires_grad_()
        with torch.enable_grad():
            value = misfit(x) + 0.5 * ((x - xhat) / r).flatten(1).square().sum(1)
            (gradient,) = torch.autograd.grad(value.sum(), x)
        state = optimizer.step(state, value, gradient)
    return state.x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
