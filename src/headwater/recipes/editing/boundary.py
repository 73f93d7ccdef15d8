"""A direction of meaning: the normal of the boundary between two sets of samples, at an inner time of the flow.

x_t of every example  <- the ODE backwards to the time t
n, b  <- the boundary n . x_t + b = 0 between those with and without the attribute
x_t of the original;  x_t <- x_t + (d - (n . x_t + b)) n;  solve on to t = 1
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.problem.batch import per_problem
from headwater.problem.rewards import Reward
from headwater.recipes.editing.edit import ROUNDING, EditResult, Session, refuse
from headwater.solvers.fixed import Grid, reverse_grid, rising_grid, solve
from headwater.solvers.method import MIDPOINT, Method


@dataclass(frozen=True, eq=False)
class Boundary:
    """The hyperplane n . x_t + b = 0 at a time t; the attribute is where n . x_t + b is positive.

    Attributes
    ----------
    normal
        n `[*event]`, of length 1.
    offset
        b.
    time
        t, in [0, 1).
    separated
        The share of the examples on their own side.
    reach
        The mean of n . x_t + b over the examples with the attribute.
    evaluations
        Of the network, for all examples together.

    Examples
    --------
    >>> plane = Boundary(torch.tensor([1.0, 0.0]), -0.5, 0.3, 1.0)
    >>> plane.distance(torch.tensor([[2.0, 7.0]])).tolist()
    [1.5]
    """

    normal: Tensor
    offset: float
    time: float
    separated: float
    reach: float = 1.0
    evaluations: int = 0

    def distance(self, x: Tensor) -> Tensor:
        """n . x_t + b of states x at the time t `[batch, *event]`, `[batch]`."""
        return (x * self.normal.to(x)).flatten(1).sum(1) + self.offset


def find_boundary(
    flow: Flow,
    with_it: Tensor,
    without: Tensor,
    *,
    time: float = 0.4,
    ridge: float = 1.0,
    method: Method = MIDPOINT,
    steps: int | Sequence[float] = 12,
    at_once: int = 16,
) -> Boundary:
    """The boundary between examples with and without an attribute, at a time of the flow.

    It is the ridge regression of +1 and -1 on the states, each set of equal weight: Fisher's direction as the ridge
    goes to 0, the difference of the means as it grows.

    Parameters
    ----------
    flow
        The model.
    with_it, without
        Samples `[n, *event]` and `[m, *event]` in data units.
    time
        t: earlier changes more of a sample.
    ridge
        In units of the mean square of a centred state's norm over the number of examples.
    method, steps
        The solve from 1 back to the time: a number of steps, or the times from it to 1, rising.
    at_once
        The most examples in one call of the flow; it bounds the memory.

    Raises
    ------
    Misuse
        If a set is empty, of other events than the flow's, not finite or in half precision; if both sets have the
        same mean at the time, or states there that are not finite; or if the time, the ridge, the steps or the
        examples at once are out of range.

    References
    ----------
    Zhu et al., "Boundary guided learning-free semantic control with diffusion models", NeurIPS 2023, which fits a
    support vector machine; Hastie et al., The Elements of Statistical Learning (2009), section 3.4.1.

    Examples
    --------
    >>> from headwater import GaussianMixture
    >>> law = GaussianMixture([0.5, 0.5], torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), torch.tensor([0.5, 0.5]))
    >>> x = law.sample(range(60))
    >>> plane = find_boundary(law.flow, x[x[:, 0] > 0], x[x[:, 0] < 0])
    >>> bool(plane.normal[0] > 0.95), plane.separated > 0.95
    (True, True)
    """
    if not 0 <= time < 1 or not 0 < ridge < float("inf") or at_once < 1:
        raise Misuse(
            f"There is no boundary at t = {time:g} with a ridge of {ridge:g} and {at_once} examples at once.",
            "Give a time from 0 to below 1, a positive ridge, and at least 1 example.",
        )
    check_examples(flow, with_it, "with")
    check_examples(flow, without, "without")
    back, x = reverse_grid(grid_from(time, steps)), torch.cat([with_it, without])
    with torch.no_grad():
        parts = [
            solve(flow if len(rows) == len(x) else flow.select(rows), x[rows], method=method, steps=back)
            for rows in torch.split(torch.arange(len(x)), at_once)
        ]
    states = torch.cat(parts)
    if not bool(torch.isfinite(states).all()):
        raise Misuse(
            f"The flow carries an example to a state at t = {time:g} that is not finite.",
            "Give more steps, a later time, or other examples.",
        )
    x = states.flatten(1).to(torch.float64)
    y = torch.cat([x.new_ones(len(with_it)), -x.new_ones(len(without))])
    n, offset = separate(x, y, ridge)
    side = x @ n + offset
    right, reach = float((torch.sign(side) == y).double().mean()), float(side[y > 0].mean())
    spent = len(x) * (len(back) - 1) * method.evaluations
    return Boundary(n.reshape(flow.shape).to(states), offset, time, right, reach, spent)


def grid_from(time: float, steps: int | Sequence[float]) -> Grid:
    """The times from `time` to 1, of a number of steps or as they are given.

    Raises
    ------
    Misuse
        As `rising_grid`, or if given times do not run from `time` to 1.

    Examples
    --------
    >>> grid_from(0.5, 2), grid_from(0.5, [0.5, 0.9, 1.0])
    ((0.5, 0.75, 1.0), (0.5, 0.9, 1.0))
    """
    grid = rising_grid(steps, start=time)
    if abs(grid[0] - time) > ROUNDING or grid[-1] != 1:
        raise Misuse(
            f"The times run from {grid[0]:g} to {grid[-1]:g}, not from the boundary's, {time:g}, to the data, 1.",
            "Give a number of steps, or times whose first is the boundary's and whose last is 1.",
        )
    return (time, *grid[1:])


def check_examples(flow: Flow, x: Tensor, which: str) -> None:
    """Refuse examples x that are no samples `[n, *event]` of the flow; `which` is "with" or "without"."""
    if not isinstance(x, Tensor) or x.ndim == 0 or len(x) == 0 or tuple(x.shape[1:]) != flow.shape:
        got = f"shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise Misuse(
            f"The examples {which} the attribute have {got}, the flow has events {flow.shape}.",
            "Give a tensor [n, *flow.shape] of one sample or more with it, and one of samples without it.",
        )
    require_full_precision(x)
    if not bool(torch.isfinite(x).all()):
        raise Misuse(
            f"The examples {which} the attribute are not finite.", "Give samples without NaN and infinity."
        )


def separate(x: Tensor, y: Tensor, ridge: float) -> tuple[Tensor, float]:
    """n `[size]`, of length 1, and b of the ridge regression of y `[n]`, +1 or -1, on x `[n, size]`, float64."""
    a, b = x[y > 0].mean(0), x[y < 0].mean(0)
    middle = (a + b) / 2
    if not bool((a - b).norm() > 1e-9 * x.square().sum(1).mean().sqrt()):
        raise Misuse(
            "The examples with and without the attribute have the same mean.", "Give sets that differ in it."
        )
    share = torch.where(y > 0, 0.5 / (y > 0).sum(), 0.5 / (y < 0).sum()).sqrt()
    # The dual form: as many equations as examples, however many entries an event has.
    rows = share[:, None] * (x - middle)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    level = ridge * values.mean()
    # More examples than entries have eigenvalues of 0: without a ridge to speak of their rounding would be all of w.
    gain = torch.where(values > 1e-12 * values.max(), 1 / (values + level), 0.0)
    w = rows.T @ (vectors @ (gain * (vectors.T @ (share * y))))
    n = w / w.norm()
    return n, -float(n @ middle)


@dataclass(frozen=True)
class BoundaryEdit:
    """Moves the original's state at the boundary's time along its normal, to a given distance from the boundary.

    Parameters
    ----------
    boundary
        From `find_boundary`.
    distance
        d, on the side of the attribute where positive, in units of the state; None is the boundary's reach, where
        its examples with the attribute lie.
    method, steps
        The solve back to the boundary's time, and on from there: a number of steps, or the times from it to 1.

    Notes
    -----
    On a Gaussian flow of N(m, s^2 I) x1 moves by s / sqrt(alpha^2 s^2 + sigma^2) times the move. A boundary of few
    examples in many dimensions separates them by accident: `separated` says nothing of other samples. The strength
    scales the move, part by part.

    References
    ----------
    Zhu et al., "Boundary guided learning-free semantic control with diffusion models", NeurIPS 2023.

    Examples
    --------
    A sample of the left mode goes to the right one, and keeps its other coordinate.

    >>> from headwater import GaussianMixture
    >>> law = GaussianMixture([0.5, 0.5], torch.tensor([[-3.0, 0.0], [3.0, 0.0]]), torch.tensor([0.5, 0.5]))
    >>> plane = Boundary(torch.tensor([1.0, 0.0]), 0.0, 0.4, 1.0)
    >>> edit = BoundaryEdit(plane, distance=1.2, steps=48)
    >>> edit(law.flow, torch.tensor([[-3.0, 0.5]]), [0], strength=1.0).x1.round(decimals=1).tolist()
    [[3.0, 0.5]]
    """

    boundary: Boundary
    distance: float | None = None
    method: Method = MIDPOINT
    steps: int | Sequence[float] = 12

    def __post_init__(self) -> None:
        if self.distance is not None and not math.isfinite(self.distance):
            raise Misuse(f"The distance is {self.distance:g}.", "Give a finite number, or None.")
        if not 0 <= self.boundary.time < 1:
            raise Misuse(
                f"The boundary lies at t = {self.boundary.time:g}.", "Give one at a time from 0 to below 1."
            )
        grid_from(self.boundary.time, self.steps)

    def __call__(
        self,
        flow: Flow,
        x1: Tensor,
        seeds: Sequence[int],
        *,
        target: Flow | None = None,
        reward: Reward | None = None,
        strength: float | Tensor = 1.0,
    ) -> EditResult:
        """Edited samples x1 `[batch, *event]`; nothing is drawn, no target and no reward taken."""
        refuse("An edit along a boundary's normal", target=target, reward=reward)
        session = Session.begin(flow, x1, seeds, None, strength)
        if tuple(self.boundary.normal.shape) != flow.shape:
            raise Misuse(
                f"The boundary is one of events {tuple(self.boundary.normal.shape)}, the flow has {flow.shape}.",
                "Find the boundary by this flow.",
            )
        return session.edit_free(self.move)

    def move(self, session: Session, reward: None, rows: Tensor) -> EditResult:
        """The originals of a session, moved along the normal."""
        plane, times = self.boundary, grid_from(self.boundary.time, self.steps)
        with torch.no_grad():
            x = solve(session.flow, session.x1, steps=reverse_grid(times), method=self.method)
            goal = plane.reach if self.distance is None else self.distance
            move = per_problem(goal - plane.distance(x), x) * plane.normal.to(x)
            x = solve(session.flow, x + session.strength * move, steps=times, method=self.method)
        session.evaluations += 2 * (len(times) - 1) * self.method.evaluations
        return session.result(x)
