"""First steps by one flow, the others by another: diversity of a base model, speed or quality of a second one.

Diversity distillation (Gandikota & Bau 2025): a distilled or strongly guided model settles the picture at its first
step, so that all seeds look alike. The base model takes that step, the other all that follow:

    for t, t_next in grid:   x <- step(base if t < at else second, x, t, t_next)
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.flows.flow import Flow
from headwater.flows.scaled import ROUNDING
from headwater.problem.batch import per_problem


@dataclass(frozen=True, eq=False)
class SwitchedVelocity:
    """v of the first flow before the time `at`, of the second from then on; see `switch_flows`."""

    first: Flow
    second: Flow
    at: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        early = t < self.at - ROUNDING
        if bool(early.all()):
            return self.first(x, t)
        if not bool(early.any()):
            return self.second(x, t)
        return torch.where(per_problem(early, x), self.first(x, t), self.second(x, t))

    def select(self, index: Tensor) -> SwitchedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, first=self.first.select(index), second=self.second.select(index))


def switch_flows(first: Flow, second: Flow, at: float) -> Flow:
    """The flow that is `first` before the time `at` and `second` from then on.

    x1 is exactly the second flow's solution through the first one's state at that time, if `at` is a time of the
    grid and the method does not evaluate at the end of a step (`EULER`, `MIDPOINT`, `DDIM`); any other blurs the
    switch.

    Parameters
    ----------
    first
        The more diverse model, such as one without guidance, with events `[*event]`.
    second
        The other one, on the same path.
    at
        The time of the switch, in (0, 1).

    Returns
    -------
    flow
        With events `[*event]`, the path of both and the range of the second.

    Raises
    ------
    Misuse
        If the events or the paths differ, or the time is not in (0, 1).

    References
    ----------
    Gandikota & Bau, "Distilling Diversity and Control in Diffusion Models", 2025.

    Examples
    --------
    >>> from headwater import EULER, Flow, solve
    >>> up, down = Flow(lambda x, t: 1 + 0 * x, (1,)), Flow(lambda x, t: -1 + 0 * x, (1,))
    >>> solve(switch_flows(up, down, at=0.75), torch.zeros(1, 1), method=EULER, steps=4).item()
    0.5
    """
    if first.shape != second.shape:
        raise Misuse(
            f"The first flow has events {first.shape} and the second {second.shape}.",
            "Give two of one shape.",
        )
    if not 0 < at < 1:
        raise Misuse(f"A switch at {at} leaves nothing to one of the flows.", "Give a time between 0 and 1.")
    require_same_path([first, second])
    return replace(
        second,
        velocity=SwitchedVelocity(first, second, at),
        modules=(*first.modules, *second.modules),
        dtype=None,
    )


def require_same_path(flows: list[Flow]) -> None:
    """Refuse flows whose states at a time are not equally noisy.

    Raises
    ------
    Misuse
        If alpha or sigma of two paths differ.
    """
    t = torch.linspace(0, 1, 9, dtype=torch.float64)
    for flow in flows[1:]:
        for name in ("alpha", "sigma"):
            gap = getattr(flow.path, name)(t) - getattr(flows[0].path, name)(t)
            if not bool(gap.abs().max() < 1e-6):
                raise Misuse(
                    "The flows are on different paths, so their states at one time are not equally noisy.",
                    "Give flows of one path, such as those of one network with two prompts.",
                )
