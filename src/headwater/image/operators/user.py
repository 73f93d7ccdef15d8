"""The user's own measurement: any differentiable function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import Operator, require_images


@dataclass(frozen=True, eq=False)
class UserOperator(Operator):
    """y = function(x), checked at every call.

    Parameters
    ----------
    function
        [batch, channels, h, w] -> floating tensor whose first axis is the batch, made of differentiable torch
        operations, each problem on its own.
    title
        The name shown to the user.
    radius
        How far an entry of y looks, in pixels (`local`); None: everywhere.

    Raises
    ------
    Misuse
        If the result is no floating tensor, has another first axis, or lost the gradient.

    Examples
    --------
    >>> A = UserOperator(lambda x: x.square(), "square")
    >>> A.name, A(torch.full((1, 1, 1, 1), 0.5)).item()
    ('square', 0.25)
    """

    function: Callable[[Tensor], Tensor]
    title: str = "user"
    radius: int | None = None
    kind: ClassVar[str] = "restore"

    @property
    def name(self) -> str:
        """The title."""
        return self.title

    @property
    def local(self) -> int | None:
        """The radius."""
        return self.radius

    def __call__(self, x: Tensor) -> Tensor:
        """What the function makes of x, checked."""
        require_images(x, self)
        return checked(self.function(x), x, self.name)


def checked(y: Any, x: Tensor, name: str) -> Tensor:
    """`y` if it can be the measurement of the batch `x`; else a Misuse that says why not."""
    if not isinstance(y, Tensor) or not y.is_floating_point():
        found = f"{str(y.dtype).removeprefix('torch.')} values" if isinstance(y, Tensor) else type(y).__name__
        raise Misuse(
            f"The operator '{name}' returned {found} instead of a floating tensor.",
            "Return a torch tensor of the type of x.",
        )
    if y.ndim == 0 or y.shape[0] != x.shape[0]:
        raise Misuse(
            f"The operator '{name}' made {list(y.shape)} out of {x.shape[0]} problems.",
            "Keep the first axis: one measurement per problem.",
        )
    if torch.is_grad_enabled() and x.requires_grad and not y.requires_grad:
        raise Misuse(
            f"The operator '{name}' lost the gradient with respect to the image.",
            "Use differentiable torch operations only: no .detach(), .item(), numpy or torch.no_grad().",
        )
    return y
