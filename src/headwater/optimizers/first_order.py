"""First-order methods: every evaluation becomes a step, without a line search."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.optimizers.state import (
    CONVERGED,
    DIVERGED,
    RUNNING,
    OptimizerState,
    dot,
    initial_fields,
    largest_modulus,
    read_evaluation,
)
from headwater.problem.batch import per_problem


@dataclass(frozen=True, kw_only=True)
class GradientDescentState(OptimizerState):
    """The state of `GradientDescent`: the common fields, and the momentum u, `velocity` `[batch, *event]`."""

    velocity: Tensor


@dataclass(frozen=True, kw_only=True)
class AdamState(OptimizerState):
    """The state of `Adam`: the common fields, the moments `mean` and `square`, and the powers `decay`.

    The moments m and v are `[batch, *event]`; `decay` is float64 `[batch, 2]`, b1^t and b2^t.
    """

    mean: Tensor
    square: Tensor
    decay: Tensor


S = TypeVar("S", bound=OptimizerState)


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent with heavy-ball or Nesterov's momentum and optional clipping.

    g <- g min(1, clip / |g|),  u <- momentum u + g,  x <- x - lr u, with x, g and u `[batch, *event]`; in Nesterov's
    form x <- x - lr (g + momentum u).

    A NaN or infinite evaluation ends a problem as DIVERGED, at its last finite iterate.

    Parameters
    ----------
    lr
        The step length, above 0.
    momentum
        The share of the last step that is kept, from 0 to below 1.
    clip
        The largest Euclidean norm of each problem's gradient; None means no limit.
    tolerance
        The largest entry of a gradient that counts as zero: such a problem ends as CONVERGED.
    nesterov
        Whether the step looks ahead along the momentum.

    Raises
    ------
    Misuse
        If `lr` or `clip` is not positive and finite, or `momentum` is outside of [0, 1).

    References
    ----------
    Polyak, USSR Comput. Math. Math. Phys. 4 (1964); Sutskever et al., "On the importance of initialization and
    momentum in deep learning", ICML 2013, for Nesterov's.

    Examples
    --------
    C(x) = x^2 / 2 with the gradient x; the first evaluation is that of the start, and each halves x.

    >>> optimizer = GradientDescent(lr=0.5)
    >>> state = optimizer.init(torch.tensor([[4.0]]))
    >>> for _ in range(3):
    ...     state = optimizer.step(state, 0.5 * state.trial[:, 0] ** 2, state.trial)
    >>> state.x, state.trial
    (tensor([[1.]]), tensor([[0.5000]]))
    """

    lr: float
    momentum: float = 0.0
    clip: float | None = None
    tolerance: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        _positive("lr", self.lr)
        _below_one("momentum", self.momentum)
        if self.clip is not None:
            _positive("clip", self.clip)

    def init(self, x0: Tensor) -> GradientDescentState:
        """The state before any evaluation, at x0 `[batch, *event]`; a `Misuse` unless float32 or float64."""
        return GradientDescentState(**initial_fields(x0), velocity=torch.zeros_like(x0.detach()))

    def step(self, state: GradientDescentState, value: Tensor, gradient: Tensor) -> GradientDescentState:
        """The next state, from the cost `value` `[batch]` and its `gradient` `[batch, *event]` at `state.trial`.

        Other shapes are a `Misuse`.
        """
        new = _accept(state, value, gradient, self.tolerance)
        rows, g = per_problem(_moving(state, new), new.x), new.gradient
        if self.clip is not None:
            g = g * per_problem((self.clip / dot(g, g).sqrt()).clamp(max=1.0), g)
        velocity = torch.where(rows, self.momentum * state.velocity + g, state.velocity)
        step = g + self.momentum * velocity if self.nesterov else velocity
        return replace(new, velocity=velocity, trial=torch.where(rows, new.x - self.lr * step, new.x))


