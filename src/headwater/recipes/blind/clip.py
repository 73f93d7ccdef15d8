"""An unknown clipping level: y = clamp(x, -c, c)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem
from headwater.problem.operator import Operator, difference, require_problems
from headwater.recipes.blind.unknown import Unknown


@dataclass(frozen=True, eq=False)
class Limiter(Operator):
    """y = clamp(x, -c, c) with one level c per problem.

    Like `image.Clip` its residual is one-sided where y is clipped: there x only has to reach the level.

    Parameters
    ----------
    level
        c `[batch]`, or `[1]` for all.
    slack
        How near to the level an entry of y already counts as clipped, in units of y: about 3 sigma_y.

    Examples
    --------
    >>> import torch
    >>> limiter = Limiter(torch.tensor([1.0]))
    >>> limiter(torch.tensor([[0.5, -3.0]])).tolist()
    [[0.5, -1.0]]
    >>> limiter.residual(torch.tensor([[0.5, -0.75, 3.0]]), torch.tensor([[0.5, -1.0, 1.0]])).tolist()
    [[0.0, 0.25, 0.0]]
    """

    level: Tensor
    slack: float = 0.0
    kind: ClassVar[str] = "limiter"
    per_problem: ClassVar[tuple[str, ...]] = ("level",)

    @property
    def local(self) -> int:
        """0, as an entry of y depends on the same entry of x."""
        return 0

    def __call__(self, x: Tensor) -> Tensor:
        """clamp(x, -c, c) of x `[batch, ...]`."""
        require_problems(len(self.level), x, "level")
        c = per_problem(self.level, x)
        return torch.maximum(torch.minimum(x, c), -c)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """x - y `[batch, ...]`, or where y is clipped how far x stays inside the level."""
        difference(x, y)
        c, side = per_problem(self.level, x), y.sign()
        return torch.where(y.abs() >= c - self.slack, side * (side * x - c).clamp(max=0), x - y)


@dataclass(frozen=True)
class UnknownClip(Unknown):
    """y = clamp(x, -c, c) + noise with an unknown level c > 0; phi `[batch, 1]` is c.

    It begins at the largest |y|, which the noise makes too large. `fit` takes the mean of |y| where |x| exceeds the
    level, which minimises |clamp(x, -c, c) - y|^2; where no x does, the level is kept.

    Parameters
    ----------
    slack
        As of `Limiter`.

    Raises
    ------
    Misuse
        If the slack is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> x = torch.tensor([[0.2, -3.0, 2.0]])
    >>> unknown, y = UnknownClip(), torch.tensor([[0.2, -1.1, 0.9]])
    >>> unknown.start(y).tolist(), unknown.fit(unknown.start(y), [x], y, torch.tensor(0.1)).tolist()
    ([[1.100000023841858]], [[1.0]])
    """

    slack: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.slack < math.inf:
            raise Misuse(f"A slack of {self.slack} is none.", "Give 0, or about three times the noise.")

    def start(self, y: Tensor) -> Tensor:
        """The largest |y|, `[batch, 1]`."""
        return y.flatten(1).abs().amax(1, keepdim=True)

    def operator(self, phi: Tensor) -> Limiter:
        """The limiter with the level phi `[batch, 1]`."""
        return Limiter(phi[:, 0], self.slack)

    def warnings(self, phi: Tensor) -> list[tuple[str, ...]]:
        """Whether the level phi `[batch, 1]` is zero, at which nothing is left: sentences for each problem."""
        silent = "The level that was found is 0: the measurement is empty, and everything agrees with it."
        return [(silent,) if level <= 0 else () for level in phi[:, 0].tolist()]

    def fit(self, phi: Tensor, draws: Sequence[Tensor], y: Tensor, sigma_y: Tensor) -> Tensor:
        """The best level `[batch, 1]`, by a fixed point: the mean of sign(x) y over |x| > c, over the draws."""
        x = torch.cat([draw.flatten(1) for draw in draws], 1)
        seen = x.sign() * y.flatten(1).repeat(1, len(draws))
        c = phi
        for _ in range(20):
            over = x.abs() > c
            count = over.sum(1, keepdim=True)
            mean = (seen * over).sum(1, keepdim=True) / count.clamp(min=1)
            c = torch.where((count > 0) & (mean > 0), mean, c)
        return c
