"""What all edits share: the call, the strength of every part, and the result.

Every method is called as `method(flow, x1, seeds, target=..., reward=..., strength=...)`. `flow` explains the
original x1, `target` is the same model under a changed condition. A part of strength s is held to the original until
the time 1 - s and free from then on (Differential Diffusion, Levin & Fried 2023): 0 keeps it, 1 makes it anew. A
problem without a free part is its original, and nothing is evaluated for it (but for `RFInversion`, which holds by a
pull of its own).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.result import Callback, Event, Result
from headwater.errors import Misuse
from headwater.flows.composed import have_one_path
from headwater.flows.flow import Flow, require_full_precision
from headwater.optimizers.status import Status
from headwater.problem.batch import per_problem, select
from headwater.problem.rewards import Reward, reward_at
from headwater.solvers.checks import require_evaluation_mode
from headwater.solvers.fixed import Grid
from headwater.solvers.fixed_point import FixedPointInversion, invert_fixed_point
from headwater.solvers.method import Method
from headwater.solvers.stochastic import draw_step, path_generators

Step = Callable[[Tensor, Tensor, int], Tensor]
"""step(rows, x, k): the states at time k + 1 of the problems in `rows` int64 `[n]` from theirs at time k."""
PartEdit = Callable[["Session", Any, Tensor], "EditResult"]
"""edit(session, reward, rows): the result of a session of the problems `rows` int64 `[n]` of a batch."""
ROUNDING = 1e-6
"""By how much times may differ that are meant to be one, so that s = 0.25 is free at t = 0.75."""


@dataclass(frozen=True, kw_only=True)
class EditResult(Result):
    """A `Result` of an edit, with what it gained and how far it went.

    Attributes
    ----------
    x0, x1, cost, measure, status, gradients, nfe_per_gradient, trace, state, preparation, on_flow
        As in `Result`; x0 is NaN where the method has no source point. A problem whose state became NaN or infinite
        is DIVERGED, and its x1 is the original. A problem of strength 0 throughout has no source point, and with one
        in the batch `on_flow` is False and the state None.
    distance
        rms of x1 less the original, in data units, float64 `[batch]`.
    reward
        The reward of x1, float64 `[batch]`, NaN without one.
    residual
        By how much the steps of an inversion by fixed points miss, the largest rms in data units, float64 `[batch]`;
        NaN of other methods. Where it is not small, the edit starts from another sample than the original.

    Examples
    --------
    >>> from headwater import Gaussian
    >>> from headwater.recipes.editing import StochasticEdit
    >>> flow = Gaussian(torch.zeros(2), torch.ones(2)).flow
    >>> result = StochasticEdit()(flow, torch.ones(1, 2), [0], strength=torch.tensor([[0.0, 1.0]]))
    >>> result.x1[0, 0].item(), result.status[0].name, result.evaluations.tolist()
    (1.0, 'COMPUTED', [24])
    """

    distance: Tensor
    reward: Tensor
    residual: Tensor


@dataclass(eq=False)
class Session:
    """One edit of a batch, checked, and what it has spent.

    Attributes
    ----------
    flow, target
        The model as it explains the original, and under the changed condition.
    x1
        The originals `[batch, *event]`.
    seeds
        One per problem.
    strength
        s of every part, `[batch, ...]`, broadcasts to x1.
    evaluations
        Of the network, int64 `[batch]`.
    generators
        Of each problem's draws along the path.
    residual
        That of its inversion by fixed points, float64 `[batch]`, NaN without one.
    """

    flow: Flow
    target: Flow
    x1: Tensor
    seeds: list[int]
    strength: Tensor
    evaluations: Tensor
    generators: list[torch.Generator]
    residual: Tensor

    @classmethod
    def begin(
        cls,
        flow: Flow,
        x1: Tensor,
        seeds: Sequence[int],
        target: Flow | None,
        strength: float | Tensor,
    ) -> Session:
        """Check the arguments of an edit; see `check_edit`."""
        s = check_edit(flow, x1, seeds, target, strength)
        spent = torch.zeros(len(x1), dtype=torch.int64)
        none = torch.full((len(x1),), torch.nan, dtype=torch.float64)
        return cls(flow, target or flow, x1.detach(), list(seeds), s, spent, path_generators(seeds), none)

    def select(self, rows: Tensor) -> Session:
        """The edit of the problems `rows` int64 `[n]`, before anything is spent."""
        at, numbers = rows.to(self.x1.device), rows.tolist()
        return Session(
            self.flow.select(rows),
            self.target.select(rows),
            self.x1[at],
            [self.seeds[i] for i in numbers],
            self.strength[at],
            torch.zeros_like(self.evaluations[rows]),
            [self.generators[i] for i in numbers],
            self.residual[rows],
        )

    def edit_free(self, edit: PartEdit, reward: Reward | None = None) -> EditResult:
        """The result of `edit(session, reward, rows)` for the problems of which a part is free; the others are held.

        A held problem is its original, and nothing is evaluated for it.
        """
        rows = (self.strength > 0).flatten(1).any(1).nonzero()[:, 0].cpu()
        if len(rows) == len(self.x1):
            return edit(self, reward, rows)
        held = self.result(self.x1, reward=reward)
        if len(rows) == 0:
            return held
        return put_results(held, edit(self.select(rows), select(reward, rows), rows), rows)

    def follow(self, grid: Grid, states: Sequence[Tensor], step: Step) -> Tensor:
        """The edited state at the last time, in the shape of the last of `states`.

        Parameters
        ----------
        grid
            The times, rising to 1.
        states
            The original on its own path at every time, `[batch, *event]`, or several of them `[batch, n, *event]`.
        step
            Moves the states of some problems; parts that are not free yet are put back to the original.

        Notes
        -----
        A problem is not evaluated while all of it is held, so its path depends on its own strength alone.
        """
        x = states[0]
        s = self.strength if x.ndim == self.x1.ndim else self.strength.unsqueeze(1)
        for k, t in enumerate(grid[:-1]):
            free = s >= 1 - t - ROUNDING
            rows = free.flatten(1).any(1).nonzero()[:, 0].cpu()
            following = states[k + 1].clone()
            if len(rows):
                moved = step(rows, x[rows], k)
                following[rows] = torch.where(free[rows], moved, following[rows])
            x = following
        return x

    def invert(self, method: Method, grid: Grid, iterations: int, tolerance: float) -> tuple[Tensor, ...]:
        """The originals' states under the flow at every time, rising, by fixed points; counted."""
        with torch.no_grad():
            found = invert_fixed_point(
                self.flow, self.x1, method=method, steps=grid, iterations=iterations, tolerance=tolerance
            )
        return self.take(found)

    def take(self, found: FixedPointInversion) -> tuple[Tensor, ...]:
        """The states of an inversion of the originals at every time, rising; counted."""
        self.evaluations += found.evaluations
        self.residual = found.residual.cpu()
        return found.states

    def draw(self, rows: Tensor) -> Tensor:
        """The next draw of N(0, I) of problems `rows` `[n]`, on the support, `[n, *event]`."""
        z = draw_step(self.flow.select(rows), [self.generators[i] for i in rows.tolist()])
        return z.to(self.x1)

    def count(self, rows: Tensor, each: int = 1) -> None:
        """Add `each` evaluations to problems `rows` `[n]`."""
        self.evaluations[rows] += each

    def result(self, x1: Tensor, *, x0: Tensor | None = None, reward: Reward | None = None) -> EditResult:
        """The result of edited samples x1 `[batch, *event]`, with their source points x0 where there are some."""
        none = torch.full((len(x1),), torch.nan, dtype=torch.float64)
        bad = ~torch.isfinite(x1).flatten(1).all(1)
        x1 = torch.where(per_problem(bad, x1), self.x1, x1)
        return EditResult(
            x0=torch.full_like(x1, torch.nan) if x0 is None else x0,
            x1=x1,
            cost=none,
            measure=none,
            status=tuple(Status.DIVERGED if b else Status.COMPUTED for b in bad.tolist()),
            gradients=torch.zeros(len(x1), dtype=torch.int64),
            nfe_per_gradient=0,
            trace=torch.zeros(0, 2, len(x1), dtype=torch.float64),
            state=None,
            preparation=self.evaluations,
            on_flow=x0 is not None,
            distance=rms_distance(x1, self.x1),
            reward=none if reward is None else value_of(reward, x1),
            residual=self.residual,
        )


