"""What computes jobs, and how a worker carries out what it was given."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from headwater.atomic import FULL
from headwater.batch.job import FreshHashes, Hashes, Job, Outcome
from headwater.batch.results import Results
from headwater.batch.shard import Shard
from headwater.errors import Misuse, is_out_of_memory, summarise

Options = Mapping[str, Any]
Parcel = Sequence[tuple[str, Job]]
"""Jobs with their keys, which a worker is given at once."""
CHANGED = (
    "An input, or what computes the job, changed while this ran. Give the same command again, with --retry."
)


class Work(Protocol):
    """What computes jobs; it can be pickled."""

    @property
    def at_once(self) -> int:
        """How many jobs a worker is given at once, at most."""

    def describe(self, job: Job) -> Mapping[str, Any]:
        """What computes the job: versions, and the hashes of weights. It is a part of the key."""

    def group(self, job: Job) -> str | None:
        """Jobs of one group may be given to a worker at once; None is given alone."""

    def prepare(self) -> None:
        """Import and load what all jobs need, once in every worker."""

    def __call__(self, jobs: Sequence[Job], folders: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
        """Do the jobs, each in its own folder; yield the place of each and its outcome as soon as it is there.

        What it raises is put down as the failure of the jobs that have no outcome yet, each after a try alone.
        """


@dataclass(frozen=True)
class Function:
    """A function as `Work`: `function(options, folder)` computes one job.

    It may write files to the folder, and returns the values of the result, a mapping that JSON has, or None. Workers
    import it by its name, so it stands at the top of a module or a script.

    Parameters
    ----------
    function
        What computes a job. A `Misuse` that it raises is the sentence of a failed job; any other exception, too.
    version
        A part of the key: a new one does all jobs again. By default a hash of the function's source, which knows
        nothing of what the function calls.
    at_once
        How many jobs a worker is given at once; they are done one after the other. More cost less for each.

    Raises
    ------
    Misuse
        There is no version, and the source of the function cannot be read.

    Examples
    --------
    >>> import math
    >>> from headwater.batch import Function
    >>> Function(math.sqrt, version="1").describe(None)
    {'function': 'math.sqrt', 'version': '1'}
    """

    function: Callable[[Options, Path], Options | None]
    version: str = ""
    at_once: int = 1

    def __post_init__(self) -> None:
        if not self.version:
            object.__setattr__(self, "version", hash_source(self.function))

    def describe(self, job: Job | None) -> Mapping[str, Any]:
        """The full name of the function, and its version."""
        module, name = self.function.__module__, self.function.__qualname__
        module = module.replace("__mp_main__", "__main__")  # as the script is called in workers
        return {"function": f"{module}.{name}", "version": self.version}

    def group(self, job: Job) -> str:
        """One group for all."""
        return ""

    def prepare(self) -> None:
        """Nothing."""

    def __call__(self, jobs: Sequence[Job], folders: Sequence[Path]) -> Iterator[tuple[int, Outcome]]:
        """One after the other."""
        for place, (job, folder) in enumerate(zip(jobs, folders, strict=True)):
            start = time.perf_counter()
            try:
                values = self.function(job.options, folder) or {}
            except Exception as error:  # whatever a user's function raises is the failure of this job alone
                end_if_unwritable(error)
                yield place, failure(error)
                continue
            yield place, Outcome("done", seconds=time.perf_counter() - start, values=values)


def hash_source(function: Callable[..., Any]) -> str:
    """The first 16 digits of the SHA-256 of a function's source.

    Raises
    ------
    Misuse
        The source cannot be read.
    """
    try:
        return hashlib.sha256(inspect.getsource(function).encode()).hexdigest()[:16]
    except (OSError, TypeError):
        what = f"The source of the function {getattr(function, '__name__', function)} cannot be read."
        raise Misuse(what, 'Give a version of it, as in version="1".') from None


def failure(error: BaseException) -> Outcome:
    """The outcome of a job that raised an exception."""
    if isinstance(error, Misuse):
        return Outcome("failed", str(error))
    if is_out_of_memory(error):
        return Outcome("failed", "The machine ran out of memory. Give fewer --workers, or a smaller problem.")
    return Outcome("failed", f"The job raised {summarise(error)}. Do it alone to see more, then --retry.")


@dataclass(frozen=True)
class Carrier:
    """A worker's part: it carries parcels out, and publishes each result as soon as it is there.

    Attributes
    ----------
    work
        What computes.
    results
        Where results go.
    shard
        Whose temporary names are used.
    hashes
        Of inputs, as they were when results were published.
    """

    work: Work
    results: Results
    shard: Shard
    hashes: Hashes = field(default_factory=FreshHashes, repr=False, compare=False)

    def carry_out(self, parcel: Parcel) -> list[str]:
        """Do the jobs; the keys of those that are in the results now.

        Raises
        ------
        OSError
            The results cannot be written.
        """
        done = self.try_together(parcel)
        for entry in parcel:
            if entry[0] not in done:  # what failed together may go well alone
                done += self.try_together([entry], last=True)
        return done

    def try_together(self, parcel: Parcel, *, last: bool = False) -> list[str]:
        """Do the jobs of a parcel at once; the keys of those with an outcome. `last`: a failure is put down."""
        done: list[str] = []
        with ExitStack() as stack:
            folders = [stack.enter_context(self.results.prepare(key, self.shard)) for key, _ in parcel]
            try:
                for place, outcome in self.work([job for _, job in parcel], folders):
                    self.publish(parcel[place], folders[place], outcome)
                    done.append(parcel[place][0])
            except Exception as error:  # a failed job is never the end of the batch
                end_if_unwritable(error)
                if last:
                    self.publish(parcel[0], folders[0], failure(error))
                    done.append(parcel[0][0])
        return done

    def holds(self, key: str, job: Job, maker: Mapping[str, Any]) -> bool:
        """Whether a key is still that of a job: an input may have changed or gone since the run began."""
        try:
            return job.key(maker, self.hashes) == key
        except Misuse:
            return False

    def publish(self, entry: tuple[str, Job], folder: Path, outcome: Outcome) -> None:
        """Put a result where it belongs; it has failed if its key is not that of the inputs as they are now."""
        key, job = entry
        maker = self.work.describe(job)
        if not self.holds(key, job, maker):
            outcome = replace(outcome, status="failed", sentence=CHANGED, values={})
        try:
            self.results.publish(folder, key, job, outcome, maker=maker)
        except OSError as error:
            raise Unwritable(error.errno, error.strerror or str(error)) from None


def end_if_unwritable(error: Exception) -> None:
    """Raise `Unwritable` if an exception says that nothing more can be written, which is no failure of a job."""
    if isinstance(error, Unwritable):
        raise error
    if isinstance(error, OSError) and error.errno in FULL:
        raise Unwritable(error.errno, error.strerror or str(error)) from None


class Unwritable(OSError):
    """The results cannot be written, which ends the run: no later job could be put down either."""
