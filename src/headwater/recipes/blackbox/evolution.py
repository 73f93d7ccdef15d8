"""CMA-ES on the source: a Gaussian over coordinates of x0 that moves and stretches towards what was rewarded.

for each stage, for each problem: coordinates of the source, a search N(m, s^2 C) over them
    draw a population c_1 .. c_n;  x1 = solve(x0(c));  rank by the reward;  update m, s, C
return the best sample that was seen
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.recipes.blackbox.best_of import require_draws
from headwater.recipes.blackbox.coordinates import Coordinates
from headwater.recipes.blackbox.result import BestSeen, BlackBoxResult
from headwater.recipes.blackbox.scorer import BlackBox, Scorer, draw_sources
from headwater.solvers.method import DDIM, Method

BASIS_DRAWS = 700_001
"""The number of the first draw that spans a subspace, for `derive_seed`; far from those of a best of n."""


@dataclass(frozen=True)
class CMAES:
    """Covariance matrix adaptation on the source, in all coordinates or in subspaces spanned by draws.

    In all coordinates x0 = |z| c / |c|, with z the draw of the problem: it stays on the shell of z. In a subspace of
    m draws x0 = sum_i c_i b_i / |c|, with b_1 the best point so far: for a c chosen beforehand a draw of N(0, I), for
    the c of a search longer or shorter by a factor of up to about 1 + sqrt(m / d) in d coordinates of the source. A
    reward that is linear in x0 can rise by up to sqrt(m) standard deviations there, and each stage has a subspace of
    its own. In both the first population is one of plain draws.

    Parameters
    ----------
    draws
        Samples of each problem in all stages together, the one without a search included.
    dimension
        m, the draws that span a subspace; None means all coordinates of the source.
    stages
        How many subspaces follow each other, each with its share of the draws; all coordinates are one stage.
    separable
        Whether the covariance is kept diagonal, which learns faster in many coordinates, and is needed for thousands;
        None means from 65 coordinates on.
    population
        Samples of a generation; None means 4 + 3 ln m, but at most a fifth of the draws of a stage.
    strength
        None holds x0 on its shell and ranks by the reward alone. A number, with all coordinates, ranks by
        strength r - |x0|^2 / 2 without a shell, and returns the point of the highest rank: the most likely source
        point of the law p(x1) exp(strength r), for sources of a few coordinates, whose norm means much.
    steps
        Steps of a solve, or its times.
    method
        The rule for one step.
    at_once
        The most candidates in one call of the network; it bounds the memory.

    Raises
    ------
    Misuse
        If a number is too small, a population is larger than the draws of a stage, or `strength` is given with a
        subspace.

    Notes
    -----
    It needs the extra `search`. Exact for nothing: a local search, which a reward with many small hills holds up; it
    then falls back to little more than a best of n. A problem ends as CONVERGED when its last search has become
    narrow, else as EVALUATIONS. Rewards of candidates that are NaN count as the worst of their generation.

    References
    ----------
    Hansen, "The CMA evolution strategy: a tutorial", 2016, by the package `cmaes`; Ros & Hansen, "A simple
    modification in CMA-ES", PPSN 2008, for `separable`.

    Examples
    --------
    x1 = 2 x0 in three coordinates. On the shell the reward x1 / 2 of the first is at most |z|.

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(3), 2 * torch.ones(3)).flow
    >>> result = CMAES(draws=200)(flow, lambda x1: x1[:, 0] / 2, [0])
    >>> bool(result.x0[0, 0] > 0.99 * flow.noise([0]).norm())
    True
    """

    draws: int = 256
    dimension: int | None = None
    stages: int = 4
    separable: bool | None = None
    population: int | None = None
    strength: float | None = None
    steps: int | Sequence[float] = 12
    method: Method = DDIM
    at_once: int = 64

    def __post_init__(self) -> None:
        require_draws(self.draws, 2)
        if self.stages < 1 or (self.dimension or 2) < 2 or (self.population or 5) < 4:
            raise Misuse(
                f"{self.stages} stages, {self.dimension} coordinates, {self.population} at once: that is no search.",
                "Give at least 1 stage, 2 coordinates and a population of 4.",
            )
        stages = self.stages if self.dimension else 1
        if self.population and self.population > (self.draws - 1) // stages:
            raise Misuse(
                f"A stage of {(self.draws - 1) // stages} draws makes no generation of {self.population}.",
                "Give a smaller population, more draws or fewer stages.",
            )
        if self.strength is not None and not (self.strength > 0 and self.dimension is None):
            raise Misuse(
                f"The strength {self.strength:g} does not fit a search in {self.dimension} draws.",
                "Give a positive strength without a dimension, or none.",
            )

    def __call__(
        self,
        flow: Flow,
        reward: BlackBox,
        seeds: Sequence[int],
        *,
        callback: Callback | None = None,
        device: torch.device | str = "cpu",
    ) -> BlackBoxResult:
        """Samples with a larger reward, x1 `[len(seeds), *event]`, and their source points; see `BestOf`."""
        import_optional("cmaes", extra="search")
        run = _Run(self, flow, reward, list(seeds), callback, device)
        try:
            return run.search()
        except Ended as ended:
            if not run.seen.trace:
                raise
            run.seen.ended = ended.status
            return run.seen.result(Status.EVALUATIONS)


class _Run:
    """One search of each problem of a batch, in lockstep."""

    def __init__(
        self,
        recipe: CMAES,
        flow: Flow,
        reward: BlackBox,
        seeds: list[int],
        callback: Callback | None,
        device: torch.device | str,
    ) -> None:
        self.recipe, self.flow, self.seeds = recipe, flow, seeds
        self.draw = flow.noise(seeds, device=device)
        self.scorer = Scorer(flow, reward, len(seeds), recipe.at_once)
        self.seen = BestSeen(self.scorer, self.draw, callback)
        self.every = torch.arange(len(seeds))

    def evaluate(self, active: Tensor, x0: Tensor) -> Tensor:
        """The rewards `[n, k]` of k source points of each problem in `active` `[n]`, x0 `[n * k, *event]`."""
        problem = active.repeat_interleave(len(x0) // len(active))
        x0 = self.flow.select(problem).project(x0)
        x1 = self.scorer.solve(problem, x0, self.recipe.method, self.recipe.steps)
        reward = self.scorer.score(problem, x1).reshape(len(active), -1)
        self.seen.update(active, x0, x1, reward, self.rank(x0, reward))
        return reward

    def rank(self, x0: Tensor, reward: Tensor) -> Tensor | None:
        """With a strength, strength r - |x0|^2 / 2 of points x0 `[n * k, *event]` with rewards `[n, k]`."""
        if self.recipe.strength is None:
            return None
        norm = x0.flatten(1).to("cpu", torch.float64).square().sum(1)
        return self.recipe.strength * reward - 0.5 * norm.reshape(reward.shape)

    def search(self) -> BlackBoxResult:
        """The plain draw, and then stage after stage."""
        m = self.recipe.dimension
        stages = self.recipe.stages if m else 1
        self.evaluate(self.every, self.draw)
        done = self.every < 0
        for stage in range(stages):
            if self.seen.ended is not None:
                break
            budget = (self.recipe.draws - 1) * (stage + 1) // stages - (
                self.recipe.draws - 1
            ) * stage // stages
            done = self.run_stage(self.spaces(m, stage), stage, budget)
        return self.seen.result([Status.CONVERGED if d else Status.EVALUATIONS for d in done.tolist()])

    def spaces(self, m: int | None, stage: int) -> list[Coordinates]:
        """The coordinates of each problem: the best point so far, and m - 1 new draws beside it."""
        if m is None:
            return [Coordinates(z) for z in self.draw]
        numbers = range(BASIS_DRAWS + stage * (m - 1), BASIS_DRAWS + (stage + 1) * (m - 1))
        fresh = draw_sources(self.flow, self.seeds, numbers, self.draw.device)
        others = fresh.reshape(len(self.seeds), m - 1, *self.flow.shape)
        basis = torch.cat([self.seen.x0[:, None], others], 1)
        return [Coordinates(z, b) for z, b in zip(self.draw, basis, strict=True)]

    def run_stage(self, spaces: list[Coordinates], stage: int, budget: int) -> Tensor:
        """Generations of all problems until the budget is spent; which of the searches became narrow, `[batch]`."""
        searches = [self.start(s, i, stage, budget) for i, s in enumerate(spaces)]
        done = self.every < 0
        size = int(searches[0].population_size)
        while budget >= size and not bool(done.all()) and self.seen.ended is None:
            active, budget = self.every[~done], budget - size
            asked = [[searches[i].ask() for _ in range(size)] for i in active.tolist()]
            c = torch.from_numpy(np.asarray(asked)).to(torch.float64)
            points = [self.point(spaces[i], c[row]) for row, i in enumerate(active.tolist())]
            value = self.objective(self.evaluate(active, torch.cat(points)), c)
            for row, i in enumerate(active.tolist()):
                searches[i].tell(list(zip(asked[row], value[row].tolist(), strict=True)))
                done[i] = bool(searches[i].should_stop())
        return done

    def start(self, space: Coordinates, i: int, stage: int, budget: int) -> Any:
        """The search of problem i: from all directions at first, around the best point in later stages."""
        package, m = import_optional("cmaes", extra="search"), space.dimension
        mean, spread = np.zeros(m), 1.0
        if stage:
            mean[0], spread = 1.0, 0.5 / (m - 1) ** 0.5
        diagonal = m > 64 if self.recipe.separable is None else self.recipe.separable
        kind = package.SepCMA if diagonal else package.CMA
        seed = derive_seed(self.seeds[i], BASIS_DRAWS - 1 - stage)
        size = self.recipe.population or min(4 + int(3 * math.log(m)), max(budget // 5, 4))
        return kind(mean=mean, sigma=spread, seed=seed, population_size=size)

    def point(self, space: Coordinates, c: Tensor) -> Tensor:
        """x0 `[k, *event]` of coordinates c `[k, m]`; with a strength they are x0 itself."""
        if self.recipe.strength is None:
            return space.point(c)
        return c.to(space.draw).reshape(len(c), *space.draw.shape)

    def objective(self, reward: Tensor, c: Tensor) -> Tensor:
        """What is minimised, `[n, k]`: minus the reward, with a strength |x0|^2 / 2 - strength r."""
        worst = torch.where(torch.isfinite(reward), reward, torch.inf).amin(1, keepdim=True)
        worst = torch.where(torch.isfinite(worst), worst, 0.0)
        reward = torch.where(torch.isfinite(reward), reward, worst)
        if self.recipe.strength is None:
            return -reward
        return 0.5 * c.square().sum(2) - self.recipe.strength * reward
