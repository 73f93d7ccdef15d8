"""Networks with a condition, such as labels or embeddings of a prompt, and classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.problem.batch import row_counts, select, select_rows
from headwater.text import counted

Combine = Callable[[Tensor, Tensor, float], Tensor]
"""combine(v_null, v_condition, guidance) -> v, all `[batch, ...]`."""


class Guided:
    """The velocity of a conditional network, with classifier-free guidance.

    v = v_null + w (v_condition - v_null), eq. 6 of Ho & Salimans 2022 with w the `guidance`, written for a velocity:
    on one path noise, data and velocity are affine in each other, so guidance of one is guidance of all.

    Parameters
    ----------
    network
        Any callable `network(x, t, **condition)` of x `[batch, ...]`, t `[]` or `[batch]`, that returns a tensor
        like x.
    condition
        Tensors by the name of their argument, one row per problem, or a single one for all problems.
    null
        The same names with the tensors of no condition, such as those of an empty prompt; None means that the
        network has none, and then the guidance has to be 1.
    guidance
        The weight w: 1 is the conditional network alone and costs one evaluation, 0 the unconditional one; any other
        costs two.
    together
        Whether both evaluations are one call of the network with twice the batch; False saves memory.
    combine
        What makes one velocity of both, combine(v_null, v_condition, guidance), all `[batch, ...]`; None: eq. 6.

    Raises
    ------
    Misuse
        The guidance is not finite; there is guidance without `null`; a tensor has rows for other problems than x.

    References
    ----------
    Ho & Salimans, "Classifier-Free Diffusion Guidance", 2022.

    Examples
    --------
    Two problems with conditions of their own; the velocity without a condition is 0:

    >>> from headwater import Flow
    >>> velocity = Guided(
    ...     lambda x, t, to: to - x, {"to": torch.tensor([[1.0], [2.0]])}, {"to": torch.zeros(1, 1)}, guidance=3.0
    ... )
    >>> flow = Flow(velocity, shape=(1,))
    >>> flow(torch.zeros(2, 1), torch.tensor(0.5)).tolist()
    [[3.0], [6.0]]
    >>> velocity.select(torch.tensor([1]))(torch.zeros(1, 1), torch.tensor(0.5)).tolist()
    [[6.0]]
    """

    def __init__(
        self,
        network: Callable[..., Tensor],
        condition: Mapping[str, Tensor],
        null: Mapping[str, Tensor] | None = None,
        *,
        guidance: float = 1.0,
        together: bool = True,
        combine: Combine | None = None,
    ) -> None:
        if not abs(guidance) < float("inf"):
            raise Misuse(f"A guidance of {guidance} is not finite.", "Give a number, such as 1.0 for none.")
        if null is None and guidance != 1.0:
            raise Misuse(
                f"A guidance of {guidance} needs the network without its condition.",
                "Give `null`, the tensors of no condition.",
            )
        self.network, self.condition, self.null = network, dict(condition), null and dict(null)
        self.guidance, self.together, self.combine = guidance, together, combine

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """The guided velocity of x `[batch, ...]` at t `[]` or `[batch]`."""
        if self.guidance == 1.0 or self.null is None:
            return self.network(x, t, **expand_rows(self.condition, len(x)))
        if self.guidance == 0.0:
            return self.network(x, t, **expand_rows(self.null, len(x)))
        null, v = self.both(x, t)
        if self.combine is not None:
            return self.combine(null, v, self.guidance)
        return null + self.guidance * (v - null)

    def both(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The velocities without and with the condition."""
        with_it, without = expand_rows(self.condition, len(x)), expand_rows(self.null or {}, len(x))
        if not self.together:
            return self.network(x, t, **without), self.network(x, t, **with_it)
        rows = {name: torch.cat([without[name], value]) for name, value in with_it.items()}
        times = torch.cat([t, t]) if t.ndim else t
        null, v = self.network(torch.cat([x, x]), times, **rows).chunk(2)
        return null, v

    def select(self, index: Tensor) -> Guided:
        """The velocity of the problems in `index`, int64 `[k]`, with their conditions."""
        return Guided(
            select(self.network, index),
            select_rows(self.condition, index),
            None if self.null is None else select_rows(self.null, index),
            guidance=self.guidance,
            together=self.together,
            combine=self.combine,
        )


def expand_rows(condition: Mapping[str, Any], batch: int) -> dict[str, Any]:
    """The condition with one row for each of `batch` problems; a `Misuse` if it has rows for other problems.

    Examples
    --------
    >>> expand_rows({"label": torch.tensor([7])}, 3)
    {'label': tensor([7, 7, 7])}
    """
    rows = {}
    for name, value in condition.items():
        for count in row_counts(value):
            if count not in (1, batch):
                raise Misuse(
                    f"The condition {name!r} has {counted(count, 'row')} for {counted(batch, 'problem')}.",
                    "Give one row for each problem, or a single one for all of them.",
                )
        rows[name] = (
            value.expand(batch, *value.shape[1:]) if isinstance(value, Tensor) and value.ndim else value
        )
    return rows
