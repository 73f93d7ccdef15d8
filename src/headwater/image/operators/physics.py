"""Operators written for deepinv, unchanged, on images: an object with `A(x)` and perhaps `A_adjoint(y)`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from headwater.adapters.deepinv import LinearPhysicsOperator, PhysicsOperator, as_operator
from headwater.image.operators.base import require_images


@dataclass(frozen=True, eq=False)
class Physics(PhysicsOperator):
    """A foreign operator on images, y = physics.A(x), or physics(x) if it has no `A`; see `from_physics`.

    Examples
    --------
    >>> import torch
    >>> Physics(lambda x: x.tanh())(torch.zeros(1, 1, 1, 1)).item()
    0.0
    """

    def __call__(self, x: Tensor) -> Tensor:
        """What the object's `A` makes of images x `[batch, channels, height, width]`."""
        require_images(x, self)
        return super().__call__(x)


@dataclass(frozen=True, eq=False)
class LinearPhysics(LinearPhysicsOperator):
    """A foreign linear operator on images: y = physics.A(x) and A' y = physics.A_adjoint(y); see `from_physics`."""

    def __call__(self, x: Tensor) -> Tensor:
        """What the object's `A` makes of images x `[batch, channels, height, width]`."""
        require_images(x, self)
        return super().__call__(x)


def from_physics(physics: Any, **parameters: Any) -> Physics | LinearPhysics:
    """Wrap a deepinv-style object for images: linear if it has `A_adjoint`, else not.

    It is `headwater.adapters.deepinv.as_operator`, and checks that x are images. Of deepinv's own physics those are
    linear that are `LinearPhysics`.

    Parameters
    ----------
    physics
        An object with `A(x)`, or a function of x, on images `[batch, channels, height, width]`: floating or complex y
        `[batch, ...]`, made of differentiable torch operations. `A_adjoint(y)`, if there is one, has the shape of x.
        What it holds itself is taken to be the same for all problems.
    parameters
        Arguments of `A` by name that belong to single problems, such as `mask=masks` `[batch, ...]`.

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
    operator = as_operator(physics, **parameters)
    made = LinearPhysics if operator.linear else Physics
    return made(operator.physics, operator.parameters)
