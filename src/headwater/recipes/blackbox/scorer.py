"""A reward that need not be differentiable, asked about many candidates of each problem, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.seeds import derive_seed
from headwater.problem.batch import select
from headwater.problem.rewards import reward_at
from headwater.solvers.checks import choose_tolerance, relative_distance, require_evaluation_mode
from headwater.solvers.fixed import solve
from headwater.solvers.method import Method
from headwater.solvers.stochastic import Transition, Transitions, step_law

BlackBox = Callable[[Tensor], Any]
"""x1 `[n, *event]` -> n numbers: a tensor, an array or a list; larger is better, NaN is the worst."""


@dataclass(frozen=True)
class Candidates:
    """Samples of several problems: `problem` int64 `[n]` says whose each of x `[n, *event]` is."""

    problem: Tensor
    x: Tensor


class Scorer:
    """The flow and the reward of a batch, evaluated without a graph, at most `at_once` candidates together.

    Two promises are checked once, at a cost that is not counted: the velocity of the first candidate is evaluated
    twice, and the last candidate of the first rewards is asked about alone.

    Parameters
    ----------
    flow
        The model, with events `[*event]`.
    reward
        x1 `[n, *event]` -> n numbers. Schedules of its weights count with their end.
    problems
        How many problems there are.
    at_once
        The most candidates in one call of the network or of the reward; it bounds the memory.

    Attributes
    ----------
    evaluations, calls
        Evaluations of the network and of the reward for each problem so far, int64 `[problems]`.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> scorer = Scorer(Gaussian(torch.zeros(1), torch.ones(1)).flow, lambda x1: x1[:, 0].log(), problems=2)
    >>> scorer.score(torch.tensor([0, 0]), torch.tensor([[-1.0], [1.0]])).tolist(), scorer.calls.tolist()
    ([-inf, 0.0], [2, 0])
    """

    def __init__(self, flow: Flow, reward: BlackBox, problems: int, at_once: int = 64) -> None:
        self.flow, self.reward, self.at_once = flow, reward_at(reward, 1.0), at_once
        self.evaluations = torch.zeros(problems, dtype=torch.int64)
        self.calls = torch.zeros_like(self.evaluations)
        self.velocity_checked = self.reward_checked = False

    def parts(self, problem: Tensor) -> tuple[Tensor, ...]:
        """The rows of candidates that are evaluated together."""
        return torch.split(torch.arange(len(problem)), self.at_once)

    def count(self, where: Tensor, problem: Tensor, each: int) -> None:
        """Add `each` evaluations to the problem of every candidate."""
        where.index_add_(0, problem, torch.full_like(problem, each))

    @torch.no_grad()
    def score(self, problem: Tensor, x: Tensor) -> Tensor:
        """The reward of candidates x `[n, *event]` of the problems `[n]`, float64 `[n]`.

        A NaN or infinite reward is minus infinity: the worst. So is that of a sample which is not finite, about
        which the reward is not asked, though it counts as a call.

        Raises
        ------
        Misuse
            If the reward does not return one real number for each candidate, or another one for a candidate alone.
        """
        found = torch.full((len(x),), torch.nan, dtype=torch.float64)
        for rows in torch.split(torch.isfinite(x).flatten(1).all(1).cpu().nonzero()[:, 0], self.at_once):
            if len(rows):
                found[rows] = self._ask(problem[rows], x[rows])
                self._check_reward(problem[rows], x[rows], found[rows])
        self.count(self.calls, problem, 1)
        return torch.where(torch.isfinite(found), found, -torch.inf)

    def _ask(self, problem: Tensor, x: Tensor) -> Tensor:
        answer = select(self.reward, problem)(x)
        try:
            value = torch.as_tensor(answer).detach()
        except (TypeError, ValueError, RuntimeError):
            value = torch.empty(0)
        if value.is_complex():
            raise Misuse(
                "The reward returned complex numbers.", "Return real ones, such as x.real or the modulus."
            )
        if value.shape != (len(x),):
            shape = f"shape {list(answer.shape)}" if hasattr(answer, "shape") else repr(answer)[:60]
            raise Misuse(
                f"The reward returned {shape} for {len(x)} samples.",
                "Return one number per sample, NaN where there is none.",
            )
        return value.to("cpu", torch.float64)

    def _check_reward(self, problem: Tensor, x: Tensor, found: Tensor) -> None:
        """Ask about the last of candidates x `[n, *event]` with a reward alone, and compare; once.

        A reward that is missing alone, or in the batch, is a failure of its own and breaks no promise.
        """
        good = torch.isfinite(found).nonzero()[:, 0]
        if self.reward_checked or len(x) < 2 or len(good) == 0:
            return
        self.reward_checked = True
        last = good[-1:]
        alone = self._ask(problem[last], x[last])
        # Networks round otherwise in another batch; the size of the rewards is that of the largest beside it.
        gap, size = (alone - found[last]).abs(), found[good].abs().max()
        if bool(torch.isfinite(alone)) and bool(gap > 1e-2 * torch.maximum(size, alone.abs())):
            raise Misuse(
                f"The reward of a sample is {float(found[last]):g} among others and {float(alone):g} alone.",
                "Score each sample by itself, without means or ranks over the batch and without random numbers; "
                "declare data of each problem, Each(reward, name=tensor).",
            )

    def _check_velocity(self, problem: Tensor, x: Tensor, t: float) -> None:
        """Evaluate the velocity of the first of candidates x `[n, *event]` at t twice, and compare; once."""
        if self.velocity_checked or len(x) == 0:
            return
        self.velocity_checked = True
        require_evaluation_mode(self.flow)
        flow, x = self.flow.select(problem[:1]), x[:1]
        time = torch.as_tensor(t, dtype=torch.float64)
        if bool((relative_distance(flow(x, time), flow(x, time)) > choose_tolerance(flow, x)).any()):
            raise Misuse(
                "The velocity gives two answers for one input.",
                "Put the network into evaluation mode with net.eval(), and remove randomness and state from it.",
            )

    @torch.no_grad()
    def solve(self, problem: Tensor, x0: Tensor, method: Method, steps: int | Sequence[float]) -> Tensor:
        """x1 of source points x0, both `[n, *event]`, of the problems `[n]`."""
        low, high = self.flow.path.span
        self._check_velocity(problem, x0, (low + high) / 2)
        number = steps if isinstance(steps, int) else len(steps) - 1
        self.count(self.evaluations, problem, number * method.evaluations)
        parts = [
            solve(self.flow.select(problem[rows]), x0[rows], method=method, steps=steps)
            for rows in self.parts(problem)
        ]
        return torch.cat(parts)

    @torch.no_grad()
    def step(self, problem: Tensor, x: Tensor, t: float, t_next: float, method: Transitions) -> Transition:
        """The laws of the next states of x `[n, *event]`; one evaluation of each."""
        self._check_velocity(problem, x, t)
        self.count(self.evaluations, problem, 1)
        parts = [
            step_law(self.flow.select(problem[rows]), x[rows], t, t_next, method)
            for rows in self.parts(problem)
        ]
        return Transition(
            torch.cat([law.mean for law in parts]), parts[0].std, torch.cat([law.xhat for law in parts])
        )


def draw_sources(
    flow: Flow, seeds: Sequence[int], numbers: Sequence[int], device: torch.device | str = "cpu"
) -> Tensor:
    """The draws of these numbers of every problem, its own in a row: `[len(seeds) * len(numbers), *event]`.

    Draw 0 is `flow.noise(seeds)`, the source point of the sample without a search.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> torch.equal(draw_sources(flow, [3, 5], [0, 1])[2:3], flow.noise([5]))
    True
    """
    index = torch.arange(len(seeds)).repeat_interleave(len(numbers))
    all_seeds = [seed if number == 0 else derive_seed(seed, number) for seed in seeds for number in numbers]
    return flow.select(index).noise(all_seeds, device=device)
