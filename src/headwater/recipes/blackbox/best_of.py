"""Best of n: draw, look, keep the best. Nothing to tune, so all others compare with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.recipes.blackbox.result import BestSeen, BlackBoxResult
from headwater.recipes.blackbox.scorer import BlackBox, Scorer, draw_sources
from headwater.solvers.method import DDIM, Method


@dataclass(frozen=True)
class BestOf:
    """The best of n draws of the flow: the honest rival of every search.

    For a reward that is normal among draws it gains about sqrt(2 ln n) standard deviations: 1.9 with 20 draws, 2.5
    with 100, 3.2 with 1,000. Samples stay draws of the flow.

    Parameters
    ----------
    draws
        n; the first is the sample without a search, so the reward never falls.
    steps
        Steps of a solve, or its times.
    method
        The rule for one step.
    at_once
        The most candidates in one call of the network; it bounds the memory.

    Raises
    ------
    Misuse
        If there is no draw.

    Examples
    --------
    The largest of 20 numbers from N(0, 1) is 1.87 on average.

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> result = BestOf(draws=20, steps=24, at_once=2000)(flow, lambda x1: x1[:, 0], range(100))
    >>> bool((result.reward.mean() - 1.87).abs() < 0.3)
    True
    """

    draws: int = 64
    steps: int | Sequence[float] = 12
    method: Method = DDIM
    at_once: int = 64

    def __post_init__(self) -> None:
        require_draws(self.draws)

    def __call__(
        self,
        flow: Flow,
        reward: BlackBox,
        seeds: Sequence[int],
        *,
        callback: Callback | None = None,
        device: torch.device | str = "cpu",
    ) -> BlackBoxResult:
        """Samples with a larger reward, x1 `[len(seeds), *event]`, and their source points.

        Parameters
        ----------
        flow
            The model, with events `[*event]`.
        reward
            x1 `[n, *event]` -> n numbers, larger is better; never called with a graph. NaN is the worst.
        seeds
            One per problem; its result depends on its own seed alone.
        callback
            As in `headwater.control`; its `cost` is minus the reward.
        device
            Of the states.

        Raises
        ------
        Misuse
            If the reward does not return one number for each sample.
        """
        scorer = Scorer(flow, reward, len(seeds), self.at_once)
        seen = BestSeen(scorer, flow.noise(seeds, device=device), callback)
        each = max(self.at_once // len(seeds), 1)
        every = torch.arange(len(seeds))
        try:
            for numbers in torch.split(torch.arange(self.draws), each):
                problem = every.repeat_interleave(len(numbers))
                x0 = draw_sources(flow, seeds, numbers.tolist(), device)
                x1 = scorer.solve(problem, x0, self.method, self.steps)
                seen.update(every, x0, x1, scorer.score(problem, x1).reshape(len(seeds), -1))
                if seen.ended is not None:
                    break
        except Ended as ended:
            if not seen.trace:
                raise
            seen.ended = ended.status
        return seen.result(Status.COMPUTED)


def require_draws(draws: int, least: int = 1) -> None:
    """Refuse a search of fewer samples than it needs."""
    if draws < least:
        raise Misuse(f"{draws} samples are too few for this search.", f"Give at least {least}.")
