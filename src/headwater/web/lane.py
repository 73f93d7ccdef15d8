"""One device and its queue: a worker that waits for the next job, the job that computes, those that wait."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.web.jobs import JobRecord, read_json

WORKER = (sys.executable, "-m", "headwater.cli.worker")
BROKEN = 70
"""The exit code of a command that broke."""
LOG, EVENTS, PREVIEW = "log.txt", "events.jsonl", "preview"
"""What the worker prints, what the command says while it runs, and its last sample, in the folder FEED."""
FORMS = (".png", ".wav", ".xyz")
"""Endings of a last sample: a picture, a recording, a molecule."""
PATIENCE = 20.0
"""Seconds that a cancelled job has to write the best so far."""
LOOK = 0.25
"""Seconds between two looks at the feed of a job."""
FILES, FEED = "files", "feed"
"""Where a job works, and where what it says is."""


@dataclass
class Worker:
    """A process that has imported what is slow and waits for one command."""

    process: asyncio.subprocess.Process
    devices: list[str] = field(default_factory=list)

    @classmethod
    async def start(cls) -> Worker:
        """Start a process and wait until it is ready.

        Raises
        ------
        OSError
            It could not be started, or ended at once.
        """
        process = await asyncio.create_subprocess_exec(
            *WORKER,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C at the server is the server's
        )
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            await process.wait()
            raise OSError(0, "The worker ended before it was ready")
        return cls(process, json.loads(line)["devices"])

    async def run(self, words: list[str], folder: Path) -> int:
        """Run a command in a folder; its exit code, negative if a signal ended it."""
        assert self.process.stdin is not None
        job = {"words": words, "folder": str(folder / FILES), "feed": str(folder / FEED)}
        with suppress(ConnectionError):  # it died: the exit code says so
            self.process.stdin.write(json.dumps(job).encode() + b"\n")
            await self.process.stdin.drain()
        return await self.process.wait()

    def signal(self, number: int) -> None:
        """Send a signal, if the process is there."""
        with suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self) -> None:
        """End the process."""
        if self.process.returncode is None:
            self.signal(signal.SIGKILL)
        await self.process.wait()


class Feedback:
    """Reads what a job adds to its feed.

    Parameters
    ----------
    path
        The file of events.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.place, self.rest = path, 0, b""

    def read(self) -> list[dict[str, Any]]:
        """The new lines; what is no JSON, as a line cut off by a full disk, is left out."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.place)
                new = file.read(1 << 20)
        except OSError:
            return []
        self.place += len(new)
        *lines, self.rest = (self.rest + new).split(b"\n")
        found = []
        for line in lines:
            with suppress(ValueError):
                value = read_json(line)
                found += [value] if isinstance(value, dict) else []
        return found


class Lane:
    """The queue of one device.

    Parameters
    ----------
    device
        Its name.
    choose
        The job that comes next; None if there is none, or the queue is paused.
    begin, hear, end
        Told when a job begins, says something, and has ended with an exit code.
    """

    def __init__(
        self,
        device: str,
        choose: Callable[[str], JobRecord | None],
        begin: Callable[[JobRecord], Path],
        hear: Callable[[JobRecord, list[dict[str, Any]]], None],
        end: Callable[[JobRecord, int], None],
    ) -> None:
        self.device, self.choose = device, choose
        self.begin, self.hear, self.end = begin, hear, end
        self.spare: Worker | None = None
        self.worker: Worker | None = None
        self.job: JobRecord | None = None
        self.cancelled = False
        self.wake = asyncio.Event()

    async def work(self) -> None:
        """Take one job after the other, for ever."""
        while True:
            job = self.choose(self.device)
            if job is None:
                await self._warm_up()
                if self.choose(self.device) is None:
                    self.wake.clear()
                    await self.wake.wait()
                continue
            await self._run(job)

    async def _warm_up(self) -> None:
        if self.spare is None:
            with suppress(OSError):
                self.spare = await Worker.start()

    async def _run(self, job: JobRecord) -> None:
        self.job, self.cancelled = job, False
        try:
            folder = self.begin(job)
            code = await self._compute(job, folder)
        except OSError as error:
            code = -(error.errno or 1000) - 1000
        except Exception:  # of our own making; the queue goes on, and the server's log says where
            traceback.print_exc()
            code = BROKEN
        finally:
            self.job = self.worker = None
        self.end(job, code)

    async def _compute(self, job: JobRecord, folder: Path) -> int:
        if self.spare is not None and self.spare.process.returncode is not None:
            self.spare = None  # someone killed it while it waited
        self.worker = self.spare or await Worker.start()
        self.spare = None
        if self.cancelled:
            await self.worker.end()
            return 130
        feedback = Feedback(folder / FEED / EVENTS)
        running = asyncio.ensure_future(self.worker.run(job.words, folder))
        while not running.done():
            await asyncio.wait([running], timeout=LOOK)
            if lines := feedback.read():
                self.hear(job, lines)
        code = running.result()
        return 130 if self.cancelled and code < 0 else code

    def cancel(self) -> None:
        """Ask the running job to end and keep its best; at the second call, or after a while, end it."""
        if self.worker is None or self.cancelled:
            if self.worker is not None:
                self.worker.signal(signal.SIGKILL)
            self.cancelled = True
            return
        self.cancelled = True
        self.worker.signal(signal.SIGINT)
        asyncio.get_running_loop().call_later(PATIENCE, self._end, self.worker)

    def _end(self, worker: Worker) -> None:
        if worker is self.worker:
            worker.signal(signal.SIGKILL)

    async def close(self) -> None:
        """End both processes; a running job is asked first, has a moment to write what it has, and is told of."""
        self.cancelled = True  # a worker that is being started gets no job
        if self.worker is not None:
            self.worker.signal(signal.SIGINT)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.worker.process.wait(), 5.0)
        for worker in (self.worker, self.spare):
            if worker is not None:
                await worker.end()
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                while self.job is not None:
                    await asyncio.sleep(0.01)


def explain_signal(code: int) -> str:
    """What is said of a command that did not end by itself.

    >>> explain_signal(-9)
    'The command was killed (SIGKILL), as by the system when memory runs out. Run it again, with less at once.'
    """
    if code <= -1000:
        errno = -code - 1000
        reason = os.strerror(errno) if errno < 1000 else "it ended before it was ready"
        return f"The command could not be started: {reason}. Mend that, and run it again."
    name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
    why = ", as by the system when memory runs out" if code == -signal.SIGKILL else ""
    return f"The command was killed ({name}){why}. Run it again, with less at once."
