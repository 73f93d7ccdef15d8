"""What control is compared with: guidance in the manner of DiffusionPDE, and Gaussian processes.

`Guidance` is the sampler of Huang et al., "DiffusionPDE", NeurIPS 2024, Algorithm 1, with the weights of the authors'
code in its two phases. With D the denoiser, on the noise levels of EDM:

    for sigma from 80 to 0.002, s the next level
        x <- a step of Heun from sigma to s, whose last denoised state is xhat
        x <- x - zeta_obs grad (|z - y_z| + |u - y_u|)     norms at the measured points of xhat, through the network
        in the last fifth: a tenth of that, and x <- x - zeta_pde grad |-div(a grad u) - 1|

Its own residual is that of every node; `smooth` takes the residual r of `costs.py` in its place.

`GaussianProcess` is interpolation with the mean and the covariance of the training fields: the best linear estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

import headwater as hw

from .costs import apply_darcy, find_residual
from .data import SIZE, simulate, to_fields, turn


@dataclass(frozen=True)
class Guidance:
    """DiffusionPDE's guidance; every step takes two evaluations of the network with a gradient.

    Attributes
    ----------
    steps
        Steps of Heun's method; 2,000 in the paper.
    zeta_obs, zeta_pde
        The weights of the two gradients, in the units of a state.
    smooth
        Whether the residual is r of `costs.py` instead of the equation's own.
    """

    steps: int = 120
    zeta_obs: float = 1.0
    zeta_pde: float = 1.0
    smooth: bool = False

    def __call__(self, flow: hw.Flow, y: Tensor, sensors: Tensor, seeds: range) -> Tensor:
        """Fields `[n, 2, 32, 32]` that were measured as y where `sensors` is true, `[n, 2, 32, 32]` each."""
        share = torch.arange(self.steps, dtype=torch.float64) / (self.steps - 1)
        levels = (
            80 ** (1 / 7) + share * (0.002 ** (1 / 7) - 80 ** (1 / 7))
        ) ** 7  # Karras et al. 2022, eq. 5
        times = hw.find_time_of_noise(flow.path, levels)

        def denoise(x: Tensor, i: int) -> Tensor:
            return flow.denoise(float(flow.path.alpha(times[i])) * x, times[i])

        x = 80 * flow.noise(seeds)
        for i in range(self.steps):
            sigma, then = (
                float(levels[i]),
                float(levels[i + 1]) if i + 1 < self.steps else 0.0,
            )
            x = x.detach().requires_grad_()
            xhat = denoise(x, i)
            slope = (x - xhat) / sigma
            new = x + (then - sigma) * slope
            if then > 0:  # Heun's correction
                xhat = denoise(new, i + 1)
                new = x + (then - sigma) * (slope + (new - xhat) / then) / 2
            late = i > 0.8 * self.steps
            loss = self.zeta_obs * (0.1 if late else 1.0) * distance(xhat, y, sensors)
            if late:
                loss = loss + self.zeta_pde * self.breach(xhat)
            (pull,) = torch.autograd.grad(loss.sum(), x)
            x = new.detach() - pull
        return x.detach()

    def breach(self, x: Tensor) -> Tensor:
        """The norm of the residual over the number of nodes, `[n]`."""
        a, u = to_fields(x)
        r = find_residual(x) if self.smooth else apply_darcy(a, u) - 1
        return (r.flatten(1).square().sum(1) + 1e-12).sqrt() / SIZE**2


def distance(x: Tensor, y: Tensor, sensors: Tensor) -> Tensor:
    """The norms of what is missed of either field, summed, `[n]`."""
    return (
        (torch.where(sensors, x - y, 0.0).flatten(2).square().sum(2) + 1e-12)
        .sqrt()
        .sum(1)
    )


@lru_cache(maxsize=2)
def find_moments(count: int = 3000) -> tuple[Tensor, Tensor]:
    """The mean `[2048]` and the covariance `[2048, 2048]` of the training fields in their eight symmetries."""
    fields = simulate(count, seed=0)
    x = torch.cat([turn(fields, k) for k in range(8)]).flatten(1).double()
    mean = x.mean(0)
    x -= mean
    return mean, x.T @ x / len(x)


@dataclass(frozen=True)
class GaussianProcess:
    """The fields as a Gaussian process with the moments of the training fields.

    Attributes
    ----------
    together
        Whether the points of one field tell of the other; else each field is interpolated by itself.
    noise
        The standard deviation of a measured point.
    """

    together: bool
    noise: float

    def __call__(self, y: Tensor, sensors: Tensor) -> Tensor:
        """The mean of the posterior, `[n, 2, 32, 32]`."""
        mean, covariance = self.find_prior()
        found = [
            condition(mean, covariance, row[at].double(), at, self.noise)
            for row, at in zip(y.flatten(1), sensors.flatten(1), strict=True)
        ]
        return torch.stack(found).float().reshape(y.shape)

    def draw(self, y: Tensor, sensors: Tensor, seeds: range, draws: int) -> Tensor:
        """Draws of the posterior, `[n, draws, 2, 32, 32]`, of every problem by a seed of its own.

        Matheron's rule: a draw of the prior, moved by what it misses of y with noise.
        """
        mean, covariance = self.find_prior()
        root = torch.linalg.cholesky(covariance + 1e-6 * torch.eye(len(mean)).double())
        found = []
        for row, at, seed in zip(y.flatten(1), sensors.flatten(1), seeds, strict=True):
            generator = torch.Generator().manual_seed(seed)
            z = torch.randn(draws, len(mean), generator=generator, dtype=torch.float64)
            error = torch.randn(draws, int(at.sum()), generator=generator).double()
            x, told = mean + z @ root.T, row[at] - self.noise * error
            found.append(condition(x, covariance, told, at, self.noise))
        return torch.stack(found).float().reshape(len(y), draws, *y.shape[1:])

    def find_prior(self) -> tuple[Tensor, Tensor]:
        """The mean and the covariance; those between the two fields are 0 if each is alone."""
        mean, covariance = find_moments()
        if self.together:
            return mean, covariance
        half = torch.arange(len(mean)) < SIZE**2
        return mean, torch.where(half[:, None] == half, covariance, 0.0)


def condition(
    x: Tensor, covariance: Tensor, y: Tensor, at: Tensor, noise: float
) -> Tensor:
    """x `[..., d]` moved by what it misses of y `[..., k]` at `at`, bool `[d]`; the mean becomes that given y."""
    inner = covariance[at][:, at] + noise**2 * torch.eye(int(at.sum())).double()
    gain = torch.linalg.solve(inner, covariance[at])
    return x + (y - x[..., at]) @ gain
