"""The user's own measurement: any differentiable function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import require_images
from headwater.problem.batch import select
from headwater.problem.operator import Operator, check_measurement


@dataclass(frozen=True, eq=False)
class UserOperator(Operator):
    """y = function(x), checked at every call.

    Parameters
    ----------
    function
        [batch, channels, h, w] -> floating or complex tensor whose first axis is the batch, made of differentiable
        torch operations, each problem on its own.
    title
        The name shown to the user.
    radius
        How far an entry of y looks, in pixels (`local`); None: everywhere.

    Raises
    ------
    Misuse
        If the function cannot be called; or its result is neither a floating nor a complex tensor, has another first
        axis, or lost the gradient.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> A = hw.image.UserOperator(lambda x: x.square(), "square")
    >>> A.name, A(torch.full((1, 1, 1, 1), 0.5)).item()
    ('square', 0.25)
    """

    function: Callable[[Tensor], Tensor]
    title: str = "user"
    radius: int | None = None
    kind: ClassVar[str] = "restore"

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise Misuse(f"The operator {self.function!r} cannot be called.", "Give a function of images x.")

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    @property
    def local(self) -> int | None:
        """The radius."""
        return self.radius

    def select(self, index: Tensor | Sequence[int]) -> UserOperator:
        """The operator of the problems in `index` `[k]`: that of a function that was declared with `Each`."""
        return replace(self, function=select(self.function, torch.as_tensor(index)))

    def __call__(self, x: Tensor) -> Tensor:
        """What the function makes of x `[batch, c, h, w]`, checked: `[batch, ...]`."""
        require_images(x, self)
        return check_measurement(self.function(x), x, self.name)
