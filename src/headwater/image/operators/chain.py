"""Operators one after another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import ClassVar, Self

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.operator import LinearOperator, Operator


@dataclass(frozen=True, eq=False)
class Chain(Operator):
    """y = A_n(... A_1(x)), the first operator first. Use `chain`, which knows when the whole is linear.

    `residual` is that of the last operator, so a chain that ends in `Clip` keeps its inequality.

    Examples
    --------
    >>> from headwater.image.operators import Clip, SuperResolution
    >>> A = Chain((SuperResolution(2), Clip(gain=2.0)))
    >>> A(torch.ones(1, 1, 4, 4)).shape, A.local
    (torch.Size([1, 1, 2, 2]), 2)
    """

    operators: tuple[Operator, ...]
    kind: ClassVar[str] = "chain"

    def __post_init__(self) -> None:
        object.__setattr__(self, "operators", tuple(self.operators))
        if not self.operators:
            raise Misuse("The chain holds no operator.", "Give at least one; Denoise() is the identity.")

    @property
    def name(self) -> str:
        """The names, in the order of application."""
        return " then ".join(operator.name for operator in self.operators)

    @property
    def local(self) -> int | None:
        """The radii, each times the strides before it, added up."""
        reach, stride = 0, 1
        for operator in self.operators:
            if operator.local is None:
                return None
            reach, stride = reach + stride * operator.local, stride * operator.stride
        return reach

    @property
    def stride(self) -> int:
        """The product of the strides."""
        return reduce(int.__mul__, (operator.stride for operator in self.operators), 1)

    def __call__(self, x: Tensor) -> Tensor:
        """What the last operator makes, A_n(... A_1(x))."""
        return _through(self.operators, x)

    def residual(self, x: Tensor, y: Tensor) -> Tensor:
        """The residual of the last operator at what the others make of x."""
        return self.operators[-1].residual(_through(self.operators[:-1], x), y)

    def damaged(self, shape: Sequence[int]) -> Tensor | None:
        """What any of them misses, if all are pointwise; else None."""
        if self.local != 0:
            return None
        masks = [mask for operator in self.operators if (mask := operator.damaged(shape)) is not None]
        return reduce(torch.logical_or, masks) if masks else None

    def count(self, y: Tensor) -> Tensor:
        """As the last operator counts."""
        return self.operators[-1].count(y)

    def select(self, index: Tensor | Sequence[int]) -> Self:
        """Each operator for the problems `index`."""
        return replace(self, operators=tuple(operator.select(index) for operator in self.operators))

    def to(self, device: torch.device | str) -> Self:
        """Each operator with its tensors on `device`."""
        return replace(self, operators=tuple(operator.to(device) for operator in self.operators))


@dataclass(frozen=True, eq=False)
class LinearChain(Chain, LinearOperator):
    """A chain of linear operators, A = A_n ... A_1, with A' = A_1' ... A_n'."""

    operators: tuple[LinearOperator, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        for operator in self.operators:
            if not isinstance(operator, LinearOperator):
                raise Misuse(f"The operator '{operator.name}' is not linear.", "Use chain(...) instead.")

    def adjoint(self, y: Tensor) -> Tensor:
        """The adjoints in the opposite order."""
        for operator in reversed(self.operators):
            y = operator.adjoint(y)
        return y


def chain(*operators: Operator) -> Chain | LinearChain:
    """The operators one after another, the first first; a `LinearChain` if all are linear.

    Examples
    --------
    >>> from headwater.image.operators import JPEG, Denoise, SuperResolution
    >>> chain(SuperResolution(2), Denoise()).linear, chain(SuperResolution(2), JPEG(80)).linear
    (True, False)
    """
    linear = tuple(operator for operator in operators if isinstance(operator, LinearOperator))
    return LinearChain(linear) if operators and len(linear) == len(operators) else Chain(operators)


def _through(operators: Sequence[Operator], x: Tensor) -> Tensor:
    for operator in operators:
        x = operator(x)
    return x
