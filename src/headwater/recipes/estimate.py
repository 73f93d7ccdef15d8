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
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.seeds import generators, normal
from headwater.optimizers import LBFGS
from headwater.problem.cost import Misfit
from headwater.problem.least_squares import least_squares


@dataclass(frozen=True)
class Estimate:
    """One pass of the denoiser along t, made to agree with the measurement at every time.

    Attributes
    ----------
    times
        Evaluations of the network, at times even in the logit of t.
    spread
        How far the denoiser is distrusted: r_t = spread * sigma_t, in data units.
    first, last
        The times of the first and last evaluation; the guess enters at `first`, almost drowned in noise.
    fresh
        The share of new noise at every time, 0 to 1.
    iterations
        Conjugate gradients (linear operators) or L-BFGS evaluations (others) of every agreement.

    All were chosen by `benchmarks/ablation.py` on the shipped image model.
    """

    times: int = 32
    spread: float = 1.0
    first: float = 0.05
    last: float = 0.97
    fresh: float = 1.0
    iterations: int = 16

    def sample(
        self,
        flow: Flow,
        misfit: Misfit,
        seeds: Sequence[int],
        *,
        guess: Tensor,
        watch: Callable[[Tensor], bool] | None = None,
    ) -> Tensor:
        """An x1 that the flow finds plausible and that agrees with the measurement, `[len(seeds), *event]`.

        guess `[batch or 1, *event]`. `watch(x1)` sees the agreement at every time and ends the pass by True.

        >>> from headwater import Gaussian
        >>> flow = Gaussian(torch.zeros(2), torch.tensor([1.0, 1.0])).flow
        >>> misfit = Misfit(lambda x: x, torch.tensor([[0.5, -0.5]]), 0.01)
        >>> x1 = Estimate().sample(flow, misfit, [0], guess=torch.zeros(1, 2))
        >>> bool(misfit.rms(x1) < 2)
        True
        """
        sources, path = generators(seeds), flow.path
        with torch.no_grad():
            z = guess.expand(len(seeds), *flow.shape)
            eps = flow.project(normal(flow.shape, sources).to(guess))
            for t in logit_times(self.times, self.first, self.last):
                x = path.interpolate(eps, z, t)
                xhat = flow.denoise(x, t)
                z = proximal(misfit, xhat, self.spread * float(path.sigma(t)), self.iterations)
                old = (x - path.alpha(t) * xhat) / path.sigma(t)
                new = flow.project(normal(flow.shape, sources).to(guess))
                eps = math.sqrt(1 - self.fresh) * old + math.sqrt(self.fresh) * new
                if watch is not None and watch(z):
                    break
        return z


def logit_times(count: int, first: float, last: float) -> list[Tensor]:
    """Times from `first` to `last`, even in log(t / (1 - t))."""
    ends = [math.log(t / (1 - t)) for t in (first, last)]
    return list(torch.sigmoid(torch.linspace(ends[0], ends[1], count, dtype=torch.float64)))


def proximal(misfit: Misfit, xhat: Tensor, r: float, iterations: int = 16) -> Tensor:
    """argmin_x |x - xhat|^2 / (2 r^2) + misfit(x), shape as xhat.

    For a linear operator with an `adjoint` x - xhat is the least squares solution of A dx = y - A xhat with the
    ridge sigma_y^2 / r^2. Others: `iterations` evaluations of the batched L-BFGS.
    """
    adjoint = getattr(misfit.operator, "adjoint", None)
    if adjoint is None or misfit.measured is not None:
        return _proximal_nonlinear(misfit, xhat, r, iterations)
    residual = getattr(misfit.operator, "residual", None)
    gap = misfit.operator(xhat) - misfit.y if residual is None else residual(xhat, misfit.y)
    ridge = (torch.as_tensor(misfit.sigma_y).to(xhat) / r) ** 2
    return xhat + least_squares(
        misfit.operator, adjoint, -gap, ridge=ridge, iterations=iterations, tolerance=1e-3
    )


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
