"""Stochastic sampling along the path: the score comes from the velocity, and each problem has its own draws.

Every SDE of the family

    dx = (v + (g_t^2 / 2) score) dt + g_t dW,    score = -eps / sigma_t

has the marginals p_t of the flow, whatever g_t is: the Fokker-Planck equation of the second term cancels that of the
third. With g = 0 it is the ODE that `solve` integrates.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.flows.path import Path, cast_time
from headwater.flows.seeds import derive_seed, draw_normal, make_generators
from headwater.problem.batch import per_problem
from headwater.solvers.checks import require_evaluation_mode
from headwater.solvers.fixed import Grid, rising_grid

PATH_DRAWS = 999_983
"""The number, for `derive_seed`, of the draws along the path: those of the source have the seed itself."""


@dataclass(frozen=True)
class Transition:
    """The law N(mean, std^2 I) of the next state, and what the network says of the data at this one.

    Attributes
    ----------
    mean
        `[batch, *event]`.
    std
        One number for all problems, `[]` float64; 0 at the last step, where sigma is 0.
    xhat
        The denoiser E[x1 | x_t] at the state that the step starts from, `[batch, *event]`.

    Examples
    --------
    >>> law = Transition(torch.ones(1, 2), torch.tensor(0.5), torch.zeros(1, 2))
    >>> law.move(torch.tensor([[2.0, 0.0]])).tolist()
    [[2.0, 1.0]]
    """

    mean: Tensor
    std: Tensor
    xhat: Tensor

    def move(self, noise: Tensor) -> Tensor:
        """mean + std z for a draw z of N(0, I) `[batch, *event]`, in the dtype of the mean."""
        return self.mean + per_problem(self.std, self.mean) * noise.to(self.mean)


class Transitions(Protocol):
    """A rule for one stochastic step from x at t to t_next, one evaluation of the velocity v there.

    A protocol: `Ancestral`, `EulerMaruyama`, or an object of one's own with this method.

    Examples
    --------
    Euler's step with a little noise, which no longer has the marginals of the flow:

    >>> from headwater import Gaussian, solve_stochastic
    >>> from headwater.solvers import Transition
    >>> class Shaken:
    ...     def transition(self, path, x, v, t, t_next):
    ...         return Transition(x + (t_next - t) * v, torch.tensor(0.01), path.xhat_from_v(x, v, t))
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> solve_stochastic(flow, flow.noise([0]), [0], method=Shaken(), steps=8).shape
    torch.Size([1, 1])
    """

    def transition(self, path: Path, x: Tensor, v: Tensor, t: Tensor, t_next: Tensor) -> Transition:
        """The law of the state at t_next, from x `[batch, *event]` and v(x, t); the times are `[]`."""


@dataclass(frozen=True)
class Ancestral:
    """The ancestral step of diffusion models on any Gaussian path, with a share eta of its noise.

    x_next = alpha' xhat + sqrt(sigma'^2 - s^2) eps + s z,   s = eta sigma' sqrt(1 - (r' / r)^2),   r = sigma / alpha,

    primes at t_next. At eta = 1 it is the law of x_next given x and x1 = xhat, so it is exact at any step length
    where the data are one point; in the limit of short steps it is the SDE with
    g^2 = 2 eta^2 sigma (sigma alpha'/alpha - sigma'), whose first step from pure noise forgets it. At eta = 0 it is
    `DDIM`. The last step, to sigma = 0, adds no noise.

    Parameters
    ----------
    eta
        From 0 to 1.

    Raises
    ------
    Misuse
        If eta is outside of [0, 1].

    References
    ----------
    Song et al., "Denoising diffusion implicit models", ICLR 2021, eq. 16; Ho et al., DDPM, NeurIPS 2020, eq. 7, for
    eta = 1.

    Examples
    --------
    Data that are all 3: every draw arrives there.

    >>> from headwater import Flow, solve_stochastic
    >>> flow = Flow(lambda x, t: (3 - x) / (1 - t), shape=(1,))
    >>> round(solve_stochastic(flow, flow.noise([5]), [5], method=Ancestral(), steps=4).item(), 4)
    3.0
    """

    eta: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.eta <= 1:
            raise Misuse(f"eta is {self.eta:g}.", "Give 0, no noise, to 1, all noise of the ancestral step.")

    def transition(self, path: Path, x: Tensor, v: Tensor, t: Tensor, t_next: Tensor) -> Transition:
        """The law of the state at t_next, from x `[batch, *event]` and v(x, t); the times are `[]`."""
        xhat, eps = path.xhat_from_v(x, v, t), path.eps_from_v(x, v, t)
        now, end = cast_time(t), cast_time(t_next)
        a, b, a_next, b_next = path.alpha(now), path.sigma(now), path.alpha(end), path.sigma(end)
        # r' / r without a division by alpha, which is 0 at the start of a path from pure noise.
        ratio = (a * b_next / (b * a_next)).clamp(0, 1)
        s = self.eta * b_next * (1 - ratio * ratio).sqrt()
        kept = (b_next * b_next - s * s).clamp(min=0).sqrt()
        return Transition(per_problem(a_next, x) * xhat + per_problem(kept, x) * eps, s, xhat)


@dataclass(frozen=True)
class EulerMaruyama:
    """Euler-Maruyama steps of the SDE with g_t = sqrt(2 level sigma_t), which vanishes where the score is singular.

    x_next = x + h (v - level eps) + sqrt(2 level sigma' h) z, since (g^2 / 2) score = -level eps is finite at both
    ends. sigma' is that of the end of the step, so that the last one adds no noise. `level` 0 is Euler's step of the
    ODE; steps of length h need level h well below 1.

    Parameters
    ----------
    level
        The strength of the noise, not negative, per unit of time.

    Raises
    ------
    Misuse
        If the level is negative or not finite.

    References
    ----------
    Albergo, Boffi & Vanden-Eijnden, "Stochastic interpolants", 2023, section 2.3; Ma et al., "SiT", ECCV 2024, whose
    diffusion coefficient sigma_t is `level` 1/2.

    Examples
    --------
    Without noise it is Euler's solve.

    >>> from headwater import EULER, Gaussian, solve, solve_stochastic
    >>> flow = Gaussian(torch.zeros(1), torch.tensor([2.0])).flow
    >>> x0 = flow.noise([0])
    >>> x1 = solve_stochastic(flow, x0, [0], method=EulerMaruyama(0.0), steps=24)
    >>> torch.allclose(x1, solve(flow, x0, method=EULER, steps=24))
    True
    """

    level: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.level < float("inf"):
            raise Misuse(f"The level of the noise is {self.level:g}.", "Give 0, for the ODE, or more.")

    def transition(self, path: Path, x: Tensor, v: Tensor, t: Tensor, t_next: Tensor) -> Transition:
        """The law of the state at t_next, from x `[batch, *event]` and v(x, t); the times are `[]`."""
        h = cast_time(t_next) - cast_time(t)
        xhat, eps = path.xhat_from_v(x, v, t), path.eps_from_v(x, v, t)
        std = (2 * self.level * path.sigma(cast_time(t_next)).clamp(min=0) * h).sqrt()
        return Transition(x + per_problem(h, x) * (v - self.level * eps), std, xhat)


def step_law(flow: Flow, x: Tensor, t: float, t_next: float, method: Transitions) -> Transition:
    """The law of the next state of x `[batch, *event]`, from t to t_next: one evaluation of each problem."""
    now, end = (torch.tensor(time, dtype=torch.float64) for time in (t, t_next))
    # Beyond the span, where sigma' may be infinite, the coefficients are those that the velocity was evaluated at.
    return method.transition(flow.path, x, flow(x, now), now.clamp(*flow.path.span), end)


def path_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """One generator for each problem's draws along the path, other draws than those of its source point."""
    return make_generators([derive_seed(int(seed), PATH_DRAWS) for seed in seeds])


def draw_step(flow: Flow, generators: Sequence[torch.Generator], each: int = 1) -> Tensor:
    """N(0, I) on the flow's support, `each` draws of every problem in a row, `[len(generators) * each, *event]`."""
    z = draw_normal((each, *flow.shape), generators).flatten(0, 1)
    index = torch.arange(len(generators)).repeat_interleave(each)
    return flow.select(index).project(z)


def solve_stochastic(
    flow: Flow,
    x0: Tensor,
    seeds: Sequence[int],
    *,
    method: Transitions = Ancestral(),
    steps: int | Sequence[float] = 24,
    watch: Callable[[float, Tensor], None] | None = None,
) -> Tensor:
    """x1, a sample of the flow by stochastic steps from x0; a problem's draws depend on its own seed alone.

    At every time of the grid the law of the state is p_t, that of the ODE, up to the error of the steps, which is of
    order one in their length.

    Parameters
    ----------
    flow
        The velocity field v, with events `[*event]`.
    x0
        The state `[batch, *event]` at the first time, float32 or float64; draws of N(0, I) at t = 0.
    seeds
        One whole number per problem, of the draws along the path; `flow.noise(seeds)` draws others with them.
    method
        The rule for one step, `Ancestral` or `EulerMaruyama`; either takes one evaluation.
    steps
        A number of uniform steps from 0 to 1, or the rising times themselves.
    watch
        Called with the time and the state `[batch, *event]` after every step.

    Returns
    -------
    x1
        The state at the last time, `[batch, *event]`, in data units.

    Raises
    ------
    Misuse
        If x0 has another event shape than the flow or another number of problems than seeds, or is in half
        precision; if a network is in training mode, or the times do not rise in [0, 1].

    References
    ----------
    Song et al., "Score-based generative modeling through stochastic differential equations", ICLR 2021, section 3;
    Albergo, Boffi & Vanden-Eijnden, "Stochastic interpolants", 2023.

    Examples
    --------
    The flow of N(0, 4): the standard deviation of its stochastic samples is that of the data.

    >>> from headwater import Gaussian
    >>> law = Gaussian(torch.zeros(1), torch.tensor([2.0]))
    >>> seeds = range(1000)
    >>> x1 = solve_stochastic(law.flow, law.flow.noise(seeds), seeds, steps=96)
    >>> bool((x1.std() - 2).abs() < 0.15)
    True
    """
    grid = check_stochastic(flow, x0, seeds, steps)
    generators, x = path_generators(seeds), x0
    for t, t_next in itertools.pairwise(grid):
        x = step_law(flow, x, t, t_next, method).move(draw_step(flow, generators))
        if watch is not None:
            watch(t_next, x)
    return x


def check_stochastic(flow: Flow, x0: Tensor, seeds: Sequence[int], steps: int | Sequence[float]) -> Grid:
    """The grid of a stochastic solve, whose arguments are refused as `solve_stochastic` says."""
    if tuple(x0.shape) != (len(seeds), *flow.shape):
        raise Misuse(
            f"x0 has shape {tuple(x0.shape)} for {len(seeds)} seeds and events of shape {flow.shape}.",
            "Give x0 of shape [len(seeds), *flow.shape]; the first axis is the problem.",
        )
    require_full_precision(x0)
    require_evaluation_mode(flow)
    return rising_grid(steps)
