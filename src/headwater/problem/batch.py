"""Data that belongs to single problems of a batch, and how it follows those that still run.

The first axis of every tensor is the problem. A problem that has ended is left out of all further evaluations, so
whatever holds one entry per problem (a measurement, a mask, a label) must be able to give the entries of some of the
problems. There are three ways to say how, and nothing is guessed:

- `Each(f, y=y, mask=mask)` holds the data and hands f the rows of the running problems;
- an object has a method `select(index)` that returns it for the problems in `index`, an integer tensor;
- `WholeBatch(f)` says that f cannot be restricted: then no problem is ever left out.

Anything else promises to treat every problem alike; `control` checks that at its start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from headwater.errors import Misuse
from headwater.text import counted

T = TypeVar("T")


class CannotRestrict(Misuse):
    """Something declared `WholeBatch` was to be evaluated for some of its problems.

    `control` and the solvers catch it and evaluate the whole batch.

    Parameters
    ----------
    what, cure
        As those of `Misuse`.

    Examples
    --------
    >>> from headwater import WholeBatch
    >>> try:
    ...     WholeBatch(lambda x1: x1.sum(1)).select(torch.tensor([0]))
    ... except CannotRestrict as error:
    ...     print(error.cure)
    Declare its per-problem data with Each(f, **data), or evaluate all problems together.
    """


def select(thing: T, index: Tensor) -> T:
    """The thing for the problems in `index` `[k]` int64; itself if it has no method `select`.

    A method of an object, such as `misfit.rms`, is that of the object for these problems.
    """
    if isinstance(thing, MethodType):
        part: T = getattr(select(thing.__self__, index), thing.__name__)
        return part
    method = getattr(thing, "select", None)
    return thing if method is None else method(index)


def select_rows(value: Any, index: Tensor) -> Any:
    """The entries of per-problem data for the problems in `index` `[k]`; shared data is returned as it is.

    A tensor whose first axis is 1, or that has no axis, is shared, and so are numbers and strings; other tensors
    `[batch, ...]` give `[k, ...]`. A list or tuple has one entry per problem, or a single one for all. Anything with
    a method `select` is selected by it.

    Examples
    --------
    >>> index = torch.tensor([2, 0])
    >>> select_rows(torch.tensor([5, 6, 7]), index), select_rows(["a", "b", "c"], index), select_rows(3.0, index)
    (tensor([7, 5]), ['c', 'a'], 3.0)
    """
    if isinstance(value, Tensor):
        return value if value.ndim == 0 or len(value) == 1 else value[index.to(value.device)]
    if isinstance(value, np.ndarray):
        return value if value.ndim == 0 or len(value) == 1 else value[index.cpu().numpy()]
    if isinstance(value, Mapping):
        return {key: select_rows(entry, index) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        if len(value) == 1:
            return value
        some = [value[i] for i in index.tolist()]
        return tuple(some) if isinstance(value, tuple) else some
    return select(value, index)


class Each:
    """A function with per-problem data: `Each(f, **data)(x, ...)` is `f(x, ..., **data)`.

    It serves velocities `f(x, t, **data)`, costs `f(x1, **data)`, priors `f(x0, **data)` and operators alike.

    Parameters
    ----------
    function
        Any callable of x `[batch, ...]`; networks among its attributes are found as those of any velocity.
    data
        Tensors or arrays `[batch, ...]`, or lists with one entry per problem, by name; also mappings of them. A first
        axis of 1, or none, is shared by all problems; it reaches the function as it is, and has to broadcast there.

    Raises
    ------
    Misuse
        When it is called with another number of problems than the data has.

    Examples
    --------
    >>> velocity = Each(lambda x, t, rate: rate[:, None] * x, rate=torch.tensor([1.0, 2.0, 3.0]))
    >>> velocity.select(torch.tensor([2]))(torch.ones(1, 2), torch.tensor(0.5))
    tensor([[3., 3.]])

    A target of its own for each of two problems:

    >>> from headwater import Gaussian, control
    >>> flow = Gaussian(torch.zeros(1), torch.ones(1)).flow
    >>> cost = Each(lambda x1, target: (x1[:, 0] - target).square(), target=torch.tensor([1.0, -2.0]))
    >>> control(flow, cost, flow.noise([0, 1])).x1.round(decimals=2).tolist()
    [[1.0], [-2.0]]
    """

    def __init__(self, function: Callable[..., Any], /, **data: Any) -> None:
        self.function, self.data = function, data
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, x: Tensor, *arguments: Any) -> Any:
        """f(x, ...) with the data, x `[batch, ...]`; a `Misuse` if the data has rows for other problems than x."""
        for name, value in self.data.items():
            for count in row_counts(value):
                if count not in (1, len(x)):
                    raise Misuse(
                        f"The data {name!r} of {self.__name__} has {counted(count, 'row')} for "
                        f"{counted(len(x), 'problem')}.",
                        "Give one row for each problem, or a single one for all of them.",
                    )
        return self.function(x, *arguments, **self.data)

    def select(self, index: Tensor) -> Each:
        """The function with the data of the problems in `index`, int64 `[k]`."""
        return Each(select(self.function, index), **{k: select_rows(v, index) for k, v in self.data.items()})


def row_counts(value: Any) -> list[int]:
    """The numbers of rows of per-problem data: one of a tensor, array or list, those of all entries of a mapping."""
    if isinstance(value, Mapping):
        return [count for entry in value.values() for count in row_counts(entry)]
    if isinstance(value, Tensor | np.ndarray):
        return [len(value)] if value.ndim else []
    return [len(value)] if isinstance(value, list | tuple) else []


class WholeBatch:
    """A function that can only be evaluated for all problems at once.

    With one of these `control` evaluates problems that have ended along with the others, and does not check that
    problems are independent: a batch of k is then one thing, and not k runs of one.

    Parameters
    ----------
    function
        Any callable of x `[batch, ...]`.

    Examples
    --------
    >>> cost = WholeBatch(lambda x1: (x1 - x1.mean(0)).square().sum(1))
    >>> cost(torch.tensor([[1.0], [3.0]]))
    tensor([1., 1.])
    """

    def __init__(self, function: Callable[..., Any], /) -> None:
        self.function = function
        self.__name__ = getattr(function, "__name__", type(function).__name__)

    def __call__(self, x: Tensor, *arguments: Any) -> Any:
        """f(x, ...) of the whole batch x `[batch, ...]`."""
        return self.function(x, *arguments)

    def select(self, index: Tensor) -> WholeBatch:
        """Raise `CannotRestrict`, whatever the `index` `[k]`; `control` then evaluates the whole batch."""
        raise CannotRestrict(
            f"{self.__name__} was declared WholeBatch, so it cannot be evaluated for some of its problems.",
            "Declare its per-problem data with Each(f, **data), or evaluate all problems together.",
        )


def can_restrict(*things: Any) -> bool:
    """Whether neither the things nor their parts were declared `WholeBatch`."""
    try:  # `select` of a composition selects its parts, so one call reaches them all
        for thing in things:
            select(thing, torch.zeros(1, dtype=torch.long))
    except CannotRestrict:
        return False
    return True


def per_problem(value: Tensor, like: Tensor) -> Tensor:
    """One value per problem `[batch]`, or a scalar for all, shaped to broadcast against `like` `[batch, ...]`.

    It is cast to the dtype of `like`, so that float64 scalars do not promote a float32 state; a mask stays bool.

    Examples
    --------
    >>> (per_problem(torch.tensor([1.0, 2.0]), torch.ones(2, 3, 4)) * torch.ones(2, 3, 4)).sum((1, 2))
    tensor([12., 24.])
    """
    shaped = value.reshape(-1, *[1] * (like.ndim - 1)) if value.ndim else value
    return shaped if shaped.dtype == torch.bool else shaped.to(like.dtype)


def spread_sample(count: int, most: int = 4) -> Sequence[int]:
    """Up to `most` of the indices of `count` problems, spread over the batch; the last is always among them.

    Examples
    --------
    >>> list(spread_sample(9)), list(spread_sample(2)), list(spread_sample(1))
    ([1, 3, 5, 8], [0, 1], [0])
    """
    few = min(count, most)
    # Never the first alone: a function that takes the first row of its data would pass for it.
    return sorted({(i + 1) * count // few - 1 for i in range(few)})
