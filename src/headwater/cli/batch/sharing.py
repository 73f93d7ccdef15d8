"""What jobs need to share a batch: what they have in common, their part of what came out, and a job that waits."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from headwater.cli.shared.progress import Watch
from headwater.dflow.result import Event, Result
from headwater.optimizers.status import Status
from headwater.problem.operator import Operator


def contents(thing: Any) -> Iterator[bytes]:
    """What an operator is made of, in bytes; a function is only ever equal to itself."""
    if isinstance(thing, Tensor):
        yield f"{thing.dtype} {list(thing.shape)}".encode()
        yield thing.detach().cpu().contiguous().numpy().tobytes()
    elif isinstance(thing, str | int | float | bool | None):
        yield repr(thing).encode()
    elif isinstance(thing, tuple | list):
        for one in thing:
            yield from contents(one)
    elif isinstance(thing, Operator):
        yield type(thing).__qualname__.encode()
        for name, value in sorted(vars(thing).items()):
            yield name.encode()
            yield from contents(value)
    elif is_dataclass(thing) and not isinstance(thing, type):
        yield type(thing).__qualname__.encode()
        for field in fields(thing):
            yield from contents(getattr(thing, field.name))
    else:
        yield str(id(thing)).encode()


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


def follow(watch: Watch) -> Callable[[Event], Status | None]:
    """What notes an event in the record of a watch, and shows nothing."""

    def note(event: Event) -> Status | None:
        watch.note(event)
        return watch.check()

    return note


def rows_of(result: Result, part: slice) -> Result:
    """The result of the problems of a `part`, as a run of their own would have it."""
    own = {
        name: getattr(result, name)[part] for name in ("x0", "x1", "cost", "measure", "status", "gradients")
    }
    spent = result.preparation
    return replace(
        result,
        **own,
        trace=result.trace[..., part],
        state=None,
        preparation=spent[part] if isinstance(spent, Tensor) and spent.ndim else spent,
    )


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
