"""Affine Gaussian paths x_t = alpha_t x1 + sigma_t x0, and the conversions between what networks predict.

Time runs from the source, t = 0, to the data, t = 1. At a point x of the path any of
four predictions determines the others:

- xhat, the denoiser E[x1 | x_t = x];
- eps, the noise E[x0 | x_t = x];
- v = alpha' xhat + sigma' eps, the velocity of the flow;
- score = -eps / sigma.

since x = alpha xhat + sigma eps (Lipman et al., "Flow Matching Guide and Code", 2024, table 1).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem


def cast_time(t: Tensor) -> Tensor:
    """A time in float64, where the device has it: near t = 1 the small sigma would lose its digits in float32."""
    return t if t.device.type == "mps" else t.to(torch.float64)


class Path(ABC):
    """An affine Gaussian path x_t = alpha_t x1 + sigma_t x0; a subclass gives alpha, sigma and their derivatives.

    Time runs from the source, t = 0, to the data, t = 1. Every method takes t as a tensor, a scalar `[]` or one per
    problem `[batch]`; coefficients are computed in float64. At a point x of the path the denoiser
    xhat = E[x1 | x_t = x], the noise eps = E[x0 | x_t = x], the velocity v = alpha' xhat + sigma' eps and the
    score -eps / sigma determine each other, since x = alpha xhat + sigma eps.

    References
    ----------
    Lipman et al., "Flow Matching Guide and Code", 2024, table 1.

    Examples
    --------
    A path of one's own needs four functions.

    >>> class Quadratic(Path):
    ...     def alpha(self, t):
    ...         return t**2
    ...     def sigma(self, t):
    ...         return 1 - t**2
    ...     def dalpha(self, t):
    ...         return 2 * t
    ...     def dsigma(self, t):
    ...         return -2 * t
    >>> path, t = Quadratic(), torch.tensor(0.5)
    >>> x0, x1 = torch.tensor([[0.0]]), torch.tensor([[4.0]])
    >>> x, v = path.interpolate(x0, x1, t), path.velocity(x0, x1, t)
    >>> x.item(), v.item(), path.xhat_from_v(x, v, t).item()
    (1.0, 4.0, 4.0)
    """

    @property
    def span(self) -> tuple[float, float]:
        """The first and last time of a velocity; a time beyond is replaced by the nearest of them."""
        return (0.0, 1.0)

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The weight of the data at t, in the shape of t, `[]` or `[batch]`."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The weight of the noise at t, in the shape of t, `[]` or `[batch]`."""

    @abstractmethod
    def dalpha(self, t: Tensor) -> Tensor:
        """The derivative alpha' at t, in the shape of t, `[]` or `[batch]`."""

    @abstractmethod
    def dsigma(self, t: Tensor) -> Tensor:
        """The derivative sigma' at t, in the shape of t, `[]` or `[batch]`."""

    def coefficients(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """alpha, sigma, alpha', sigma' at t, to broadcast against x `[batch, *event]`, in its dtype.

        Each is `[]` for a scalar t, and `[batch, 1, ...]` for t `[batch]`.
        """
        s = cast_time(t)
        a, b, da, db = self.alpha(s), self.sigma(s), self.dalpha(s), self.dsigma(s)
        return per_problem(a, x), per_problem(b, x), per_problem(da, x), per_problem(db, x)

    def interpolate(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """x_t = alpha x1 + sigma x0 of source points x0 and data x1, all `[batch, *event]`."""
        a, b, _, _ = self.coefficients(x0, t)
        return a * x1 + b * x0

    def velocity(self, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
        """The conditional velocity alpha' x1 + sigma' x0 `[batch, *event]`: the target of flow matching."""
        _, _, da, db = self.coefficients(x0, t)
        return da * x1 + db * x0

    def xhat_from_v(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """xhat = (sigma' x - sigma v) / (alpha sigma' - sigma alpha') of x and v, all `[batch, *event]`.

        It holds at both ends of the path. For `CondOT` xhat = x + (1 - t) v.
        """
        # x = alpha xhat + sigma eps and v = alpha' xhat + sigma' eps, solved by Cramer's rule: no division by alpha
        # or sigma, so it holds at both ends of the path.
        a, b, da, db = self.coefficients(x, t)
        return (db * x - b * v) / (a * db - b * da)

    def eps_from_v(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """eps = (alpha v - alpha' x) / (alpha sigma' - sigma alpha') of x and v, all `[batch, *event]`.

        It holds at both ends of the path. For `CondOT` eps = x - t v.
        """
        a, b, da, db = self.coefficients(x, t)
        return (a * v - da * x) / (a * db - b * da)

    def score_from_v(self, x: Tensor, v: Tensor, t: Tensor) -> Tensor:
        """score = -eps / sigma with eps from x and v, all `[batch, *event]`; infinite where sigma = 0."""
        return self.score_from_eps(x, self.eps_from_v(x, v, t), t)

    def v_from_xhat(self, x: Tensor, xhat: Tensor, t: Tensor) -> Tensor:
        """v = (sigma'/sigma) x + (alpha' - alpha sigma'/sigma) xhat, all `[batch, *event]`.

        Undefined where sigma = 0. For `CondOT` v = (xhat - x) / (1 - t).
        """
        a, b, da, db = self.coefficients(x, t)
        return da * xhat + db * (x - a * xhat) / b

    def v_from_eps(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """v = (alpha'/alpha) x + (sigma' - sigma alpha'/alpha) eps, all `[batch, *event]`.

        Undefined where alpha = 0. For `CondOT` v = (x - eps) / t.
        """
        a, b, da, db = self.coefficients(x, t)
        return da * (x - b * eps) / a + db * eps

    def v_from_score(self, x: Tensor, score: Tensor, t: Tensor) -> Tensor:
        """v from x and score = -eps / sigma, all `[batch, *event]`; undefined where alpha = 0."""
        return self.v_from_eps(x, self.eps_from_score(x, score, t), t)

    def eps_from_xhat(self, x: Tensor, xhat: Tensor, t: Tensor) -> Tensor:
        """eps = (x - alpha xhat) / sigma, all `[batch, *event]`; undefined where sigma = 0."""
        a, b, _, _ = self.coefficients(x, t)
        return (x - a * xhat) / b

    def xhat_from_eps(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """xhat = (x - sigma eps) / alpha, all `[batch, *event]`; undefined where alpha = 0."""
        a, b, _, _ = self.coefficients(x, t)
        return (x - b * eps) / a

    def score_from_eps(self, x: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """score = -eps / sigma, all `[batch, *event]`; infinite where sigma = 0."""
        return -eps / self.coefficients(x, t)[1]

    def eps_from_score(self, x: Tensor, score: Tensor, t: Tensor) -> Tensor:
        """eps = -sigma score, all `[batch, *event]`."""
        return -self.coefficients(x, t)[1] * score

    def v_from_vprediction(self, x: Tensor, prediction: Tensor, t: Tensor) -> Tensor:
        """v from x and a prediction of u = alpha eps - sigma xhat, all `[batch, *event]`.

        xhat = (alpha x - sigma u) / (alpha^2 + sigma^2) and eps = (sigma x + alpha u) / (alpha^2 + sigma^2), so it
        holds at every t.

        References
        ----------
        Salimans & Ho, "Progressive distillation for fast sampling of diffusion models", ICLR 2022, app. D.
        """
        a, b, da, db = self.coefficients(x, t)
        norm = a * a + b * b
        return (da * (a * x - b * prediction) + db * (b * x + a * prediction)) / norm


@dataclass(frozen=True)
class CondOT(Path):
    """The conditional optimal transport path, a straight line: alpha = t, sigma = 1 - t.

    Its velocity is v = xhat - eps, finite at both ends. It is the path of a `Flow` that is given none, and that of
    rectified flows. t and the coefficients are `[]` or `[batch]`; the conversions are those of `Path`.

    References
    ----------
    Lipman et al., "Flow Matching for Generative Modeling", ICLR 2023, section 4.1, example II.

    Examples
    --------
    >>> path, t = CondOT(), torch.tensor(0.25)
    >>> path.alpha(t).item(), path.sigma(t).item()
    (0.25, 0.75)
    >>> path.velocity(torch.tensor([[1.0]]), torch.tensor([[5.0]]), t).item()  # x1 - x0
    4.0
    """

    def alpha(self, t: Tensor) -> Tensor:
        return t

    def sigma(self, t: Tensor) -> Tensor:
        return 1 - t

    def dalpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def dsigma(self, t: Tensor) -> Tensor:
        return -torch.ones_like(t)


@dataclass(frozen=True)
class Cosine(Path):
    """The cosine path: alpha = sin(pi t / 2), sigma = cos(pi t / 2), so alpha^2 + sigma^2 = 1.

    It is the cosine schedule of diffusion without its offset; sigma' is finite at both ends. t and the coefficients
    are `[]` or `[batch]`; the conversions are those of `Path`.

    References
    ----------
    Nichol & Dhariwal, "Improved denoising diffusion probabilistic models", ICML 2021, eq. 17 with s = 0.

    Examples
    --------
    >>> path, t = Cosine(), torch.tensor(1 / 3, dtype=torch.float64)
    >>> round(path.alpha(t).item(), 4), round(path.sigma(t).item(), 4)
    (0.5, 0.866)
    """

    def alpha(self, t: Tensor) -> Tensor:
        return torch.sin(0.5 * math.pi * t)

    def sigma(self, t: Tensor) -> Tensor:
        return torch.cos(0.5 * math.pi * t)

    def dalpha(self, t: Tensor) -> Tensor:
        return 0.5 * math.pi * torch.cos(0.5 * math.pi * t)

    def dsigma(self, t: Tensor) -> Tensor:
        return -0.5 * math.pi * torch.sin(0.5 * math.pi * t)


class _VariancePreserving(Path):
    """alpha^2 + sigma^2 = 1, given by L(t) = -log alpha and its derivative; sigma' is infinite at t = 1."""

    @property
    def span(self) -> tuple[float, float]:
        """Up to t = 0.999, as usual for diffusion (Song et al. 2021, app. C), since sigma' is infinite at t = 1."""
        return (0.0, 0.999)

    @abstractmethod
    def _log(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """L = -log alpha and dL/dt."""

    def alpha(self, t: Tensor) -> Tensor:
        return torch.exp(-self._log(t)[0])

    def sigma(self, t: Tensor) -> Tensor:
        return torch.sqrt(
            -torch.expm1(-2 * self._log(t)[0])
        )  # sqrt(1 - alpha^2), exact also where alpha is near 1

    def dalpha(self, t: Tensor) -> Tensor:
        level, slope = self._log(t)
        return -slope * torch.exp(-level)

    def dsigma(self, t: Tensor) -> Tensor:
        level, slope = self._log(t)
        # sigma^2 = 1 - exp(-2 L), so sigma' = L' exp(-2 L) / sigma.
        return slope * torch.exp(-2 * level) / torch.sqrt(-torch.expm1(-2 * level))


@dataclass(frozen=True)
class VP(_VariancePreserving):
    """The variance-preserving path with linear beta, alpha = exp(-T^2 (B - b) / 4 - T b / 2) with T = 1 - t.

    sigma = sqrt(1 - alpha^2). At t = 0 alpha is small (0.0066) but not zero, and sigma' is infinite at t = 1, so the
    velocity is evaluated up to t = 0.999: step with `DDIM`, or with a method that does not evaluate at t = 1
    (`EULER`, `MIDPOINT`). t and the coefficients are `[]` or `[batch]`; all methods are those of `Path`.

    Parameters
    ----------
    b
        beta at the clean end, of beta(T) = b + T (B - b).
    B
        beta at the noisy end.

    References
    ----------
    Song et al., "Score-based generative modeling through stochastic differential equations", ICLR 2021, app. C.

    Examples
    --------
    >>> path = VP()
    >>> round(path.alpha(torch.tensor(0.0)).item(), 4), path.span
    (0.0066, (0.0, 0.999))
    """

    b: float = 0.1
    B: float = 20.0

    def _log(self, t: Tensor) -> tuple[Tensor, Tensor]:
        T = 1 - t
        return T * T * (self.B - self.b) / 4 + T * self.b / 2, -(T * (self.B - self.b) + self.b) / 2


class BetaTable(_VariancePreserving):
    """The path of a diffusion checkpoint with N discrete noise levels, beta_0 to beta_(N-1) (DDPM).

    Level k of the table, alpha_k^2 = prod_{j <= k} (1 - beta_j), sits at N (1 - t) = k + 1, so t = 0 is the
    noisiest level and t = 1 is clean; in between, log alpha is interpolated linearly. sigma = sqrt(1 - alpha^2), and
    the velocity is evaluated up to t = 1 - 1/N, the cleanest level. t and the coefficients are `[]` or `[batch]`; all
    other methods are those of `Path`.

    Parameters
    ----------
    betas
        beta_0 to beta_(N-1) `[N]`, each in (0, 1), for instance `scheduler.betas`.

    Raises
    ------
    Misuse
        If the table is empty, or a beta lies outside (0, 1); a last beta of 1 (zero terminal SNR) has to be left out.

    References
    ----------
    Ho et al., "Denoising diffusion probabilistic models", NeurIPS 2020, eq. 4.

    Examples
    --------
    >>> path = BetaTable.linear(1000)
    >>> path.index(torch.tensor(0.0)).item(), path.span
    (999.0, (0.0, 0.999))
    >>> path = BetaTable([0.5, 0.75])  # alpha^2 = 0.5 at its first level, at t = 0.5, and 0.125 at its second
    >>> [round(a, 4) for a in path.alpha(torch.tensor([0.0, 0.5])).square().tolist()]
    [0.125, 0.5]
    """

    def __init__(self, betas: Tensor | Sequence[float]) -> None:
        beta = torch.as_tensor(betas, dtype=torch.float64, device="cpu")
        if beta.ndim == 1 and len(beta) > 1 and bool(beta[-1] == 1) and bool((beta[:-1] < 1).all()):
            raise Misuse(
                "The last beta is 1, so the noisiest level keeps nothing of the data (zero terminal SNR).",
                "Leave the last level out, betas[:-1], and keep the network's indices: the rest is the same path.",
            )
        if beta.ndim != 1 or not len(beta) or not bool(((beta > 0) & (beta < 1)).all()):
            raise Misuse(
                "The beta table must be a non-empty list of numbers in (0, 1).",
                "Pass the checkpoint's betas, e.g. scheduler.betas.",
            )
        self.count = len(beta)
        step = -0.5 * torch.log1p(-beta)
        self._step, self._level = step, torch.cat([torch.zeros(1, dtype=torch.float64), step.cumsum(0)])

    @classmethod
    def linear(cls, count: int = 1000, first: float = 1e-4, last: float = 0.02) -> BetaTable:
        """The table of DDPM (Ho et al. 2020, section 4): `count` betas `[count]`, equally spaced."""
        return cls(torch.linspace(first, last, count, dtype=torch.float64))

    @classmethod
    def scaled_linear(cls, count: int = 1000, first: float = 0.00085, last: float = 0.012) -> BetaTable:
        """The table of latent diffusion (Rombach et al. 2022): `[count]`, their square roots equally spaced."""
        return cls(torch.linspace(first**0.5, last**0.5, count, dtype=torch.float64) ** 2)

    def index(self, t: Tensor) -> Tensor:
        """The index that the network expects at t, at least 0, fractional between levels; t and it `[]` or `[batch]`.

        A time within float32's rounding of a level gives that level exactly: 199, never 198.99998.
        """
        return (self._position(t) - 1).clamp(min=0)

    def _position(self, t: Tensor) -> Tensor:
        """N (1 - t) in float64, rounded to a level if it is closer to one than a time in float32 can tell."""
        s = (self.count * (1 - cast_time(t))).clamp(0, self.count)
        level = s.round()
        return torch.where((s - level).abs() <= 2**-22 * self.count, level, s)

    @property
    def span(self) -> tuple[float, float]:
        """The times of the noisiest and of the cleanest level, (0, 1 - 1/N)."""
        return (0.0, 1 - 1 / self.count)

    def time(self, index: Tensor) -> Tensor:
        """The time 1 - (index + 1) / N of a table index, both of any one shape `[...]`."""
        return 1 - (index + 1) / self.count

    def _log(self, t: Tensor) -> tuple[Tensor, Tensor]:
        s = self._position(t).to(t.dtype)
        cell = s.floor().long().clamp(max=self.count - 1)
        level, step = self._level.to(t.device), self._step.to(t.device)
        slope = step[cell].to(t.dtype)
        return level[cell].to(t.dtype) + (s - cell) * slope, -self.count * slope
