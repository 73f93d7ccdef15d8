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


def use_idle_cores(most: int | None = None) -> None:
    """As many threads as cores that nothing else uses, `most` at most; flush denormals.

    On a busy machine threads that wait for each other at every operation are many times slower than one.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        idle = max(1, round(count_idle_cores()))
        torch.set_num_threads(idle if most is None else min(idle, most))
    torch.set_flush_denormal(True)


def count_idle_cores(seconds: float = 0.1) -> float:
    """The cores that nothing uses, by the time that they idle while this process sleeps for some `seconds`.

    The load average of the last minute would count what this process itself has done, and not see a program that
    has just begun; it is taken where there is no /proc/stat.
    """
    cores = os.cpu_count() or 1
    try:
        before = read_core_times()
        time.sleep(seconds)
        idle, total = (b - a for a, b in zip(before, read_core_times(), strict=True))
        return cores * idle / total if total else float(cores)
    except (OSError, ValueError):
        pass
    try:
        return cores - os.getloadavg()[0]
    except OSError:
        return float(cores)


def read_core_times() -> tuple[int, int]:
    """The idle time and the time of all cores since the start of the machine, in ticks."""
    with open("/proc/stat", encoding="ascii") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)


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
