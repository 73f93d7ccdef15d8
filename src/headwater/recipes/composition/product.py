"""Products and negations of flows, prod_i p_i^w_i, by an annealed path that Langevin steps correct.

    W = sum_i w_i;  x ~ N(0, I / W), the product at t = 0
    for each step t -> t'
        x <- DDIM step with the velocity sum_i w_i v_i / W
        repeat:  s = sum_i w_i score_i(x, t');  x* = x + delta s + sqrt(2 delta) z
                 accept x* with the log ratio
                 (s + s*) . (x* - x) / 2 + log N(x; x* + delta s*, 2 delta) - log N(x*; x + delta s, 2 delta)

The scores of the noised product are not known: sum_i w_i score_i belongs to prod_i p_t,i^w_i, another family of laws
with the same end. No step of an ODE or SDE follows it, but Langevin steps at fixed t leave it as it is.

(Du et al. 2023, Algorithm 1; the acceptance by a line integral of the scores, of which the trapezium rule is exact
for Gaussians: Sjoberg et al. 2023.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.composed import require_alike
from headwater.flows.flow import Flow
from headwater.flows.path import cast_time
from headwater.optimizers.status import Status
from headwater.problem.batch import per_problem
from headwater.recipes.composition.density import density_grid
from headwater.recipes.composition.status import status_of
from headwater.solvers.stochastic import Ancestral, check_stochastic, draw_step, path_generators

DDIM_STEP = Ancestral(0.0)
GOAL = 0.574
"""The acceptance at which a Metropolis-adjusted Langevin chain moves fastest in many dimensions."""


@dataclass(frozen=True)
class Annealed:
    """Samples of a product of flows.

    Attributes
    ----------
    x1
        The samples `[batch, *event]`, in data units.
    acceptance
        The mean probability with which a Langevin step was accepted, float64 `[batch]`; NaN without corrections.
    step_lengths
        The last delta / sigma^2 of each problem, float64 `[batch]`.
    evaluations
        Evaluations of the network per problem, all flows together.
    status
        How each problem ended: COMPUTED, DIVERGED if x1 is not finite, or IMPROPER if the log density curves upwards
        where the corrections of the last level went. Without corrections the last is not seen.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> from headwater.recipes.composition import AnnealedProduct
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> found = AnnealedProduct((1.0, 1.0), corrections=2, steps=10)([flow, flow], range(3))
    >>> found.x1.shape, found.evaluations  # 2 flows: 9 levels with 1 + 2 evaluations, and the first
    (torch.Size([3, 1]), 56)
    """

    x1: Tensor
    acceptance: Tensor
    step_lengths: Tensor
    evaluations: int
    status: tuple[Status, ...]


@dataclass(frozen=True)
class AnnealedProduct:
    """Samples of prod_i p_i^w_i: what all flows agree on, or with a negative weight what one has and another lacks.

    Exact for flows whose laws are Gaussian, up to the number of steps and corrections: the acceptance then knows the
    density exactly. Otherwise the trapezium rule stands for it, which is good where a step is short against the
    curves of the score. Without corrections it is the plain sum of scores, and biased.

    Parameters
    ----------
    weights
        One for each flow, of a positive sum W.
    corrections
        Langevin steps at every time, each one evaluation of every flow.
    step
        delta / sigma^2 at the first time. From there every problem adapts its own, to an acceptance of 0.57.
    metropolis
        Whether a step may be refused. Without it the Langevin steps are biased, of order delta, and delta stays as it
        is.
    steps
        Levels of noise, evenly spaced in the log signal-to-noise, or the times from 0.

    Raises
    ------
    Misuse
        If the weights do not have a positive sum, or a number is out of range; when it is called, if the flows differ
        in shape or path, there are weights for other flows, or the times do not begin at 0.

    Notes
    -----
    Where a negative weight outgrows the others the product is no law, as of N(0, 1)^2 / N(0, 1/4)^1: its precision is
    2 - 4. Samples then run away, and are IMPROPER: the mean curvature of the log density of a law, the trace of its
    Hessian, is that of -|score|^2, below 0. A sample between two near modes may be called so, too. The source
    N(0, I / W) is exact for paths with alpha_0 = 0.

    References
    ----------
    Du et al., "Reduce, reuse, recycle: compositional generation with energy-based diffusion models and MCMC", ICML
    2023, Algorithm 1; Sjoberg et al., "MCMC-correction of score-based diffusion models for model composition", 2023;
    Roberts & Rosenthal 1998 for the acceptance.

    Examples
    --------
    N(-1, 1) N(1, 1) is N(0, 1/2).

    >>> from headwater import Gaussian
    >>> flows = [Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (-1.0, 1.0)]
    >>> x1 = AnnealedProduct((1.0, 1.0), steps=24)(flows, range(400)).x1
    >>> bool(x1.mean().abs() < 0.1), bool((x1.var() - 0.5).abs() < 0.1)
    (True, True)
    """

    weights: tuple[float, ...]
    corrections: int = 4
    step: float = 0.3
    metropolis: bool = True
    steps: int | Sequence[float] = 24

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", require_weights(self.weights))
        if self.corrections < 0 or not 0 < self.step < math.inf:
            raise Misuse(
                f"There are {self.corrections} corrections of length {self.step:g}.",
                "Give 0 or more, and a positive length.",
            )

    def __call__(
        self,
        flows: Sequence[Flow],
        seeds: Sequence[int],
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Annealed:
        """Samples `[len(seeds), *event]`, one for each seed, of flows with events `[*event]` on one path.

        Raises
        ------
        Misuse
            As the class says.
        """
        flows = require_alike(flows)
        if len(flows) != len(self.weights):
            raise Misuse(
                f"There are {len(self.weights)} weights for {len(flows)} flows.", "Give one for each."
            )
        first, total = flows[0], sum(self.weights)
        x = first.noise(seeds, dtype, device) / total**0.5
        grid, generators = check_stochastic(first, x, seeds, density_grid(self.steps)), path_generators(seeds)
        chain = _Chain(flows, self, generators, len(seeds))
        v = chain.velocity(x, grid[0])
        for t, t_next in itertools.pairwise(grid):
            now = torch.tensor(t, dtype=torch.float64).clamp(*first.path.span)
            end = torch.tensor(t_next, dtype=torch.float64)
            x = DDIM_STEP.transition(first.path, x, v / total, now, end).mean
            if float(first.path.sigma(cast_time(end))) > 0:
                x, v = chain.correct(x, t_next)
        return Annealed(
            x, chain.accepted / max(chain.moves, 1) if chain.moves else chain.accepted * math.nan,
            chain.length, chain.evaluations, status_of(x, {Status.IMPROPER: chain.curvature > 0}),
        )  # fmt: skip


def require_weights(weights: Sequence[float]) -> tuple[float, ...]:
    """The weights of a product; a `Misuse` if they have no positive sum."""
    found = tuple(float(w) for w in weights)
    total = sum(found)
    if not found or not 0 < total < math.inf or not all(math.isfinite(w) for w in found):
        raise Misuse(
            f"The weights {list(found)} do not have a positive sum, so the product is no law.",
            "Give more weight to what the samples should be than to what they should not.",
        )
    return found


class _Chain:
    """One Langevin chain for each problem, with its own length of steps, over levels of noise."""

    def __init__(
        self, flows: tuple[Flow, ...], recipe: AnnealedProduct, generators: list[torch.Generator], count: int
    ) -> None:
        self.flows, self.recipe, self.generators = flows, recipe, generators
        self.length = torch.full((count,), recipe.step, dtype=torch.float64)
        self.accepted = torch.zeros(count, dtype=torch.float64)
        self.curvature = torch.zeros(count, dtype=torch.float64)  # of log p, along the proposals of one level
        self.moves = self.evaluations = 0

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """sum_i w_i v_i at x `[batch, *event]`."""
        self.evaluations += len(self.flows)
        time = torch.tensor(t, dtype=torch.float64)
        parts = zip(self.recipe.weights, self.flows, strict=True)
        return torch.stack([w * flow(x, time) for w, flow in parts]).sum(0)

    def score(self, x: Tensor, v: Tensor, t: float) -> Tensor:
        """sum_i w_i score_i of the summed velocities v: eps is affine in x and v, and linear in both together."""
        path, total = self.flows[0].path, sum(self.recipe.weights)
        time = torch.tensor(t, dtype=torch.float64).clamp(*path.span)
        return path.score_from_v(total * x, v, time)

    def correct(self, x: Tensor, t: float) -> tuple[Tensor, Tensor]:
        """x `[batch, *event]` after the corrections at t, and sum_i w_i v_i there."""
        path = self.flows[0].path
        sigma = float(path.sigma(cast_time(torch.tensor(t, dtype=torch.float64))))
        v = self.velocity(x, t)
        s = self.score(x, v, t)
        self.curvature.zero_()
        for _ in range(self.recipe.corrections):
            delta = self.length * sigma**2
            step, z = per_problem(delta.to(x.device), x), draw_step(self.flows[0], self.generators).to(x)
            x_new = x + step * s + (2 * step).sqrt() * z
            v_new = self.velocity(x_new, t)
            s_new = self.score(x_new, v_new, t)
            self.curvature += ((s_new - s) * (x_new - x)).flatten(1).to("cpu", torch.float64).sum(1)
            take = self._judge(x, s, x_new, s_new, z, delta)
            keep = per_problem(take.to(x.device), x)
            x, v, s = (torch.where(keep, new, old) for new, old in ((x_new, x), (v_new, v), (s_new, s)))
        return x, v

    def _judge(self, x: Tensor, s: Tensor, x_new: Tensor, s_new: Tensor, z: Tensor, delta: Tensor) -> Tensor:
        """Which proposals are accepted, bool `[batch]`; the length of the steps is adapted to how likely that was."""
        if not self.recipe.metropolis:
            return torch.ones(len(x), dtype=torch.bool, device=x.device)
        x, s, x_new, s_new, z = (u.flatten(1).to("cpu", torch.float64) for u in (x, s, x_new, s_new, z))
        move = x_new - x
        back = -move - delta[:, None] * s_new
        rise = ((s + s_new) * move).sum(1) / 2  # the line integral of the score
        log_ratio = rise - back.square().sum(1) / (4 * delta) + z.square().sum(1) / 2
        probability = log_ratio.nan_to_num(nan=-math.inf).clamp(max=0).exp()
        u = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in self.generators])
        self.moves += 1
        self.accepted += probability
        self.length = self.length * (0.3 * (probability - GOAL)).exp()
        return u < probability
