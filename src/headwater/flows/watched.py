"""A flow that asks before every evaluation of its network whether to go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from headwater.flows.flow import Flow
from headwater.flows.prediction import Velocity
from headwater.optimizers.status import Status
from headwater.problem.batch import select

Check = Callable[[], Status | None]


class Ended(Exception):
    """Raised in place of an evaluation of the network once the run is to end; recipes and `control` catch it.

    It passes through `control` only where no evaluation was complete, and through `solve` always.

    Parameters
    ----------
    status
        Why: CANCELLED or SECONDS.

    Examples
    --------
    >>> from headwater import Status
    >>> str(Ended(Status.CANCELLED))
    'The run was cancelled; the best point so far was kept.'
    """

    def __init__(self, status: Status) -> None:
        super().__init__(status.value)
        self.status = status


@dataclass(frozen=True)
class WatchedVelocity:
    """v(x, t), evaluated as long as `check()` is None; see `watch_flow`."""

    velocity: Velocity
    check: Check

    def select(self, index: Tensor) -> WatchedVelocity:
        """The velocity of the problems in `index` `[k]`."""
        return replace(self, velocity=select(self.velocity, index))

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        if (status := self.check()) is not None:
            raise Ended(status)
        return self.velocity(x, t)


def watch_flow(flow: Flow, check: Check) -> Flow:
    """The flow that raises `Ended` before an evaluation of its network once `check()` gives a status.

    A callback is heard once a round, which is a whole solve and its gradient. This is heard between any two
    evaluations: of a flow on a canvas, watch the flow of its window.

    Parameters
    ----------
    flow
        A flow with events `[*event]`.
    check
        Called without arguments before every evaluation; None means go on.

    Returns
    -------
    flow
        The same velocity, shape `[*event]`, path and range.

    Examples
    --------
    A run that is cancelled after 40 evaluations keeps its best point.

    >>> import torch
    >>> from headwater import Flow, Status, control
    >>> left = iter(range(40))
    >>> flow = Flow(lambda x, t: -x, (2,))
    >>> watched = watch_flow(flow, lambda: None if next(left, None) is not None else Status.CANCELLED)
    >>> result = control(watched, lambda x1: (x1 - 1).square().sum(1), flow.noise([0]), steps=6)
    >>> result.status[0].name, result.gradients.item() >= 1, bool(torch.isfinite(result.x1).all())
    ('CANCELLED', True, True)
    """
    return replace(flow, velocity=WatchedVelocity(flow.velocity, check))
