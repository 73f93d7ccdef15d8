"""Choosing along the path: several continuations of the stochastic solve, of which the best at xhat goes on.

    for each block of steps
        run n stochastic continuations of x over the block;  x <- that with the largest reward(xhat)

Blocks of one step are the stochastic control guidance of Huang et al. 2024 (Algorithm 1), longer ones are CoDe (Singh
et al. 2025, Algorithm 1), and a block of all steps is a best of n.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.recipes.blackbox.feynman_kac import tell
from headwater.recipes.blackbox.result import BlackBoxResult, build_result
from headwater.recipes.blackbox.scorer import BlackBox, Scorer
from headwater.solvers.stochastic import (
    Ancestral,
    Transition,
    Transitions,
    check_stochastic,
    draw_step,
    path_generators,
)


@dataclass(frozen=True)
class CoDe:
    """Blockwise best of n: after each block of steps the best of n continuations goes on.

    Parameters
    ----------
    candidates
        n, continuations of each problem, at least 2.
    block
        Steps of a block, at least 1.
    steps
        Steps of the stochastic solve, or its times: each one evaluation of every continuation.
    method
        The rule for one step.
    at_once
        The most candidates in one call of the network; it bounds the memory.

    Raises
    ------
    Misuse
        If a number is too small.

    Notes
    -----
    Exact for nothing but its two ends: it maximises, and knows no law that its samples belong to. It is greedy: what
    looks best at a blurred xhat early on is kept, and small blocks with many candidates leave the data, where the
    reward is wrong about xhat. Where the reward is NaN for all candidates, the first goes on.

    References
    ----------
    Singh et al., "CoDe: Blockwise control for denoising diffusion models", 2025, Algorithm 1.

    Examples
    --------
    x1 ~ N(0, 1): four candidates after every sixth of 24 steps raise it.

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> result = CoDe()(flow, lambda x1: x1[:, 0], range(50))
    >>> bool(result.reward.mean() > 1), result.evaluations[0].item()
    (True, 93)
    """

    candidates: int = 4
    block: int = 6
    steps: int | Sequence[float] = 24
    method: Transitions = Ancestral()  # noqa: RUF009 (frozen)
    at_once: int = 64

    def __post_init__(self) -> None:
        if self.candidates < 2 or self.block < 1:
            raise Misuse(
                f"{self.candidates} candidates after blocks of {self.block} steps leave nothing to choose.",
                "Give 2 candidates or more, and blocks of 1 step or more.",
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
        """Samples with a larger reward, x1 `[len(seeds), *event]`, without source points; see `BestOf`."""
        x, every, n = flow.noise(seeds, device=device), torch.arange(len(seeds)), len(seeds)
        grid = check_stochastic(flow, x, seeds, self.steps)
        scorer, generators = Scorer(flow, reward, n, self.at_once), path_generators(seeds)
        law, spans = scorer.step(every, x, grid[0], grid[1], self.method), list(itertools.pairwise(grid))
        status, kept = Status.COMPUTED, None
        try:
            for first in range(0, len(spans), self.block):
                # A last step alone draws nothing, so all candidates would be the same.
                many = 1 if float(law.std) == 0 and first + 1 == len(spans) else self.candidates
                problem = every.repeat_interleave(many)
                here = law.mean.repeat_interleave(many, 0)
                x = here + law.std.to(here) * draw_step(flow, generators, many).to(here)
                for t, t_next in spans[first + 1 : first + self.block]:
                    x = scorer.step(problem, x, t, t_next, self.method).move(
                        draw_step(flow, generators, many)
                    )
                last = first + self.block >= len(spans)
                ahead = None if last else scorer.step(problem, x, *spans[first + self.block], self.method)
                shown = x if ahead is None else ahead.xhat
                value = scorer.score(problem, shown).reshape(n, many)
                chosen = every * many + value.argmax(1)
                kept = shown[chosen], value.amax(1)
                if ahead is not None:
                    law = Transition(ahead.mean[chosen], ahead.std, ahead.xhat[chosen])
                if (ended := tell(callback, first // self.block + 1, value, shown)) is not None:
                    status = ended
                    break
        except Ended as ended:
            status = ended.status
        if kept is None:  # not a block was complete
            kept = law.xhat, scorer.score(every, law.xhat)
        return build_result(scorer, None, *kept, [status] * n)


@dataclass(frozen=True)
class StochasticControl(CoDe):
    """Stochastic control guidance: at every step the best of n candidates at xhat goes on.

    `CoDe` with blocks of one step. In the limit of many candidates and short steps it is the optimal control of the
    SDE for a reward known at every xhat (Huang et al., section 3.3).

    Parameters
    ----------
    candidates, block, steps, method, at_once
        As in `CoDe`.

    References
    ----------
    Huang et al., "Symbolic music generation with non-differentiable rule guided diffusion", ICML 2024, Algorithm 1.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> result = StochasticControl()(flow, lambda x1: -(x1[:, 0] - 1.5).abs(), range(50))
    >>> bool((result.x1.mean() - 1.5).abs() < 0.3)
    True
    """

    block: int = 1
