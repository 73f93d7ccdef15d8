"""The table of a run, one row a job: `results.parquet`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.atomic import write_atomically
from headwater.batch.summary import Row, Summary
from headwater.extras import import_optional


def write_table(summary: Summary, path: str | Path) -> Path:
    """Write one row for each job: how it ended, where its result is, its options and the values of its result.

    A column whose values are of several kinds is text.

    Parameters
    ----------
    summary
        What `run` returned.
    path
        The file, which is replaced.

    Raises
    ------
    Misuse
        pyarrow is not installed, or the file cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from headwater.batch import Function, Job, run, write_table
    >>> folder = tempfile.mkdtemp()
    >>> summary = run(Function(lambda options, folder: {"twice": 6}, version="1"), [Job({"value": 3})], folder)
    >>> path = write_table(summary, folder + "/results.parquet")
    >>> import pyarrow.parquet
    >>> row = pyarrow.parquet.read_table(path).to_pylist()[0]
    >>> row["status"], row["value"], row["twice"]
    ('done', 3, 6)
    """
    pyarrow, parquet = (import_optional(name, "batch") for name in ("pyarrow", "pyarrow.parquet"))
    columns = as_columns([describe(row) for row in summary.rows])
    with write_atomically(path) as temporary:
        parquet.write_table(pyarrow.table(columns), temporary)
    return Path(path)


def describe(row: Row) -> dict[str, Any]:
    """A row of the table: own columns first, then options, then values; an equal name gets marks until it is new."""
    outcome = row.outcome
    own: dict[str, Any] = {
        "name": row.job.name,
        "status": row.status,
        "sentence": row.sentence,
        "folder": row.key,
        "again": row.again,
        "seconds": None if outcome is None else outcome.seconds,
        "together": None if outcome is None else outcome.together,
    }
    inputs = {name: str(path) for name, path in row.job.inputs.items()}
    for part in (inputs, row.job.options, {} if outcome is None else outcome.values):
        for name, value in part.items():
            while name in own:
                name += "_"
            own[name] = value
    return own


def as_columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The columns of rows, each of one kind.

    >>> as_columns([{"a": 1, "b": [1, 2]}, {"a": 0.5}, {"a": None, "b": "c"}])
    {'a': [1.0, 0.5, None], 'b': ['[1, 2]', None, 'c']}
    """
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: of_one_kind(row.get(name) for row in rows) for name in names}


def of_one_kind(values: Iterable[Any]) -> list[Any]:
    """The values as they are, or as numbers or text, if they are of several kinds or lists."""
    values = list(values)
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} or kinds <= {str} or (kinds <= {int} and all(abs(v or 0) < 2**63 for v in values)):
        return values
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    return [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
