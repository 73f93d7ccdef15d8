"""Who may ask what: a shield around the application.

* The header Host must be one that we answer to, so that no other site's name can be pointed at this machine (DNS
  rebinding).
* What changes something must come from our own page, or from no browser at all (cross-site request forgery).
* With a token nothing of the interface is served without it.
* A body is limited in bytes and must keep coming.
* Every answer carries the strictest content policy that the page works with.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import secrets
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "headwater"
LOCAL = ("127.0.0.1", "localhost", "::1")
MOST_JSON = 64 << 10
"""Bytes of a form."""
PATIENCE = 20.0
"""Seconds in which the next part of a body must come."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self' blob: data:; font-src 'self'; worker-src 'self' blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content policy of the page. The nonce is for styles that two libraries put into their shadow roots."""
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "X-Frame-Options": "DENY",
}


class Refused(Exception):
    """A request that is answered by the guard; `args` are the status, what is wrong and the cure."""


@dataclass(frozen=True)
class Door:
    """Who is let in.

    Attributes
    ----------
    token
        Without one the server answers to names of this machine alone.
    session
        What the cookie of a page that knew the token holds.
    """

    token: str | None = None
    session: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def knows(self, token: str) -> bool:
        """Whether it is the token, in a time that says nothing about it."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def check_host(self, host: str) -> None:
        """Refuse names that are not this machine's; with a token any will do, as a stranger's page has no cookie."""
        if self.token is None and host_name(host) not in LOCAL:
            raise Refused(
                421, f"This server does not answer to the name {host[:80]!r}.", "Open http://127.0.0.1."
            )

    def check_origin(self, headers: MutableMapping[str, str]) -> None:
        """Refuse requests of other sites' pages."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        own = origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        if not own or site not in (None, "same-origin", "none"):
            raise Refused(
                403, "This request comes from the page of another site.", "Use the page of this server."
            )

    def check_token(self, headers: MutableMapping[str, str]) -> None:
        """Refuse who does not know the token."""
        if self.token is None:
            return
        scheme, _, word = headers.get("authorization", "").partition(" ")
        cookies = dict(part.strip().partition("=")[::2] for part in headers.get("cookie", "").split(";"))
        if scheme.lower() == "bearer" and self.knows(word.strip()):
            return
        if not hmac.compare_digest(cookies.get(COOKIE, "").encode(), self.session.encode()):
            raise Refused(
                401, "This page asks for a token.", "Give the one that 'headwater serve' was started with."
            )


def host_name(host: str) -> str:
    """The name in a header Host, without the port.

    >>> host_name("localhost:80"), host_name("[::1]:80"), host_name("evil@localhost")
    ('localhost', '::1', '')
    """
    try:
        parts = urlsplit(f"//{host}")
        return "" if "@" in host or "/" in host else (parts.hostname or "")
    except ValueError:
        return ""


class Guard:
    """The shield, as ASGI middleware.

    Parameters
    ----------
    app
        What is shielded.
    door
        Who is let in.
    """

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self.app, self.door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["state"] = {**scope.get("state", {}), "nonce": secrets.token_urlsafe(16)}
        send = with_headers(send, scope["state"]["nonce"])
        headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        try:
            self._check(scope, headers)
        except Refused as refusal:
            await answer(send, *refusal.args)
            return
        body = Body(scope["method"], scope["path"], receive)
        begun = False

        async def unless_refused(message: Message) -> None:
            """Pass an answer on; what the application says of a body that we refused is left out."""
            nonlocal begun
            if body.refusal is None:
                begun = True
                await send(message)

        with suppress(Refused):
            await self.app(scope, body.read, unless_refused)
        if body.refusal is not None and not begun:
            await answer(send, *body.refusal.args)

    def _check(self, scope: Scope, headers: MutableMapping[str, str]) -> None:
        self.door.check_host(headers.get("host", ""))
        if scope["method"] not in ("GET", "HEAD"):
            self.door.check_origin(headers)
        if scope["path"].startswith("/api/") and scope["path"] != "/api/login":
            self.door.check_token(headers)


class Body:
    """A body that is refused once it is too large or stops coming; files are limited where they are written.

    Attributes
    ----------
    refusal
        Why it was refused, if it was.
    """

    def __init__(self, method: str, path: str, receive: Receive) -> None:
        self.receive = receive
        self.most = None if path == "/api/files" else MOST_JSON
        self.over = method in ("GET", "HEAD")
        self.taken = 0
        self.refusal: Refused | None = None

    async def read(self) -> Message:
        """The next part; after the last one, that the client has gone."""
        if self.over:
            return await self.receive()
        try:
            message = await asyncio.wait_for(self.receive(), PATIENCE)
        except TimeoutError:
            raise self._refuse(408, "The request stopped in the middle.", "Send it again.") from None
        if message["type"] == "http.request":
            self.taken += len(message.get("body", b""))
            self.over = not message.get("more_body", False)
            if self.most is not None and self.taken > self.most:
                raise self._refuse(413, f"The form is larger than {self.most} bytes.", "Send less.")
        return message

    def _refuse(self, *why: Any) -> Refused:
        self.refusal = Refused(*why)
        return self.refusal


def with_headers(send: Send, nonce: str) -> Send:
    """What sends an answer with our headers; one that has a policy of its own keeps it."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message["headers"]}
            ours = {**HEADERS, "Content-Security-Policy": POLICY.format(nonce=nonce)}
            more = [(k.encode(), v.encode()) for k, v in ours.items() if k.lower().encode() not in there]
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return sending


async def answer(send: Send, status: int, what: str, cure: str) -> None:
    """Send a refusal."""
    body = json.dumps({"what": what, "cure": cure}).encode()
    headers: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def describe_refusal(error: Any) -> dict[str, str]:
    """The two sentences of a Misuse, ready for JSON."""
    return {"what": error.what, "cure": error.cure}
