"""What the methods for goals without a gradient return, and the best point that a search has seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.dflow.result import Callback, Event, Result
from headwater.optimizers.status import Status
from headwater.recipes.blackbox.scorer import Scorer


@dataclass(frozen=True, kw_only=True)
class BlackBoxResult(Result):
    """A `Result` without gradients, with the reward that was reached and what it took.

    Attributes
    ----------
    x0, x1, status, trace, state, preparation, on_flow
        As in `Result`; x0 is NaN after a method along the path.
    cost, measure, gradients, nfe_per_gradient
        Minus the reward, NaN, 0 and 0.
    reward
        The reward of x1, float64 `[batch]`. Minus infinity where no sample had one.
    calls
        Evaluations of the reward, int64 `[batch]`; `evaluations` are those of the network.

    Notes
    -----
    A problem none of whose samples had a finite reward is DIVERGED. After a search (`BestOf`, `CMAES`,
    `NaturalEvolution`) its x1 is then the sample without a search; after a method along the path (`FeynmanKac`,
    `CoDe`, `StochasticControl`) it is a sample of the stochastic solve, chosen by nothing.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> from headwater.recipes.blackbox import BestOf
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> result = BestOf(draws=8, steps=6)(flow, lambda x1: x1[:, 0], [0])
    >>> result.calls.tolist(), result.evaluations.tolist(), result.status[0].name
    ([8], [48], 'COMPUTED')
    """

    reward: Tensor
    calls: Tensor


def build_result(
    scorer: Scorer,
    x0: Tensor | None,
    x1: Tensor,
    reward: Tensor,
    status: Sequence[Status],
    trace: Sequence[Tensor] = (),
) -> BlackBoxResult:
    """The result for samples x1 `[batch, *event]` with their rewards; x0 None for a method along the path."""
    none = torch.full_like(reward, torch.nan)
    each = [Status.DIVERGED if r == -torch.inf else s for r, s in zip(reward.tolist(), status, strict=True)]
    lines = [torch.stack([-best, none]) for best in trace]
    return BlackBoxResult(
        x0=torch.full_like(x1, torch.nan) if x0 is None else x0,
        x1=x1,
        cost=-reward,
        measure=none,
        status=tuple(each),
        gradients=torch.zeros(len(x1), dtype=torch.int64),
        nfe_per_gradient=0,
        trace=torch.stack(lines) if lines else torch.zeros(0, 2, len(x1)),
        state=None,
        preparation=scorer.evaluations.clone(),
        on_flow=x0 is not None,
        reward=reward,
        calls=scorer.calls.clone(),
    )


class BestSeen:
    """The best candidate of every problem so far, and how each round went.

    Parameters
    ----------
    scorer
        Of the batch.
    x0
        The source points without a search, `[batch, *event]`: what is kept where nothing has a finite reward.
    callback
        As in `headwater.control`; its `cost` is minus the reward.

    Attributes
    ----------
    x0, x1, reward
        Of the best candidates, `[batch, *event]` and float64 `[batch]`.
    ended
        What the callback said last, a `Status` or None.
    rank
        What the best candidates were chosen by, float64 `[batch]`: the reward, if `update` is given no other.
    """

    def __init__(self, scorer: Scorer, x0: Tensor, callback: Callback | None) -> None:
        self.scorer, self.callback = scorer, callback
        self.x0, self.x1 = x0.clone(), torch.full_like(x0, torch.nan)
        self.reward = torch.full((len(x0),), -torch.inf, dtype=torch.float64)
        self.rank = self.reward.clone()
        self.trace: list[Tensor] = []
        self.ended: Status | None = None

    def update(
        self, active: Tensor, x0: Tensor, x1: Tensor, reward: Tensor, rank: Tensor | None = None
    ) -> None:
        """Take note of k candidates of each problem in `active` `[n]`: x `[n * k, *event]`, reward `[n, k]`.

        The best has the largest `rank` `[n, k]`, minus infinity where there is no reward; None is the reward itself.
        """
        n, k = reward.shape
        rank = reward if rank is None else rank
        first = torch.arange(n) * k + rank.argmax(1)
        value, highest, x0, x1 = reward.flatten()[first], rank.amax(1), x0[first], x1[first]
        # Where no reward is finite, the first sample of all is kept: that of the draw without a search.
        better = (highest > self.rank[active]) | torch.isnan(self.x1[active]).flatten(1).any(1).cpu()
        rows = active[better]
        self.x0[rows], self.x1[rows] = x0[better], x1[better]
        self.reward[rows], self.rank[rows] = value[better], highest[better]
        self.trace.append(self.reward.clone())
        if self.callback is not None:
            none = torch.full_like(value, torch.nan)
            event = Event(len(self.trace), active, -value, none, x1, -self.reward, x0)
            self.ended = self.callback(event)

    def result(self, status: Status | Sequence[Status]) -> BlackBoxResult:
        """The result, in which all problems ended by `status`, or by what the callback said."""
        each = [status] * len(self.x0) if isinstance(status, Status) else list(status)
        each = [self.ended or one for one in each]
        return build_result(self.scorer, self.x0, self.x1, self.reward, each, self.trace)
