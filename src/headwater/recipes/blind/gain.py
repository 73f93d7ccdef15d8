"""An unknown gain: y = g x."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem
from headwater.problem.operator import LinearOperator, require_problems
from headwater.recipes.blind.unknown import Unknown


@dataclass(frozen=True, eq=False)
class Gain(LinearOperator):
    """y = g x with one g per problem.

    Parameters
    ----------
    gain
        g `[batch]`, or `[1]` for all.

    Examples
    --------
    >>> import torch
    >>> Gain(torch.tensor([2.0]))(torch.ones(1, 2)).tolist()
    [[2.0, 2.0]]
    """

    gain: Tensor
    kind: ClassVar[str] = "gain"
    per_problem: ClassVar[tuple[str, ...]] = ("gain",)

    @property
    def local(self) -> int:
        """0, as an entry of y depends on the same entry of x."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """g x of x `[batch, ...]`."""
        require_problems(len(self.gain), x, "gain")
        return per_problem(self.gain, x) * x

    def adjoint(self, y: Tensor) -> Tensor:
        """g y of y `[batch, ...]`."""
        return self(y)


@dataclass(frozen=True)
class UnknownGain(Unknown):
    """y = g x with an unknown g ~ N(mean, spread^2); phi `[batch, 1]` is g.

    The gain of a recording or an exposure cannot be told from the loudness or brightness of x1 unless the flow knows
    how loud or bright x1 is. Where it does not, the prior of g decides.

    Parameters
    ----------
    mean, spread
        Of the prior of g.

    Raises
    ------
    Misuse
        If the spread is not positive, or the mean is zero or not finite.

    Examples
    --------
    >>> import torch
    >>> x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 6.0]])
    >>> unknown = UnknownGain(spread=10.0)
    >>> unknown.fit(unknown.start(y), [x], y, torch.tensor(0.1)).round(decimals=2).tolist()
    [[3.0]]
    """

    mean: float = 1.0
    spread: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.spread < math.inf or not math.isfinite(self.mean) or self.mean == 0:
            raise Misuse(
                f"A gain of {self.mean} +- {self.spread} is no prior.",
                "Give a mean other than zero and a positive spread.",
            )

    def start(self, y: Tensor) -> Tensor:
        """The mean of the prior, `[batch, 1]`."""
        return y.new_full((len(y), 1), self.mean)

    def operator(self, phi: Tensor) -> Gain:
        """The gain phi `[batch, 1]`."""
        return Gain(phi[:, 0])

    def penalty(self, phi: Tensor) -> Tensor:
        """(g - mean)^2 / (2 spread^2) of phi `[batch, 1]`, `[batch]`."""
        return 0.5 * ((phi[:, 0] - self.mean) / self.spread).square()

    def fit(self, phi: Tensor, draws: Sequence[Tensor], y: Tensor, sigma_y: Tensor) -> Tensor:
        """The best g `[batch, 1]`: (<x, y> + r mean) / (<x, x> + r), r = (sigma_y / spread)^2, <> over the draws."""
        r = (sigma_y.to(phi) / self.spread) ** 2
        xy = sum((x * y).flatten(1).sum(1) for x in draws) / len(draws)
        xx = sum(x.flatten(1).square().sum(1) for x in draws) / len(draws)
        return ((xy + r * self.mean) / (xx + r)).to(phi)[:, None]