@dataclass(frozen=True)
class Polyak:
    """Gradient descent with Polyak's step, for costs whose least value is known.

    x <- x - alpha g,  alpha = min(relaxation (C - least) / |g|^2, max_step sqrt(n) / |g|),  n = #{i: g_i != 0}

    x and g are `[batch, *event]`, C, alpha and n `[batch]`. Every step is taken, even if the cost rises: that carries
    it over the small valleys of a rough cost, and the caller keeps the best point, as `control` does. A cost at or
    below `least` ends a problem as CONVERGED; a NaN or infinite evaluation ends it as DIVERGED.

    Parameters
    ----------
    max_step
        The longest step, as a root mean square over the coordinates that move, so that padding changes nothing.
    least
        The least value of the cost.
    relaxation
        Above 0, at most 2. 2 is exact for the square of a linear misfit whose least value is attained (Newton's
        method for one equation).
    tolerance
        The largest entry of a gradient that counts as zero: such a problem ends as CONVERGED.

    Raises
    ------
    Misuse
        If `max_step` is not positive and finite, or `relaxation` is outside of (0, 2].

    References
    ----------
    Polyak, Introduction to Optimization (1987), section 5.3.

    Examples
    --------
    C(x) = x_1^2 / 2, whose least value is 0, in one step:

    >>> optimizer = Polyak(max_step=10.0)
    >>> state = optimizer.init(torch.tensor([[4.0, 3.0]]))
    >>> state = optimizer.step(state, 0.5 * state.trial[:, 0] ** 2, state.trial * torch.tensor([1.0, 0.0]))
    >>> state.trial
    tensor([[0., 3.]])
    """

    max_step: float
    least: float = 0.0
    relaxation: float = 2.0
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        _positive("max_step", self.max_step)
        if not 0 < self.relaxation <= 2:
            raise Misuse(f"relaxation is {self.relaxation}.", "Give a number above 0, at most 2.")

    def init(self, x0: Tensor) -> OptimizerState:
        """The state before any evaluation, at x0 `[batch, *event]`; a `Misuse` unless float32 or float64."""
        return OptimizerState(**initial_fields(x0))

    def step(self, state: OptimizerState, value: Tensor, gradient: Tensor) -> OptimizerState:
        """The next state, from the cost `value` `[batch]` and its `gradient` `[batch, *event]` at `state.trial`.

        Other shapes are a `Misuse`.
        """
        new = _accept(state, value, gradient, self.tolerance)
        there = (new.code == RUNNING) & (new.value <= self.least)
        new = replace(new, code=torch.where(there, CONVERGED, new.code).to(torch.int8))
        rows, g = per_problem(_moving(state, new), new.x), new.gradient
        square = dot(g, g)
        # alpha = max_step sqrt(n) / |g| moves the n coordinates by a root mean square of max_step.
        longest = self.max_step * ((g != 0).reshape(len(g), -1).sum(1) / square).sqrt()
        alpha = torch.minimum(self.relaxation * (new.value - self.least) / square, longest)
        return replace(new, trial=torch.where(rows, new.x - per_problem(alpha, g) * g, new.x))


