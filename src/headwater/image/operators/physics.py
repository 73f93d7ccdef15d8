"""Operators written for the deepinv library, unchanged: an object with `A(x)` and perhaps `A_adjoint(y)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from headwater.errors import Misuse
from headwater.image.operators.base import require_images
from headwater.problem.operator import LinearOperator, Operator, check_measurement


@dataclass(frozen=True, eq=False)
class Physics(Operator):
    """A foreign operator, y = physics.A(x), or physics(x) if it has no `A`; see `from_physics`.

    Examples
    --------
    >>> import torch
    >>> Physics(lambda x: x.tanh())(torch.zeros(1, 1, 1, 1)).item()
    0.0
    """

    physics: Any
    kind: ClassVar[str] = "physics"

    @property
    def name(self) -> str:
        """The name of the object's class."""
        return f"{self.kind} ({type(self.physics).__name__})"

    def __call__(self, x: Tensor) -> Tensor:
        """What the object's `A` makes of x."""
        require_images(x, self)
        return check_measurement(forward_of(self.physics)(x), x, self.name)


@dataclass(frozen=True, eq=False)
class LinearPhysics(LinearOperator):
    """A foreign linear operator: y = physics.A(x) and A' y = physics.A_adjoint(y); see `from_physics`."""

    physics: Any
    kind: ClassVar[str] = "physics"

    @property
    def name(self) -> str:
        """The name of the object's class."""
        return f"{self.kind} ({type(self.physics).__name__})"

    def __call__(self, x: Tensor) -> Tensor:
        """What the object's `A` makes of x."""
        require_images(x, self)
        return check_measurement(forward_of(self.physics)(x), x, self.name)

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y, as the object says, in the shape of x `[batch, c, h, w]`."""
        return check_measurement(self.physics.A_adjoint(y), y, self.name)


def forward_of(physics: Any) -> Callable[[Tensor], Any]:
    """`physics.A`, which adds no noise, or the object itself where there is no `A`."""
    forward = getattr(physics, "A", physics)
    if not callable(forward):
        raise Misuse(
            f"{type(physics).__name__} is not an operator: it has no method A and cannot be called.",
            "Give an object with A(x), and A_adjoint(y) if it is linear, or a function of x.",
        )
    result: Callable[[Tensor], Any] = forward
    return result


def from_physics(physics: Any) -> Physics | LinearPhysics:
    """Wrap a deepinv-style object: linear if it has `A_adjoint`, else not.

    Tensors that it holds for single problems are not followed by `select`: use one object per problem.

    Parameters
    ----------
    physics
        An object with `A(x)`, or a function of x, on images `[batch, channels, height, width]`: floating or complex y
        `[batch, ...]`, made of differentiable torch operations. `A_adjoint(y)`, if there is one, has the shape of x.

    Returns
    -------
    operator
        A `LinearOperator` if there is an `A_adjoint`, else an `Operator`.

    Raises
    ------
    Misuse
        The object has no method `A` and cannot be called.

    Examples
    --------
    >>> import headwater as hw
    >>> class Halve:
    ...     def A(self, x): return x / 2
    ...     def A_adjoint(self, y): return y / 2
    >>> A = hw.image.from_physics(Halve())
    >>> A.linear, A.name
    (True, 'physics (Halve)')
    """
    forward_of(physics)
    return LinearPhysics(physics) if callable(getattr(physics, "A_adjoint", None)) else Physics(physics)
