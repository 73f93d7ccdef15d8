r"""What is known of two fields, as one measurement: some points of each, and that they solve the equation.

The residual of the equation is -div(a grad u) - 1 at every node. Its entries are second differences, which a tiny
error of u makes large: 1 % of u at one node is a residual of 5. So it enters as the change of u that it asks for,

    r = (-a0 laplacian)^-1 (-div(a grad u) - 1),   a0 = 6,

worked out by sine transforms. For a constant a = a0 it is the error of u itself. `measure` gives both fields and r in
units of their noise, so that one `headwater.Misfit` with sigma_y = 1 holds everything; `measured` says which points.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

import headwater as hw

from .data import SCALE, SIZE, STEP, to_fields


def apply_darcy(a: Tensor, u: Tensor) -> Tensor:
    """-div(a grad u) `[n, 32, 32]` of a coefficient and a field that is 0 on the boundary, `[n, 32, 32]` each."""
    a, u = F.pad(a[:, None], (1, 1, 1, 1), mode="replicate")[:, 0], F.pad(u, (1, 1, 1, 1))
    total = torch.zeros_like(u[:, 1:-1, 1:-1])
    for axis in (1, 2):
        face = (a.narrow(axis, 1, SIZE + 1) + a.narrow(axis, 0, SIZE + 1)) / 2
        flux = face * (u.narrow(axis, 1, SIZE + 1) - u.narrow(axis, 0, SIZE + 1))
        change = flux.narrow(axis, 0, SIZE) - flux.narrow(axis, 1, SIZE)
        total = total + change.narrow(3 - axis, 1, SIZE)
    return total / STEP**2


def invert_laplacian(f: Tensor) -> Tensor:
    """(-laplacian)^-1 f `[n, 32, 32]` with 0 on the boundary, in the basis of sines that has its eigenvectors."""
    k = torch.arange(1, SIZE + 1, dtype=f.dtype, device=f.device)
    sines = math.sqrt(2 * STEP) * torch.sin(
        math.pi * STEP * k[:, None] * k
    )  # symmetric, and its own inverse
    eigenvalues = (2 * torch.sin(math.pi * STEP * k / 2) / STEP) ** 2
    return sines @ ((sines @ f @ sines) / (eigenvalues[:, None] + eigenvalues)) @ sines


def find_residual(x: Tensor) -> Tensor:
    """r in the units of a state, `[n, 32, 32]`, of states x `[n, 2, 32, 32]`: 0 where the equation holds."""
    a, u = to_fields(x)
    return invert_laplacian(apply_darcy(a, u) - 1) / (6 * SCALE)


@dataclass(frozen=True)
class Measure:
    """Both fields in units of their noise, and the residual in units of its tolerance: x to `[n, 3, 32, 32]`.

    Attributes
    ----------
    noise
        The standard deviation of a measured point, in the units of a state.
    tolerance
        How far r may be off, in the same units; None leaves the equation out.
    """

    noise: float
    tolerance: float | None

    def __call__(self, x: Tensor) -> Tensor:
        """z and u over the noise, r over the tolerance."""
        if self.tolerance is None:
            return torch.cat([x / self.noise, torch.zeros_like(x[:, :1])], 1)
        return torch.cat([x / self.noise, find_residual(x)[:, None] / self.tolerance], 1)


def pose(y: Tensor, sensors: Tensor, noise: float, tolerance: float | None) -> hw.Misfit:
    """The misfit of measured points y `[n, 2, 32, 32]`, read where `sensors` `[n, 2, 32, 32]` is true."""
    everywhere = torch.full_like(sensors[:, :1], tolerance is not None)
    target = torch.cat(
        [torch.where(sensors, y, 0.0) / noise, torch.zeros_like(y[:, :1])], 1
    )
    return hw.Misfit(
        Measure(noise, tolerance),
        target,
        1.0,
        measured=torch.cat([sensors, everywhere], 1),
    )
