"""What jobs need to share a batch: what they have in common, their part of what came out, and a job that waits."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from headwater.dflow.result import Event, Result
from headwater.optimizers.status import Status


@dataclass(frozen=True)
class Fork:
    """A callback that lets each job follow its own problems; the first of them may end the solve.

    Attributes
    ----------
    callbacks
        One for each job.
    parts
        The problems of each job: `parts[i]` are rows of the batch.
    """

    callbacks: Sequence[Callable[[Event], Any]]
    parts: Sequence[slice]

    def __call__(self, event: Event) -> Status | None:
        """Tell each job of its problems as if it were alone."""
        said = None
        for tell, part in zip(self.callbacks, self.parts, strict=True):
            place = ((event.active >= part.start) & (event.active < part.stop)).nonzero().flatten()
            if len(place):
                status = tell(of_problems(event, part, place))
                said = said or status
        return said


def of_problems(event: Event, part: slice, place: Tensor) -> Event:
    """The event of the problems of a `part`, which stand at `place` `[k]` among the active ones."""
    own = {name: getattr(event, name)[place] for name in ("cost", "measure", "x1")}
    x0 = None if event.x0 is None else event.x0[place]
    return replace(event, active=event.active[place] - part.start, best=event.best[part], x0=x0, **own)


def rows_of(result: Result, part: slice) -> Result:
    """The result of the problems of a `part`, as a run of their own would have it."""
    spent = result.preparation
    own = spent[part] if isinstance(spent, Tensor) and spent.ndim else spent
    rows: Result = select_part(result, part, trace=result.trace[..., part], state=None, preparation=own)
    return rows


def select_part(result: Any, part: slice, **more: Any) -> Any:
    """The rows of a `part` of a dataclass: of all of its tensors and tuples; `more` is put in as it is."""
    names = [f.name for f in fields(result) if f.name not in more]
    rows = {name: value[part] for name in names if isinstance(value := getattr(result, name), Tensor | tuple)}
    return replace(result, **rows, **more)


def in_order(counts: Sequence[int]) -> list[slice]:
    """The rows of jobs with so many problems each.

    >>> in_order([2, 1])
    [slice(0, 2, None), slice(2, 3, None)]
    """
    ends = torch.tensor([0, *counts]).cumsum(0).tolist()
    return [slice(a, b) for a, b in pairwise(ends)]


class Strand:
    """A function that may stop in the middle, ask for something, and go on with the answer.

    It runs in a thread of its own, but never at the same time as what drives it, so that standard output, which each
    job sends to its own log, is that of one of them at a time.

    Parameters
    ----------
    function
        Called as `function(ask)`; `ask(question)` waits for the answer, and returns or raises it.

    Examples
    --------
    >>> strand = Strand(lambda ask: ask("a number") + ask("another"))
    >>> strand.go_on(), strand.go_on(3), strand.go_on(4), strand.value
    ('a number', 'another', None, 7)
    """

    def __init__(self, function: Callable[[Callable[[Any], Any]], Any]) -> None:
        self.function = function
        self.questions: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.streams = (sys.stdout, sys.stderr)
        self.value: Any = None
        self.error: BaseException | None = None

    def _run(self) -> None:
        try:
            self.value = self.function(self._ask)
        except BaseException as error:  # for who drives it
            self.error = error
        self.questions.put(None)

    def _ask(self, question: Any) -> Any:
        self.questions.put(question)
        answer = self.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def go_on(self, answer: Any = None) -> Any:
        """Answer the last question; the next one, or None at the end, when `value` or `error` is there."""
        ours, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), self.streams
        try:
            if self.thread.ident is None:
                self.thread.start()
            else:
                self.answers.put(answer)
            return self.questions.get()
        finally:
            self.streams, (sys.stdout, sys.stderr) = (sys.stdout, sys.stderr), ours
