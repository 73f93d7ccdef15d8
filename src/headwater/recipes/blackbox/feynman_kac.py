"""Feynman-Kac steering: particles along the path, of which those with a larger reward at xhat have more offspring.

    k particles x ~ N(0, I)
    for each step t -> t' of the stochastic solve
        r = reward(xhat(x, t));  w <- w G(r);  if the weights have become uneven: resample, Z <- Z mean(w), w <- 1
        x ~ p(x' | x)
    w <- w exp(strength r(x1)) / prod G
    return the particles of the law p(x1) exp(strength r(x1)) / Z with their weights

(Singhal et al. 2025, Algorithm 1.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from headwater.dflow.result import Callback, Event
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.recipes.blackbox.result import BlackBoxResult, build_result
from headwater.recipes.blackbox.scorer import BlackBox, Scorer, draw_sources
from headwater.solvers.stochastic import Ancestral, Transitions, check_stochastic, draw_step, path_generators


@dataclass(frozen=True, kw_only=True)
class ParticleResult(BlackBoxResult):
    """A `BlackBoxResult` with the particles that it was chosen from, and their weights.

    Attributes
    ----------
    x0, x1, cost, measure, status, gradients, nfe_per_gradient, trace, state, preparation, on_flow, reward, calls
        As in `BlackBoxResult`.
    particles
        Samples `[batch, k, *event]`.
    log_weights
        Their unnormalised log weights, float64 `[batch, k]`; minus infinity without a reward. Weighted means over the
        particles are those of the law p(x1) exp(strength r(x1)).
    rewards
        Theirs, float64 `[batch, k]`.
    log_normaliser
        log Z, float64 `[batch]`: exp of it is an unbiased estimate of E[exp(strength r(x1))] over stochastic samples
        of the flow, whatever the number of particles. Unbiased is not usable: after the potentials "max" and "sum"
        with many looks the mean is carried by events that no run sees, and every run is far too low.

    Examples
    --------
    E[exp(x)] = exp(1 / 2) for x ~ N(0, 1), on average over 50 runs of 16 particles.

    >>> from headwater import Gaussian
    >>> from headwater.recipes.blackbox import FeynmanKac
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> steered = FeynmanKac(strength=1.0, particles=16, steps=48, at_once=800)(flow, lambda x1: x1[:, 0], range(50))
    >>> bool((steered.log_normaliser.exp().mean() - 1.65).abs() < 0.2)
    True
    """

    particles: Tensor
    log_weights: Tensor
    rewards: Tensor
    log_normaliser: Tensor


@dataclass(frozen=True)
class FeynmanKac:
    """Particles that are resampled along the path by the reward of their denoised state.

    Parameters
    ----------
    strength
        lambda of the target law p(x1) exp(lambda r(x1)); about the rise in standard deviations, if the reward is
        standardised.
    particles
        k of each problem, at least 2.
    potential
        "difference": G = exp(lambda (r - r of the last look)), "max": exp(lambda max r so far), "sum": exp(lambda
        (sum of r so far)). All have the same target; the last two choose earlier and harder, and lose diversity.
        With many looks their `log_normaliser` is useless: its mean is carried by events that no run sees.
    every
        Steps between two looks at the reward; the last look is at x1.
    threshold
        Resample when the effective number of particles falls below this share of k; 1 always, 0 never, which is a
        best of k with weights.
    pick
        Which particle becomes x1: "best", that with the largest reward, or "draw", one by its weight: a sample of the
        target law, up to the number of particles.
    steps
        Steps of the stochastic solve, or its times: each one evaluation of every particle.
    method
        The rule for one step.
    at_once
        The most particles in one call of the network; it bounds the memory.

    Raises
    ------
    Misuse
        If the strength is not positive and finite, a number is too small, or a word is unknown.

    Notes
    -----
    The weights are exact for the law of the discrete stochastic sampler: exp(log_normaliser) and weighted sums with
    it are unbiased for any number of particles, any reward at xhat and any rule of resampling, since what resampling
    has given is taken back in the last weight. What fails is the variance. A reward that says little at xhat until
    late (a class, a rule of exact counts) leaves a best of k; a large strength leaves one family of particles, all
    alike; `log_weights` shows it. At an intermediate xhat NaN counts as the worst among the particles of the problem.

    References
    ----------
    Singhal et al., "A general framework for inference-time scaling and steering of diffusion models", ICML 2025,
    Algorithm 1 and section 3; Del Moral, Feynman-Kac formulae (2004); Douc & Cappe 2005 for systematic resampling.

    Examples
    --------
    The law N(0, 1) exp(2 x) is N(2, 1).

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> steer = FeynmanKac(strength=2.0, particles=32, pick="draw", steps=48, at_once=1600)
    >>> x1 = steer(flow, lambda x1: x1[:, 0], range(50)).x1
    >>> bool((x1.mean() - 2).abs() < 0.5)
    True
    """

    strength: float = 4.0
    particles: int = 8
    potential: Literal["difference", "max", "sum"] = "difference"
    every: int = 1
    threshold: float = 0.5
    pick: Literal["best", "draw"] = "best"
    steps: int | Sequence[float] = 24
    method: Transitions = Ancestral()  # noqa: RUF009 (frozen)
    at_once: int = 64

    def __post_init__(self) -> None:
        if not 0 < self.strength < math.inf:
            raise Misuse(
                f"The strength {self.strength:g} is not positive and finite.", "Give a number such as 4."
            )
        if self.particles < 2 or self.every < 1 or not 0 <= self.threshold <= 1:
            raise Misuse(
                f"{self.particles} particles, a look every {self.every} steps and a threshold of {self.threshold:g} "
                "do not steer.",
                "Give 2 particles or more, 1 step or more, and a share from 0 to 1.",
            )
        if self.potential not in ("difference", "max", "sum") or self.pick not in ("best", "draw"):
            raise Misuse(
                f"There is no potential {self.potential!r} with a pick {self.pick!r}.",
                "Give difference, max or sum, and best or draw.",
            )

    def __call__(
        self,
        flow: Flow,
        reward: BlackBox,
        seeds: Sequence[int],
        *,
        callback: Callback | None = None,
        device: torch.device | str = "cpu",
    ) -> ParticleResult:
        """Samples with a larger reward, x1 `[len(seeds), *event]`, without source points; see `BestOf`."""
        n, k = len(seeds), self.particles
        x = draw_sources(flow, seeds, range(k), device)
        grid = check_stochastic(flow, x[::k], seeds, self.steps)
        scorer, generators = Scorer(flow, reward, n, self.at_once), path_generators(seeds)
        problem, weights = torch.arange(n).repeat_interleave(k), _Weights(n, k, self)
        status: Status | None = None
        xhat: Tensor | None = None
        try:
            for i, (t, t_next) in enumerate(itertools.pairwise(grid)):
                law = scorer.step(problem, x, t, t_next, self.method)
                mean, xhat = law.mean, law.xhat
                if i and i % self.every == 0:
                    found = scorer.score(problem, law.xhat).reshape(n, k)
                    ancestors = (torch.arange(n)[:, None] * k + weights.look(found, generators)).flatten()
                    mean, xhat = mean[ancestors], xhat[ancestors]
                    if (status := tell(callback, i, found, law.xhat)) is not None:
                        break
                z = draw_step(flow, generators, k)
                x = mean + law.std.to(mean) * z.to(mean)
        except Ended as ended:
            status = ended.status
            if xhat is None:
                raise
        if status is not None and xhat is not None:
            x = xhat
        status = status or Status.COMPUTED
        return self.finish(scorer, x, problem, weights, generators, status)

    def finish(
        self,
        scorer: Scorer,
        x1: Tensor,
        problem: Tensor,
        weights: _Weights,
        generators: Sequence[torch.Generator],
        status: Status,
    ) -> ParticleResult:
        """The result for the particles x1 `[n * k, *event]`."""
        n, k = len(generators), self.particles
        rewards = scorer.score(problem, x1).reshape(n, k)
        log_weights = weights.close(rewards)
        chosen = rewards.argmax(1)
        if self.pick == "draw":
            chosen = draw_by_weight(log_weights, generators)
        rows, each = torch.arange(n), x1.reshape(n, k, *x1.shape[1:])
        found = build_result(scorer, None, each[rows, chosen], rewards[rows, chosen], [status] * n)
        log_normaliser = weights.log_normaliser + torch.logsumexp(log_weights, 1) - math.log(k)
        return ParticleResult(
            **vars(found),
            particles=each,
            log_weights=log_weights,
            rewards=rewards,
            log_normaliser=log_normaliser,
        )


class _Weights:
    """The log weights of n x k particles since their last resampling, and what potentials each has been given."""

    def __init__(self, n: int, k: int, recipe: FeynmanKac) -> None:
        self.recipe = recipe
        self.log = torch.zeros(n, k, dtype=torch.float64)
        self.given = torch.zeros_like(self.log)  # log of the product of its potentials, by its lineage
        self.best = torch.full_like(self.log, -torch.inf)
        self.total = torch.zeros_like(self.log)
        self.log_normaliser = torch.zeros(n, dtype=torch.float64)

    def look(self, reward: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        """Weigh by the rewards `[n, k]` at xhat, and resample; the ancestor of each particle, int64 `[n, k]`."""
        reward, strength = fill_worst(reward), self.recipe.strength
        self.best, self.total = torch.maximum(self.best, reward), self.total + reward
        step = {
            "difference": strength * reward - self.given,
            "max": strength * self.best,
            "sum": strength * self.total,
        }[self.recipe.potential]
        self.log, self.given = self.log + step, self.given + step
        k = self.log.shape[1]
        w = torch.softmax(self.log, 1)
        uneven = 1 / w.square().sum(1) < self.recipe.threshold * k
        if self.recipe.threshold == 1:
            uneven = torch.ones_like(uneven)
        ancestors = torch.where(uneven[:, None], resample(w, generators), torch.arange(k))
        self.log_normaliser += torch.where(uneven, torch.logsumexp(self.log, 1) - math.log(k), 0.0)
        self.log = torch.where(uneven[:, None], 0.0, self.log)
        for name in ("given", "best", "total"):
            setattr(self, name, getattr(self, name).gather(1, ancestors))
        return ancestors

    def close(self, reward: Tensor) -> Tensor:
        """The log weights `[n, k]` at x1: exp(strength r(x1)) over what the potentials have given."""
        return self.log + self.recipe.strength * reward - self.given


def fill_worst(reward: Tensor) -> Tensor:
    """Rewards `[n, k]` in which minus infinity is the worst finite one of its row, or 0 if there is none.

    Examples
    --------
    >>> fill_worst(torch.tensor([[1.0, -torch.inf, 3.0]])).tolist()
    [[1.0, 1.0, 3.0]]
    """
    finite = torch.isfinite(reward)
    worst = torch.where(finite, reward, torch.inf).amin(1, keepdim=True)
    return torch.where(finite, reward, torch.where(torch.isfinite(worst), worst, 0.0))


def resample(w: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """Systematic resampling by normalised weights w `[n, k]`: ancestors int64 `[n, k]`, one uniform number a row.

    Ancestor i is drawn floor or ceil of k w_i times, k w_i on average.

    Examples
    --------
    >>> resample(torch.tensor([[0.5, 0.0, 0.25, 0.25]]), [torch.Generator().manual_seed(0)]).tolist()
    [[0, 0, 2, 3]]
    """
    k = w.shape[1]
    u = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])[:, None]
    places = (u + torch.arange(k)) / k
    return torch.searchsorted(w.to(torch.float64).cumsum(1), places).clamp(max=k - 1)


def draw_by_weight(log_weights: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
    """One index of each row of log weights `[n, k]`, by its weight, int64 `[n]`; 0 where all weights are zero."""
    w = torch.softmax(log_weights, 1).nan_to_num(0.0)
    u = torch.cat([torch.rand(1, generator=g, dtype=torch.float64) for g in generators])[:, None]
    found = torch.searchsorted(w.cumsum(1), u * w.sum(1, keepdim=True))[:, 0]
    return found.clamp(max=w.shape[1] - 1)


def tell(callback: Callback | None, number: int, reward: Tensor, xhat: Tensor) -> Status | None:
    """What a callback says of the rewards `[n, k]` at xhat `[n * k, *event]`: of the best of each problem."""
    if callback is None:
        return None
    n, k = reward.shape
    best, where = reward.max(1)
    none = torch.full_like(best, torch.nan)
    x1 = xhat[torch.arange(n) * k + where]
    return callback(Event(number, torch.arange(n), -best, none, x1, -best))
