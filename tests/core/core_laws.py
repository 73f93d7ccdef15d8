"""Laws, flows and small tools shared by the tests of the core; float64 unless said otherwise."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from headwater import CondOT, Gaussian, GaussianMixture, Path

F64 = torch.float64


MIXTURE = GaussianMixture(
    [0.4, 0.6], torch.tensor([[-1.0, 0.5, 0.0], [1.0, 0.0, -0.5]]), torch.tensor([0.6, 0.4])
)
"""Two round components in three dimensions."""


def time(t: float) -> Tensor:
    """A time as a float64 scalar."""
    return torch.tensor(t, dtype=F64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers, float64."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


def covariance(d: int, seed: int = 0, floor: float = 0.1) -> Tensor:
    """A full covariance with eigenvalues above `floor`."""
    a = normal(d, d, seed=seed)
    return a @ a.T / d + floor * torch.eye(d, dtype=F64)


def root(s: Tensor) -> Tensor:
    """The symmetric square root S^(1/2)."""
    values, basis = torch.linalg.eigh(s)
    return basis @ torch.diag(values.sqrt()) @ basis.T


def gaussian(d: int = 3, path: Path | None = None, seed: int = 0) -> tuple[Gaussian, Tensor, Tensor]:
    """A Gaussian law N(m, S) with full covariance, and m and S."""
    m, s = normal(d, seed=seed + 100), covariance(d, seed)
    return Gaussian(m, s, path), m, s


def mixture(d: int = 2, path: Path | None = None, seed: int = 0) -> GaussianMixture:
    """Three components with different full covariances."""
    means = 1.5 * normal(3, d, seed=seed)
    s = torch.stack([covariance(d, seed + k, floor=0.05) for k in range(3)])
    return GaussianMixture([0.5, 0.3, 0.2], means, s, path or CondOT())


def jacobian(f: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """d f / d x, `[batch, out, in]`, of a map that treats the rows of x alone."""
    x = x.detach().requires_grad_()
    out = f(x)
    rows = [torch.autograd.grad(out[:, i].sum(), x, retain_graph=True)[0] for i in range(out.shape[1])]
    return torch.stack(rows, dim=1)


def slope(counts: Sequence[int], errors: Sequence[float]) -> float:
    """The order of accuracy: minus the regression slope of log error on log steps."""
    u = torch.tensor([math.log(n) for n in counts], dtype=F64)
    w = torch.tensor([math.log(e) for e in errors], dtype=F64)
    u, w = u - u.mean(), w - w.mean()
    return -float((u * w).sum() / (u * u).sum())


class Counted:
    """A velocity that writes down the batch size of every call."""

    def __init__(self, velocity: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.velocity, self.sizes = velocity, []

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.sizes.append(len(x))
        return self.velocity(x, t)


class SmallNet(nn.Module):
    """A small convolutional velocity with parameters that nobody froze."""

    def __init__(self, channels: int = 2, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one = nn.Conv2d(channels, 6, 3, padding=1)
        self.two = nn.Conv2d(6, channels, 3, padding=1)
        self.to(F64)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        t = t.reshape(-1, 1, 1, 1) if t.ndim else t
        return self.two(torch.tanh(self.one(x) + t))


class Rates:
    """The velocity r x with a rate per problem, as of labels: it follows the problems that still run."""

    def __init__(self, rate):
        self.rate = rate

    def __call__(self, x, t):
        return self.rate[:, None] * x

    def select(self, index):
        return Rates(self.rate[index])
