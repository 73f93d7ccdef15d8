"""How much memory an evaluation keeps, how much is free, and how much a block of code needs."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from headwater.flows.flow import Flow
from headwater.problem.cost import Cost, check_values


class PeakMemory(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context that counts the bytes of the tensors that a block of code creates; earlier tensors do not count.

    It counts storages, not an allocator's pages, so that the number is deterministic and the same on every device.

    Attributes
    ----------
    live, peak
        Bytes that live now, and at most so far.

    Examples
    --------
    >>> with PeakMemory() as m:
    ...     for _ in range(10):
    ...         x = torch.zeros(1000)
    >>> m.peak <= 2 * 4000
    True
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live, self.peak = 0, 0
        self._seen: dict[int, int] = {}

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run the operation and count the storages of its results."""
        out = func(*args, **(kwargs or {}))
        inputs = {_key(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and _key(leaf) not in inputs:
                self._count(leaf)
        return out

    def _count(self, x: Tensor) -> None:
        storage = x.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._seen:
            return
        self._seen[key] = size
        self.live += size
        self.peak = max(self.peak, self.live)
        # Freed with the storage, not with the tensor: views and saved tensors keep it alive.
        weakref.finalize(storage, self._release, key)

    def _release(self, key: int) -> None:
        self.live -= self._seen.pop(key, 0)


def _key(x: Tensor) -> int:
    return int(x.untyped_storage()._cdata)


def activation_bytes(flow: Flow, x: Tensor, t: float = 0.5) -> int:
    """Bytes that autograd keeps of one evaluation v(x, t) for its backward pass, for the whole batch.

    Every tensor saved for the backward pass counts once; weights and x do not. It evaluates the network once.

    Parameters
    ----------
    flow
        The velocity field.
    x
        `[batch, *event]`, of which only the size matters.
    t
        The time of the evaluation.

    Returns
    -------
    bytes
        For all problems of x.

    Examples
    --------
    >>> from headwater import Flow
    >>> activation_bytes(Flow(lambda x, t: x**2, shape=(1000,)), torch.ones(2, 1000))   # a copy of x, in float32
    8000
    """
    weights = {p.untyped_storage().data_ptr() for m in flow.modules for p in m.state_dict().values()}
    return kept_bytes(lambda z: flow(z, torch.tensor(t)), x, weights)


def kept_bytes(function: Callable[[Tensor], Tensor], x: Tensor, but: Collection[int] = ()) -> int:
    """Bytes that autograd keeps of function(x) for its backward pass.

    Every tensor saved counts once, but those whose data lie at the addresses `but`, parameters, and x itself.

    Examples
    --------
    >>> kept_bytes(lambda x: (x.exp() ** 2).sum(1), torch.ones(2, 1000))  # exp(x), in float32
    8000
    """
    kept: dict[int, int] = {}

    def pack(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in but and not isinstance(saved, torch.nn.Parameter):
            kept[storage.data_ptr()] = storage.nbytes()
        return saved

    x = x.detach().requires_grad_()
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved):
        out = function(x)  # keeps the graph, and with it the storages, alive until counted
    kept.pop(x.untyped_storage().data_ptr(), None)
    del out
    return sum(kept.values())


def cost_bytes(cost: Cost, x: Tensor) -> int:
    """Bytes at the peak of C(x) `[batch]` and its gradient, on top of x `[batch, *event]`; it is evaluated once.

    A decoder in a cost takes more on its way back than it keeps, as its gradients live beside what was kept.

    Raises
    ------
    Misuse
        The cost does not return one differentiable value per problem.

    Examples
    --------
    exp(x), its square, and then their gradients, of 8000 bytes each:

    >>> 24_000 <= cost_bytes(lambda x: (x.exp() ** 2).sum(1), torch.ones(2, 1000)) < 41_000
    True
    """
    with PeakMemory() as memory:
        x1 = x.detach().clone().requires_grad_()
        with torch.enable_grad():
            value = check_values(cost, cost(x1), len(x), x1)
        torch.autograd.grad(value.sum(), x1)
    peak: int = memory.peak
    return peak


def available_memory(device: torch.device) -> int:
    """Bytes that are free on a device; in a container, at most those up to its limit.

    Parameters
    ----------
    device
        A CPU or a CUDA device.

    Returns
    -------
    bytes
        What the driver of a GPU reports and what torch keeps there of earlier work; or what the system reports, half
        of the memory of a system that reports nothing.

    Examples
    --------
    >>> available_memory(torch.device("cpu")) > 0
    True
    """
    if device.type == "cuda":
        idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0] + idle)
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return min(free, _left_in_container())


def usable_memory(device: torch.device) -> float:
    """Bytes that work may plan with: 60 % of what is free; the rest is left to the allocator and to others.

    Examples
    --------
    >>> usable_memory(torch.device("cpu")) > 0
    True
    """
    return 0.6 * available_memory(device)


def _left_in_container() -> int:
    """Bytes up to the limit of a container (cgroup v2), or a very large number."""
    try:
        limit, used = (
            Path("/sys/fs/cgroup", f"memory.{n}").read_text(encoding="utf-8").strip()
            for n in ("max", "current")
        )
    except OSError:
        return 2**62
    return 2**62 if limit == "max" else max(int(limit) - int(used), 0)