@dataclass(frozen=True)
class Adam:
    """Adam with one state per problem.

    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2,  x <- x - lr mhat / (sqrt(vhat) + eps), with
    mhat = m / (1 - b1^t) and vhat = v / (1 - b2^t) at the t-th evaluation; x, g, m and v are `[batch, *event]`.

    A NaN or infinite evaluation ends a problem as DIVERGED, at its last finite iterate.

    Parameters
    ----------
    lr
        The step length, above 0.
    betas
        b1 and b2, each from 0 to below 1: how much of the two moments is kept at every evaluation.
    eps
        The term added to the root, above 0, in the unit of the gradient.
    normalized
        Whether each problem's gradient is first divided by its root mean square, so that the method and its `eps` do
        not depend on the scale of the cost.
    tolerance
        The largest entry of a gradient that counts as zero: such a problem ends as CONVERGED.

    Raises
    ------
    Misuse
        If `lr` or `eps` is not positive and finite, or an entry of `betas` is outside of [0, 1).

    References
    ----------
    Kingma & Ba, "Adam", ICLR 2015, Algorithm 1.

    Examples
    --------
    The first step has the length `lr`, whatever the gradient:

    >>> optimizer = Adam(lr=0.5)
    >>> state = optimizer.init(torch.tensor([[4.0]]))
    >>> state = optimizer.step(state, 0.5 * state.trial[:, 0] ** 2, state.trial)
    >>> state.trial
    tensor([[3.5000]])
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    normalized: bool = False
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        _positive("lr", self.lr)
        _positive("eps", self.eps)
        for beta in self.betas:
            _below_one("betas", beta)

    def init(self, x0: Tensor) -> AdamState:
        """The state before any evaluation, at x0 `[batch, *event]`; a `Misuse` unless float32 or float64."""
        common = initial_fields(x0)
        zeros = torch.zeros_like(common["x"])
        return AdamState(**common, mean=zeros, square=zeros, decay=_ones(common["value"]))

    def step(self, state: AdamState, value: Tensor, gradient: Tensor) -> AdamState:
        """The next state, from the cost `value` `[batch]` and its `gradient` `[batch, *event]` at `state.trial`.

        Other shapes are a `Misuse`.
        """
        new = _accept(state, value, gradient, self.tolerance)
        moving, g = _moving(state, new), new.gradient
        rows = per_problem(moving, g)
        if self.normalized:
            g = g / per_problem((dot(g, g) / g[:1].numel()).sqrt(), g)
        b1, b2 = self.betas
        mean = torch.where(rows, b1 * state.mean + (1 - b1) * g, state.mean)
        square = torch.where(rows, b2 * state.square + (1 - b2) * (g * g), state.square)
        decay = torch.where(moving[:, None], state.decay * state.decay.new_tensor(self.betas), state.decay)
        # mhat = m / (1 - b1^t) and vhat = v / (1 - b2^t), with t the evaluations of each problem.
        c1, c2 = (per_problem(c, g) for c in (1 - decay).unbind(1))
        trial = new.x - self.lr * (mean / c1) / ((square / c2).sqrt() + self.eps)
        return replace(new, mean=mean, square=square, decay=decay, trial=torch.where(rows, trial, new.x))


def _accept(state: S, value: Tensor, gradient: Tensor, tolerance: float) -> S:
    """Make the trial of every running row its iterate, unless the evaluation is not finite."""
    phi, gradient = read_evaluation(state, value, gradient)
    running, size = state.code == RUNNING, largest_modulus(gradient)
    good = running & torch.isfinite(phi) & torch.isfinite(size)
    rows = per_problem(good, gradient)
    code = torch.where(
        running & ~good, DIVERGED, torch.where(good & (size <= tolerance), CONVERGED, state.code)
    )
    return replace(
        state,
        x=torch.where(rows, state.trial.detach(), state.x),
        value=torch.where(good | (running & state.fresh), phi, state.value),
        gradient=torch.where(rows, gradient, state.gradient),
        iterations=state.iterations + (good & ~state.fresh),
        evaluations=state.evaluations + running,
        accepted=torch.where(running, good, state.accepted),
        code=code.to(torch.int8),
        fresh=state.fresh & ~running,
    )


def _moving(old: OptimizerState, new: OptimizerState) -> Tensor:
    return (old.code == RUNNING) & (new.code == RUNNING)


def _ones(value: Tensor) -> Tensor:
    return torch.ones(value.shape[0], 2, dtype=torch.float64, device=value.device)


def _positive(name: str, number: float) -> None:
    if not 0 < number < float("inf"):
        raise Misuse(f"{name} is {number}.", "Give a positive number.")


def _below_one(name: str, number: float) -> None:
    if not 0 <= number < 1:
        raise Misuse(f"{name} has the entry {number}.", "Give numbers from 0 up to, not including, 1.")