def put_results(held: EditResult, found: EditResult, rows: Tensor) -> EditResult:
    """The results of all problems: those `found` of `rows` int64 `[n]`, and those that are held."""
    names = ("x0", "x1", "cost", "measure", "gradients", "preparation", "distance", "reward", "residual")
    each = {name: getattr(held, name).clone() for name in names}
    for name, whole in each.items():
        whole[rows] = getattr(found, name).to(whole)
    trace = found.trace.new_full((len(found.trace), 2, len(held.x1)), torch.nan)
    trace[..., rows] = found.trace
    status = list(held.status)
    for i, one in zip(rows.tolist(), found.status, strict=True):
        status[i] = one
    return replace(found, **each, trace=trace, status=tuple(status), state=None, on_flow=False)


def report_rows(callback: Callback | None, rows: Tensor, count: int) -> Callback | None:
    """The callback of a run of the problems `rows` int64 `[n]`, in the numbers of the whole batch."""
    if callback is None:
        return None

    def report(event: Event) -> Status | None:
        best = event.best.new_full((count,), torch.nan)
        best[rows] = event.best
        return callback(replace(event, active=rows[event.active], best=best))

    return report


def check_edit(
    flow: Flow, x1: Tensor, seeds: Sequence[int], target: Flow | None, strength: float | Tensor
) -> Tensor:
    """The strength `[batch, ...]` like x1, of arguments that fit together.

    Raises
    ------
    Misuse
        x1 is no batch of the flow's events, has another number of problems than seeds, is not finite, or in half
        precision; the target has other events or another path; the strength leaves [0, 1] or does not broadcast.
    """
    if tuple(x1.shape) != (len(seeds), *flow.shape) or len(seeds) == 0:
        raise Misuse(
            f"x1 has shape {tuple(x1.shape)} for {len(seeds)} seeds and events of shape {flow.shape}.",
            "Give originals [len(seeds), *flow.shape]; the first axis is the problem.",
        )
    require_full_precision(x1)
    if not bool(torch.isfinite(x1).all()):
        raise Misuse("The original is not finite.", "Give x1 without NaN and infinity.")
    if target is not None and (target.shape != flow.shape or not have_one_path(target, flow)):
        raise Misuse(
            f"The target has events {target.shape} on {target.path}, the flow {flow.shape} on {flow.path}.",
            "Give the same model under another condition.",
        )
    for one in (flow, target or flow):
        require_evaluation_mode(one)
    s = torch.as_tensor(strength, dtype=x1.dtype, device=x1.device)
    if not bool(((s >= 0) & (s <= 1)).all()):
        raise Misuse("The strength leaves [0, 1].", "Give 0, which keeps a part, to 1, which makes it anew.")
    s = s.reshape(1, *[1] * (x1.ndim - 1)) if s.ndim == 0 else s
    fits = s.ndim == x1.ndim and all(n in (1, m) for n, m in zip(s.shape, x1.shape, strict=True))
    if not fits:
        raise Misuse(
            f"A strength of shape {tuple(s.shape)} does not fit originals of shape {tuple(x1.shape)}.",
            "Give a number, or a map with an axis of 1 or of the same length for each axis of x1.",
        )
    return s.expand(len(x1), *s.shape[1:])


