"""The networks behind a velocity: how they are found, and how they are kept from being differentiated."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def find_networks(thing: object, depth: int = 5) -> tuple[nn.Module, ...]:
    """The networks among the attributes of a velocity, and theirs."""
    if isinstance(thing, nn.Module):
        return (thing,)
    if depth == 0 or inspect.isclass(thing) or inspect.isfunction(thing) or isinstance(thing, Tensor):
        return ()
    if inspect.ismethod(thing):
        inner: Sequence[object] = [thing.__self__]
    elif isinstance(thing, functools.partial):
        inner = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, dict | list | tuple):
        parts = list(thing.values() if isinstance(thing, dict) else thing)
        inner = parts if len(parts) <= 64 else []  # a few networks, not a data set
    else:
        inner = list(getattr(thing, "__dict__", {}).values())
    found = [m for part in inner for m in find_networks(part, depth - 1)]
    return tuple(dict.fromkeys(found))


@contextmanager
def freeze_networks(modules: tuple[nn.Module, ...]) -> Iterator[None]:
    """Switch off `requires_grad` of the modules' parameters for the length of a call that is differentiated."""
    differentiated = torch.is_grad_enabled()
    free = [p for m in modules for p in m.parameters() if p.requires_grad] if differentiated else []
    for p in free:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in free:
            p.requires_grad_(True)


CPU = torch.device("cpu")


def device_of(modules: Iterable[nn.Module], otherwise: torch.device = CPU) -> torch.device:
    """Where networks are: the device of the first parameter; another one, by default the CPU, if there is none.

    >>> device_of([torch.nn.Linear(1, 1)])
    device(type='cpu')
    """
    return next((p.device for net in modules for p in net.parameters()), otherwise)
