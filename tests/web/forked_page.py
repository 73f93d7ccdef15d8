"""`headwater serve` whose workers are forked from one process that has imported what is slow; for tests in a browser.

The commands, their folders, feeds and signals are those of the real worker, but for the seconds of its start:
`test_page_server.py` has a real one. The number of the newest worker is in FOLDER/worker.
"""

import asyncio
import json
import multiprocessing
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.reduction import DupFd
from pathlib import Path

from headwater.web import lane

SLOW = (
    "headwater.exports",
    "headwater.cli.image.edited",
    "headwater.cli.image.restoration",
    "headwater.cli.image.rewarded",
    "headwater.cli.audio.repair",
    "headwater.cli.audio.check",
    "headwater.cli.molecule.jobs",
    "headwater.audio.model.models",
    "matplotlib.backends.backend_agg",
    "scipy.signal",
)


def work(given, told):
    """In the fork: the worker, with the pipes of the server in place of standard input and output."""
    os.setsid()
    os.dup2(given.detach(), 0)
    os.dup2(told.detach(), 1)
    from headwater.cli import worker

    raise SystemExit(worker.main())


class ForkedWorker:
    """What `lane.Worker` is, forked."""

    forks = multiprocessing.get_context("forkserver")

    def __init__(self):
        given, self.give = os.pipe()
        self.hear, told = os.pipe()
        self.process = self
        self.fork = self.forks.Process(target=work, args=(DupFd(given), DupFd(told)))
        self.fork.start()
        (Path(sys.argv[-1]) / "worker").write_text(str(self.fork.pid))
        for end in (given, told):
            os.close(end)

    @classmethod
    async def start(cls):
        worker = await asyncio.to_thread(cls)
        with os.fdopen(worker.hear) as told:
            worker.devices = json.loads(await asyncio.to_thread(told.readline))["devices"]
        return worker

    @property
    def returncode(self):
        return self.fork.exitcode

    async def run(self, words, folder):
        job = {"words": words, "folder": str(folder / lane.FILES), "feed": str(folder / lane.FEED)}
        with suppress(BrokenPipeError):
            os.write(self.give, json.dumps(job).encode() + b"\n")
        return await self.wait()

    async def wait(self):
        await asyncio.to_thread(self.fork.join)
        return self.fork.exitcode

    def signal(self, number):
        with suppress(ProcessLookupError):
            os.kill(self.fork.pid, number)

    async def end(self):
        if self.returncode is None:
            self.signal(signal.SIGKILL)
        await self.wait()


if __name__ == "__main__":
    from headwater.cli.app import main

    ForkedWorker.forks.set_forkserver_preload(list(SLOW))
    lane.Worker = ForkedWorker
    raise SystemExit(main(["serve", "--port", "0", "--folder", sys.argv[-1]]))
