"""While a command works: its progress line, its record, its limit of time, and Ctrl-C."""

from __future__ import annotations

import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from headwater.cli.shared.feed import open_feed
from headwater.dflow.result import Event
from headwater.flows.flow import Flow
from headwater.flows.watched import watch_flow
from headwater.optimizers.status import Status
from headwater.text import counted, printable

Tell = Callable[[str], None]


@dataclass
class Record:
    """What is noted of a run: `curve` holds (gradient evaluations, misfit in units of the noise).

    By default it is the misfit of the worst problem that runs. A domain that shows more notes more.
    """

    curve: list[tuple[int, float]] = field(default_factory=list)
    evaluations: int = 0

    def prepare(self, event: Event) -> None:
        """Note one time of the estimate; nothing by default."""

    def add(self, event: Event) -> None:
        """Note one round of the control."""
        self.evaluations += 1
        self.curve.append((self.evaluations, worst(event)))


def worst(event: Event) -> float:
    """The largest finite misfit of the problems that run; NaN if none is known."""
    known = event.measure[event.measure.isfinite()]
    return float(known.max()) if len(known) else math.nan


class Interrupt:
    """Ctrl-C or SIGTERM once: end at the next evaluation and keep the best. Twice: abort.

    Parameters
    ----------
    stream : text file
        Where the answer to the first signal is shown, at once.
    answer : str
        In ASCII.
    """

    def __init__(
        self, stream: TextIO, answer: str = "stopping, the best so far is kept (Ctrl-C again aborts)"
    ) -> None:
        self.stream, self.answer, self.asked, self.aborts = stream, answer, False, False

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

    @contextmanager
    def aborting(self) -> Iterator[None]:
        """Within this block the first signal raises KeyboardInterrupt at once: for work that asks nobody."""
        self.aborts = True
        try:
            if self.asked:
                raise KeyboardInterrupt
            yield
        finally:
            self.aborts = False

    def _ask(self, number: int, frame: Any) -> None:
        again, self.asked = self.asked, True
        if again or self.aborts:
            raise KeyboardInterrupt
        write_at_once(self.stream, f"{self.answer}\n")


def write_at_once(stream: TextIO, text: str) -> None:
    """Write from a signal handler, which may have interrupted a print to the same stream."""
    try:
        clear = "\r\x1b[2K" if stream.isatty() else ""  # the line that is rewritten
        os.write(stream.fileno(), (clear + text).encode("ascii"))
    except (OSError, ValueError):  # no file behind it, closed, or full
        with suppress(OSError, ValueError, RuntimeError):
            stream.write(text)


