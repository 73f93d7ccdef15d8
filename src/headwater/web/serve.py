"""`headwater serve`: the server of the page, from its options to its end."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from cyclopts import App
from uvicorn.protocols.http.h11_impl import H11Protocol

from headwater.errors import Misuse, as_refusal
from headwater.web.app import make_app
from headwater.web.desk import HISTORY, Desk
from headwater.web.forms import Forms
from headwater.web.guard import LOCAL, Door

LOCK = "lock"
SHORTEST_TOKEN = 16
READ_PATIENCE = 20.0
"""Seconds in which a client must take some of what waits for it."""
LEAST_RATE, GRACE = 1000.0, 120.0
"""Bytes a second that it must take on average once it has been slow for so many seconds."""
SEND_BUFFER = 64 << 10
"""Bytes that the system keeps of what a client has not read: were they many, slow reading would not be seen."""
HEAD_PATIENCE = 10.0
"""Seconds in which the head of a request must be there, from the connection or the last answer on."""
MOST_CONNECTIONS = 600


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that drops who connects and says nothing, says it letter by letter, or reads no answer.

    uvicorn waits for ever for all three.
    """

    _deadline: asyncio.TimerHandle | None = None
    _look: asyncio.TimerHandle | None = None
    _slow_since: float | None = None
    _left: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a head is whole."""
        if not self.flow.write_paused:
            self._forget_reader()
        super().data_received(data)
        if self._between_requests():
            self._wait_for_head()
        elif self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def pause_writing(self) -> None:
        """Watch that the client reads: more waits for it than the transport takes."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """The client has read most."""
        self._forget_reader()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Watch that the client reads the end of the answer: a transport that is closed waits for that, too."""
        super().on_response_complete()
        if self.transport.get_write_buffer_size():
            self._watch_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all waiting."""
        self._forget_reader()
        if self._deadline is not None:
            self._deadline.cancel()
        super().connection_lost(exc)

    def _watch_reader(self) -> None:
        """Look again in a while; while we watch, nothing is added to what waits."""
        loop, left = asyncio.get_running_loop(), self.transport.get_write_buffer_size()
        if self._look is not None:
            self._look.cancel()
        if self._slow_since is None:
            self._slow_since, self._left = loop.time(), left
        self._look = loop.call_later(READ_PATIENCE, self._drop_unless_read, left)

    def _forget_reader(self) -> None:
        self._slow_since = None
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def _drop_unless_read(self, left: int) -> None:
        now = self.transport.get_write_buffer_size()
        slow = asyncio.get_running_loop().time() - (self._slow_since or 0.0)
        if now >= left or (slow >= GRACE and now and self._left - now < LEAST_RATE * slow):
            self.transport.abort()
        elif now:
            self._watch_reader()
        else:
            self._forget_reader()

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _wait_for_head(self) -> None:
        if self._deadline is None:
            self._deadline = asyncio.get_running_loop().call_later(HEAD_PATIENCE, self._drop)

    def _drop(self) -> None:
        self._deadline = None
        if self._between_requests():
            self.transport.close()


def default_folder() -> Path:
    """Where the history is kept unless a folder is named: the user's data, as XDG has it."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "headwater"


def check_options(host: str, token: str | None) -> None:
    """Refuse to open the page to a network without a token.

    Raises
    ------
    Misuse
        There is none, or it can be guessed.
    """
    if host not in LOCAL and token is None:
        raise Misuse(
            f"At {host} everyone in the network could use this machine and read your files.",
            "Give --token with a long secret, and know that it travels unencrypted; or stay at 127.0.0.1 and use "
            "'ssh -L'.",
        )
    if token is not None and (len(token) < SHORTEST_TOKEN or not token.isascii()):
        what = f"The token has {len(token)} characters, which can be guessed."
        raise Misuse(what, f"Give at least {SHORTEST_TOKEN} of ASCII, as 'openssl rand -hex 16' prints.")


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds other files than the page's: in its own it removes what it does not know.

    Raises
    ------
    Misuse
        There are files, and no history among them.
    """
    names = {path.name for path in folder.iterdir()}
    if names - {LOCK} and HISTORY not in names:
        raise Misuse(f"{folder} holds other files and no {HISTORY}.", "Name a new --folder.")


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """A block in which no other server uses the folder; it is made for this user alone.

    Raises
    ------
    Misuse
        Another one uses it, it is not a folder of the page, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_folder(folder)
        lock = (folder / LOCK).open("w", encoding="utf-8")
    except OSError as error:
        raise as_refusal(error) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            what = f"Another page uses the folder {folder}."
            raise Misuse(what, "Open that one, or name another --folder.") from None
        yield


def open_desk(folder: Path, app: App) -> Desk:
    """The desk of a folder.

    Raises
    ------
    Misuse
        The history is damaged, or the system refuses the folder.
    """
    try:
        return Desk(folder, Forms(app))
    except OSError as error:
        raise as_refusal(error) from None


def open_socket(host: str, port: int) -> socket.socket:
    """The socket that the server listens at.

    Raises
    ------
    Misuse
        The port is taken, or the address is not of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)  # also of what it accepts
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise Misuse(
            f"Port {port} at {host} cannot be used: {error.strerror}.", "Give another --port."
        ) from None
    return listening


class PageServer(uvicorn.Server):
    """A server whose open streams end with it.

    Attributes
    ----------
    on_exit
        Called at Ctrl-C and SIGTERM, before the server waits for its connections.
    """

    on_exit: Callable[[], None] = staticmethod(lambda: None)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """End the streams, then all else."""
        self.on_exit()
        super().handle_exit(sig, frame)


def make_server(app: Any) -> PageServer:
    """A server that tells little and waits for nobody."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=3,
        limit_concurrency=MOST_CONNECTIONS,
    )
    return PageServer(config)


def serve(
    app: App, *, host: str, port: int, token: str | None, folder: Path | None, browser: bool, quiet: bool
) -> int:
    """Serve the page until Ctrl-C; the exit code.

    Raises
    ------
    Misuse
        An option or the folder cannot be used.
    """
    check_options(host, token)
    folder = (folder or default_folder()).resolve()
    with hold_folder(folder), open_socket(host, port) as listening:
        desk = open_desk(folder, app)
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{listening.getsockname()[1]}/"
        if not quiet:
            secret = "" if token is None else " (it asks for the token)"
            print(
                f"Headwater is at {address}{secret}. Ctrl-C ends it. What it makes is in {folder}.",
                flush=True,
            )
        if browser:
            webbrowser.open(address)
        server = make_server(make_app(desk, Door(token)))
        server.on_exit = desk.broadcast.close
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once all is closed
            server.run(sockets=[listening])
    return 0
