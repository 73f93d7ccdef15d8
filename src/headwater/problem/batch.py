"""Restricting things that belong to a batch of problems to some of its problems.

The optimiser drops finished problems from the batch. Whatever holds one entry per problem (a measurement,
a mask, a label) follows by a method `select(index)` that returns it for the problems in `index`, an integer
tensor; whatever has no such method is the same for all problems.
"""

from __future__ import annotations

from typing import TypeVar

from torch import Tensor

T = TypeVar("T")


def select(thing: T, index: Tensor) -> T:
    """thing for the problems in `index`; itself if it has no `select`."""
    method = getattr(thing, "select", None)
    return thing if method is None else method(index)


def rows(value: Tensor, index: Tensor) -> Tensor:
    """The rows of a per-problem tensor; one that is shared (first axis 1 or no axis) stays as it is."""
    return value if value.ndim == 0 or len(value) == 1 else value[index.to(value.device)]
