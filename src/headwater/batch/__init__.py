"""Many problems: each job is done once, and every run goes on where the last one ended.

>>> import math, tempfile
>>> from headwater import batch
>>> jobs = [batch.Job({"value": n}) for n in (16, 25)]
>>> work = batch.Function(lambda options, folder: {"root": math.sqrt(options["value"])}, version="1")
>>> summary = batch.run(work, jobs, tempfile.mkdtemp())
>>> summary.counts, [row.outcome.values["root"] for row in summary.rows]
({'done': 2}, [4.0, 5.0])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.doors import open_door

if TYPE_CHECKING:
    from headwater.batch.exports import *  # noqa: F403

__getattr__, __dir__ = open_door(__name__)
