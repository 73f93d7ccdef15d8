"""The status of samples of several flows: not finite means diverged, and each method names what else is wrong."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from headwater.optimizers.status import Status


def status_of(x1: Tensor, wrong: Mapping[Status, Tensor] | None = None) -> tuple[Status, ...]:
    """One status for each sample of x1 `[batch, *event]`: DIVERGED if it is not finite, COMPUTED if nothing is wrong.

    Parameters
    ----------
    x1
        The samples.
    wrong
        Other ends, with the problems that have them, bool `[batch]`.

    Examples
    --------
    >>> x1, few = torch.tensor([[0.0], [1.0], [torch.nan]]), torch.tensor([False, True, True])
    >>> [status.name for status in status_of(x1, {Status.DEGENERATE: few})]
    ['COMPUTED', 'DEGENERATE', 'DIVERGED']
    """
    found = [Status.COMPUTED] * len(x1)
    ends = {**(wrong or {}), Status.DIVERGED: ~x1.isfinite().flatten(1).all(1)}
    for status, where in ends.items():
        for i in where.nonzero().flatten().tolist():
            found[i] = status
    return tuple(found)
