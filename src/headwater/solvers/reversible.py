"""A solve that can be run backwards exactly: two coupled copies of the state (McCallum & Foster 2024, section 3).

With psi_h(x, t) the increment of any explicit method over a step h from t, and c the coupling:

    forwards    y' = c y + (1 - c) z + psi_h(z, t)          z' = z - psi_-h(y', t + h)
    backwards   z = z' + psi_-h(y', t + h)                  y = (y' - (1 - c) z - psi_h(z, t)) / c

Backwards undoes forwards algebraically, whatever the velocity and the length of the steps: what is left is rounding.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow, require_full_precision
from headwater.solvers.checks import require_evaluation_mode
from headwater.solvers.fixed import Grid, reverse_grid, rising_grid
from headwater.solvers.method import MIDPOINT, Method


@dataclass(frozen=True)
class Pair:
    """The state of a reversible solve, two copies of the solution; only the pair can be run backwards exactly.

    They differ by about the error of the method.

    Attributes
    ----------
    y
        The solution `[batch, *event]`.
    z
        Its companion `[batch, *event]`.

    Examples
    --------
    >>> import torch
    >>> from headwater.solvers import Pair
    >>> pair = Pair(torch.ones(1, 2), torch.ones(1, 2))
    >>> pair.y.shape
    torch.Size([1, 2])
    """

    y: Tensor
    z: Tensor


@dataclass(frozen=True)
class Reversible:
    """A solver whose inversion closes to rounding, of the order of its method, by two coupled copies of the state.

    Parameters
    ----------
    method
        The rule psi of one step.
    steps
        A number of uniform steps from 0 to 1, or the rising times themselves.
    coupling
        c, above 0 and at most 1. Backwards the difference of the pair grows by 1/c a step, so c^-steps should stay
        small; below 1 it damps the difference forwards.

    Raises
    ------
    Misuse
        If the coupling is outside of (0, 1], or the times do not rise in [0, 1].

    Notes
    -----
    A step takes twice the evaluations of its method. Rounding errors grow backwards by about c^-steps: 1.3 at 24
    steps with the default. A velocity with a large Lipschitz constant L needs short steps, h L below about 1, since
    the scheme is explicit both ways: the round trip still closes, but the pair drifts apart, and the source point
    found means little (see `drift` in the example).

    References
    ----------
    McCallum & Foster, "Efficient, accurate and stable gradients for neural ODEs", 2024, section 3; Wallace et al.,
    "EDICT: Exact diffusion inversion via coupled transformations", CVPR 2023, for the first of this kind.

    Examples
    --------
    Three steps are a poor solve of dx/dt = -4x, and the way back and forth still ends where it began.

    >>> from headwater import Flow
    >>> flow = Flow(lambda x, t: -4 * x, shape=(1,))
    >>> solver, x1 = Reversible(steps=3), torch.tensor([[0.5]], dtype=torch.float64)
    >>> source = solver.invert(flow, x1)
    >>> back = solver.solve(flow, source)
    >>> bool((back.y - x1).abs() < 1e-12), bool((back.z - x1).abs() < 1e-12)
    (True, True)
    >>> drift = float((source.y - source.z).abs())
    >>> drift > 1
    True
    """

    method: Method = MIDPOINT
    steps: int | Sequence[float] = 24
    coupling: float = 0.99

    def __post_init__(self) -> None:
        if not 0 < self.coupling <= 1:
            raise Misuse(
                f"The coupling is {self.coupling:g}.", "Give a number above 0, at most 1, such as 0.99."
            )
        rising_grid(self.steps)

    @property
    def grid(self) -> Grid:
        """The times, rising."""
        return rising_grid(self.steps)

    @property
    def evaluations(self) -> int:
        """Evaluations of the network for one solve, either way."""
        return 2 * self.method.evaluations * (len(self.grid) - 1)

    def solve(self, flow: Flow, start: Tensor | Pair) -> Pair:
        """The pair at the last time, from x0 or a pair `[batch, *event]` at the first."""
        return self.trajectory(flow, start)[-1]

    def invert(self, flow: Flow, end: Tensor | Pair) -> Pair:
        """The pair at the first time that `solve` carries to x1, or to the pair, `[batch, *event]`, at the last."""
        return self.trajectory_back(flow, end)[0]

    def trajectory(self, flow: Flow, start: Tensor | Pair) -> list[Pair]:
        """The pairs `[batch, *event]` of `solve` at every time, the first included."""
        pairs = [as_pair(flow, start)]
        for t, t_next in itertools.pairwise(self.grid):
            pairs.append(self.step(flow, pairs[-1], t, t_next))
        return pairs

    def trajectory_back(self, flow: Flow, end: Tensor | Pair) -> list[Pair]:
        """The pairs `[batch, *event]` of `invert` at every time in rising order, the last included."""
        pairs = [as_pair(flow, end)]
        for t_next, t in itertools.pairwise(reverse_grid(self.grid)):
            pairs.append(self.step_back(flow, pairs[-1], t, t_next))
        return pairs[::-1]

    def step(self, flow: Flow, pair: Pair, t: float, t_next: float) -> Pair:
        """The pair `[batch, *event]` at t_next from that at t."""
        c = self.coupling
        y = c * pair.y + (1 - c) * pair.z + self.increment(flow, pair.z, t, t_next)
        return Pair(y, pair.z - self.increment(flow, y, t_next, t))

    def step_back(self, flow: Flow, pair: Pair, t: float, t_next: float) -> Pair:
        """The pair `[batch, *event]` at t that `step` carries to this one at t_next."""
        c = self.coupling
        z = pair.z + self.increment(flow, pair.y, t_next, t)
        return Pair((pair.y - (1 - c) * z - self.increment(flow, z, t, t_next)) / c, z)

    def increment(self, flow: Flow, x: Tensor, t: float, t_next: float) -> Tensor:
        """psi, what a step of the method from t to t_next adds to x `[batch, *event]`."""
        now, end = (torch.tensor(s, dtype=torch.float64) for s in (t, t_next))
        return self.method.step(flow, flow.path, x, now, end) - x


def as_pair(flow: Flow, state: Tensor | Pair) -> Pair:
    """A pair of equal states, or the pair itself; a `Misuse` if they are no events of the flow."""
    pair = state if isinstance(state, Pair) else Pair(state, state)
    for x in (pair.y, pair.z):
        if tuple(x.shape[1:]) != flow.shape or x.ndim != len(flow.shape) + 1:
            raise Misuse(
                f"The state has shape {tuple(x.shape)} but the flow's events have shape {flow.shape}.",
                "Give it in the shape [batch, *flow.shape].",
            )
        require_full_precision(x)
    require_evaluation_mode(flow)
    return pair
