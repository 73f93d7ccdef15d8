"""Progress for another program, such as the page: lines of JSON and the last sample, in a folder that it names.

The folder is that of the environment variable HEADWATER_PROGRESS. `events.jsonl` gets a line for each event; the last
sample, `preview.png`, `preview.wav` or `preview.xyz`, is replaced, whole, and the line that follows counts it. A feed
never fails: a full disk loses lines.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VARIABLE = "HEADWATER_PROGRESS"
EVENTS, PREVIEW = "events.jsonl", "preview"
Draw = Callable[[Path], None]


@dataclass
class Feed:
    """What a watch tells the program that reads the folder.

    Attributes
    ----------
    folder
        Where both files are.
    pause
        Seconds between two lines at least, of lines that the next one replaces.
    share
        The part of the time that drawing previews may take.
    """

    folder: Path
    pause: float = 0.2
    share: float = 0.05
    drawn: int = 0
    evaluations: int = 0
    _last: float = -math.inf
    _next_preview: float = -math.inf

    def put(self, *, always: bool = False, **values: Any) -> None:
        """Write a line, unless one was written a moment ago; numbers that are not finite become null."""
        now = time.perf_counter()
        if not always and now - self._last < self.pause:
            return
        self._last = now
        known = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        line = json.dumps({**known, "evaluations": self.evaluations, "preview": self.drawn})
        with suppress(OSError), (self.folder / EVENTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def count_evaluation(self) -> None:
        """Count an evaluation of a network, and say so now and then."""
        self.evaluations += 1
        self.put()

    def show(self, draw: Draw, form: str = ".png") -> None:
        """Replace the preview by what `draw` writes, if the last one is a second old and drawing took little.

        `form` is the ending of its file.
        """
        start = time.perf_counter()
        if start < self._next_preview:
            return
        fresh = self.folder / f".{PREVIEW}{form}"
        with suppress(OSError):
            draw(fresh)
            os.replace(fresh, self.folder / f"{PREVIEW}{form}")
            self.drawn += 1
        end = time.perf_counter()
        self._next_preview = end + max(1.0, (end - start) / self.share)


@dataclass
class NoFeed(Feed):
    """Nobody listens."""

    folder: Path = field(default_factory=Path)

    def put(self, *, always: bool = False, **values: Any) -> None:
        """Write nothing."""

    def count_evaluation(self) -> None:
        """Count nothing."""

    def show(self, draw: Draw, form: str = ".png") -> None:
        """Draw nothing."""


def open_feed() -> Feed:
    """The feed that the environment asks for.

    >>> isinstance(open_feed(), NoFeed)
    True
    """
    folder = os.environ.get(VARIABLE)
    return Feed(Path(folder)) if folder else NoFeed()
