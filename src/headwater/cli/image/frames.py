"""What the picture sheet shows of the way to the result."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from headwater.cli.shared.progress import Record
from headwater.dflow.result import Event


@dataclass
class Frames(Record):
    """The way of the first sample: its misfit after every gradient evaluation, and x1 after some of them.

    Attributes
    ----------
    frames : list of (evaluations, x1)
        At most `most` of them, evenly spaced, as the flow has them.
    """

    most: int = 12
    frames: list[tuple[int, Tensor]] = field(default_factory=list)
    _every: int = 1

    def add(self, event: Event) -> None:
        """Note the first sample, if it was evaluated."""
        place = (event.active == 0).nonzero().flatten().tolist()
        if not place:
            return
        self.evaluations += 1
        misfit = float(event.measure[place[0]])
        if math.isfinite(misfit):
            self.curve.append((self.evaluations, misfit))
        if (self.evaluations - 1) % self._every == 0:
            x1 = event.x1[place[0]].detach().to("cpu", copy=True)
            self.frames.append((self.evaluations, x1))
            if len(self.frames) > self.most:
                self.frames, self._every = self.frames[::2], 2 * self._every
