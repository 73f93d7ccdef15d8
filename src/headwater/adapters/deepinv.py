"""Denoisers and physics of deepinv: a `Flow`, an `Operator` and a `Misfit`.

The library is not imported: what is asked of its objects is `denoiser(x, sigma)`, `physics.A`, `physics.A_adjoint`
and `physics.noise_model`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from headwater.adapters import edm
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import select_rows
from headwater.problem.cost import Misfit
from headwater.problem.operator import LinearOperator, Operator, check_measurement
from headwater.text import counted


def load(
    denoiser: Callable[..., Tensor],
    shape: Sequence[int],
    *,
    range: tuple[float, float] | None = (0.0, 1.0),
    **options: Any,
) -> Flow:
    """The flow of a denoiser D(x, sigma) of deepinv, by `headwater.adapters.edm.load`.

    A denoiser for little noise is no generative model. With a `sigma_max` that it was not trained for, it guesses;
    with one below 10 `flow.noise` refuses, since then much of the data is left at t = 0.

    Parameters
    ----------
    denoiser
        D(x, sigma) of x `[batch, *shape]` and sigma `[batch]`.
    shape
        The shape of one event, such as (3, 64, 64).
    range
        The data range; deepinv's denoisers take images in [0, 1].
    options
        Those of `headwater.adapters.edm.load`: sigma_min, sigma_max, condition and the like.

    Returns
    -------
    flow
        With events `[*shape]`.

    Raises
    ------
    Misuse
        As `headwater.adapters.edm.load`.

    References
    ----------
    Tachella et al., "DeepInverse: A Python package for solving imaging inverse problems with deep learning", 2025.

    Examples
    --------
    >>> flow = load(lambda x, sigma: x / (1 + sigma.reshape(-1, 1, 1, 1) ** 2), (1, 2, 2))
    >>> flow.range, flow.denoise(torch.ones(1, 1, 2, 2), torch.tensor(1.0)).mean().round(decimals=3).item()
    ((0.0, 1.0), 1.0)
    """
    return edm.load(denoiser, shape, range=range, **options)


@dataclass(frozen=True, eq=False)
class PhysicsOperator(Operator):
    """y = physics.A(x) of any physics; `as_operator` makes it.

    Parameters
    ----------
    physics
        An object with `A(x)`, or a function of x `[batch, ...]`.
    parameters
        Arguments of `A` by name, such as mask or filter, `[batch or 1, ...]`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> square, gain = SimpleNamespace(A=lambda x, gain: gain * x**2), torch.tensor([[1.0], [3.0]])
    >>> operator = PhysicsOperator(square, {"gain": gain})
    >>> operator.select([1])(torch.full((1, 1), 2.0)).tolist()
    [[12.0]]
    """

    physics: Any
    parameters: dict[str, Any] = field(default_factory=dict)
    kind: ClassVar[str] = "physics"

    @property
    def name(self) -> str:
        """The kind, and the name of the object's class."""
        return f"{self.kind} ({type(self.physics).__name__})"

    def __call__(self, x: Tensor) -> Tensor:
        """A(x) `[batch, ...]` of x `[batch, ...]`; a `Misuse` if it is no measurement of this batch."""
        y = forward_of(self.physics)(x, **self.parameters)
        if isinstance(y, list | tuple):
            raise Misuse(
                f"The operator '{self.name}' makes {counted(len(y), 'part')}, and a measurement is one tensor.",
                "Make a Misfit of each physics, and add them by WeightedSum.",
            )
        return check_measurement(y, x, self.name)

    def select(self, index: Any) -> Any:
        """The operator of the problems in `index`, int64 `[k]` or a bool mask `[batch]`."""
        index = torch.as_tensor(index)
        rows = index.nonzero().flatten() if index.dtype == torch.bool else index.long()
        return replace(self, parameters=select_rows(self.parameters, rows))

    def to(self, device: torch.device | str) -> Any:
        """The operator with its parameters on `device`; the object itself is moved by its own `to`."""
        moved = {k: v.to(device) if isinstance(v, Tensor) else v for k, v in self.parameters.items()}
        return replace(self, parameters=moved)


@dataclass(frozen=True, eq=False)
class LinearPhysicsOperator(PhysicsOperator, LinearOperator):
    """y = physics.A(x) with the adjoint `physics.A_adjoint`; `as_operator` makes it.

    Parameters
    ----------
    physics, parameters
        Those of `PhysicsOperator`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> half = SimpleNamespace(A=lambda x: x[:, :1], A_adjoint=lambda y: torch.nn.functional.pad(y, (0, 1)))
    >>> LinearPhysicsOperator(half).pinv(torch.ones(1, 1)).tolist()
    [[1.0, 0.0]]
    """

    def adjoint(self, y: Tensor) -> Tensor:
        """A' y `[batch, ...]`, in the shape of x, for y `[batch, ...]`."""
        return check_measurement(self.physics.A_adjoint(y, **self.parameters), y, self.name)


