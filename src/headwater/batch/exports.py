"""What `headwater.batch` offers."""

from __future__ import annotations

from headwater.batch.driver import run
from headwater.batch.job import Job, Outcome
from headwater.batch.page import write_page
from headwater.batch.processes import Processes
from headwater.batch.rays import RayActors
from headwater.batch.shard import Shard
from headwater.batch.summary import Row, Summary
from headwater.batch.table import write_table
from headwater.batch.work import Function, Work

__all__ = [
    "Function",
    "Job",
    "Outcome",
    "Processes",
    "RayActors",
    "Row",
    "Shard",
    "Summary",
    "Work",
    "run",
    "write_page",
    "write_table",
]
