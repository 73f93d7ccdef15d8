"""Costs of the generated sample, and the stops that go with them.

A cost is any callable `cost(x1) -> [batch]`, one differentiable value per problem. A cost that holds
per-problem data should have `select(index)` (see `select.py`); one that has none is called with the full
batch at each evaluation, the finished problems included at their last x1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import rows, select

Cost = Callable[[Tensor], Tensor]


class HasResidual(Protocol):
    """An operator that knows how a sample misses a measurement."""

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """The part of A(x) that contradicts y, `[batch, ...]`; A(x) - y if nothing else is said."""


@dataclass(frozen=True)
class Misfit:
    """The Gaussian misfit ||A x1 - y||^2 / (2 sigma_y^2), `[batch]`.

    `operator` is a callable x -> A x (with a method `residual(x, y)` where the residual is not the
    difference), y the measurement `[batch or 1, ...]`, `sigma_y` > 0 the standard deviation of its noise
    in the units of y, a number or one per problem.

    >>> Misfit(lambda x: x, torch.zeros(1, 2), 0.5)(torch.ones(1, 2)).item()
    4.0
    """

    operator: Callable[[Tensor], Tensor]
    y: Tensor
    sigma_y: float | Tensor

    def __post_init__(self) -> None:
        sigma = torch.as_tensor(self.sigma_y)
        if not bool(((sigma > 0) & torch.isfinite(sigma)).all()):
            raise Misuse(
                f"The noise level sigma_y = {self.sigma_y} is not positive and finite.",
                "Give the noise std in the units of y; for a noiseless measurement a small one, such as the "
                "rounding error of its file format.",
            )
        if not bool(torch.isfinite(self.y).all()):
            raise Misuse("The measurement contains NaN or infinity.", "Mask or repair these entries first.")

    def select(self, index: Tensor) -> Misfit:
        """The misfit of the problems in `index`."""
        sigma = rows(self.sigma_y, index) if isinstance(self.sigma_y, Tensor) else self.sigma_y
        return Misfit(select(self.operator, index), rows(self.y, index), sigma)

    def standardised(self, x1: Tensor) -> Tensor:
        """(A x1 - y) / sigma_y, flattened to `[batch, measurements]`."""
        residual = getattr(self.operator, "residual", None)
        r = residual(x1, self.y) if residual else self._difference(self.operator(x1))
        sigma = self.sigma_y
        if isinstance(sigma, Tensor) and sigma.ndim:
            sigma = sigma.reshape(-1, 1).to(r)
        return r.flatten(1) / sigma

    def __call__(self, x1: Tensor) -> Tensor:
        return 0.5 * self.standardised(x1).square().sum(1)

    def _difference(self, measured: Tensor) -> Tensor:
        if measured.shape[1:] != self.y.shape[1:] or len(self.y) not in (1, len(measured)):
            raise Misuse(
                f"The operator makes {tuple(measured.shape)} but the measurement is {tuple(self.y.shape)}.",
                "Give the measurement of these problems, or one for all of them with first axis 1.",
            )
        return measured - self.y

    def rms(self, x1: Tensor) -> Tensor:
        """rms(A x1 - y) / sigma_y, `[batch]`: 1 at the noise level."""
        return self.mean_square(x1).sqrt()

    def mean_square(self, x1: Tensor) -> Tensor:
        """mean ((A x1 - y) / sigma_y)^2 over what was measured (`operator.count(y)` entries), `[batch]`."""
        r = self.standardised(x1)
        count = getattr(self.operator, "count", None)
        return r.square().sum(1) / (r.shape[1] if count is None else count(self.y).to(r))

    def annealed(self, factor: float) -> Misfit:
        """The same misfit with sigma_y times `factor`."""
        return replace(self, sigma_y=self.sigma_y * factor)


@dataclass(frozen=True)
class NegativePSNR:
    """-PSNR of the measurement in dB, 10 log10(mean (A x1 - y)^2 / span^2), `[batch]`: the paper's image cost.

    `span` is the width of the data range (2 for [-1, 1]).
    """

    misfit: Misfit
    span: float = 2.0

    def select(self, index: Tensor) -> NegativePSNR:
        """The cost of the problems in `index`."""
        return NegativePSNR(self.misfit.select(index), self.span)

    def __call__(self, x1: Tensor) -> Tensor:
        scale = torch.as_tensor(self.misfit.sigma_y).to(x1) / self.span
        return 10 * torch.log10(self.misfit.mean_square(x1) * scale**2 + 1e-20)


@dataclass(frozen=True)
class WeightedSum:
    """sum_i w_i C_i(x1), `[batch]`, of any costs.

    >>> total = WeightedSum(((1.0, lambda x: x.sum(1)), (10.0, lambda x: x.prod(1))))
    >>> total(torch.tensor([[2.0, 3.0]])).item()
    65.0
    """

    terms: tuple[tuple[float, Cost], ...]

    @property
    def select(self) -> Callable[[Tensor], WeightedSum]:
        """`select(index)`, there if every term has one."""
        if not all(hasattr(c, "select") for _, c in self.terms):
            raise AttributeError("select")
        return lambda index: WeightedSum(tuple((w, select(c, index)) for w, c in self.terms))

    def __call__(self, x1: Tensor) -> Tensor:
        return torch.stack([w * c(x1) for w, c in self.terms]).sum(0)


class Through:
    """A cost of a decoded sample, cost(decode(x1)): the cost of a latent model in one line.

    >>> cost = Through(lambda z: 2 * z, lambda x: x.sum(1))
    >>> cost(torch.ones(1, 3)).item()
    6.0
    """

    def __init__(self, decode: Callable[[Tensor], Tensor], cost: Cost) -> None:
        self.decode, self.cost = decode, cost
        if hasattr(cost, "select"):
            self.select = lambda index: Through(select(decode, index), select(cost, index))

    def __call__(self, x1: Tensor) -> Tensor:
        return self.cost(self.decode(x1))


@dataclass(frozen=True)
class Stop:
    """Stop a problem as soon as `measure(x1) <= level`; measure returns `[batch]`."""

    measure: Callable[[Tensor], Tensor]
    level: float

    def select(self, index: Tensor) -> Stop:
        """The stop of the problems in `index`."""
        return Stop(select(self.measure, index), self.level)


@dataclass(frozen=True)
class _Rms:
    misfit: Misfit

    def select(self, index: Tensor) -> _Rms:
        return _Rms(self.misfit.select(index))

    def __call__(self, x1: Tensor) -> Tensor:
        return self.misfit.rms(x1)


def discrepancy(misfit: Misfit, tau: float = 1.0) -> Stop:
    """Morozov's discrepancy principle: stop when rms(A x1 - y) <= tau sigma_y (Engl, Hanke & Neubauer 4.3).

    >>> misfit = Misfit(lambda x: x, torch.zeros(1, 2), 0.5)
    >>> discrepancy(misfit).measure(torch.ones(1, 2)).item()
    2.0
    """
    if tau <= 0:
        raise Misuse(f"The discrepancy level tau = {tau} is not positive.", "Give tau >= 1, e.g. 1.0.")
    return Stop(_Rms(misfit), tau)


def target_psnr(misfit: Misfit, decibel: float, span: float = 2.0) -> Stop:
    """Stop when the PSNR of the measurement, not of the unknown image, reaches `decibel`."""
    if not math.isfinite(decibel):
        raise Misuse(f"The target PSNR {decibel} is not finite.", "Give decibels, e.g. 32.")
    return Stop(NegativePSNR(misfit, span), -decibel)


def check_values(cost: object, value: Any, batch: int, x1: Tensor) -> Tensor:
    """The values of a cost, or a Misuse if they are not one differentiable number per problem."""
    name = getattr(cost, "__name__", type(cost).__name__)
    if not isinstance(value, Tensor) or value.shape != (batch,):
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise Misuse(
            f"The cost {name} returned {got} for {batch} problems.",
            f"Return one value per problem, shape ({batch},): reduce over all axes but the first.",
        )
    if x1.requires_grad and not value.requires_grad:
        raise Misuse(
            f"The cost {name} does not carry a gradient to x1.",
            "Compute it with differentiable torch operations, without detach, no_grad, item or numpy.",
        )
    return value
