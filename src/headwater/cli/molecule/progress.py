"""While molecules are designed: the line of progress in words of molecules, and the best of the last round."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.cli.shared.progress import Record, Watch, clock
from headwater.dflow.result import Event
from headwater.errors import Misuse
from headwater.molecule.io.xyz import write_xyz
from headwater.molecule.structure.molecule import to_molecules
from headwater.molecule.structure.state import atom_mask, round_state
from headwater.molecule.targets.design import DesignTask
from headwater.molecule.targets.request import Request


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
        self.form = ".xyz"

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


def draw_previews(request: Request) -> Callable[[Event, Path], None]:
    """What writes the molecule of the lowest cost of an event, rounded, as an XYZ file."""
    atoms = DesignTask(request).atoms

    def draw(event: Event, path: Path) -> None:
        best = int(event.cost.nan_to_num(nan=math.inf).argmin())
        mask = atom_mask(atoms[event.active[best : best + 1].cpu()])
        with suppress(Misuse):  # a state that is not finite is no molecule
            write_xyz(
                path,
                to_molecules(round_state(event.x1[best : best + 1].detach().cpu(), mask)),
                overwrite=True,
            )

    return draw
