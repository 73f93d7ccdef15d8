"""The desk: takes forms, makes jobs of them, hands them to the queues, and tells all pages what happens."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater.errors import Misuse
from headwater.web.events import Broadcast
from headwater.web.forms import Command, Forms
from headwater.web.jobs import ENDED, JobRecord, JobStore
from headwater.web.lane import FEED, FILES, LOG, Lane, Worker, explain_signal
from headwater.web.uploads import Upload, Uploads, remove_strays

HISTORY = "history.sqlite"
MOST_WAITING = 200
"""Jobs that may wait."""
MOST_JOBS = 1000
"""Jobs of the history that the page shows; older ones stay on the disk."""
MOST_DONE_BYTES = 20 << 30
"""Bytes of all jobs that are over; beyond it the oldest are removed, but for the last one."""


class Desk:
    """All state of the page.

    Parameters
    ----------
    folder
        Where everything is kept.
    forms
        What is offered.
    """

    def __init__(self, folder: Path, forms: Forms) -> None:
        self.folder, self.forms = folder, forms
        self.store = JobStore(folder / HISTORY)
        self.uploads = Uploads(folder / "uploads")
        self.broadcast = Broadcast(self.snapshot)
        self.paused = False
        self.trouble = ""
        self.lanes: dict[str, Lane] = {}
        self.sizes: dict[str, int] = {}
        self.tasks: list[asyncio.Task[None]] = []
        remove_strays(folder / "jobs", self.store.jobs)
        self._remove_oldest()

    def _make_lane(self, device: str) -> Lane:
        return Lane(device, self._choose, self._begin, self._hear, self._end)

    def start(self) -> None:
        """Begin to work: the first worker says what devices there are, and each gets a lane."""
        self.tasks = [asyncio.create_task(self._open_lanes())]

    async def _open_lanes(self) -> None:
        try:
            worker = await Worker.start()
        except OSError as error:
            self.trouble = f"No command can be run: {error.strerror}. Start the server again."
            self.broadcast.tell("queue", self._queue_state())
            return
        self.forms = replace(self.forms, devices=tuple(worker.devices))
        self.lanes = {device: self._make_lane(device) for device in worker.devices}
        self.lanes[worker.devices[0]].spare = worker
        self.tasks += [asyncio.create_task(lane.work()) for lane in self.lanes.values()]

    async def close(self) -> None:
        """End the pages' streams, the lanes and their processes; jobs that wait go on waiting."""
        self.paused = True  # else each lane would begin its next job
        self.broadcast.close()
        await asyncio.gather(*(lane.close() for lane in self.lanes.values()))
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        self.store.close()

    def snapshot(self) -> dict[str, Any]:
        """All that a page shows."""
        jobs = [job.describe() for job in list(self.store.jobs.values())[-MOST_JOBS:]]
        return {"jobs": jobs, **self._queue_state()}

    def _queue_state(self) -> dict[str, Any]:
        return {"paused": self.paused, "trouble": self.trouble}

    def find(self, id: str) -> JobRecord:
        """The job of an id.

        Raises
        ------
        LookupError
            There is none.
        """
        if id not in self.store.jobs:
            raise LookupError(id)
        return self.store.jobs[id]

    def place(self, job: JobRecord) -> Path:
        """The folder of a job."""
        return self.folder / "jobs" / job.id

    def file(self, job: JobRecord, name: str) -> Path:
        """A file of a job, by a name that the job itself listed.

        Raises
        ------
        LookupError
            It lists no such file.
        """
        if name not in (*job.results, *job.files.values()):
            raise LookupError(name)
        return self.place(job) / FILES / name

    def submit(self, name: str, values: Mapping[str, Any], files: Mapping[str, str]) -> JobRecord:
        """A job of a form, queued; `files` are uploads by option.

        Raises
        ------
        Misuse
            The command refuses the form, a file is missing, or too many jobs wait.
        """
        if len(self.store.waiting()) >= MOST_WAITING:
            raise Misuse(f"{MOST_WAITING} jobs wait already.", "Wait, or cancel some.")
        command = self.forms.find(name)
        given = {key: self.uploads.find(id, kind_of(command, key)) for key, id in files.items()}
        names = name_files(given)
        words = self.forms.to_words(name, values, names)
        device = str(values.get("device") or self._default_device(command))
        job = JobRecord(secrets.token_hex(8), name, dict(values), names, words, device)
        try:
            self._lay_out(job, given)
            self.store.save(job)
        except BaseException:  # whatever ends it, no half of a job stays
            self.store.jobs.pop(job.id, None)
            shutil.rmtree(self.place(job), ignore_errors=True)
            raise
        self.broadcast.tell("job", job.describe())
        self._wake()
        return job

    def _default_device(self, command: Command) -> str:
        """The first device for commands that take one; the others compute on the CPU."""
        takes_one = any(option.key == "device" for option in command.options)
        return self.forms.devices[0] if takes_one else "cpu"

    def _lay_out(self, job: JobRecord, given: Mapping[str, Upload]) -> None:
        """The folder of a job, with its files."""
        for part in (FILES, FEED):
            (self.place(job) / part).mkdir(parents=True, mode=0o700)
        for key, upload in given.items():
            link_or_copy(upload.path, self.place(job) / FILES / job.files[key])

    def take(self, job: JobRecord, name: str, kind: str) -> Upload:
        """A file of a job as an upload, to begin another job with."""
        source = self.file(job, name)
        with self.uploads.arriving(source.stat().st_size) as part:
            link_or_copy(source, part)
            return self.uploads.finish(part, kind, name)

    def cancel(self, job: JobRecord) -> None:
        """End a job: one that waits at once, one that computes at its next evaluation, with the best so far."""
        if job.state == "waiting":
            job.state, job.sentence = "cancelled", "It was cancelled before it began."
            self._save(job)
        elif job.state == "running":
            for lane in self.lanes.values():
                if lane.job is job:
                    lane.cancel()

    def remove(self, job: JobRecord) -> None:
        """Forget a job that is over, and its files.

        Raises
        ------
        Misuse
            It is not over.
        """
        if not job.over:
            raise Misuse("The job is not over.", "Cancel it first.")
        self.store.remove(job)
        self.sizes.pop(job.id, None)
        shutil.rmtree(self.place(job), ignore_errors=True)
        self.broadcast.tell("removed", {"id": job.id})

    def _remove_oldest(self) -> None:
        """Remove the oldest jobs that are over until the others have no more than `MOST_DONE_BYTES`."""
        over = sorted((job for job in self.store.jobs.values() if job.over), key=lambda job: job.ended or 0.0)
        for job in over:
            if job.id not in self.sizes:
                self.sizes[job.id] = count_bytes(self.place(job))
        total = sum(self.sizes[job.id] for job in over)
        for job in over[:-1]:
            if total <= MOST_DONE_BYTES:
                return
            total -= self.sizes[job.id]
            self.remove(job)

    def pause(self, paused: bool) -> None:
        """Begin no further job, or go on; what computes is not disturbed."""
        self.paused = paused
        self.broadcast.tell("queue", self._queue_state())
        self._wake()

    def _wake(self) -> None:
        for lane in self.lanes.values():
            lane.wake.set()

    def _choose(self, device: str) -> JobRecord | None:
        if self.paused:
            return None
        waiting = [job for job in self.store.waiting() if self._lane_of(job) == device]
        return waiting[0] if waiting else None

    def _lane_of(self, job: JobRecord) -> str:
        """The device of a job; of one that is gone since, the first."""
        return job.device if job.device in self.lanes else next(iter(self.lanes))

    def _begin(self, job: JobRecord) -> Path:
        job.state, job.started = "running", time.time()
        self._save(job)
        return self.place(job)

    def _hear(self, job: JobRecord, lines: list[dict[str, Any]]) -> None:
        points = len(job.curve)
        for line in lines:
            job.note(line)
        fresh = job.curve[points:] if len(job.curve) > points else []
        self.broadcast.tell("progress", {"id": job.id, "progress": job.progress, "points": fresh})

    def _end(self, job: JobRecord, code: int) -> None:
        log = read_log(self.place(job))
        job.ended = time.time()
        job.state = ENDED.get(code, "failed")
        job.sentence = explain_end(code, log)
        job.notes = read_warnings(log)
        inputs = set(job.files.values())
        with suppress(OSError):
            there = sorted(path.name for path in (self.place(job) / FILES).iterdir() if path.is_file())
            job.results = [name for name in there if name not in inputs and not name.startswith(".")]
        self._save(job)
        with suppress(sqlite3.Error):  # which `_save` has told of
            self._remove_oldest()

    def _save(self, job: JobRecord) -> None:
        """Write a job down and tell of it; on a full disk the pages are told of that, too."""
        try:
            self.store.save(job)
            trouble = ""
        except sqlite3.Error as error:
            trouble = " ".join(explain_history(error))
        if trouble != self.trouble:
            self.trouble = trouble
            self.broadcast.tell("queue", self._queue_state())
        self.broadcast.tell("job", job.describe())


