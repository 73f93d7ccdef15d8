"""A worker that computes nothing: what it does depends on --seed. For tests of the queue."""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

MISSED, REFUSED, WAIT, DIE, BREAK = 1, 2, 7, 9, 70


def seed_of(words):
    return next((int(word.split("=")[1]) for word in words if word.startswith("--seed=")), 0)


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print(json.dumps({"devices": ["cpu"]}), flush=True)
    line = sys.stdin.readline()
    if not line:
        return 0
    job = json.loads(line)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    os.chdir(job["folder"])
    feed, seed = Path(job["feed"]), seed_of(job["words"])
    log = (feed / "log.txt").open("w")
    with (feed / "events.jsonl").open("a") as events:
        events.write(json.dumps({"line": "at work", "misfit": 2.0, "preview": 1}) + "\n{half a line")
    source = next(word for word in job["words"][2:] if not word.startswith("-"))
    shutil.copy(source, feed / "preview.png")
    if seed == WAIT:
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            return 130
    if seed == DIE:
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == REFUSED:
        log.write("Warning, seed 2: It looks odd.\nError: It is too large. Give less.\n")
        return REFUSED
    if seed == BREAK:
        return BREAK
    shutil.copy(source, f"{Path(source).stem}-{job['words'][1]}.png")
    if seed == MISSED:
        log.write("The sample missed its goal.\n")
    return seed if seed == MISSED else 0


if __name__ == "__main__":
    raise SystemExit(main())
