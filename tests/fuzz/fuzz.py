"""Damage small files of every kind in a thousand ways, and see that every reader returns or refuses.

    python tests/fuzz/fuzz.py                    1,000 of each kind of file, 20 of each whole command
    python tests/fuzz/fuzz.py --count 50 --kind JPEG --first 300

Case i of a kind is the same on every machine. A worker process reads one file after another and is watched:
a case fails if it raises anything but `Misuse`, takes over 10 s (60 s for a whole command), ends the process, prints,
or needs more than 1 GB beyond the size of its file. The damaged files of failures are kept in --keep.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import selectors
import subprocess
import sys
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from mutations import mutate  # noqa: E402
from samples import ENDINGS, HARMFUL, KINDS, Kind  # noqa: E402

LIMIT = 10.0
MEMORY = 2**30
ALL = KINDS | ENDINGS | HARMFUL


@cache
def whole_files(kind: str) -> list[tuple[str, bytes]]:
    """The valid files of a kind."""
    return list(ALL[kind].files())


@dataclass(frozen=True)
class Case:
    """One damaged file: the kind, and its number."""

    kind: str
    number: int

    def make(self) -> tuple[str, bytes]:
        """The ending of the file, and its bytes."""
        files = whole_files(self.kind)
        random = np.random.default_rng([zlib.crc32(self.kind.encode()), self.number])
        ending, data = files[self.number % len(files)]
        return ending, mutate(data, random)


@dataclass(frozen=True)
class Outcome:
    """How a case ended: "read", "refused", or what went wrong, and the processor's seconds that it took."""

    case: Case
    word: str
    detail: str = ""
    seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return self.word not in ("read", "refused")


def patience(limit: float) -> float:
    """Seconds by the clock for `limit` seconds of work: longer where many programs share the processors."""
    return limit * max(1.0, 2 * os.getloadavg()[0] / (os.cpu_count() or 1))


def run(cases: Iterable[Case], limit: float = LIMIT) -> Iterator[Outcome]:
    """The outcomes of the cases, from worker processes: a new one after each that hung or died."""
    waiting = list(cases)
    while waiting:
        done = 0
        for outcome in _run_until_lost(waiting, limit):
            done += 1
            yield outcome
        waiting = waiting[done:]


def _run_until_lost(cases: list[Case], limit: float) -> Iterator[Outcome]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in sys.path if p)
    worker = subprocess.Popen(
        [sys.executable, str(HERE / "fuzz.py"), "--worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert worker.stdin is not None
    try:
        _answer(worker, patience(60.0))  # it is ready
        for case in cases:
            worker.stdin.write(json.dumps([case.kind, case.number]).encode() + b"\n")
            worker.stdin.flush()
            line = _answer(worker, patience(6 * limit if case.kind in ENDINGS else limit))
            if line is None:
                yield Outcome(case, _how_it_was_lost(worker), seconds=limit)
                return
            yield Outcome(case, *json.loads(line))
    finally:
        worker.kill()
        worker.communicate()


def _answer(worker: subprocess.Popen[bytes], limit: float) -> bytes | None:
    """The next line of the worker; None if it hangs or died."""
    assert worker.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(worker.stdout, selectors.EVENT_READ)
        return (worker.stdout.readline() or None) if selector.select(limit) else None


def _how_it_was_lost(worker: subprocess.Popen[bytes]) -> str:
    try:
        worker.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        return "hung"
    return "died"


def work() -> None:
    """The worker: reads cases from its standard input; what the readers print goes to a file."""
    answers = os.fdopen(os.dup(1), "w")
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 1)
        os.dup2(printed.fileno(), 2)
        os.chdir(folder)
        _warm_up(Path(folder))
        _limit_memory()
        print("ready", file=answers, flush=True)
        for line in sys.stdin:
            printed.truncate(0)
            result = _read(Case(*json.loads(line)), Path(folder))
            sys.stdout.flush()
            sys.stderr.flush()
            quiet = json.loads(line)[0] in ENDINGS or not os.fstat(printed.fileno()).st_size
            if not quiet and result[0] in ("read", "refused"):
                words = os.pread(printed.fileno(), 10_000, 0).strip(b"\0").decode("utf-8", "replace")
                result = ("printed", words[:300], result[2])
            print(json.dumps(result), file=answers, flush=True)


def _warm_up(folder: Path) -> None:
    """Read a sound file of each kind: imports are not what is measured."""
    for kind in KINDS.values():
        for ending, data in kind.files():
            path = folder / f"warm{ending}"
            path.write_bytes(data)
            with contextlib.suppress(ValueError):  # an array of objects, an archive
                kind.read(path)
            path.unlink()


def _limit_memory() -> None:
    """Twice the limit beyond what is in use now: a safety net for the machine, below which growth is measured."""
    used = _kilobytes("VmSize") * 1024
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * MEMORY, used + 2 * MEMORY))


