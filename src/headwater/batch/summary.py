"""What a run of the batch says: one row for each job, and their sum."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.batch.job import Job, Outcome
from headwater.batch.shard import Shard


@dataclass(frozen=True)
class Row:
    """What became of one job.

    Attributes
    ----------
    job
        As it was given.
    key
        Of its result; empty if the job was refused.
    outcome
        How it ended; None if it was not begun, or was refused.
    again
        Whether its result was there before this run.

    Examples
    --------
    >>> from headwater.batch import Job, Row
    >>> row = Row(Job({}, refusal="There is no file a.png. Check the name."), key="", outcome=None)
    >>> row.status, row.sentence
    ('refused', 'There is no file a.png. Check the name.')
    """

    job: Job
    key: str
    outcome: Outcome | None
    again: bool = False

    @property
    def status(self) -> str:
        """One of "done", "missed", "failed", "refused" and "not begun"."""
        if self.job.refusal:
            return "refused"
        return "not begun" if self.outcome is None else self.outcome.status

    @property
    def sentence(self) -> str:
        """Why it was refused, failed or missed its goal."""
        return self.job.refusal or ("" if self.outcome is None else self.outcome.sentence)


@dataclass(frozen=True)
class Summary:
    """What `run` returns.

    Attributes
    ----------
    folder
        Of the results.
    shard
        The share of the jobs that the rows are.
    rows
        One for each job of the share, in the order in which they were given.
    corrupted
        How many results did not hold their checksums, and were done again.
    deaths
        How many workers died and were replaced.
    seconds
        Of this run.
    stopped
        Whether it was asked to end early.

    Examples
    --------
    >>> import tempfile
    >>> from headwater.batch import Function, Job, run
    >>> work = Function(lambda options, folder: {"twice": 2 * options["value"]}, version="1")
    >>> summary = run(work, [Job({"value": 3}), Job({})], tempfile.mkdtemp())
    >>> summary.counts, summary.rows[1].sentence
    ({'done': 1, 'failed': 1}, "The job raised KeyError: 'value'. Do it alone to see more, then --retry.")
    """

    folder: Path
    shard: Shard
    rows: tuple[Row, ...]
    corrupted: int
    deaths: int
    seconds: float
    stopped: bool

    @property
    def counts(self) -> dict[str, int]:
        """How many jobs ended how."""
        order = ("done", "missed", "failed", "refused", "not begun")
        found = [row.status for row in self.rows]
        return {status: found.count(status) for status in order if status in found}
