"""Products of flows by weighted particles: the tracked densities say by how much each particle misses the product.

    k particles x ~ N(0, I / W),  W = sum_i w_i
    for each step t -> t' with the ancestral means m_i(x) of the flows and m = sum_i w_i m_i / W
        log w += -sum_i w_i |m_i - m|^2 / (2 s^2);  if the weights have become uneven: resample
        x ~ N(m, s^2 / W)

The path moves by the sum of the scores, which is not that of the noised product. With
p_t'(x') q(x | x') = p_t(x) p(x' | x) for each flow (see `density`) the product at t' over that at t is
prod_i [N(x'; m_i, s^2) / q(x | x')]^w_i. Over the law of the step and the noising kernel q^W, all that depends on x'
cancels, and the weight above is left.

(Feynman-Kac correctors, Skreta et al. 2025, proposition on products, in discrete time.)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.composed import require_alike
from headwater.flows.flow import Flow
from headwater.optimizers.status import Status
from headwater.problem.batch import select
from headwater.recipes.blackbox.feynman_kac import draw_by_weight, resample
from headwater.recipes.blackbox.scorer import draw_sources
from headwater.recipes.composition.density import SharedStep, density_grid, share_step
from headwater.recipes.composition.product import require_weights
from headwater.recipes.composition.status import status_of
from headwater.solvers.stochastic import check_stochastic, draw_step, path_generators

LONELY = 1.25
"""The effective number of particles where one of them has nine tenths of the weight."""


@dataclass(frozen=True)
class WeightedParticles:
    """Samples of a product of flows, with the particles that they were chosen from.

    Attributes
    ----------
    x1
        One particle of each problem, `[batch, *event]`, in data units.
    particles
        `[batch, k, *event]`.
    log_weights
        Their unnormalised log weights, float64 `[batch, k]`. Weighted means over the particles are those of the
        product.
    evaluations
        Evaluations of the network per problem, all flows and particles together.
    effective
        The least effective number of particles on the way, 1 / sum w^2 of the normalised weights before resampling,
        float64 `[batch]`.
    status
        How each problem ended: COMPUTED, DIVERGED if x1 is not finite, or DEGENERATE if fewer than a quarter of the
        particles were effective at some step, or one had nine tenths of the weight.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> from headwater.recipes.composition import WeightedProduct
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> found = WeightedProduct((1.0, 1.0), particles=4, steps=10)([flow, flow], range(3))
    >>> found.particles.shape, found.evaluations, bool((found.log_weights == 0).all())  # flows that agree need none
    (torch.Size([3, 4, 1]), 80, True)
    """

    x1: Tensor
    particles: Tensor
    log_weights: Tensor
    evaluations: int
    effective: Tensor
    status: tuple[Status, ...]


@dataclass(frozen=True)
class WeightedProduct:
    """Samples of prod_i p_i^w_i by particles that go along the path together and are resampled by their weights.

    The law is that of the product in the limit of many particles and steps. A step costs nothing but the flows, and
    there is no step length to choose; the error is that of k particles. In many dimensions the weights become uneven,
    and then corrections are the better way; the status of such a problem is DEGENERATE.

    Parameters
    ----------
    weights
        w_i, one for each flow, of a positive sum W.
    particles
        k of each problem, at least 2.
    threshold
        Resample when the effective number of particles falls below this share of k; 1 always, 0 never.
    pick
        Which particle becomes x1: "draw", one by its weight, or "best", that of the largest weight.
    spread
        As of `Superposition`: with the standard deviation of the data a step is exact for isotropic Gaussians. With 0
        the samples are too narrow where steps are few: of N(-1, 1) N(1, 1) the variance is 0.42 after 48 steps,
        and should be 0.5.
    steps
        Steps, evenly spaced in the log signal-to-noise, or the times from 0.
    at_once
        The most particles in one call of a flow; it bounds the memory.

    Raises
    ------
    Misuse
        If the weights do not have a positive sum, a number is out of range or a word unknown; when it is called, if
        the flows differ in shape or path, there are weights for other flows, or the times do not begin at 0.

    References
    ----------
    Skreta et al., "Feynman-Kac correctors in diffusion: annealing, guidance, and product of experts", ICML 2025;
    Kong, Liu & Wong 1994 for the effective number.

    Examples
    --------
    N(-1, 1) N(1, 1) is N(0, 1/2).

    >>> from headwater import Gaussian
    >>> flows = [Gaussian(torch.tensor([m]), torch.ones(1)).flow for m in (-1.0, 1.0)]
    >>> found = WeightedProduct((1.0, 1.0), particles=8, spread=1.0, steps=20, at_once=1600)(flows, range(200))
    >>> x = found.particles
    >>> bool(x.mean().abs() < 0.05), bool((x.var() - 0.5).abs() < 0.05)
    (True, True)
    """

    weights: tuple[float, ...]
    particles: int = 16
    threshold: float = 0.5
    pick: Literal["draw", "best"] = "draw"
    spread: float = 0.0
    steps: int | Sequence[float] = 48
    at_once: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", require_weights(self.weights))
        if (
            self.particles < 2
            or not 0 <= self.threshold <= 1
            or not 0 <= self.spread < math.inf
            or self.at_once < 1
        ):
            raise Misuse(
                f"There are {self.particles} particles, a threshold of {self.threshold:g}, a spread of "
                f"{self.spread:g} and calls of {self.at_once}.",
                "Give 2 particles or more, a share from 0 to 1, a spread from 0, and a call of at least 1.",
            )
        if self.pick not in ("draw", "best"):
            raise Misuse(f"There is no pick {self.pick!r}.", "Give draw or best.")

    def __call__(
        self,
        flows: Sequence[Flow],
        seeds: Sequence[int],
        *,
        device: torch.device | str = "cpu",
    ) -> WeightedParticles:
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
        n, k, first, total = len(seeds), self.particles, flows[0], sum(self.weights)
        x = draw_sources(first, seeds, range(k), device) / total**0.5
        grid = check_stochastic(first, x[::k], seeds, density_grid(self.steps))
        generators, problem = path_generators(seeds), torch.arange(n).repeat_interleave(k)
        w = torch.tensor(self.weights, dtype=torch.float64, device=x.device)[None, :, None]
        log_weights = torch.zeros(n, k, dtype=torch.float64)
        effective = torch.full((n,), float(k), dtype=torch.float64)
        for t, t_next in itertools.pairwise(grid):
            step = self._share(flows, x, problem, t, t_next)
            mean = (w * step.means).sum(1) / total
            if step.std > 0:
                off = (w * (step.means - mean[:, None]).square()).sum((1, 2)) / (2 * step.wide**2)
                log_weights = log_weights - off.reshape(n, k).cpu()
                # A particle that is no longer finite dies; its NaN must not make the weights of all others equal.
                log_weights = log_weights.nan_to_num(nan=-math.inf, posinf=-math.inf, neginf=-math.inf)
                effective = torch.minimum(effective, count_effective(log_weights))
                ancestors, log_weights = self._resample(log_weights, generators)
                mean = mean[(torch.arange(n)[:, None] * k + ancestors).flatten().to(mean.device)]
                z = draw_step(first, generators, k).flatten(1).to(mean)
                mean = mean + step.wide / total**0.5 * z
            x = mean.reshape_as(x).to(x)
        dead = ~x.isfinite().flatten(1).all(1).reshape(n, k).cpu()  # also those that broke in the last step
        log_weights = log_weights.masked_fill(dead, -math.inf)
        effective = torch.minimum(effective, count_effective(log_weights))
        chosen = (
            draw_by_weight(log_weights, generators) if self.pick == "draw" else log_weights.argmax(1)
        ).to(x.device)
        each = x.reshape(n, k, *x.shape[1:])
        x1 = each[torch.arange(n, device=x.device), chosen]
        ends = status_of(x1, {Status.DEGENERATE: effective < max(k / 4, LONELY)})
        return WeightedParticles(x1, each, log_weights, len(flows) * k * (len(grid) - 1), effective, ends)

    def _share(
        self, flows: tuple[Flow, ...], x: Tensor, problem: Tensor, t: float, t_next: float
    ) -> SharedStep:
        """The step of all particles, of at most `at_once` together."""
        parts = [
            share_step(tuple(select(flow, problem[rows]) for flow in flows), x[rows], t, t_next, self.spread)
            for rows in torch.split(torch.arange(len(x)), self.at_once)
        ]
        return replace(parts[0], means=torch.cat([part.means for part in parts]))

    def _resample(self, log_weights: Tensor, generators: Sequence[torch.Generator]) -> tuple[Tensor, Tensor]:
        """The ancestors int64 `[n, k]` of the particles, and their log weights after it."""
        k = log_weights.shape[1]
        uneven = (count_effective(log_weights) < self.threshold * k)[:, None]
        if self.threshold == 1:
            uneven = torch.ones_like(uneven)
        ancestors = torch.where(uneven, resample(normalise(log_weights), generators), torch.arange(k))
        return ancestors, torch.where(uneven, 0.0, log_weights)


def normalise(log_weights: Tensor) -> Tensor:
    """The weights of log weights `[n, k]`, of sum 1 in each row; equal ones where all are zero: x1 is not finite."""
    return torch.softmax(log_weights, 1).nan_to_num(1 / log_weights.shape[1])


def count_effective(log_weights: Tensor) -> Tensor:
    """1 / sum w^2 of the normalised weights of log weights `[n, k]`, from 1 to k, `[n]`.

    Examples
    --------
    >>> count_effective(torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.0, 0.0, -torch.inf, -torch.inf]])).tolist()
    [4.0, 2.0]
    """
    return 1 / normalise(log_weights).square().sum(1)