def explain_history(error: sqlite3.Error) -> tuple[str, str]:
    """What is said where the history cannot be written.

    >>> explain_history(sqlite3.OperationalError("database is locked"))
    ('The history cannot be written: database is locked.', 'Mend that, then try again.')
    """
    full = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL
    cure = "Free some space, then try again." if full else "Mend that, then try again."
    return f"The history cannot be written: {error}.", cure


def kind_of(command: Command, key: str) -> str:
    """The kind of file that an option takes.

    Raises
    ------
    Misuse
        It takes none.
    """
    if key == "input" and command.own:
        return command.own
    for option in command.options:
        if option.key == key and option.file:
            return option.file
    raise Misuse(f"'{command.name}' takes no file {key[:40]!r}.", "Leave it out.")


def name_files(given: Mapping[str, Upload]) -> dict[str, str]:
    """The names of uploads in the folder of their job: STEM.png, STEM-mask.png.

    No command names a result as one of its options, so none is written over.
    """
    own = given.get("input")
    stem = own.path.stem if own else "file"
    return {
        key: upload.name if key == "input" else f"{stem}-{key}{upload.path.suffix}"
        for key, upload in given.items()
    }


def count_bytes(place: Path) -> int:
    """The bytes of all files of a folder; of those that go meanwhile none."""
    total = 0
    for path in place.rglob("*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def link_or_copy(source: Path, target: Path) -> None:
    """The same file under another name: nothing here writes to a file in place."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_log(place: Path) -> str:
    """The end of what a command printed."""
    try:
        with (place / FEED / LOG).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(file.tell() - 65536, 0))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def read_warnings(log: str, most: int = 12) -> list[str]:
    r"""The warnings of a command.

    >>> read_warnings("Warning: It is grey.\nWarning, seed 3: It stalled.\n")
    ['It is grey.', 'Seed 3: It stalled.']
    """
    found = re.findall(r"^Warning(?:: |, )(.*)$", log, re.MULTILINE)[:most]
    return [text[:1].upper() + text[1:] for text in found]


def explain_end(code: int, log: str) -> str:
    """What is said of how a command ended: its own words where it has some."""
    if code < 0:
        return explain_signal(code)
    if code not in ENDED:
        return "The command broke. Its log says where; please report it."
    errors = re.findall(r"^Error: (.*)$", log, re.MULTILINE)
    missed = re.findall(r"^.* missed (?:its|their) goals?\.$", log, re.MULTILINE)
    if code == 130:
        return "It was cancelled."
    return (errors or missed or [""])[-1] if code else ""
