"""Costs of the generated sample, and the stops that go with them.

A cost is any callable `cost(x1) -> [batch]`, one differentiable value per problem. A cost with per-problem data
declares it (`Each`, `select` or `WholeBatch`, see `problem.batch`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem, select, select_rows
from headwater.text import counted

Cost = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Misfit:
    """The Gaussian misfit ||A x1 - y||^2 / (2 sigma_y^2), `[batch]`: for real y minus log p(y | x1) up to a constant.

    For complex y the square of a residual is its squared modulus. For `rms` and `discrepancy` sigma_y^2 = E|noise|^2
    is the variance of complex noise as NumPy and torch define it (half of it in the real, half in the imaginary
    part). Minus log p of such noise is ||A x1 - y||^2 / sigma_y^2, twice the misfit: the misfit is that of noise with
    the variance sigma_y^2 in each part, so for a posterior divide sigma_y by sqrt(2).

    Parameters
    ----------
    operator
        A callable x `[batch, *event]` -> A x `[batch, ...]`. Two optional methods are used where it has them:
        `residual(x, y)`, where the residual is not the difference A x - y, and `count(y)`, the number of entries of y
        that are measurements.
    y
        The measurement `[batch or 1, ...]`, real or complex.
    sigma_y
        The standard deviation of its noise in the units of y, above 0: a number or one per problem `[batch]`.
    measured
        Bool, broadcastable to y: which entries are measurements; None means all. The other entries count neither in
        the misfit nor in its mean. Without it the zeros of a masked measurement would count as residuals of zero,
        and the discrepancy would be reached too early.

    Raises
    ------
    Misuse
        If sigma_y is not positive and finite, or neither a number nor one per problem; if y has NaN or infinity; if
        `measured` is no bool mask that fits y, or leaves a problem without a measurement.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, for the misfit as the cost of a noisy inverse problem.

    Examples
    --------
    >>> Misfit(lambda x: x, torch.zeros(1, 2), 0.5)(torch.ones(1, 2)).item()  # (1 + 1) / (2 * 0.5^2)
    4.0
    >>> half = torch.tensor([[True, False]])
    >>> Misfit(lambda x: half * x, torch.zeros(1, 2), 0.5, measured=half).rms(torch.ones(1, 2)).item()
    2.0
    """

    operator: Callable[[Tensor], Tensor]
    y: Tensor
    sigma_y: float | Tensor
    measured: Tensor | None = None

    def __post_init__(self) -> None:
        if self.y.ndim == 0 or self.y.numel() == 0:
            raise Misuse(
                f"The measurement has the shape {list(self.y.shape)}.",
                "Give y [batch or 1, ...] with something in it; its first axis is the problem.",
            )
        sigma = torch.as_tensor(self.sigma_y)
        if not bool(((sigma > 0) & torch.isfinite(sigma)).all()):
            raise Misuse(
                f"The noise level sigma_y = {self.sigma_y} is not positive and finite.",
                "Give the noise std in the units of y; for a noiseless measurement a small one, such as the "
                "rounding error of its file format.",
            )
        if sigma.ndim > 1 or (sigma.ndim and len(self.y) > 1 and len(sigma) not in (1, len(self.y))):
            raise Misuse(
                f"sigma_y has the shape {list(sigma.shape)} for {counted(len(self.y), 'problem')}.",
                "Give a number, or one noise level per problem; for levels within y divide A x and y by them.",
            )
        if self.measured is not None:
            object.__setattr__(self, "measured", self._checked_mask(self.measured))
            finite = torch.isfinite(torch.where(self.measured, self.y, torch.zeros_like(self.y)))
        else:
            finite = torch.isfinite(self.y)
        if not bool(finite.all()):
            raise Misuse(
                "The measurement contains NaN or infinity.",
                "Repair these entries, or leave them out by measured=.",
            )

    def _checked_mask(self, mask: Tensor) -> Tensor:
        """The mask as bool `[1 or batch, ...]` with the axes of y, something measured in every problem."""
        if mask.ndim == self.y.ndim - 1:
            mask = mask[None]
        fits = mask.ndim == self.y.ndim and all(
            m in (1, n) for m, n in zip(mask.shape[1:], self.y.shape[1:], strict=True)
        )
        if mask.dtype != torch.bool or not fits or not bool(mask.reshape(len(mask), -1).any(1).all()):
            raise Misuse(
                f"measured is {mask.dtype} {list(mask.shape)} for y {list(self.y.shape)}.",
                "Give a bool mask that broadcasts to y, with something measured in every problem.",
            )
        return mask

    def select(self, index: Tensor) -> Misfit:
        """The misfit of the problems in `index`, int64 `[k]`."""
        return replace(
            self,
            operator=select(self.operator, index),
            y=select_rows(self.y, index),
            sigma_y=select_rows(self.sigma_y, index),
            measured=select_rows(self.measured, index),
        )

    def standardise_residual(self, x1: Tensor) -> Tensor:
        """(A x1 - y) / sigma_y of x1 `[batch, *event]`, flattened to `[batch, measurements]`; complex if y is.

        It is zero where nothing was measured, and in float32 or better, whatever the operator returns: squares in
        half precision overflow.

        Raises
        ------
        Misuse
            If A x1 has another shape than y.
        """
        residual = getattr(self.operator, "residual", None)
        r = residual(x1, self.y) if residual else self._difference(self.operator(x1))
        if self.measured is not None:
            r = torch.where(self.measured.to(r.device), r, torch.zeros_like(r))
        r = r.reshape(len(r), -1)  # y may be one number per problem
        r = r.to(torch.promote_types(r.dtype, torch.float32))
        sigma = torch.as_tensor(self.sigma_y, device=r.device)
        return r / (per_problem(sigma, r) if sigma.ndim else sigma)

    def square(self, x1: Tensor) -> Tensor:
        """||A x1 - y||^2 / sigma_y^2 of x1 `[batch, *event]`, `[batch]`."""
        r = self.standardise_residual(x1)
        return (torch.view_as_real(r).flatten(1) if r.is_complex() else r).square().sum(1)

    def __call__(self, x1: Tensor) -> Tensor:
        """||A x1 - y||^2 / (2 sigma_y^2) of x1 `[batch, *event]`, `[batch]`."""
        return 0.5 * self.square(x1)

    def _difference(self, measured: Tensor) -> Tensor:
        if measured.shape[1:] != self.y.shape[1:] or len(self.y) not in (1, len(measured)):
            raise Misuse(
                f"The operator makes {tuple(measured.shape)} but the measurement is {tuple(self.y.shape)}.",
                "Give the measurement of these problems, or one for all of them with first axis 1.",
            )
        if measured.is_complex() and not self.y.is_complex():
            raise Misuse(
                "The operator makes complex numbers and the measurement is real.",
                "Give a complex y, or let the operator return what was measured: the modulus, or a part.",
            )
        return measured - self.y

    def rms(self, x1: Tensor) -> Tensor:
        """rms |A x1 - y| / sigma_y of x1 `[batch, *event]`, `[batch]`: 1 at the noise level."""
        return self.mean_square(x1).sqrt()

    def mean_square(self, x1: Tensor) -> Tensor:
        """mean |(A x1 - y) / sigma_y|^2 over the entries that are measurements, `[batch]`, x1 `[batch, *event]`."""
        square = self.square(x1)
        return square / self._count().to(square)

    def _count(self) -> Tensor:
        """How many entries of y are measurements: by `measured`, else by `operator.count(y)`, else all of y."""
        if self.measured is not None:
            return self.measured.expand(-1, *self.y.shape[1:]).reshape(len(self.measured), -1).sum(1)
        # y may hold zeros where nothing was measured, so the operator can say how many entries count.
        count = getattr(self.operator, "count", None)
        return torch.tensor(self.y[:1].numel()) if count is None else count(self.y)


@dataclass(frozen=True)
class NegativePSNR:
    """-PSNR of the measurement in dB, 10 log10(mean (A x1 - y)^2 / span^2), `[batch]`: the paper's image cost.

    A value below -200 dB is -200 dB, which keeps its gradient finite. It is a PSNR against y, not against the unknown
    image.

    Parameters
    ----------
    misfit
        What was measured; its sigma_y cancels.
    span
        The width of the data range in the units of y: 2 for [-1, 1].

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, the experiments on linear inverse problems.

    Examples
    --------
    >>> from headwater import Misfit
    >>> misfit = Misfit(lambda x: x, torch.zeros(1, 2), 0.5)
    >>> round(NegativePSNR(misfit)(torch.full((1, 2), 0.02)).item(), 4)  # 20 log10(0.02 / 2)
    -40.0
    """

    misfit: Misfit
    span: float = 2.0

    def select(self, index: Tensor) -> NegativePSNR:
        """The cost of the problems in `index`, int64 `[k]`."""
        return NegativePSNR(self.misfit.select(index), self.span)

    def __call__(self, x1: Tensor) -> Tensor:
        """-PSNR in dB of x1 `[batch, *event]`, `[batch]`."""
        scale = torch.as_tensor(self.misfit.sigma_y).to(x1) / self.span
        # The floor, a PSNR of 200 dB, keeps the gradient finite where A x1 = y exactly.
        return 10 * torch.log10(self.misfit.mean_square(x1) * scale**2 + 1e-20)


@dataclass(frozen=True)
class WeightedSum:
    """sum_i w_i C_i(x1), `[batch]`, of any costs.

    Parameters
    ----------
    terms
        The pairs (w_i, C_i), each C_i x1 `[batch, *event]` -> `[batch]`.

    Examples
    --------
    >>> total = WeightedSum(((1.0, lambda x: x.sum(1)), (10.0, lambda x: x.prod(1))))
    >>> total(torch.tensor([[2.0, 3.0]])).item()  # 5 + 10 * 6
    65.0
    """

    terms: tuple[tuple[float, Cost], ...]

    def select(self, index: Tensor) -> WeightedSum:
        """The sum for the problems in `index`, int64 `[k]`."""
        return WeightedSum(tuple((w, select(c, index)) for w, c in self.terms))

    def __call__(self, x1: Tensor) -> Tensor:
        """The sum at x1 `[batch, *event]`, `[batch]`."""
        return torch.stack([w * c(x1) for w, c in self.terms]).sum(0)


@dataclass(frozen=True)
class Stop:
    """Stop a problem as soon as `measure(x1) <= level`; it then ends as `Status.REACHED`.

    The measure is evaluated once a round, without a gradient, and is reported in the `Result`. It may be another
    quantity than the cost.

    Parameters
    ----------
    measure
        x1 `[batch, *event]` -> `[batch]`.
    level
        The largest measure at which a problem has reached its aim, in the unit of the measure.

    Raises
    ------
    Misuse
        If the level is NaN.

    Examples
    --------
    Any sample within 0.1 of the target will do.

    >>> from headwater import Gaussian, control
    >>> flow, target = Gaussian(torch.zeros(2), torch.ones(2)).flow, torch.tensor([[1.0, -1.0]])
    >>> distance = lambda x1: (x1 - target).norm(dim=1)
    >>> result = control(flow, lambda x1: distance(x1) ** 2, flow.noise([0]), stop=Stop(distance, 0.1))
    >>> result.status[0].name, bool(result.measure <= 0.1)
    ('REACHED', True)
    """

    measure: Callable[[Tensor], Tensor]
    level: float

    def __post_init__(self) -> None:
        if math.isnan(self.level):
            raise Misuse("The level of the stop is NaN, which nothing reaches.", "Give a number.")

    def select(self, index: Tensor) -> Stop:
        """The stop of the problems in `index`, int64 `[k]`."""
        return Stop(select(self.measure, index), self.level)


@dataclass(frozen=True)
class _Rms:
    misfit: Misfit

    def select(self, index: Tensor) -> _Rms:
        return _Rms(self.misfit.select(index))

    def __call__(self, x1: Tensor) -> Tensor:
        return self.misfit.rms(x1)


def discrepancy(misfit: Misfit, tau: float = 1.0) -> Stop:
    """Morozov's discrepancy principle: stop when rms(A x1 - y) <= tau sigma_y.

    The truth itself has rms(A x1 - y) = (1 +- 1/sqrt(2n)) sigma_y with n measurements; below, the control fits noise.

    Parameters
    ----------
    misfit
        What was measured.
    tau
        The level in units of the noise, above 0.

    Returns
    -------
    stop
        Its measure is `misfit.rms`, x1 `[batch, *event]` -> `[batch]`, in units of the noise.

    Raises
    ------
    Misuse
        If `misfit` has no noise level, as a plain cost has none, or tau is not positive.

    References
    ----------
    Engl, Hanke & Neubauer, Regularization of Inverse Problems (1996), section 4.3.

    Examples
    --------
    >>> from headwater import Misfit
    >>> misfit = Misfit(lambda x: x, torch.zeros(1, 2), 0.5)
    >>> stop = discrepancy(misfit, tau=1.05)
    >>> stop.measure(torch.ones(1, 2)).item(), stop.level
    (2.0, 1.05)
    """
    if not hasattr(misfit, "rms"):
        raise Misuse(
            f"{type(misfit).__name__} has no noise level, so no discrepancy.",
            "Give a Misfit, or a Stop of your own.",
        )
    if tau <= 0:
        raise Misuse(f"The discrepancy level tau = {tau} is not positive.", "Give tau >= 1, e.g. 1.0.")
    return Stop(_Rms(misfit), tau)


def target_psnr(misfit: Misfit, decibel: float, span: float = 2.0) -> Stop:
    """Stop when the PSNR of the measurement, not of the unknown image, reaches `decibel`: the stop of the paper.

    PSNR = -10 log10(mean (A x1 - y)^2 / span^2). With noise sigma_y the truth has 20 log10(span / sigma_y).

    Parameters
    ----------
    misfit
        What was measured; its sigma_y cancels.
    decibel
        The PSNR to reach, in dB.
    span
        The width of the data range in the units of y: 2 for [-1, 1].

    Returns
    -------
    stop
        Its measure is `NegativePSNR`, x1 `[batch, *event]` -> `[batch]`, in dB, and its level is -decibel.

    Raises
    ------
    Misuse
        If `decibel` is not finite.

    References
    ----------
    Ben-Hamu et al., "D-Flow", ICML 2024, the experiments on linear inverse problems.

    Examples
    --------
    >>> from headwater import Misfit
    >>> misfit = Misfit(lambda x: x, torch.zeros(1, 2), 0.5)
    >>> stop = target_psnr(misfit, 32.0)
    >>> round(stop.measure(torch.full((1, 2), 0.2)).item(), 4), stop.level  # a PSNR of 20 dB: go on
    (-20.0, -32.0)
    """
    if not math.isfinite(decibel):
        raise Misuse(f"The target PSNR {decibel} is not finite.", "Give decibels, e.g. 32.")
    return Stop(NegativePSNR(misfit, span), -decibel)


def check_values(cost: object, value: Any, batch: int, x1: Tensor) -> Tensor:
    """The values of a cost at x1 `[batch, *event]`, checked to be one differentiable number per problem `[batch]`.

    Raises
    ------
    Misuse
        If they have another shape, are not real, or carry no gradient to an x1 that requires one.
    """
    name = getattr(cost, "__name__", type(cost).__name__)
    who = "The cost" if name == "cost" else f"The cost {name}"
    if not isinstance(value, Tensor) or value.shape != (batch,):
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise Misuse(
            f"{who} returned {got} for {counted(batch, 'problem')}.",
            f"Return one value per problem, shape ({batch},): reduce over all axes but the first.",
        )
    if not value.is_floating_point():
        kind = "complex" if value.is_complex() else str(value.dtype).removeprefix("torch.")
        raise Misuse(f"{who} returned {kind} values.", "Return real numbers, e.g. the squared modulus.")
    if x1.requires_grad and not value.requires_grad:
        raise Misuse(
            f"{who} does not carry a gradient to x1.",
            "Compute it with differentiable torch operations, without detach, no_grad, item or numpy.",
        )
    return value
