"""How much of the noise is new at every time of an estimate, and which parts of x1 no measurement sees."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.seeds import draw_normal, make_generators
from headwater.problem.cost import Misfit


class Fresh(Protocol):
    """The share of new noise, part by part of x1; a protocol.

    New noise draws towards the mean of what is likely; old noise keeps the energy of a draw. So new noise suits what
    was measured, and old noise what was not.
    """

    def share(self, flow: Flow, misfit: Misfit, x: Tensor) -> Tensor:
        """Values from 0 to 1 that broadcast to x `[batch, *event]`, of which only the shape and the kind matter."""


def unseen(misfit: Misfit, x: Tensor) -> Tensor:
    """The coordinates of x1 that no measurement depends on, bool like x `[batch, *event]`.

    They are where A' A z is 0 for a normal z, but for rounding. An operator without an `adjoint` may see everything.

    Examples
    --------
    >>> from headwater import Identity
    >>> y, measured = torch.tensor([[2.0, 0.0]]), torch.tensor([[True, False]])
    >>> unseen(Misfit(Identity(), y, 0.1, measured=measured), torch.zeros(1, 2)).tolist()
    [[False, True]]
    """
    operator, measured = misfit.operator, misfit.measured
    adjoint = getattr(operator, "adjoint", None)
    if adjoint is None:
        return torch.zeros_like(x, dtype=torch.bool)
    z = draw_normal(x.shape[1:], make_generators([0])).to(x).expand_as(x)
    y = operator(z)
    seen: Tensor = adjoint(y if measured is None else torch.where(measured, y, torch.zeros_like(y))).abs()
    largest = seen.flatten(1).amax(1).reshape(-1, *[1] * (x.ndim - 1))
    return seen <= 1e-5 * largest
