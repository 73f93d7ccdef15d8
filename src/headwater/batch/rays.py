"""Workers: actors of Ray, on one machine or many. The extra `cluster` installs it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from headwater.batch.processes import Worker
from headwater.batch.work import Carrier, Parcel
from headwater.errors import Misuse, summarise
from headwater.extras import import_optional


@dataclass(frozen=True)
class RayActors:
    """Workers that are actors of Ray, one for every GPU of the cluster, or where there is none for every few cores.

    All machines see the folder of results, and the inputs, under the same names, and have Headwater installed.

    Parameters
    ----------
    address
        Of the cluster: "10.0.0.1:6379", "auto" for the one that runs on this machine, or "local" for a new one.
    count
        How many; by default as many as the cluster has room for.
    cores
        Cores of each; of a GPU worker, too.

    Raises
    ------
    Misuse
        A number is not positive.

    Examples
    --------
    >>> from headwater.batch import RayActors
    >>> RayActors("10.0.0.1:6379", cores=4)
    RayActors(address='10.0.0.1:6379', count=None, cores=4)
    """

    address: str = "auto"
    count: int | None = None
    cores: int = 1

    def __post_init__(self) -> None:
        if self.cores < 1 or (self.count is not None and self.count < 1):
            raise Misuse("A number of workers or cores is not positive.", "Give 1 or more.")

    def open(self, carrier: Carrier) -> Sequence[Worker]:
        """The workers, not yet started.

        Raises
        ------
        Misuse
            Ray is not installed, there is no cluster at the address, or it has no room for a worker.
        """
        ray = connect(self.address)
        room = ray.cluster_resources()
        cpus, gpus = int(room.get("CPU", 0)) // self.cores, int(room.get("GPU", 0))
        count = self.count or (min(cpus, gpus) if gpus else cpus)
        if not count:
            what = f"The cluster at {self.address} has no room for a worker of {self.cores} cores."
            raise Misuse(what, "Give fewer cores, or start more nodes.")
        needs = {"num_cpus": self.cores, **({"num_gpus": 1} if gpus else {})}
        return [Actor(ray, carrier, needs, str(Path.cwd())) for _ in range(count)]

    def close(self) -> None:
        """Leave the cluster."""
        import_optional("ray", "cluster").shutdown()


def connect(address: str) -> Any:
    """Ray, connected to the cluster at an address.

    Raises
    ------
    Misuse
        Ray is not installed, or there is no cluster at the address.
    """
    ray = import_optional("ray", "cluster")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # actors without a GPU see what is there
    try:
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray raises a plain one where a node does not start in time
        what = f"There is no Ray cluster at {address}: {summarise(error)}."
        raise Misuse(
            what, "Start one with 'ray start --head', and give the address that it prints."
        ) from None
    return ray


class RemoteCarrier:
    """What runs in an actor."""

    def __init__(self, carrier: Carrier, folder: str, threads: int) -> None:
        os.chdir(folder)
        torch.set_num_threads(threads)
        os.environ["OMP_NUM_THREADS"] = str(threads)
        carrier.work.prepare()
        self.carrier = carrier

    def process(self) -> int:
        """The number of its process."""
        return os.getpid()

    def carry_out(self, parcel: Parcel) -> list[str]:
        """Carry a parcel out."""
        return self.carrier.carry_out(parcel)


class Actor:
    """One actor, which is made again after its death: it is given a parcel only when it is there."""

    def __init__(self, ray: Any, carrier: Carrier, needs: dict[str, int], folder: str) -> None:
        self.ray, self.carrier, self.needs, self.folder = ray, carrier, needs, folder
        self.actor: Any = None

    def start(self) -> Future[int]:
        """A new actor; Ray puts it where there is room."""
        self.stop()
        made = self.ray.remote(**self.needs)(RemoteCarrier)
        self.actor = made.remote(self.carrier, self.folder, self.needs["num_cpus"])
        ready: Future[int] = self.actor.process.remote().future()
        return ready

    def submit(self, parcel: Parcel) -> Future[list[str]]:
        """Carry a parcel out in the actor."""
        future: Future[list[str]] = self.actor.carry_out.remote(parcel).future()
        return future

    def is_death(self, error: BaseException) -> bool:
        """Whether the actor, its node or the way to it was lost."""
        gone = (self.ray.exceptions.RayActorError, self.ray.exceptions.ObjectLostError)
        return isinstance(error, (*gone, self.ray.exceptions.NodeDiedError))

    def stop(self) -> None:
        """Kill the actor, if there is one."""
        if self.actor is not None:
            with suppress(Exception):  # of whatever kind: the cluster may be gone
                self.ray.kill(self.actor)
        self.actor = None
