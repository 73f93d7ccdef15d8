"""One-step methods for dx/dt = v(x, t): Runge-Kutta tableaux as data, and the exponential (DDIM) step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from headwater.flows.path import Path, cast_time
from headwater.problem.batch import per_problem

Field = Callable[[Tensor, Tensor], Tensor]


class Method(Protocol):
    """A rule for one step of dx/dt = v(x, t), which calls the field v `evaluations` times; a protocol.

    Examples
    --------
    A step of one's own, the implicit midpoint rule by three iterations:

    >>> import torch
    >>> from headwater import Flow, solve
    >>> class ImplicitMidpoint:
    ...     order, evaluations = 2, 3
    ...     def step(self, field, path, x, t, t_next):
    ...         h, middle = t_next - t, x
    ...         for _ in range(3):
    ...             middle = x + h / 2 * field(middle, (t + t_next) / 2)
    ...         return 2 * middle - x
    >>> flow = Flow(lambda x, t: -x, shape=(1,))
    >>> round(solve(flow, torch.ones(1, 1), method=ImplicitMidpoint(), steps=50).item(), 4)  # exp(-1) = 0.3679
    0.3679
    """

    @property
    def evaluations(self) -> int:
        """Evaluations of the field per step."""

    @property
    def order(self) -> int:
        """Order of accuracy of the whole solve."""

    def step(self, field: Field, path: Path, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """x at t_next from x at t, both `[batch, *event]`; times are scalars or one per problem, in either order."""


@dataclass(frozen=True)
class RungeKutta:
    """An explicit Runge-Kutta method as its Butcher tableau.

    k_i = v(x + h sum_j a_ij k_j, t + c_i h),  x_next = x + h sum_i b_i k_i, with x and k_i `[batch, *event]`.

    Parameters
    ----------
    name
        What it is called.
    order
        Its order of accuracy.
    a
        The tableau: one row per stage, with a weight for each of the stages before it.
    b
        One weight per stage, of the step.
    b_error
        The weights b - b_hat of the embedded error estimate; empty if there is none.

    References
    ----------
    Hairer, Norsett & Wanner, Solving Ordinary Differential Equations I (1993), eq. II.1.8.

    Examples
    --------
    >>> import torch
    >>> from headwater import CondOT
    >>> heun = RungeKutta("heun", 2, ((), (1.0,)), (1 / 2, 1 / 2))
    >>> heun.step(lambda x, t: -x, CondOT(), torch.ones(1, 1), torch.tensor(0.0), torch.tensor(1.0))  # 1 - h + h^2/2
    tensor([[0.5000]])
    """

    name: str
    order: int
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    b_error: tuple[float, ...] = ()

    @property
    def c(self) -> tuple[float, ...]:
        """The nodes c_i = sum_j a_ij."""
        return tuple(sum(row) for row in self.a)

    @property
    def evaluations(self) -> int:
        """Evaluations of the field per step, the number of stages."""
        return len(self.b)

    def stages(
        self, field: Field, x: Tensor, t: Tensor, h: Tensor, first: Tensor | None = None
    ) -> list[Tensor]:
        """The slopes k_i from x, `[batch, *event]` each; `first` is k_1 if it is known already."""
        k: list[Tensor] = [] if first is None else [first]
        for row, c in list(zip(self.a, self.c, strict=True))[len(k) :]:
            k.append(field(combine(x, h, row, k), t + c * h))
        return k

    def step(self, field: Field, path: Path, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """x + h sum_i b_i k_i with h = t_next - t, `[batch, *event]`."""
        h = t_next - t
        return combine(x, h, self.b, self.stages(field, x, t, h))


def combine(x: Tensor, h: Tensor, weights: tuple[float, ...], k: list[Tensor]) -> Tensor:
    """x + h sum_i w_i k_i `[batch, *event]`; slopes of weight zero are left out, NaN and infinity with them."""
    for w, slope in zip(weights, k, strict=False):
        if w != 0.0:
            x = x + per_problem(w * h, slope) * slope
    return x


# The four that need no error estimate; c_i = sum_j a_ij is (0), (0, 1/2), (0, 1) and (0, 1/2, 1/2, 1).
EULER = RungeKutta("euler", 1, ((),), (1.0,))
MIDPOINT = RungeKutta("midpoint", 2, ((), (1 / 2,)), (0.0, 1.0))
HEUN = RungeKutta("heun", 2, ((), (1.0,)), (1 / 2, 1 / 2))
RK4 = RungeKutta("rk4", 4, ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)), (1 / 6, 1 / 3, 1 / 3, 1 / 6))
# Dormand & Prince (1980), the 5(4) pair; the seventh stage is the slope at the new point (FSAL).
DOPRI5 = RungeKutta(
    "dopri5",
    5,
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
    (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),
)


@dataclass(frozen=True)
class Exponential:
    """The exponential Euler step, which is DDIM with eta = 0: x_next = alpha_next xhat + sigma_next eps.

    It is exact if the predictions xhat and eps are constant over the step, and serves diffusion paths, whose velocity
    is stiff near t = 1. x, xhat and eps are `[batch, *event]`. On a `CondOT` path it is Euler's step.

    Parameters
    ----------
    name, order, evaluations
        "ddim", 1 and 1: there is one such method, `DDIM`.

    References
    ----------
    Song et al., "Denoising diffusion implicit models", ICLR 2021, eq. 12; Lu et al., "DPM-Solver", NeurIPS 2022,
    eq. 3.7.

    Examples
    --------
    On the path of a diffusion model the flow of N(0, 4) carries x0 to 2 x0; half the step leaves half the error.

    >>> import torch
    >>> from headwater import DDIM, VP, Gaussian, solve
    >>> flow, x0 = Gaussian(torch.zeros(1), torch.tensor([2.0]), VP()).flow, torch.ones(1, 1, dtype=torch.float64)
    >>> [round(2 - solve(flow, x0, method=DDIM, steps=n).item(), 3) for n in (25, 50)]
    [0.117, 0.059]
    """

    name: str = "ddim"
    order: int = 1
    evaluations: int = 1

    def step(self, field: Field, path: Path, x: Tensor, t: Tensor, t_next: Tensor) -> Tensor:
        """alpha_next xhat(x, t) + sigma_next eps(x, t), `[batch, *event]`."""
        t = t.clamp(*path.span).to(x)  # as the field sees it: beyond the span sigma' may be infinite
        v = field(x, t)
        end = cast_time(t_next)  # not clamped: alpha and sigma are finite at t = 1, where the step has to end
        alpha, sigma = per_problem(path.alpha(end), x), per_problem(path.sigma(end), x)
        return alpha * path.xhat_from_v(x, v, t) + sigma * path.eps_from_v(x, v, t)


DDIM = Exponential()
METHODS: tuple[Method, ...] = (EULER, MIDPOINT, HEUN, RK4, DDIM)
