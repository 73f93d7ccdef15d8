"""While a restoration runs: its progress line, its record, its limits of time, and Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TextIO

from torch import Tensor

from headwater.dflow.result import Event
from headwater.optimizers.status import Status
from headwater.recipes.warm_start import TAU

FRAMES = 12
PLAIN_SECONDS = 5.0

Tell = Callable[[str], None]


@dataclass
class Record:
    """What the picture sheet shows of the first sample.

    `curve` holds (gradient evaluations, misfit in units of the noise); `frames` (evaluations, x1), thinned
    out so that at most `FRAMES` are held, evenly spaced.
    """

    size: tuple[int, int]
    curve: list[tuple[int, float]] = field(default_factory=list)
    frames: list[tuple[int, Tensor]] = field(default_factory=list)
    evaluations: int = 0
    _every: int = 1

    def prepare(self, event: Event) -> None:
        """Note one time of the estimate; a picture sheet shows none of it."""

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
            height, width = self.size
            x1 = event.x1[place[0], ..., :height, :width].detach().to("cpu", copy=True)
            self.frames.append((self.evaluations, x1))
            if len(self.frames) > FRAMES:
                self.frames, self._every = self.frames[::2], 2 * self._every


class Interrupt:
    """Ctrl-C or SIGTERM once: end at the next evaluation and keep the best. Twice: abort."""

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def listening(self) -> Iterator[Interrupt]:
        """Take over both signals for the length of a block (in the main thread, where Python delivers them)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        former = {n: signal.signal(n, self._ask) for n in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _ask(self, number: int, frame: Any) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def aborting() -> Iterator[None]:
    """SIGTERM as Ctrl-C, a KeyboardInterrupt at once, for the length of a block (in the main thread)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def remaining(
    curve: list[tuple[int, float]],
    per_gradient: float,
    limit: int | None,
    seconds_left: float | None,
    target: float = 1.0,
) -> float | None:
    """Seconds until the misfit is `target`, if its logarithm falls as over the last ten evaluations.

    Never more than the limits of evaluations and seconds allow; None if nothing says anything.

    >>> remaining([(1, 4.0), (2, 2.0)], 3.0, 100, None)
    3.0
    """
    done = curve[-1][0] if curve else 0
    guesses = [] if seconds_left is None else [max(seconds_left, 0.0)]
    if limit is not None:
        guesses.append(max(limit - done, 0) * per_gradient)
    (a, first), (b, last) = (curve[-10:][0], curve[-1]) if curve else ((0, 1.0), (0, 1.0))
    if b > a and last < first:
        slope = math.log(first / last) / (b - a)
        guesses.append(max(math.log(last / target) / slope, 0.0) * per_gradient)
    return min(guesses) if guesses else None


def clock(seconds: float | None) -> str:
    """Minutes and seconds.

    >>> clock(75.2), clock(None)
    ('1:15', '-:--')
    """
    return "-:--" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


class Watch:
    """The callback of a restoration.

    It shows a line, notes the first sample in `record`, and ends the run at Ctrl-C or after `seconds`.
    """

    def __init__(
        self,
        title: str,
        record: Record,
        *,
        limit: int | None = None,
        seconds: float | None = None,
        quiet: bool = False,
        stream: TextIO | None = None,
        goal: str = "noise level",
    ) -> None:
        self.title, self.record, self.goal = title, record, goal
        self.limit, self.seconds = limit, seconds
        self.stream = stream or sys.stderr
        self.show = None if quiet else _live if self.stream.isatty() else _plain
        self.interrupt = Interrupt()
        self.tell: Tell = _silent

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """Show the line and take Ctrl-C for the length of a block."""
        self.start = self.turned = time.perf_counter()
        with self.interrupt.listening():
            if self.show is None:
                yield self
                return
            with self.show(self.stream) as self.tell:
                self.tell(f"{self.title}  starting")
                yield self

    def begin(self, record: Record) -> None:
        """Go on with the next part of the work, noted in a record of its own."""
        self.record, self.turned = record, time.perf_counter()

    def __call__(self, event: Event) -> Status | None:
        """Note and show the event; a status if the run is to end."""
        self.note(event)
        self.tell(self.line(event))
        if self.interrupt.asked:
            self.tell(f"{self.title}  stopping, the best so far is kept (Ctrl-C again aborts)")
            return Status.CANCELLED
        if self.seconds is not None and time.perf_counter() - self.start >= self.seconds:
            return Status.SECONDS
        return None

    @property
    def over(self) -> bool:
        """Whether Ctrl-C was pressed or the time is up."""
        late = self.seconds is not None and time.perf_counter() - self.start >= self.seconds
        return self.interrupt.asked or late

    def note(self, event: Event) -> None:
        """Keep the event in the record; round 0 is the estimate that the start is made from."""
        (self.record.add if event.round else self.record.prepare)(event)

    def line(self, event: Event) -> str:
        """The progress in words: misfit of the worst sample still running, evaluations, time left."""
        spent = time.perf_counter() - self.start
        done = max(self.record.evaluations, 1)
        time_left = None if self.seconds is None else self.seconds - spent
        each = (time.perf_counter() - self.turned) / done
        left = remaining(self.record.curve, each, self.limit, time_left, TAU)
        known = event.measure[event.measure.isfinite()]
        misfit = f"{float(known.max()):.2f}" if len(known) else "-"
        of = f"/{self.limit}" if self.limit is not None else ""
        if event.round == 0:
            return f"{self.title}  estimate  misfit {misfit} (1.00 = {self.goal})  {clock(spent)} gone"
        return (
            f"{self.title}  misfit {misfit} (1.00 = {self.goal})  "
            f"{done}{of} gradients  {clock(spent)} gone, about {clock(left)} left"
        )


def _silent(text: str) -> None:
    """Say nothing."""


@contextmanager
def _live(stream: TextIO) -> Iterator[Tell]:
    """One line that is rewritten, on a terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=stream), auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(Text(text), refresh=True)


@contextmanager
def _plain(stream: TextIO) -> Iterator[Tell]:
    """A new line every few seconds, in a log."""
    last = -math.inf

    def tell(text: str) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= PLAIN_SECONDS:
            last = now
            print(text, file=stream, flush=True)

    yield tell
