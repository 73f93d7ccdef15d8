"""The noise levels of a scheduler as a path, times and the timesteps that the network is told.

A scheduler counts from noise to data in timesteps of its own, and scales its state in one of three ways, here called
scales: "straight" (alpha = 1 - sigma), "preserving" (alpha^2 + sigma^2 = 1) and "exploding" (alpha = 1, divided by
`init_noise_sigma`, so that the state starts as N(0, I)).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.adapters.diffusers.line import Line
from headwater.errors import Misuse
from headwater.flows.flow import LEFT_AT_SOURCE
from headwater.flows.path import cast_time

SAME = 2.0**-23
"""Times closer than this are one: a time in [0, 1] that has passed through float32 is off by at most 2^-25."""

Clock = Callable[[Tensor, Tensor], Tensor]
"""alpha, sigma -> the timestep that belongs to their ratio."""


@dataclass(frozen=True)
class Levels:
    """What was read from a scheduler.

    Attributes
    ----------
    alpha, sigma
        The weights of data and noise at n + 1 points, from noise to data, float64 `[n + 1]`.
    timesteps
        What the network is told at the first n of them, float64 `[n]`.
    prediction
        "flow", "epsilon", "v_prediction" or "sample".
    clock
        The timestep between them.
    first
        The factor between the scheduler's state at its first level and N(0, I).
    exact
        Whether the scheduler's own step is Euler's on this grid.
    """

    alpha: Tensor
    sigma: Tensor
    timesteps: Tensor
    prediction: str
    clock: Clock
    first: float = 1.0
    exact: bool = True


@dataclass(frozen=True)
class Schedule:
    """The path of a sampler, its times, and the timesteps of the network.

    Parameters
    ----------
    path
        From the state at the first level to that at the last.
    times
        n + 1 times, 0 to 1.
    timesteps
        What the network is told at the first n, float64 `[n]`.
    clock
        The timestep between them, of alpha and sigma.
    """

    path: Line
    times: tuple[float, ...]
    timesteps: Tensor
    clock: Clock

    def snap(self, t: Tensor) -> Tensor:
        """t in float64, and that of the grid where float32's rounding is the only difference; `[]` or `[batch]`."""
        t = cast_time(t)
        gap, nearest = (t[..., None] - self._knots(t)).abs().min(-1)
        return torch.where(gap < SAME, self._knots(t)[nearest], t)

    def timestep(self, t: Tensor) -> Tensor:
        """The scheduler's timestep at a time that was snapped, `[]` or `[batch]`; at its times its own."""
        gap, nearest = (t[..., None] - self._knots(t)[:-1]).abs().min(-1)
        between = self.clock(self.path.alpha(t), self.path.sigma(t))
        return torch.where(gap == 0, self.timesteps.to(t)[nearest], between.to(t))

    def step(self, t: Tensor) -> Tensor:
        """The number of the step that t lies in, int64 `[]` or `[batch]`."""
        found: Tensor = torch.searchsorted(self._knots(t), t.contiguous(), right=True) - 1
        return found.clamp(0, len(self.timesteps) - 1)

    def _knots(self, t: Tensor) -> Tensor:
        return torch.tensor(self.times, dtype=t.dtype, device=t.device)


def make_schedule(levels: Levels) -> Schedule:
    """The schedule of the levels of a scheduler.

    Raises
    ------
    Misuse
        If the first level still holds a good part of the data, so that it cannot start from noise alone, or the
        levels do not fall.
    """
    a, b = levels.alpha.double(), levels.sigma.double()
    path = Line((float(a[0]) / levels.first, float(b[0]) / levels.first), (float(a[-1]), float(b[-1])))
    if path.start[0] > LEFT_AT_SOURCE:
        raise Misuse(
            f"The sampler starts at timestep {float(levels.timesteps[0]):g}, where its state still holds "
            f"{path.start[0]:.2f} of the data, so it cannot start from noise alone.",
            "Give more steps, or a scheduler with timestep_spacing='trailing' and the whole table of betas.",
        )
    times = path.time_of(a, b)
    times[0], times[-1] = 0.0, 1.0
    if not bool((times.diff() > 0).all()):
        raise Misuse(
            f"The noise levels of the scheduler do not fall: {[round(float(s), 4) for s in b]}.",
            "Give fewer steps, or a scheduler whose sigmas fall from step to step.",
        )
    return Schedule(path, tuple(times.tolist()), levels.timesteps.double(), levels.clock)


def straight_clock(count: int) -> Clock:
    """The timestep of a straight path, `count` times its sigma."""
    return lambda alpha, sigma: count * sigma / (alpha + sigma)


def table_clock(alphas_cumprod: Tensor) -> Clock:
    """The index of a table of noise levels, linear between two of them in the angle atan(sigma / alpha)."""
    product = alphas_cumprod.double().cpu()
    angles = torch.atan2((1 - product).sqrt(), product.sqrt())

    def index(alpha: Tensor, sigma: Tensor) -> Tensor:
        table = angles.to(alpha)
        angle = torch.atan2(sigma, alpha).contiguous()
        below = (torch.searchsorted(table, angle, right=True) - 1).clamp(0, len(table) - 2)
        share = (angle - table[below]) / (table[below + 1] - table[below])
        return below + share.clamp(0, 1)

    return index


def config_of(scheduler: Any, name: str, default: Any = None) -> Any:
    """An entry of a scheduler's configuration, or the default."""
    return scheduler.config.get(name, default)
