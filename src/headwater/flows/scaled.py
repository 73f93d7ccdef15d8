"""Scaling of what a flow predicts: more or less detail from one number, a mask, a schedule or bands.

Omegance (Hou et al., ICCV 2025), one line in every step of a sampler:

    eps <- omega eps_theta(x_t, t)                                  diffusion (DDIM)
    v   <- mean(v) + omega (v_theta(x_t, t) - mean(v))              rectified flow: the mean of a sample stays

With omega < 1 a step removes less noise than the network sees, which later steps take for detail. As a flow, the
first line is v' = v + (sigma' - sigma alpha'/alpha) (omega - 1) eps, since v = (alpha'/alpha) x + (...) eps.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.problem.batch import per_problem, select, select_rows

Scaling = float | Tensor | Callable[[Tensor, Tensor], Tensor]
"""A factor; a mask of factors `[batch or 1, *event]`; or a map of (prediction, t)."""

BEGIN = 0.02
"""Where a change of the noise begins on a path that starts from noise alone: it is 1 / t near t = 0."""

ROUNDING = 1e-6
"""Times nearer to each other than this are one time: a place of the grid, and the same from other arithmetic."""


@dataclass(frozen=True, eq=False)
class ScaledNoise:
    """The velocity of a flow whose predicted noise is scaled from the time `begin` to `end`; see `scale_noise`."""

    flow: Flow
    omega: Scaling
    begin: float
    end: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v = self.flow(x, t)
        eps, inside = self.flow.path.eps_from_v(x, v, t), within(t, self.begin, self.end, x)
        a, b, da, db = self.flow.path.coefficients(x, t.clamp(min=self.begin))
        return v + inside * (db - b * da / a) * (apply_scaling(self.omega, eps, t) - eps)

    def select(self, index: Tensor) -> ScaledNoise:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, flow=self.flow.select(index), omega=select_scaling(self.omega, index))


@dataclass(frozen=True, eq=False)
class ScaledVelocity:
    """The velocity of a flow, scaled from the time `begin` to `end`; see `scale_velocity`."""

    flow: Flow
    omega: Scaling
    begin: float
    end: float
    keep_mean: bool

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        v = self.flow(x, t)
        mean = per_problem(v.flatten(1).mean(1), v) if self.keep_mean else v.new_zeros(())
        change = apply_scaling(self.omega, v - mean, t) - (v - mean)
        return v + within(t, self.begin, self.end, x) * change

    def select(self, index: Tensor) -> ScaledVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, flow=self.flow.select(index), omega=select_scaling(self.omega, index))


def scale_noise(flow: Flow, omega: Scaling, *, begin: float = BEGIN, end: float = 1.0) -> Flow:
    """The flow whose predicted noise is scaled: below 1 leaves detail, above 1 smooths (Omegance).

    v' = v + (sigma' - sigma alpha'/alpha) (omega eps - eps). A step of `DDIM` is then Omegance's own. For N(0, s^2)
    the standard deviation of x1 is s^omega (s^2 + r^2)^((1 - omega) / 2), with r =
    sigma / alpha where it begins: the scaling changes the law, it keeps no marginals.

    Parameters
    ----------
    flow
        The model, with events `[*event]`.
    omega
        A factor; a mask of factors `[batch or 1, *event]`; or a map of (eps, t), such as a schedule
        `lambda eps, t: (1 - 0.05 * t) * eps`, or bands `lambda eps, t: ScaleBands(high=0.98)(eps)`.
    begin, end
        The times between which it holds, begin <= t < end. The change is infinite where alpha is 0, so `begin` is
        above 0 there.

    Returns
    -------
    flow
        With events `[*event]`; an evaluation costs one of the model.

    Raises
    ------
    Misuse
        If the times do not rise within [0, 1], `begin` is where alpha is 0, or a factor is not finite.

    References
    ----------
    Hou et al., "Omegance: A Single Parameter for Various Granularities in Diffusion-Based Synthesis", ICCV 2025.

    Examples
    --------
    >>> from headwater import DDIM, Gaussian, solve
    >>> flow, x0 = Gaussian(torch.zeros(1), torch.ones(1)).flow, torch.ones(1, 1)
    >>> [round(solve(scale_noise(flow, w), x0, method=DDIM, steps=50).item(), 1) for w in (0.9, 1.0, 1.1)]
    [1.5, 1.0, 0.6]
    """
    check_scaling(flow, omega, begin, end)
    require_data(flow, begin)
    return replace(flow, velocity=ScaledNoise(flow, omega, begin, end), dtype=None)


def scale_velocity(
    flow: Flow, omega: Scaling, *, begin: float = 0.0, end: float = 1.0, keep_mean: bool = True
) -> Flow:
    """The flow whose velocity is scaled about the mean of each sample: Omegance for rectified flows.

    v' = m + omega (v - m), with m the mean over the entries of a sample (its brightness, which then stays), or 0.

    Parameters
    ----------
    flow
        The model, with events `[*event]`.
    omega
        As in `scale_noise`, of the velocity.
    begin, end
        The times between which it holds, begin <= t < end.
    keep_mean
        Whether the mean over the entries of a sample is left alone.

    Returns
    -------
    flow
        With events `[*event]`; an evaluation costs one of the model.

    Raises
    ------
    Misuse
        If the times do not rise within [0, 1], or a factor is not finite.

    References
    ----------
    Hou et al., "Omegance: A Single Parameter for Various Granularities in Diffusion-Based Synthesis", ICCV 2025.

    Examples
    --------
    Data that are all 3 are missed by as much as the velocity falls short.

    >>> from headwater import EULER, Flow, solve
    >>> flow = Flow(lambda x, t: 3 + 0 * x, (1,))
    >>> solve(scale_velocity(flow, 0.9, keep_mean=False), torch.zeros(1, 1), method=EULER, steps=4).item()
    2.6999998092651367
    """
    check_scaling(flow, omega, begin, end)
    return replace(flow, velocity=ScaledVelocity(flow, omega, begin, end, keep_mean), dtype=None)


def within(t: Tensor, begin: float, end: float, like: Tensor) -> Tensor:
    """1 where begin <= t < end and 0 elsewhere, for t `[]` or `[batch]`, to broadcast against `like`.

    A step of Euler's method or `DDIM` from t on is inside as a whole or not at all; the end of the path is inside.
    """
    early = t < end - ROUNDING if end < 1 else torch.ones_like(t, dtype=torch.bool)
    return per_problem(((t >= begin - ROUNDING) & early).to(like.dtype), like)


def apply_scaling(omega: Scaling, prediction: Tensor, t: Tensor) -> Tensor:
    """The scaled prediction `[batch, *event]`."""
    if isinstance(omega, Tensor):
        return omega.to(prediction) * prediction
    return omega(prediction, t) if callable(omega) else omega * prediction


def select_scaling(omega: Scaling, index: Tensor) -> Scaling:
    """The scaling of the problems in `index` `[k]`."""
    chosen: Scaling = select_rows(omega, index) if isinstance(omega, Tensor) else select(omega, index)
    return chosen


def check_scaling(flow: Flow, omega: Scaling, begin: float, end: float) -> None:
    """Refuse a factor that is not finite, a mask of another shape, and times that do not rise within [0, 1].

    Raises
    ------
    Misuse
        In any of the cases.
    """
    if isinstance(omega, Tensor):
        finite = bool(omega.isfinite().all())
        if tuple(omega.shape[1:]) != flow.shape:
            raise Misuse(
                f"The mask of factors has the shape {tuple(omega.shape)} and the events have {flow.shape}.",
                "Give [1, *event], or one mask for each problem, [batch, *event].",
            )
    else:
        finite = callable(omega) or math.isfinite(omega)
    if not finite:
        raise Misuse(f"The factor {omega} is not finite.", "Give numbers near 1, which changes nothing.")
    if not 0 <= begin < end <= 1:
        raise Misuse(
            f"The times {begin} and {end} do not rise within [0, 1].", "Give, say, begin=0.02, end=1.0."
        )


def require_data(flow: Flow, begin: float) -> None:
    """Refuse a time at which the state is noise alone, so that a change of the noise would be infinite.

    Raises
    ------
    Misuse
        If alpha is 0 at `begin`.
    """
    if float(flow.path.alpha(torch.tensor(begin, dtype=torch.float64))) == 0:
        raise Misuse(
            f"At t = {begin:g} the states of this path are noise alone, and a change of it is infinite.",
            f"Begin later, such as begin={BEGIN:g}.",
        )
