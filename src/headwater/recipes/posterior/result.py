"""What `posterior` returns: draws, what they say, and whether they can be trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from headwater.dflow.result import Event
from headwater.errors import Misuse
from headwater.optimizers.status import Status
from headwater.problem.batch import per_problem
from headwater.recipes.posterior.diagnostics import bulk_ess, judge_chains, split_r_hat, summaries

SELDOM = 0.01
"""The mean acceptance below which a chain that never moved is stuck."""


@dataclass(frozen=True)
class Sampling(Event):
    """What the callback of `posterior` sees after each step: an `Event` of all chains that run.

    Attributes
    ----------
    round, active, cost, measure, x1, best, x0
        As those of `Event`, for the chains that run: the steps done, their places among all chains, int64 `[k]`, the
        potential `[k]` as cost and best, NaN `[k]`, and their points `[k, *event]`.
    steps
        The steps of the whole run; `round` counts those done.
    burn_in
        Whether this step was one of the burn-in.
    save
        `save()` is the state to go on from.

    Examples
    --------
    >>> from headwater import EULER, PCN, Flow, Sampling, posterior
    >>> flow, seen = Flow(lambda x, t: x, (1,)), []
    >>> def note(event: Sampling):
    ...     seen.append((event.round, event.steps, event.burn_in))
    >>> options = {"method": PCN(burn_in=1, thin=1), "chains": 1, "draws": 1, "steps": 1, "solver": EULER}
    >>> _ = posterior(flow, lambda x1: x1.square().sum(1), [0], callback=note, **options)
    >>> seen
    [(1, 2, True), (2, 2, False)]
    """

    steps: int = 0
    burn_in: bool = False
    save: Callable[[], dict[str, Tensor]] = dict


@dataclass(frozen=True, eq=False)
class Posterior:
    """Draws of the posterior, and what they say; the first axis of every tensor is the problem.

    Attributes
    ----------
    x0, x1
        Source points and their samples in data units, `[problems, chains, draws, *event]`; NaN for a chain that could
        not start.
    potential
        Phi of the draws, minus their log likelihood, float64 `[problems, chains, draws]`.
    log_weights
        The logarithms of the draws' weights, float64 `[problems, chains, draws]`, up to a constant per problem: 0
        unless the sampler weighs its draws, -inf for a chain that could not start.
    acceptance
        The mean acceptance probability after the burn-in, float64 `[problems, chains]`; NaN before.
    status
        How each chain ended, for each problem a tuple of one `Status` per chain: COMPUTED, DIVERGED if its potential
        was not finite at the start, or what ended the run early.
    evaluations, gradients
        Network evaluations and gradient evaluations, int64 `[problems, chains]`; evaluations count those of gradients
        and of the start.
    state
        Tensors by name, from which `posterior(..., state=)` goes on.
    caveat
        What the sampler's draws lack even if the chains agree; empty if nothing.
    notes
        A sentence for each problem on optimisations that did not converge, or equations without a solution; empty if
        all is well; `()` for samplers that solve nothing.

    Examples
    --------
    >>> from headwater import EULER, PCN, Flow, Misfit, posterior
    >>> flow = Flow(lambda x, t: x, (2,))  # one step of Euler's method doubles x0
    >>> misfit = Misfit(lambda x1: x1[:, :1], torch.tensor([[1.0]]), 0.5)
    >>> found = posterior(flow, misfit, [0], method=PCN(100, thin=5), draws=50, steps=1, solver=EULER)
    >>> found.x1.shape, found.mean.shape, found.quantile(0.9).shape
    (torch.Size([1, 4, 50, 2]), torch.Size([1, 2]), torch.Size([1, 2]))
    >>> p, error = found.probability(lambda x1: x1[:, 1] > 0)
    >>> bool((p - 0.5).abs() < 4 * error)
    True
    """

    x0: Tensor
    x1: Tensor
    potential: Tensor
    log_weights: Tensor
    acceptance: Tensor
    status: tuple[tuple[Status, ...], ...]
    evaluations: Tensor
    gradients: Tensor
    state: dict[str, Tensor]
    caveat: str = ""
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> Tensor:
        """The weights of the draws, which sum to 1 for every problem, float64 `[problems, chains, draws]`.

        NaN for a problem without draws.
        """
        flat = self.log_weights.flatten(1)
        return torch.softmax(flat, 1).reshape(self.log_weights.shape)

    @property
    def mean(self) -> Tensor:
        """The mean of x1, `[problems, *event]`; NaN for a problem without draws."""
        return self.expect(self.x1)

    @property
    def std(self) -> Tensor:
        """The standard deviation of x1 in every coordinate, `[problems, *event]`; NaN for fewer than two draws."""
        variance = self.expect((self.x1 - self.mean[:, None, None]).square())
        return self._or_nan(variance.sqrt(), 2)

    def expect(self, values: Tensor) -> Tensor:
        """The weighted mean of values `[problems, chains, draws, ...]`, `[problems, ...]`; NaN without draws.

        Examples
        --------
        >>> from headwater import Posterior
        >>> zeros = torch.zeros(1, 1, 2, 1)
        >>> weights = torch.tensor([[[0.75, 0.25]]]).log()
        >>> found = Posterior(zeros, zeros, zeros[..., 0], weights, zeros[..., 0, 0], ((),), None, None, {})
        >>> found.expect(torch.tensor([[[1.0, 5.0]]])).tolist()
        [2.0]
        """
        w = self.weights.reshape(*self.weights.shape, *[1] * (values.ndim - 3))
        kept = torch.where(w == 0, torch.zeros_like(values), values)  # what has no weight may be NaN
        total = (w * kept.to(torch.float64)).sum((1, 2))
        return self._or_nan(total.to(values.dtype) if values.is_floating_point() else total)

    def _or_nan(self, values: Tensor, least: int = 1) -> Tensor:
        """Values `[problems, ...]`, NaN for problems with fewer than `least` draws that have a weight."""
        count = (self.weights.flatten(1) > 0).sum(1)
        return torch.where(per_problem(count >= least, values), values, torch.nan)

    def quantile(self, q: float) -> Tensor:
        """The quantile q, from 0 to 1, of every coordinate of x1, `[problems, *event]`.

        The least draw up to which the weights sum to q; NaN without draws.

        Raises
        ------
        Misuse
            If q is not between 0 and 1.
        """
        if not 0 <= q <= 1:
            raise Misuse(f"There is no quantile {q:g}.", "Give a number from 0 to 1, such as 0.9.")
        flat = self.x1.flatten(1, 2)
        if flat.shape[1] == 0:
            return self.mean
        w = self.weights.flatten(1).reshape(*flat.shape[:2], *[1] * (flat.ndim - 2)).expand(flat.shape)
        order = torch.where(w == 0, torch.inf, flat).argsort(1)
        reached = w.gather(1, order).cumsum(1) >= q * (1 - 1e-12)
        first = reached.to(torch.int8).argmax(1, keepdim=True)
        return self._or_nan(flat.gather(1, order.gather(1, first))[:, 0])

    def probability(self, event: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """The probability of an event, and its standard error.

        Parameters
        ----------
        event
            Any function of samples, x1 `[k, *event]` -> bool `[k]`.

        Returns
        -------
        p, error
            Float64 `[problems]` each. The error is that of as many independent draws as the chains are worth; it is
            not 0 where no draw, or every draw, has the event. Both are NaN without draws.

        Raises
        ------
        Misuse
            If the event does not answer with one bool for every sample.
        """
        flat = self.x1.flatten(0, 2)
        answer = event(flat) if len(flat) else torch.zeros(0, dtype=torch.bool)
        tensor = isinstance(answer, Tensor)
        if not tensor or answer.shape != (len(flat),) or answer.dtype != torch.bool:
            what = f"{answer.dtype} {list(answer.shape)}" if tensor else type(answer).__name__
            raise Misuse(
                f"The event answers {what} for {len(flat)} samples.",
                "Return one bool per sample, such as x1[:, 0] > 0.",
            )
        yes = answer.reshape(self.log_weights.shape).to(torch.float64)
        p = self.expect(yes)
        n = torch.stack([self._effective_draws(i, yes[i]) for i in range(len(yes))]).to(p)
        # Laplace's rule in the error alone: no event is known to be impossible after n draws.
        smooth = (p * n + 1) / (n + 2)
        return p, (smooth * (1 - smooth) / n).sqrt()

    def _effective_draws(self, problem: int, values: Tensor) -> Tensor:
        """The effective draws for some values `[chains, draws]` of a problem; all of its draws if they are equal."""
        own = bulk_ess(values[self._started(problem)][..., None])
        share = float(self._effective_weights[problem])
        return self.ess[problem] if math.isnan(own) else torch.tensor(own * share, dtype=torch.float64)

    def nearest(self) -> Tensor:
        """The draw x1 nearest to the mean, `[problems, *event]`: a plausible sample where the mean is none.

        NaN for a problem without draws.
        """
        flat = self.x1.flatten(1, 2)
        if flat.shape[1] == 0:
            return self.mean
        away = (flat - self.mean[:, None]).flatten(2).square().sum(2)
        away = torch.where(self.weights.flatten(1) > 0, away, torch.inf)
        return self._or_nan(flat[torch.arange(len(flat), device=flat.device), away.argmin(1)])

    @cached_property
    def r_hat(self) -> Tensor:
        """The largest rank-normalised split R-hat of every problem, float64 `[problems]`.

        Over up to 32 coordinates of x1, the potential and |x0|^2. NaN with fewer than four draws a chain.
        """
        return torch.tensor([split_r_hat(q) for q in self._summaries], dtype=torch.float64)

    @cached_property
    def ess(self) -> Tensor:
        """The smallest bulk effective sample size of the same quantities, float64 `[problems]`.

        With weights it is multiplied by the share of draws that they leave, (sum w)^2 / (k sum w^2).
        """
        bulk = torch.tensor([bulk_ess(q) for q in self._summaries], dtype=torch.float64)
        return bulk * self._effective_weights

    def verdict(self) -> list[str]:
        """For every problem whether its chains agree, and what to do if not; then the notes and the caveat."""
        chains, draws = self.x1.shape[1:3]
        notes = self.notes or ("",) * len(self.x1)
        found = []
        for i, (r, n) in enumerate(zip(self.r_hat.tolist(), self.ess.tolist(), strict=True)):
            lost = self.status[i].count(Status.DIVERGED)
            sentence = judge_chains(r, n, draws, chains, lost, self._count_stuck(i))
            found.append(" ".join(part for part in (sentence, notes[i], self.caveat) if part))
        return found

    def _count_stuck(self, problem: int) -> int:
        """The chains of a problem that never moved from one draw to the next, with next to no acceptance."""
        x0 = self.x0[problem]
        still = (x0 == x0[:, :1]).flatten(1).all(1) & (self.acceptance[problem] < SELDOM)
        return int(still.sum())

    def _started(self, problem: int) -> list[bool]:
        return [status is not Status.DIVERGED for status in self.status[problem]]

    @property
    def _effective_weights(self) -> Tensor:
        w = self.weights.flatten(1)
        draws = [self.x1.shape[2] * sum(self._started(i)) for i in range(len(w))]
        return 1 / (w.square().sum(1).cpu() * torch.tensor(draws))

    @property
    def _summaries(self) -> list[Tensor]:
        rows = zip(self.x0, self.x1, self.potential, strict=True)
        return [summaries(*(value[self._started(i)] for value in row)) for i, row in enumerate(rows)]
