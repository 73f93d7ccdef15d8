"""The machine: its devices, its idle cores, seconds and memory, versions."""

from __future__ import annotations

import os
import resource
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from headwater.errors import Misuse, suggest
from headwater.solvers.memory import available_memory

DEVICES = ("cpu", "cuda", "mps")


def device_named(name: str | None) -> torch.device:
    """The device of that name, by default a CUDA GPU if there is one, else the CPU.

    Raises
    ------
    Misuse
        There is no such kind of device, or not on this machine.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in DEVICES:
        raise Misuse(f"There is no device {name!r}.", suggest(name, DEVICES))
    missing = {
        "cpu": False,
        "cuda": (device.index or 0) >= torch.cuda.device_count(),
        "mps": not torch.backends.mps.is_available(),
    }
    if missing[device.type]:
        raise Misuse(f"The device {name} is not available on this machine.", "Use --device cpu.")
    return device


def check_room(needed: float, device: torch.device, cure: str) -> None:
    """Refuse work that needs more bytes than are free on a device, before it begins.

    Raises
    ------
    Misuse
        It does not fit; the sentence names both numbers.
    """
    free = available_memory(device)
    if needed > free:
        raise Misuse(f"This needs {_gigabytes(needed)} of memory and {_gigabytes(free)} are free.", cure)


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.0f} MB"


def use_idle_cores() -> None:
    """As many threads as cores that nothing else uses; flush denormals.

    On a busy machine threads that wait for each other at every operation are many times slower than one.
    """
    try:
        busy = os.getloadavg()[0]
    except OSError:
        busy = 0.0
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, round((os.cpu_count() or 1) - busy)))
    torch.set_flush_denormal(True)


@dataclass
class Meter:
    """Seconds and peak memory from its making on.

    Peak memory is that of the tensors on a GPU, and of the whole process on a CPU.
    """

    device: torch.device
    start: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def read(self) -> dict[str, Any]:
        """`seconds`, `peak_memory_bytes` and `peak_memory_of` ("process" or "device")."""
        seconds = round(time.perf_counter() - self.start, 3)
        if self.device.type == "cuda":
            peak, of = torch.cuda.max_memory_allocated(self.device), "device"
        else:
            unit = 1 if sys.platform == "darwin" else 1024
            peak, of = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, "process"
        return {"seconds": seconds, "peak_memory_bytes": int(peak), "peak_memory_of": of}


def versions(*packages: str) -> dict[str, str]:
    """What computed it: Headwater, torch, Python, and those of the packages that are installed."""
    from headwater import __version__

    found = {"headwater": __version__, "torch": str(torch.__version__), "python": sys.version.split()[0]}
    for package in packages:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
