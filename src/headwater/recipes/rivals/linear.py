"""The measurement as the methods for linear operators see it."""

from __future__ import annotations

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import per_problem
from headwater.problem.cost import Misfit
from headwater.recipes.rivals.network import misfit_gradient


def require_adjoint(misfit: Misfit, method: str) -> None:
    """Refuse an operator without `adjoint`, which a linear operator has.

    Raises
    ------
    Misuse
        If the operator has no method `adjoint`.
    """
    if getattr(misfit.operator, "adjoint", None) is None:
        name = getattr(misfit.operator, "__name__", type(misfit.operator).__name__)
        raise Misuse(
            f"{method} is a method for linear operators, and the operator {name} has no method adjoint.",
            "Give the operator an adjoint(y) = A' y, or take a method for any cost, such as DPS.",
        )


def residual_gradient(misfit: Misfit, x: Tensor) -> Tensor:
    """The gradient of |A x - y|^2 / 2 in the units of y, for a linear A that is A'(A x - y), `[batch, *event]`.

    It comes by autograd, so it knows of masks and needs no `adjoint`.

    Examples
    --------
    >>> import torch
    >>> from headwater import Misfit
    >>> misfit = Misfit(lambda x: 2 * x, torch.ones(1, 1), 0.1)
    >>> round(residual_gradient(misfit, torch.ones(1, 1)).item(), 4)
    2.0
    """
    _, gradient = misfit_gradient(misfit, x)
    return per_problem(torch.as_tensor(misfit.sigma_y).to(x) ** 2, gradient) * gradient


def find_known(misfit: Misfit, like: Tensor) -> tuple[Tensor, Tensor]:
    """Which numbers of an event are known, bool, and what they are, both `[batch, *event]`.

    Raises
    ------
    Misuse
        If the operator is no mask: A' A is not diagonal with 0 and 1.
    """
    one = torch.ones_like(like)
    probe = (
        torch.linspace(-1, 1, like[0].numel(), dtype=like.dtype, device=like.device).view(like.shape[1:])
        * one
    )
    y = -residual_gradient(misfit, torch.zeros_like(like))  # A' y
    share = residual_gradient(misfit, one) + y  # A' A 1
    known = share.round() == 1
    off = residual_gradient(misfit, probe) + y - torch.where(known, probe, torch.zeros_like(probe))
    if bool(torch.maximum((share - known.to(share)).abs(), off.abs()).max() > 1e-4 * (1 + y.abs().max())):
        raise Misuse(
            "This method fills in what a mask left out, and this operator mixes or scales the numbers of an event.",
            "Give an operator that keeps some of the numbers as they are, or take another method.",
        )
    return known, y