def _kilobytes(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    return 0


def _read(case: Case, folder: Path) -> tuple[str, str, float]:
    """How a case ended, the words of what was raised, and the processor's seconds."""
    ending, data = case.make()
    path = folder / f"x{ending}"
    path.write_bytes(data)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    before, start = _kilobytes("VmRSS"), time.process_time()
    word, detail = _try(ALL[case.kind], path)
    seconds = time.process_time() - start
    grown = (_kilobytes("VmHWM") - before) * 1024
    if grown > MEMORY + len(data):
        word, detail = "memory", f"{grown / 2**20:.0f} MiB"
    if seconds > LIMIT and case.kind not in ENDINGS:
        word, detail = "slow", f"{seconds:.0f} s"
    return word, detail, round(seconds, 3)


def _try(kind: Kind, path: Path) -> tuple[str, str]:
    from headwater.errors import Misuse

    try:
        kind.read(path)
    except Misuse as error:
        whole = error.what.endswith(".") and error.cure.endswith((".", "?")) and "\n" not in str(error)
        return ("refused", str(error)) if whole else ("not two sentences", str(error))
    except BaseException as error:
        import traceback

        frame = traceback.extract_tb(error.__traceback__)[-1]
        return (
            "raised",
            f"{type(error).__name__}: {str(error)[:200]} ({Path(frame.filename).name}:{frame.lineno})",
        )
    return "read", ""


def report(kind: str, outcomes: Iterable[Outcome], keep: Path | None) -> int:
    """Print a line for each failure and one of the kind; how many failed."""
    words: Counter[str] = Counter()
    slowest = 0.0
    for outcome in outcomes:
        words[outcome.word] += 1
        slowest = max(slowest, outcome.seconds)
        if outcome.failed:
            print(f"{kind} {outcome.case.number}: {outcome.word} {outcome.detail}", flush=True)
            if keep is not None:
                ending, data = outcome.case.make()
                keep.mkdir(parents=True, exist_ok=True)
                name = f"{kind.split(',')[0].replace(' ', '-')}-{outcome.case.number}{ending}"
                (keep / name).write_bytes(data)
    failed = sum(words.values()) - words["read"] - words["refused"]
    counts = f"{sum(words.values()):5} {words['read']:5} {words['refused']:7} {failed:6} {slowest:6.2f} s"
    print(f"{kind:<42} {counts}", flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument(
        "--count", type=int, default=1000, help="cases of each kind; a fiftieth of each command"
    )
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--kind", choices=list(KINDS | ENDINGS), action="append", help="only this kind")
    parser.add_argument("--keep", type=Path, help="folder for the damaged files of failures")
    o = parser.parse_args()
    if o.worker:
        work()
        return 0
    for outcome in run([Case(kind, 0) for kind in HARMFUL], limit=3):
        assert outcome.word == outcome.case.kind, outcome  # the watch is awake
    print(f"{'kind':<42} cases  read refused failed slowest")
    counts = {kind: o.count if kind in KINDS else max(1, o.count // 50) for kind in o.kind or KINDS | ENDINGS}
    outcomes = run(Case(kind, o.first + i) for kind, count in counts.items() for i in range(count))
    failed = [
        report(kind, part, o.keep) for kind, part in groupby(outcomes, lambda outcome: outcome.case.kind)
    ]
    return min(1, sum(failed))


if __name__ == "__main__":
    sys.exit(main())