def begin_by_reward(
    name: str,
    flow: Flow,
    x1: Tensor,
    seeds: Sequence[int],
    target: Flow | None,
    reward: Reward | None,
    strength: float | Tensor,
) -> tuple[Session, Reward]:
    """The session of an edit that only a reward leads, and the reward with the weights of its end.

    Raises
    ------
    Misuse
        If there is a target, or no reward; as `check_edit` otherwise.
    """
    refuse(name, target=target)
    if reward is None:
        raise Misuse(f"{name} has no reward.", "Give `reward`.")
    return Session.begin(flow, x1, seeds, None, strength), reward_at(reward, 1.0)


def refuse(name: str, **given: object) -> None:
    """Refuse what a method does not take."""
    for what, value in given.items():
        if value is not None:
            raise Misuse(
                f"{name} takes no {what}.", f"Leave the {what} out, or take another method of editing."
            )


def rms_distance(x: Tensor, original: Tensor) -> Tensor:
    """rms of x less the original, both `[batch, *event]`, float64 `[batch]`.

    >>> rms_distance(torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)).item() == 12.5**0.5
    True
    """
    return (x - original).flatten(1).to(torch.float64).square().mean(1).sqrt().cpu()


def value_of(reward: Reward, x1: Tensor) -> Tensor:
    """The reward of x1 `[batch, *event]`, with the weights of its end, float64 `[batch]`."""
    with torch.no_grad():
        return reward_at(reward, 1.0)(x1).detach().to("cpu", torch.float64)


def reward_gradient(reward: Reward, rows: Tensor, flow: Flow, x: Tensor, t: Tensor) -> Tensor:
    """The gradient of r(xhat(x, t)) in x `[n, *event]`, for problems `rows` of the reward and a flow of theirs."""
    x = x.detach().requires_grad_()
    with torch.enable_grad():
        value = select(reward, rows)(flow.denoise(x, t))
        if not isinstance(value, Tensor) or value.shape != (len(x),) or not value.requires_grad:
            raise Misuse(
                "The reward returned no differentiable number for each sample.",
                "Return a tensor [batch] made of torch operations, without detach.",
            )
        return torch.autograd.grad(value.sum(), x)[0]


def times_of(grid: Grid) -> list[Tensor]:
    """The times as float64 tensors `[]`."""
    return [torch.tensor(t, dtype=torch.float64) for t in grid]


def pairs_of(grid: Grid) -> list[tuple[Tensor, Tensor]]:
    """The steps of a grid as pairs of times `[]`, float64."""
    return list(itertools.pairwise(times_of(grid)))