def forward_of(physics: Any) -> Callable[..., Any]:
    """`physics.A`, which adds no noise, or the object itself where there is no `A`.

    Raises
    ------
    Misuse
        If it is neither.

    Examples
    --------
    >>> forward_of(torch.tanh) is torch.tanh
    True
    """
    forward = getattr(physics, "A", physics)
    if not callable(forward):
        raise Misuse(
            f"{type(physics).__name__} is not an operator: it has no method A and cannot be called.",
            "Give an object with A(x), and A_adjoint(y) if it is linear, or a function of x.",
        )
    result: Callable[..., Any] = forward
    return result


def as_operator(physics: Any, **parameters: Any) -> PhysicsOperator:
    """The operator x -> physics.A(x) without noise and sensor, linear if the physics is.

    Parameters
    ----------
    physics
        A `deepinv.physics.Physics`, linear if it is a `LinearPhysics`; any other object with `A`, linear if it has
        `A_adjoint`; or a function of x. What it holds itself is taken to be the same for all problems.
    parameters
        Arguments of `A` by name that belong to single problems, such as `mask=masks` `[batch, ...]`, or `[1, ...]`.
        deepinv stores them in the physics, so with them the operator holds a copy of it.

    Returns
    -------
    operator
        A `LinearPhysicsOperator` of x `[batch, ...]`, or a `PhysicsOperator`.

    Raises
    ------
    Misuse
        If the object has no method `A` and cannot be called.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> double = SimpleNamespace(A=lambda x: 2 * x, A_adjoint=lambda y: 2 * y)
    >>> operator = as_operator(double)
    >>> operator.linear, operator.pinv(torch.ones(1, 2)).tolist()
    (True, [[0.5, 0.5]])
    """
    forward_of(physics)
    kinds = {one.__name__ for one in type(physics).__mro__ if one.__module__.startswith("deepinv.")}
    # deepinv's physics of phase retrieval has an A_adjoint, too, that of its linear part.
    linear = hasattr(physics, "A_adjoint") and ("LinearPhysics" in kinds or "Physics" not in kinds)
    made = LinearPhysicsOperator if linear else PhysicsOperator
    return made(copy.deepcopy(physics) if parameters else physics, parameters)


def noise_level(physics: Any) -> Tensor:
    """The standard deviation of a physics' Gaussian noise, `[]` or `[batch]`.

    Parameters
    ----------
    physics
        An object with a `noise_model`, whose class is a `GaussianNoise` with `sigma`.

    Raises
    ------
    Misuse
        If its noise model is none, another than `GaussianNoise`, or has a level that is not positive.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> class GaussianNoise:
    ...     sigma = torch.tensor(0.1)
    >>> round(noise_level(SimpleNamespace(noise_model=GaussianNoise())).item(), 3)
    0.1
    """
    model: Any = getattr(physics, "noise_model", None)
    if type(model).__name__ != "GaussianNoise":
        raise Misuse(
            f"The noise model {type(model).__name__} of the physics has no Gaussian noise level.",
            "Give sigma_y, the standard deviation of the noise or of what stands for it.",
        )
    sigma = torch.as_tensor(model.sigma).detach()
    sigma = sigma.reshape(-1) if sigma.ndim else sigma
    if not bool(((sigma > 0) & sigma.isfinite()).all()):
        raise Misuse(
            f"The noise level {sigma.tolist()} of the physics is not positive and finite.",
            "Give sigma_y; for a measurement without noise a small one, such as the rounding error of its format.",
        )
    return sigma


def misfit(physics: Any, y: Tensor, sigma_y: float | Tensor | None = None, **parameters: Any) -> Misfit:
    """The misfit of a measurement that a physics made, with the noise level of its noise model.

    Parameters
    ----------
    physics, parameters
        Those of `as_operator`.
    y
        The measurement `[batch, ...]`.
    sigma_y
        The standard deviation of its noise, a number or `[batch]`; None reads it from `physics.noise_model`.

    Returns
    -------
    misfit
        |A x1 - y|^2 / (2 sigma_y^2) of x1 `[batch, *event]`.

    Raises
    ------
    Misuse
        As `as_operator`, `noise_level` and `headwater.Misfit`.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> double = SimpleNamespace(A=lambda x: 2 * x, A_adjoint=lambda y: 2 * y)
    >>> misfit(double, torch.ones(1, 1), sigma_y=0.5)(torch.ones(1, 1)).item()  # 1^2 / (2 * 0.5^2)
    2.0
    """
    return Misfit(as_operator(physics, **parameters), y, noise_level(physics) if sigma_y is None else sigma_y)