def seconds_left(
    curve: list[tuple[int, float]],
    per_gradient: float,
    limit: int | None,
    time_left: float | None,
    target: float = 1.0,
) -> float | None:
    """Seconds until the misfit is `target`, if its logarithm falls as over the last ten evaluations.

    Never more than the limits of evaluations and seconds allow; None if nothing says anything.

    >>> seconds_left([(1, 4.0), (2, 2.0)], 3.0, 100, None)
    3.0
    """
    done = curve[-1][0] if curve else 0
    guesses = [] if time_left is None else [max(time_left, 0.0)]
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
    """Follows a solve: it shows a line, keeps a `record`, and ends the solve at Ctrl-C or after `seconds`.

    As a callback it is told of every round; a flow that it watches ends between any two evaluations of its network.

    Parameters
    ----------
    title : str
        The first words of the line.
    record : Record, optional
        What notes the events; one that notes the worst misfit unless given.
    limit : int, optional
        Most gradient evaluations, for the time that is left.
    seconds : float, optional
        The limit of time, from the beginning of `running` on.
    quiet : bool
        Whether no line is shown.
    stream : text file, optional
        Where it is shown; standard error unless given.
    goal : str
        What a misfit of 1 means, in words.
    level : float
        The misfit at which a solve ends, for the time that is left (`RecipeOptions.tau`).

    Attributes
    ----------
    draw : callable, optional
        `draw(event, path)` writes the sample of an event as a file, for a program that follows the command.
    form : str
        The ending of that file: ".png", ".wav" or ".xyz".
    """

    def __init__(
        self,
        title: str,
        record: Record | None = None,
        *,
        limit: int | None = None,
        seconds: float | None = None,
        quiet: bool = False,
        stream: TextIO | None = None,
        goal: str = "noise level",
        level: float = 1.05,
    ) -> None:
        self.title, self.record, self.goal, self.level = title, record or Record(), goal, level
        self.limit, self.seconds = limit, seconds
        self.stream = stream or sys.stderr
        self.show = None if quiet else _rewritten_line if self.stream.isatty() else _log_lines
        self.interrupt = Interrupt(self.stream)
        self.feed = open_feed()
        self.draw: Callable[[Event, Path], None] | None = None
        self.form = ".png"
        self.tell: Tell = _ignore
        self.start = self.turned = time.perf_counter()

    @contextmanager
    def running(self) -> Iterator[Watch]:
        """Show the line and take Ctrl-C for the length of a block."""
        self.start = self.turned = time.perf_counter()  # again, for work that begins later than the watch
        with self.interrupt.listening(), (self.show or _no_lines)(self.stream) as show:

            def tell(text: str) -> None:
                show(text)
                self.feed.put(line=text)

            self.tell = tell
            self.tell(f"{self.title}  starting")
            yield self

    def begin(self, record: Record) -> None:
        """Turn to the next part of the work, which has a record of its own."""
        self.record, self.turned = record, time.perf_counter()

    def __call__(self, event: Event) -> Status | None:
        """Note and show the event; a status if the run is to end."""
        self.note(event)
        if self.draw is not None:
            self.feed.show(partial(self.draw, event), self.form)
        line = self.line(event)
        self.feed.put(line=line, gradients=self.record.evaluations, misfit=worst(event), round=event.round)
        self.tell(line)
        return self.check()

    def check(self) -> Status | None:
        """CANCELLED after Ctrl-C or SIGTERM, SECONDS after the limit of time, else None."""
        if self.interrupt.asked:
            return Status.CANCELLED
        if self.seconds is not None and time.perf_counter() - self.start >= self.seconds:
            return Status.SECONDS
        return None

    @property
    def over(self) -> bool:
        """Whether Ctrl-C was pressed or the time is up."""
        return self.check() is not None

    def guard(self, flow: Flow) -> Flow:
        """The flow, which this watch ends between any two evaluations of its network."""
        return watch_flow(flow, self._count)

    def _count(self) -> Status | None:
        self.feed.count_evaluation()
        return self.check()

    def note(self, event: Event) -> None:
        """Keep the event in the record; round 0 is the estimate that the start is made from."""
        (self.record.add if event.round else self.record.prepare)(event)

    def line(self, event: Event) -> str:
        """The progress in words: misfit of the worst sample still running, evaluations, time left."""
        spent = time.perf_counter() - self.start
        done = max(self.record.evaluations, 1)
        time_left = None if self.seconds is None else self.seconds - spent
        each = (time.perf_counter() - self.turned) / done
        left = seconds_left(self.record.curve, each, self.limit, time_left, self.level)
        largest = worst(event)
        misfit = f"{largest:.2f}" if math.isfinite(largest) else "-"
        spent_gradients = (
            counted(done, "gradient") if self.limit is None else f"{done}/{self.limit} gradients"
        )
        if event.round == 0:
            return f"{self.title}  estimate  misfit {misfit} (1.00 = {self.goal})  {clock(spent)} elapsed"
        return (
            f"{self.title}  misfit {misfit} (1.00 = {self.goal})  "
            f"{spent_gradients}  {clock(spent)} elapsed, about {clock(left)} left"
        )


def _ignore(text: str) -> None:
    """Show nothing."""


@contextmanager
def _no_lines(stream: TextIO) -> Iterator[Tell]:
    """No line, with --quiet."""
    yield _ignore


@contextmanager
def _rewritten_line(stream: TextIO) -> Iterator[Tell]:
    """One line that is rewritten, on a terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(file=stream), auto_refresh=False, transient=True) as live:
        yield lambda text: live.update(Text(text), refresh=True)


@contextmanager
def _log_lines(stream: TextIO, seconds: float = 5.0) -> Iterator[Tell]:
    """A new line in a log, if this many seconds have passed since the last one or it has another title."""
    last, title = -math.inf, ""

    def tell(text: str) -> None:
        nonlocal last, title
        now, before, title = time.perf_counter(), title, text.split("  ")[0]
        if now - last >= seconds or title != before:
            last = now
            print(printable(text), file=stream, flush=True)

    yield tell
