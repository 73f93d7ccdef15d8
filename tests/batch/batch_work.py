"""Work for the tests of the engine, importable in workers."""

import os
import signal
import time
from pathlib import Path

from headwater.errors import Misuse


def half(options, folder):
    (folder / "half.txt").write_text(str(options["value"] / 2))
    return {"half": options["value"] / 2}


def fragile(options, folder):
    """Fail in the way that the options say, unless a file says that the cause is gone."""
    if os.path.exists(options.get("mended", "")):
        return {"fine": True}
    how = options.get("how")
    if how == "misuse":
        raise Misuse("The value is odd.", "Give an even one.")
    if how == "error":
        raise KeyError("lost")
    if how == "full":
        raise OSError(28, "No space left on device")
    return {}


def die(options, folder):
    """Kill this worker: always, or at the first try, or never."""
    with open(options["tries"], "a") as tries:
        tries.write(f"{options['value']} {os.getpid()}\n")
    seen = Path(options["tries"]).read_text().splitlines()
    mine = [line for line in seen if line.split()[0] == str(options["value"])]
    if options["deadly"] == "always" or (options["deadly"] == "once" and len(mine) == 1):
        (folder / "torn.txt").write_text("half a res")
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": options["value"]}


def slow(options, folder):
    """Tell who works on it, then take time."""
    with open(options["started"], "a") as started:
        started.write(f"{os.getpid()}\n")
    time.sleep(options.get("seconds", 60))
    return {}
