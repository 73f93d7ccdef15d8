"""How a problem ended: an enum whose value is the sentence shown to the user."""

from __future__ import annotations

from enum import Enum


class Status(Enum):
    """How one problem ended; the value is the sentence for the user.

    `ok` is True for REACHED, COMPUTED and CONVERGED. A failure of the numerics is a status, never an exception.

    Examples
    --------
    >>> Status.REACHED.ok, Status.STALLED.ok
    (True, False)
    >>> print(Status.DIVERGED.value)
    The cost or its gradient became NaN or infinite; the last finite point, if any, was kept.
    """

    RUNNING = "The problem is still being optimised."
    REACHED = "The stop criterion was reached."
    COMPUTED = "The answer was computed directly; nothing was optimised."
    CONVERGED = "No step improves the cost any more, up to rounding."
    EVALUATIONS = "The limit of evaluations was reached before the stop criterion."
    SECONDS = "The time limit was reached before the stop criterion."
    STALLED = "The line search found no better point, not even along the negative gradient."
    DIVERGED = "The cost or its gradient became NaN or infinite; the last finite point, if any, was kept."
    MISSED = "The goal was not reached, and no step comes nearer to it any more."
    OVERFITTED = "The misfit is far below the noise level: noise was fitted, or there is less than was told."
    DEGENERATE = (
        "A few particles carry all of the weight, so the sample is hardly one of the law that was asked for."
    )
    IMPROPER = "The density has no peak where the sample ended, so it likely belongs to no law."
    CANCELLED = "The run was cancelled; the best point so far was kept."

    @property
    def ok(self) -> bool:
        """Whether the optimisation ended by its own criterion."""
        return self in (Status.REACHED, Status.COMPUTED, Status.CONVERGED)
