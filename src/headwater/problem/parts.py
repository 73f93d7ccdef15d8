"""The sum of parts as a measurement: y = sum_i a_i x_i of a stack x `[batch, parts, ...]`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.operator import LinearOperator


@dataclass(frozen=True, eq=False)
class SumOfParts(LinearOperator):
    """y = sum_i a_i x_i for x `[batch, parts, ...]`: a signal and its structured noise, heard together.

    It measures samples of `stack_flows`; `compose` puts another operator behind it. Its other methods are those of
    `LinearOperator`.

    Parameters
    ----------
    gains
        a_i, one for each part.

    Raises
    ------
    Misuse
        If there is no gain, or they are all 0 or not finite; when it is called, if x has another number of parts.

    Examples
    --------
    The Wiener filter: x ~ N(0, 1) and n ~ N(0, 1/4) add up to 1, of which four fifths are x.

    >>> from headwater import MAP, Gaussian, Misfit
    >>> from headwater.flows.composed import stack_flows
    >>> signal, noise = (Gaussian(torch.zeros(1), torch.tensor([s])).flow for s in (1.0, 0.5))
    >>> misfit = Misfit(SumOfParts(), torch.ones(1, 1), sigma_y=0.01)
    >>> x1 = MAP()(stack_flows([signal, noise]), misfit, [0], guess=torch.zeros(1, 2, 1)).x1
    >>> [round(part, 1) for part in x1.flatten().tolist()]
    [0.8, 0.2]
    """

    gains: Sequence[float] = (1.0, 1.0)
    kind: ClassVar[str] = "sum of parts"

    def __post_init__(self) -> None:
        object.__setattr__(self, "gains", tuple(float(a) for a in self.gains))
        if not all(math.isfinite(a) for a in self.gains) or not any(self.gains):
            raise Misuse(f"The gains {list(self.gains)} make no sum.", "Give finite numbers, not all 0.")

    @property
    def _square(self) -> float:
        return sum(a * a for a in self.gains)

    def __call__(self, x: Tensor) -> Tensor:
        """y `[batch, ...]` of x `[batch, parts, ...]`; a `Misuse` for another number of parts."""
        if x.ndim < 2 or x.shape[1] != len(self.gains):
            raise Misuse(
                f"The state {list(x.shape)} does not have {len(self.gains)} parts.",
                "Give x of shape [batch, parts, ...], and as many gains.",
            )
        return sum(a * x[:, i] for i, a in enumerate(self.gains))  # type: ignore[return-value]

    def adjoint(self, y: Tensor) -> Tensor:
        """a_i y for every part, `[batch, parts, ...]`, for y `[batch, ...]`."""
        return torch.stack([a * y for a in self.gains], dim=1)

    def pinv(self, y: Tensor, *, ridge: float = 0.0) -> Tensor:
        """a_i y / (sum a^2 + ridge), `[batch, parts, ...]`."""
        return self.adjoint(y / (self._square + ridge))

    def norm(self, shape: Sequence[int]) -> Tensor:
        """sqrt(sum a^2) for every problem, float64 `[batch]`."""
        return torch.full((shape[0],), math.sqrt(self._square), dtype=torch.float64)
