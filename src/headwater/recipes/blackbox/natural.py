"""Natural evolution strategies on the source: the gradient of the mean reward over a small ball, from ranks.

for each generation, for each problem
    e_i ~ N(0, I), i = 1 .. n;  look at x0 + s e_i and x0 - s e_i
    g = sum_i (u(x0 + s e_i) - u(x0 - s e_i)) e_i      with u the standardised ranks of the 2 n rewards
    x0 <- x0 + step |x0| g / |g|, back on the shell of x0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.dflow.result import Callback
from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed, make_generators
from headwater.flows.watched import Ended
from headwater.optimizers.status import Status
from headwater.problem.batch import per_problem
from headwater.recipes.blackbox.best_of import require_draws
from headwater.recipes.blackbox.result import BestSeen, BlackBoxResult
from headwater.recipes.blackbox.scorer import BlackBox, Scorer
from headwater.solvers.method import DDIM, Method
from headwater.solvers.stochastic import draw_step

ES_DRAWS = 800_011
"""The number, for `derive_seed`, of the draws of a search."""


@dataclass(frozen=True)
class NaturalEvolution:
    """Isotropic evolution strategy with antithetic pairs and ranks; x0 stays on the shell of its draw.

    Parameters
    ----------
    draws
        Samples of each problem in all, the one without a search included.
    pairs
        Pairs of opposite points in a generation.
    spread
        s, the distance of the points from x0 in units of |x0| (a random direction of that length).
    step
        The length of a step in units of |x0|.
    steps
        Steps of a solve, or its times.
    method
        The rule for one step.
    at_once
        The most candidates in one call of the network; it bounds the memory.

    Raises
    ------
    Misuse
        If there are too few samples for one generation, or `spread` or `step` is not positive.

    Notes
    -----
    With n pairs the gradient has a cosine of about sqrt(n / (n + d)) with that of a linear reward in d coordinates.
    Ranks make it indifferent to the scale of the reward; a reward that is flat within `spread` gives ranks by
    accident and a random walk, of which the best point is kept. NaN counts as the worst.

    References
    ----------
    Wierstra et al., "Natural evolution strategies", JMLR 15 (2014); Salimans et al., "Evolution strategies as a
    scalable alternative to reinforcement learning", 2017, for pairs and ranks.

    Examples
    --------
    x1 = x0 in 100 coordinates, and the reward is the first of them.

    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(100), torch.ones(100)).flow
    >>> result = NaturalEvolution(draws=257, steps=12)(flow, lambda x1: x1[:, 0], [0])
    >>> bool(result.reward > 2.5), round((result.x0.norm() / flow.noise([0]).norm()).item(), 4)
    (True, 1.0)
    """

    draws: int = 257
    pairs: int = 16
    spread: float = 0.1
    step: float = 0.5
    steps: int | Sequence[float] = 12
    method: Method = DDIM
    at_once: int = 64

    def __post_init__(self) -> None:
        if self.pairs < 1 or not (0 < self.spread < float("inf") and 0 < self.step < float("inf")):
            raise Misuse(
                f"{self.pairs} pairs, a spread of {self.spread:g} and steps of {self.step:g} are no search.",
                "Give at least one pair, and positive numbers such as 0.1 and 0.5.",
            )
        require_draws(self.draws, 1 + 2 * self.pairs)

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
        draw = flow.noise(seeds, device=device)
        scorer, every = Scorer(flow, reward, len(seeds), self.at_once), torch.arange(len(seeds))
        seen, length = BestSeen(scorer, draw, callback), draw.flatten(1).norm(dim=1)
        generators = make_generators([derive_seed(seed, ES_DRAWS) for seed in seeds])

        def evaluate(x0: Tensor) -> Tensor:
            """The rewards `[batch, k]` of k source points of each problem, x0 `[batch * k, *event]`."""
            problem = every.repeat_interleave(len(x0) // len(every))
            x1 = scorer.solve(problem, x0, self.method, self.steps)
            found = scorer.score(problem, x1).reshape(len(every), -1)
            seen.update(every, x0, x1, found)
            return found

        try:
            evaluate(draw)
            x0 = draw
            for _ in range((self.draws - 1) // (2 * self.pairs)):
                if seen.ended is not None:
                    break
                e = draw_step(flow, generators, self.pairs).to(draw)
                around = put_on_shell(surround(x0, e, self.spread), length.repeat_interleave(2 * self.pairs))
                g = rank_gradient(evaluate(around), e)
                x0 = put_on_shell(
                    x0 + self.step * per_problem(length, g) * put_on_shell(g, torch.ones_like(length)), length
                )
        except Ended as ended:
            if not seen.trace:
                raise
            seen.ended = ended.status
        return seen.result(Status.EVALUATIONS)


def surround(x0: Tensor, e: Tensor, spread: float) -> Tensor:
    """The points x0 + s e and x0 - s e of x0 `[n, *event]` and n k directions e, `[n * 2 k, *event]`, + before -."""
    # e has about the length of x0, as both are draws of N(0, I): s is the angle that they are turned by.
    offsets = spread * e.reshape(len(x0), -1, *x0.shape[1:])
    return (x0[:, None] + torch.cat([offsets, -offsets], 1)).flatten(0, 1)


def put_on_shell(x: Tensor, length: Tensor) -> Tensor:
    """x `[n, *event]` with the lengths `[n]`; zero stays zero."""
    norm = x.flatten(1).norm(dim=1)
    return x * per_problem(length / torch.where(norm > 0, norm, torch.ones_like(norm)), x)


def rank_gradient(reward: Tensor, e: Tensor) -> Tensor:
    """sum_i (u_i+ - u_i-) e_i `[n, *event]` of rewards `[n, 2 k]`, those of + e before those of - e.

    u are standardised ranks: mean 0, standard deviation 1; equal rewards share their rank.

    Examples
    --------
    >>> rank_gradient(torch.tensor([[5.0, 1.0]]), torch.tensor([[2.0, 0.0]])) > 0
    tensor([[ True, False]])
    """
    below = (reward[:, :, None] > reward[:, None, :]).sum(2)
    not_above = (reward[:, :, None] >= reward[:, None, :]).sum(2)
    rank = 0.5 * (below + not_above).to(e)  # the mean rank of equal ones
    u = rank - rank.mean(1, keepdim=True)
    u = u / u.std(1, keepdim=True, correction=0).clamp(min=1e-12)
    k = reward.shape[1] // 2
    weight = (u[:, :k] - u[:, k:]).reshape(len(e), *[1] * (e.ndim - 1))
    return (weight * e).reshape(len(reward), k, *e.shape[1:]).sum(1)
