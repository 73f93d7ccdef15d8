"""What happens, told to every open page: server-sent events that a page which was away for a moment does not miss."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

KEPT = 512
"""Events that a page may have missed."""
BEHIND = 256
"""Events that may wait for a slow client; then it is dropped, and asks again with the last it has seen."""
PULSE = 15.0
"""Seconds after which a silent stream says that it is alive."""


def format_event(name: str, number: str, data: Any) -> bytes:
    r"""An event as it goes over the line.

    >>> format_event("job", "a-1", {"id": 1})
    b'id: a-1\nevent: job\ndata: {"id":1}\n\n'
    """
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)  # a page reads no NaN
    return f"id: {number}\nevent: {name}\ndata: {text}\n\n".encode()


@dataclass(eq=False)
class Listener:
    """One open page; `queue` holds None once it is to be dropped."""

    queue: asyncio.Queue[bytes | None] = field(default_factory=lambda: asyncio.Queue(BEHIND))

    def put(self, event: bytes) -> bool:
        """Whether the event could be taken."""
        try:
            self.queue.put_nowait(event)
        except asyncio.QueueFull:
            return False
        return True


class Broadcast:
    """All events, numbered; each is written once, whatever the number of pages.

    Parameters
    ----------
    snapshot
        The whole state, for a page that is new or was away for too long.
    """

    def __init__(self, snapshot: Callable[[], Any]) -> None:
        self.snapshot = snapshot
        self.boot = secrets.token_hex(4)  # numbers of a former server mean nothing here
        self.number = 0
        self.kept: deque[tuple[int, bytes]] = deque(maxlen=KEPT)
        self.listeners: set[Listener] = set()
        self.closed = False

    def tell(self, name: str, data: Any) -> None:
        """Send an event to all pages; those that are too far behind are dropped."""
        self.number += 1
        event = format_event(name, f"{self.boot}-{self.number}", data)
        self.kept.append((self.number, event))
        for listener in [each for each in self.listeners if not each.put(event)]:
            self.drop(listener)

    def drop(self, listener: Listener) -> None:
        """End the stream of a listener."""
        self.listeners.discard(listener)
        while not listener.queue.empty():
            listener.queue.get_nowait()
        listener.queue.put_nowait(None)

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        for listener in list(self.listeners):
            self.drop(listener)

    def missed(self, last: str | None) -> list[bytes] | None:
        """The events after the one with the id `last`; None if that is not known any more."""
        boot, _, digits = (last or "").partition("-")
        if boot != self.boot or not digits.isdecimal() or len(digits) > 18:
            return None
        seen, first = int(digits), self.kept[0][0] if self.kept else self.number + 1
        if not first - 1 <= seen <= self.number:
            return None
        return [event for number, event in self.kept if number > seen]

    async def listen(self, last: str | None) -> AsyncIterator[bytes]:
        """The stream of one page: what it missed or the whole state, then everything as it happens."""
        missed = self.missed(last)
        if missed is None:
            missed = [format_event("state", f"{self.boot}-{self.number}", self.snapshot())]
        listener = Listener()
        if not self.closed:
            self.listeners.add(listener)
        try:
            yield b"retry: 1000\n\n" + b"".join(missed)
            while not self.closed:
                try:
                    event = await asyncio.wait_for(listener.queue.get(), PULSE)
                except TimeoutError:
                    event = b": still here\n\n"
                if event is None:
                    return
                yield event
        finally:
            self.listeners.discard(listener)
