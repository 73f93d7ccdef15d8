"""Workers: processes of this machine, each in an executor of its own, so that the death of one harms no other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from typing import Any, Protocol, TypeVar

import torch

from headwater.batch.work import Carrier, Parcel
from headwater.errors import Misuse

T = TypeVar("T")


class Worker(Protocol):
    """Something that carries parcels out elsewhere."""

    def start(self) -> Future[int]:
        """Begin anew; the future is there when it can be given a parcel."""

    def submit(self, parcel: Parcel) -> Future[list[str]]:
        """Carry a parcel out."""

    def is_death(self, error: BaseException) -> bool:
        """Whether what a future raised is the death of the worker, and not a failure of the work."""

    def stop(self) -> None:
        """End at once; what is not published is lost."""


class Crew(Protocol):
    """Where the workers come from."""

    def open(self, carrier: Carrier) -> Sequence[Worker]:
        """The workers, not yet started."""

    def close(self) -> None:
        """Give back what `open` took."""


@dataclass(frozen=True)
class Processes:
    """Workers that are processes of this machine.

    Parameters
    ----------
    count
        How many; 0 means that this process itself does the jobs, one after the other.
    threads
        Threads of each for torch; by default the cores, shared out.

    Raises
    ------
    Misuse
        The count is negative.

    Examples
    --------
    >>> from headwater.batch import Processes
    >>> Processes(2, threads=1)
    Processes(count=2, threads=1)
    """

    count: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.count < 0:
            raise Misuse(
                f"There are no {self.count} workers.", "Give 1 or more, or 0 for this process itself."
            )

    def open(self, carrier: Carrier) -> Sequence[Worker]:
        """The workers, not yet started."""
        if not self.count:
            return [ThisProcess(carrier)]
        threads = self.threads or max(1, (os.cpu_count() or 1) // self.count)
        gpus = torch.cuda.device_count()
        cards = [str(i % gpus) if gpus > 1 else None for i in range(self.count)]
        return [Process(carrier, threads, card) for card in cards]

    def close(self) -> None:
        """Nothing: a worker that was stopped is gone."""


class ThisProcess:
    """The process of the driver as the only worker."""

    def __init__(self, carrier: Carrier) -> None:
        self.carrier = carrier

    def start(self) -> Future[int]:
        """Prepare the work."""
        self.carrier.work.prepare()
        return finished(os.getpid())

    def submit(self, parcel: Parcel) -> Future[list[str]]:
        """Carry a parcel out before this returns."""
        try:
            return finished(self.carrier.carry_out(parcel))
        except Exception as error:  # as from another process
            return failed(error)

    def is_death(self, error: BaseException) -> bool:
        """Never: then nobody is left to ask."""
        return False

    def stop(self) -> None:
        """Nothing."""


def finished(value: T) -> Future[T]:
    """A future that has its value."""
    future: Future[T] = Future()
    future.set_result(value)
    return future


def failed(error: Exception) -> Future[Any]:
    """A future that has its exception."""
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


class Process:
    """One process, which is started again after its death."""

    def __init__(self, carrier: Carrier, threads: int, card: str | None) -> None:
        self.carrier, self.threads, self.card = carrier, threads, card
        self.executor: ProcessPoolExecutor | None = None
        self.process: int | None = None

    def start(self) -> Future[int]:
        """A new process; the future is its number."""
        self.stop()
        about = (self.carrier, self.threads, self.card)
        self.executor = ProcessPoolExecutor(1, context(), initializer=begin, initargs=about)
        ready = self.executor.submit(os.getpid)
        ready.add_done_callback(self.note)
        return ready

    def note(self, ready: Future[int]) -> None:
        """Remember the number of the process."""
        if not ready.cancelled() and ready.exception() is None:
            self.process = ready.result()

    def submit(self, parcel: Parcel) -> Future[list[str]]:
        """Carry a parcel out in the process."""
        assert self.executor is not None
        try:
            return self.executor.submit(carry_out, parcel)
        except BrokenProcessPool as error:  # it died between two parcels
            return failed(error)

    def is_death(self, error: BaseException) -> bool:
        """Whether the process died."""
        return isinstance(error, BrokenProcessPool)

    def stop(self) -> None:
        """Kill the process, if there is one."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process, signal.SIGKILL)
        if self.executor is not None:
            self.executor.shutdown(wait=True, cancel_futures=True)
        self.executor = self.process = None


def context() -> BaseContext:
    """How processes are started: from a server that has imported torch, where the system can, so that a new one is
    there at once and shares its memory.
    """
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["headwater.batch.processes"])
    return server


CARRIER: list[Carrier] = []
"""In a worker: its carrier."""


def begin(carrier: Carrier, threads: int, card: str | None) -> None:
    """Make a worker of this process."""
    # Ctrl-C in a terminal goes to the whole group: the driver alone decides what becomes of its workers.
    os.setpgid(0, 0)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    if card is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = card
    torch.set_num_threads(threads)
    threading.Thread(target=end_with_the_driver, daemon=True).start()
    carrier.work.prepare()
    CARRIER[:] = [carrier]


def end_with_the_driver() -> None:
    """End this process when the one that started it has ended, also by kill -9."""
    driver = multiprocessing.parent_process()
    assert driver is not None
    wait([driver.sentinel])
    os._exit(1)


def carry_out(parcel: Parcel) -> list[str]:
    """Carry a parcel out in a worker."""
    return CARRIER[0].carry_out(parcel)
