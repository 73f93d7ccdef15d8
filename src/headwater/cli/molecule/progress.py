"""While molecules are designed: the line of progress in words of molecules."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

from headwater.cli.shared.progress import Record, Watch, clock
from headwater.dflow.result import Event


@dataclass
class Rounds(Record):
    """How far a run is: rounds of evaluations, molecules still searched for, the median of their best costs."""

    running: int = 0
    cost: float = math.nan

    def add(self, event: Event) -> None:
        """Note one round."""
        self.evaluations += 1
        self.running = len(event.active)
        best = event.best[event.best.isfinite()]
        self.cost = float(best.median()) if len(best) else math.nan


class DesignWatch(Watch):
    """The callback of a design: shows a line, ends the run at Ctrl-C or after `seconds`."""

    def __init__(self, title: str, **options: Any) -> None:
        self.rounds = Rounds()
        super().__init__(title, self.rounds, **options)

    def note(self, event: Event) -> None:
        """Every event counts: draws are most of a design."""
        self.rounds.add(event)

    def line(self, event: Event) -> str:
        """The progress in words."""
        cost = f"{self.rounds.cost:.3g}" if math.isfinite(self.rounds.cost) else "-"
        gone = time.perf_counter() - self.start
        left = "" if self.seconds is None else f", at most {clock(max(self.seconds - gone, 0))} left"
        return (
            f"{self.title}  {self.rounds.running} running, cost {cost} (median of the best)  "
            f"round {self.rounds.evaluations}  {clock(gone)} gone{left}"
        )
