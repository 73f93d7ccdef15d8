"""One command for a program that starts it ahead of time: `python -m headwater.cli.worker`, as the page does.

The worker imports what is slow, says on standard output what devices there are, and waits for one line of JSON on
standard input: {"words": [...], "folder": DIR, "feed": DIR}. It then runs the command in the folder, with its
progress in the feed (`cli.shared.feed`) and all that it prints in FEED/log.txt, and ends with its exit code, or with
70 where the command broke. Where the program that started it dies, standard input closes, and the worker ends as at
Ctrl-C.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from headwater.cli.shared.feed import VARIABLE

LOG = "log.txt"
BROKEN = 70
"""The exit code of a command that broke: EX_SOFTWARE of BSD's sysexits."""


def list_devices() -> list[str]:
    """The names of the devices of this machine, the default one first."""
    import torch

    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def read_line() -> bytes:
    """One line of standard input, byte by byte: what follows it is for `end_with_parent`."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return line


def end_with_parent() -> None:
    """Wait until standard input closes, then ask this process to end."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def begin_job(job: dict[str, Any]) -> None:
    """Go to the folder of a job, and send all that is printed to its log."""
    os.chdir(job["folder"])
    os.environ[VARIABLE] = job["feed"]
    log = os.open(Path(job["feed"]) / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    for stream in (1, 2):
        os.dup2(log, stream)
    threading.Thread(target=end_with_parent, daemon=True).start()


def main() -> int:
    """Get ready, wait for the job, do it; the exit code of the command."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # it waits until there is a command to hear it
    import headwater.cli.image.commands
    import headwater.exports  # noqa: F401

    try:
        os.write(1, json.dumps({"devices": list_devices()}).encode() + b"\n")
    except BrokenPipeError:  # who started it has gone
        return 0
    line = read_line()
    if not line:
        return 0
    job = json.loads(line)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    begin_job(job)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    from headwater.cli.app import main as run

    try:
        return run(job["words"])
    except Exception:  # the page tells that the job broke, and the log why
        traceback.print_exc()
        return BROKEN


if __name__ == "__main__":
    raise SystemExit(main())
