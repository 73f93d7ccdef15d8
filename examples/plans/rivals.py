"""Planners of other papers on the same flow: samplers that correct the path at every step.

All sample along the path by the ancestral steps of diffusion models, put start and goal in at every step, and differ
in what they do to the rest:

    Guidance     Janner et al., "Diffuser", ICML 2022, Algorithm 1: mean + scale variance grad J
    Barriers     Xiao et al., "SafeDiffuser", arXiv 2306.00148: h(next) >= (1 - gamma) h(now), h >= 0 a constraint
    Projection   Roemer et al., "DPCC", arXiv 2412.09342: the nearest path that keeps everything, in the second half

What is other than in the papers: their models were trained with start and goal put in, ours was not; their J is a
learned value, ours is minus the misfit of the denoised path, and a place is pushed by one deviation of the step at
most; they solve quadratic programs, we go round the constraints one after the other (`settle`), which finds a path
near by, not the nearest. Projections are of the denoised path, as the state of this flow is scaled by alpha_t.
`draws` plans are made for a problem, and the best is kept.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import headwater as hw
from headwater.solvers import Ancestral

from .costs import Constraints, find_steps, measure_walls
from .planner import SEEDS, Planner, repeat

STEPS = Ancestral()


def settle(
    x: Tensor,
    constraints: Constraints,
    clearance: Tensor | float,
    limit: Tensor,
    margin: Tensor | float,
    rounds: int,
) -> Tensor:
    """Paths `[n, 64, 2]` moved until they keep the constraints, one constraint after the other.

    Parameters
    ----------
    x, constraints
        The paths, and what they are to keep.
    clearance
        The distance to keep from every obstacle, which broadcasts to `[n, m, 64]`.
    limit
        The longest steps, which broadcasts to `[n, 63]`.
    margin
        The distance to keep from walls, which broadcasts to `[n, 64]`.
    rounds
        How often to go round.
    """
    x = x.clone()
    limit = limit.expand(len(x), x.shape[1] - 1)
    for _ in range(rounds):
        for k in range(constraints.obstacles.shape[1]):
            away = x - constraints.obstacles[:, k]
            far = away.norm(dim=-1, keepdim=True).clamp(min=1e-9)
            keep = (
                clearance[:, k, :, None] if isinstance(clearance, Tensor) else clearance
            )
            x = x + away / far * (keep - far).relu()
        with torch.enable_grad():
            place = x.detach().requires_grad_()
            distance = measure_walls(place)
            (out,) = torch.autograd.grad(distance.sum(), place)
        x = x + out * (margin - distance.detach()).relu()[..., None]
        for first in (0, 1):  # steps that share no place, then the others
            a, b, most = x[:, first:-1:2], x[:, first + 1 :: 2], limit[:, first::2]
            step = b - a
            length = step.norm(dim=-1, keepdim=True).clamp(min=1e-9)
            pull = 0.5 * step / length * (length - most[..., None]).relu()
            x[:, first:-1:2], x[:, first + 1 :: 2] = a + pull, b - pull
        x[:, 0], x[:, -1] = constraints.start, constraints.goal
    return x


Correct = Callable[[Tensor, Tensor, float], Tensor]


def sample(
    flow: hw.Flow,
    constraints: Constraints,
    steps: int,
    seed: int,
    guide: Callable[[Tensor, Tensor], Tensor] | None = None,
    correct: Correct | None = None,
    settle_clean: Callable[[Tensor, float], Tensor] | None = None,
) -> Tensor:
    """Paths `[n, 64, 2]` by ancestral steps with start and goal put in.

    Parameters
    ----------
    flow, constraints, steps, seed
        The flow, what is asked, the steps, and the seed of all draws.
    guide
        grad J at a state x and the time t, in its shape.
    correct
        The next state, from the state now and the one that was proposed, both divided by alpha, and the next time.
    settle_clean
        The corrected denoised path, from it and the time.
    """
    count = len(constraints.start)
    generators = [torch.Generator().manual_seed(SEEDS * seed + i) for i in range(count)]

    def draw(*shape: int) -> Tensor:  # every plan has its own draws
        return torch.stack([torch.randn(shape, generator=g) for g in generators])

    x = draw(*flow.shape)
    path, times = flow.path, torch.linspace(0.0, 1.0, steps + 1, dtype=torch.float64)
    for now, then in itertools.pairwise(times):
        push = None if guide is None else guide(x, now)
        with torch.no_grad():
            v = flow(x, now)
            if settle_clean is not None:
                xhat = settle_clean(path.xhat_from_v(x, v, now), float(now))
                v = (xhat - x) / (1 - float(now))  # of the Cond-OT path
            law = STEPS.transition(path, x, v, now, then)
            proposed = law.move(draw(*flow.shape))
            if push is not None:  # Algorithm 1, line 7
                push = law.std.to(x).square().clamp(min=1e-5) * push
                far = push.norm(dim=-1, keepdim=True).clamp(min=1e-12)
                proposed = proposed + push * (law.std.to(x).clamp(min=3e-3) / far).clamp(
                    max=1
                )
            alpha, before = float(path.alpha(then)), float(path.alpha(now))
            if correct is not None and before > 0:
                proposed = alpha * correct(x / before, proposed / alpha, float(then))
            fresh = float(path.sigma(then)) * draw(2, 2)
            proposed[:, 0] = alpha * constraints.start + fresh[:, 0]
            proposed[:, -1] = alpha * constraints.goal + fresh[:, 1]
        x = proposed
    return x


@dataclass(frozen=True)
class Guidance(Planner):
    """Diffuser's guidance by the gradient of minus the misfit of the denoised path, through the network.

    Attributes
    ----------
    steps, draws
        Steps of a plan, and plans of a problem.
    scale
        The scale of the gradient, times the variance of the step.
    """

    steps: int = 120
    draws: int = 6
    scale: float = 0.1

    @property
    def cost(self) -> tuple[int, int]:
        """Evaluations without a gradient and with one, per problem."""
        return self.steps * self.draws, self.steps * self.draws

    def draw_plans(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """`draws` plans of every problem, `[n draws, 64, 2]`."""
        every = repeat(constraints, self.draws)
        misfit = every.pose()

        def guide(x: Tensor, t: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            with torch.enable_grad():
                (slope,) = torch.autograd.grad(misfit(flow.denoise(x, t)).sum(), x)
            return -self.scale * slope

        return sample(flow, every, self.steps, seed, guide=guide)


@dataclass(frozen=True)
class Barriers(Planner):
    """SafeDiffuser's finite-time invariance: no constraint may be approached by more than the share gamma in a step.

    Attributes
    ----------
    steps, draws
        Steps of a plan, and plans of a problem.
    gamma
        The share.
    first
        The time from which it holds; it is relaxed before, as in the paper's ReS.
    rounds
        How often the constraints are gone round in a step.
    """

    steps: int = 60
    draws: int = 12
    gamma: float = 0.3
    first: float = 0.3
    rounds: int = 5

    @property
    def cost(self) -> tuple[int, int]:
        """Evaluations without a gradient and with one, per problem."""
        return self.steps * self.draws, 0

    def draw_plans(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """`draws` plans of every problem, `[n draws, 64, 2]`."""
        every = repeat(constraints, self.draws)
        clear, margin = every.radius + every.margin, every.margin

        def correct(now: Tensor, proposed: Tensor, t: float) -> Tensor:
            if t < self.first:
                return proposed
            kept = 1 - self.gamma if t < 1 else 0.0  # h(next) >= (1 - gamma) h(now)
            distance = (now[:, None] - every.obstacles).norm(dim=-1)
            limit = every.limit[:, None] - kept * (every.limit[:, None] - find_steps(now))
            away = margin + kept * (measure_walls(now) - margin)
            return settle(
                proposed,
                every,
                clear + kept * (distance - clear),
                limit,
                away,
                self.rounds if t < 1 else 320,
            )

        return sample(flow, every, self.steps, seed, correct=correct)


@dataclass(frozen=True)
class Projection(Planner):
    """DPCC's projection of the denoised path on the tightened constraints, in the steps after `first`.

    Attributes
    ----------
    steps, draws
        Steps of a plan, and plans of a problem.
    first
        The time from which paths are projected; half of the steps in the authors' code.
    rounds
        How often the constraints are gone round in a projection; eight times as often in the last.
    """

    steps: int = 60
    draws: int = 6
    first: float = 0.5
    rounds: int = 40

    @property
    def cost(self) -> tuple[int, int]:
        """Evaluations without a gradient and with one, per problem."""
        return self.steps * self.draws, 0

    def draw_plans(self, flow: hw.Flow, constraints: Constraints, seed: int) -> Tensor:
        """`draws` plans of every problem, `[n draws, 64, 2]`."""
        every = repeat(constraints, self.draws)

        def project(x: Tensor, t: float) -> Tensor:
            if t < self.first:
                return x
            limit = every.limit[:, None]
            rounds = self.rounds if t < 1 - 1.5 / self.steps else 8 * self.rounds
            return settle(
                x, every, every.radius + every.margin, limit, every.margin, rounds
            )

        return sample(flow, every, self.steps, seed, settle_clean=project)
