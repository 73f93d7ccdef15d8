"""Operators with unknown parameters: y = A_phi(x1) + noise, with phi to be found beside x1."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.optimizers import LBFGS
from headwater.problem.batch import select_rows
from headwater.problem.cost import Misfit

Map = Callable[[Tensor], Tensor]


class Unknown(ABC):
    """A family of operators A_phi, with parameters phi `[batch, p]` of each problem and their prior.

    A subclass says where phi begins, which operator it makes, and how plausible it is. `fit` is by default L-BFGS;
    where the best phi has a closed form, a subclass gives it.

    Examples
    --------
    An offset, about which nothing is known:

    >>> import torch
    >>> class Offset(Unknown):
    ...     def start(self, y):
    ...         return torch.zeros(len(y), 1)
    ...     def operator(self, phi):
    ...         return lambda x: x + phi
    >>> x, y = torch.zeros(2, 3), torch.tensor([[1.0], [2.0]]).expand(2, 3)
    >>> Offset().fit(Offset().start(y), [x], y, torch.tensor(0.1)).round(decimals=3).tolist()
    [[1.0], [2.0]]
    """

    @abstractmethod
    def start(self, y: Tensor) -> Tensor:
        """The phi `[batch, p]` to begin with, for the measurements y `[batch, ...]`."""

    @abstractmethod
    def operator(self, phi: Tensor) -> Map:
        """A_phi of phi `[batch, p]`, differentiable in phi unless `fit` is overridden and no recipe is joint."""

    def penalty(self, phi: Tensor) -> Tensor:
        """Minus the log prior of phi `[batch, p]` up to a constant, `[batch]`; by default zero."""
        return torch.zeros(len(phi), dtype=phi.dtype, device=phi.device)

    def parameters(self, phi: Tensor) -> Tensor:
        """What the user sees of phi `[batch, p]`, `[batch, ...]`: a kernel, a level. By default phi itself."""
        return phi

    def warnings(self, phi: Tensor) -> list[tuple[str, ...]]:
        """What is doubtful about phi `[batch, p]`: sentences for each problem. By default none."""
        return [()] * len(phi)

    def fit(self, phi: Tensor, draws: Sequence[Tensor], y: Tensor, sigma_y: Tensor) -> Tensor:
        """argmin over phi of the mean over the draws of |A_phi x - y|^2 / (2 sigma_y^2), and of the penalty.

        Parameters
        ----------
        phi
            Where the search begins, `[batch, p]`.
        draws
            Samples x1 `[batch, *event]`: one, or several draws of the posterior.
        y, sigma_y
            The measurement `[batch, ...]` and its noise, a scalar or `[batch]`.
        """
        optimizer = LBFGS(first_step=0.1)
        state = optimizer.init(phi)
        for _ in range(40):
            trial = state.trial.detach().requires_grad_()
            with torch.enable_grad():
                misfit = Misfit(self.operator(trial), y, sigma_y)
                value = sum((misfit(x) for x in draws), torch.zeros(len(phi)).to(phi)) / len(draws)
                value = value + self.penalty(trial)
                (slope,) = torch.autograd.grad(value.sum(), trial)
            state = optimizer.step(state, value.detach(), slope)
        return state.x


@dataclass(frozen=True)
class BlindMisfit:
    """A measurement by an operator that is not known: y = A_phi(x1) + noise.

    Parameters
    ----------
    unknown
        The family of operators.
    y
        The measurement `[batch or 1, ...]`.
    sigma_y
        The standard deviation of its noise: a number, or one per problem `[batch]`.

    Raises
    ------
    Misuse
        If `unknown` is a plain operator; the rest is refused as by `Misfit`.

    Examples
    --------
    >>> import torch
    >>> from headwater.recipes.blind import UnknownGain
    >>> problem = BlindMisfit(UnknownGain(), torch.tensor([[2.0, 4.0]]), 0.1)
    >>> problem.at(torch.tensor([[2.0]])).rms(torch.tensor([[1.0, 2.0]])).item()
    0.0
    """

    unknown: Unknown
    y: Tensor
    sigma_y: float | Tensor

    def __post_init__(self) -> None:
        if not isinstance(self.unknown, Unknown):
            raise Misuse(
                f"A {type(self.unknown).__name__} has no unknown parameters.",
                "Give an Unknown, such as UnknownGain(), or solve with a Misfit if the operator is known.",
            )
        Misfit(lambda x: x, self.y, self.sigma_y)  # refuses what it refuses

    def at(self, phi: Tensor, level: float = 1.0) -> Misfit:
        """The misfit of A_phi, phi `[batch, p]`, with the noise raised to `level` times sigma_y."""
        return Misfit(self.unknown.operator(phi), self.y, level * torch.as_tensor(self.sigma_y))

    def expand(self, count: int) -> BlindMisfit:
        """The measurement of `count` problems.

        Raises
        ------
        Misuse
            If there is neither one measurement nor one for every problem.
        """
        if len(self.y) not in (1, count):
            raise Misuse(
                f"There are {len(self.y)} measurements for {count} seeds.",
                "Give one measurement for all of them, or one for each.",
            )
        return replace(self, y=self.y.expand(count, *self.y.shape[1:]))

    def select(self, index: Tensor) -> BlindMisfit:
        """The misfit of the problems in `index`, int64 `[k]`."""
        return replace(self, y=select_rows(self.y, index), sigma_y=select_rows(self.sigma_y, index))
