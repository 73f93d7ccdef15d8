"""The jobs of the page, kept in SQLite: what was asked, how far it is, what became of it."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from headwater.errors import Misuse

State = Literal["waiting", "running", "done", "missed", "refused", "cancelled", "failed"]
"""`done`, `missed` a goal, `refused`, `cancelled` are the exit codes 0, 1, 2, 130 of the command; `failed`: it was
killed, or broke."""
ENDED: dict[int, State] = {0: "done", 1: "missed", 2: "refused", 130: "cancelled"}
STOPPED = "The server ended while this ran. Run it again."
MOST_POINTS = 400
"""Points of the curve of misfits that are kept."""


@dataclass
class JobRecord:
    """One job.

    Attributes
    ----------
    id
        A random name, also of its folder.
    command, values, files
        The form as it was filled in; `files` are names in the folder, by option.
    words
        Of the command line that it runs.
    device
        Where it computes.
    state, sentence
        How far it is, and what there is to say of it.
    created, started, ended
        Seconds since 1970.
    progress
        The last line of its feed.
    curve
        Points (number, misfit).
    results
        The files that it wrote.
    notes
        Its warnings.
    """

    id: str
    command: str
    values: dict[str, Any]
    files: dict[str, str]
    words: list[str]
    device: str
    state: State = "waiting"
    sentence: str = ""
    created: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.state not in ("waiting", "running")

    def note(self, progress: dict[str, Any]) -> None:
        """Keep what the feed says, and a point of the curve where it says a misfit."""
        self.progress = {**self.progress, **progress}
        if (misfit := progress.get("misfit")) is not None:
            self.curve.append((self.curve[-1][0] + 1 if self.curve else 1, float(misfit)))
            if len(self.curve) > MOST_POINTS:
                self.curve = self.curve[::2]

    def describe(self) -> dict[str, Any]:
        """What the page is told."""
        return asdict(self)


def read_json(text: str | bytes) -> Any:
    """JSON; NaN and infinities, which no browser reads, become None.

    >>> read_json("[NaN, 1e999, 0.5]")
    [None, None, 0.5]
    """

    def read_number(word: str) -> float | None:
        value = float(word)
        return value if math.isfinite(value) else None

    return json.loads(text, parse_constant=read_number, parse_float=read_number)


class JobStore:
    """The jobs, in memory and in a file of SQLite.

    Parameters
    ----------
    path
        The file; it is made if it is not there.

    Raises
    ------
    Misuse
        It is damaged, or not ours to write.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._open(path)
        except (sqlite3.Error, ValueError, TypeError, LookupError) as error:
            cure = "Name another --folder, or put a whole copy in its place: the results stay where they are."
            raise Misuse(f"The history {path} cannot be used: {error}.", cure) from error

    def _open(self, path: Path) -> None:
        """Open the file and read all jobs; those that ran have ended with their server."""
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode=WAL")
        self.connection.execute("PRAGMA synchronous=NORMAL")
        self.connection.execute(
            "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, created REAL, record TEXT)"
        )
        rows = self.connection.execute("SELECT record FROM jobs ORDER BY created, rowid").fetchall()
        known = {f.name for f in fields(JobRecord)}
        records = [{k: v for k, v in read_json(text).items() if k in known} for (text,) in rows]
        self.jobs = {record["id"]: JobRecord(**record) for record in records}
        for job in self.jobs.values():
            if job.state == "running":
                job.state, job.sentence, job.ended = "failed", STOPPED, time.time()
                self.save(job)

    def save(self, job: JobRecord) -> None:
        """Write a job down.

        Raises
        ------
        sqlite3.Error
            As of a full disk.
        """
        self.connection.execute(
            "INSERT INTO jobs VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            (job.id, job.created, json.dumps(job.describe())),
        )
        self.jobs[job.id] = job

    def remove(self, job: JobRecord) -> None:
        """Forget a job."""
        self.connection.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
        self.jobs.pop(job.id, None)

    def waiting(self, device: str | None = None) -> list[JobRecord]:
        """The jobs that wait, of one device or of all, in their order."""
        return [j for j in self.jobs.values() if j.state == "waiting" and device in (None, j.device)]

    def close(self) -> None:
        """Close the file."""
        self.connection.close()
