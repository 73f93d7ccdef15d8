"""The HTTP interface of the page: files in, jobs, events, files out."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from mimetypes import guess_type
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Header, Query, Request, Response
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, StreamingResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat
from starlette.exceptions import HTTPException

import headwater
from headwater.atomic import FULL
from headwater.errors import Misuse
from headwater.text import shorten
from headwater.web import examples
from headwater.web.desk import Desk, explain_history
from headwater.web.guard import COOKIE, Door, Guard, Refused, describe_refusal
from headwater.web.lane import FEED, FORMS, LOG, PREVIEW
from headwater.web.renderings import is_shown, render
from headwater.web.uploads import MOST_BYTES, MOST_PIXELS, Upload, clean_stem

STATIC = Path(__file__).parent / "static"
MOLECULE_VIEWER = Path(headwater.__file__).parent / "molecule" / "io" / "assets"
"""Where 3Dmol.js is shipped already, for the pages that the commands write."""
MOST_PAGES = 256
"""Pages that may listen at once."""
HARMLESS = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; sandbox"
"""The policy of files that a job wrote."""
SEE = "See /api/openapi.json for what is taken."
Kind = Literal["picture", "recording", "molecule", "labels"]
Id = Annotated[str, InPath(pattern="^[0-9a-f]{16}$")]
Name = Annotated[str, InPath(max_length=100)]
Answer = dict[str, Any]


class JobForm(BaseModel):
    """A form that was filled in."""

    model_config = ConfigDict(extra="forbid")
    command: str = Field(max_length=40, examples=["image denoise"])
    values: dict[str, str | int | FiniteFloat | bool | list[str]] = Field(default_factory=dict, max_length=60)
    files: dict[str, str] = Field(default_factory=dict, max_length=8)


class Queue(BaseModel):
    """Whether the queue is paused."""

    paused: bool


class Login(BaseModel):
    """The token."""

    token: str = Field(max_length=200)


def make_app(desk: Desk, door: Door) -> Any:
    """The application, shielded."""

    @asynccontextmanager
    async def working(app: FastAPI) -> AsyncIterator[None]:
        desk.start()
        yield
        await desk.close()

    app = FastAPI(
        title="Headwater",
        version=headwater.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        lifespan=working,
    )
    add_refusals(app)
    add_page(app, desk, door)
    add_files(app, desk)
    add_jobs(app, desk)
    add_results(app, desk)
    add_events(app, desk)
    app.mount("/vendor/3dmol", StaticFiles(directory=MOLECULE_VIEWER))
    app.mount("/static", StaticFiles(directory=STATIC))
    return Guard(app, door)


def add_refusals(app: FastAPI) -> None:
    """How errors become two sentences and a status."""

    async def refuse(status: int, what: str, cure: str) -> JSONResponse:
        return JSONResponse({"what": what, "cure": cure}, status)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return await refuse(*error.args)

    @app.exception_handler(Misuse)
    async def misuse(request: Request, error: Misuse) -> JSONResponse:
        return JSONResponse(describe_refusal(error), 422)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return await refuse(422, *explain_invalid(error.errors()[0]))

    @app.exception_handler(HTTPException)
    async def unanswered(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 404:
            return await missing(request, LookupError())
        response = await refuse(error.status_code, f"{error.detail}.", SEE)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(LookupError)
    async def missing(request: Request, error: LookupError) -> JSONResponse:
        return await refuse(
            404, "There is no such thing here.", "It may have been removed: load the page again."
        )

    @app.exception_handler(OSError)
    async def system(request: Request, error: OSError) -> JSONResponse:
        what = f"The system refused: {error.strerror or error}."
        if error.errno in FULL:
            return await refuse(507, what, "Free some space, then try again.")
        return await refuse(503, what, "Mend that, then try again.")

    @app.exception_handler(sqlite3.Error)
    async def database(request: Request, error: sqlite3.Error) -> JSONResponse:
        return await refuse(507, *explain_history(error))


def explain_invalid(error: Mapping[str, Any]) -> tuple[str, str]:
    """What is said of a request that is not as the interface has it.

    >>> explain_invalid({"loc": ("body", "values", "noise", "str"), "msg": "Input should be a valid string"})
    ("The setting 'noise' has no such value.", 'Give a number or a text.')
    >>> explain_invalid({"loc": ("query", "kind"), "msg": "Field required"})
    ("The request is wrong at 'kind': Field required.", 'See /api/openapi.json for what is taken.')
    """
    match error["loc"]:
        case ("body", "values", key, *_):
            return f"The setting {shorten(str(key))!r} has no such value.", "Give a number or a text."
        case (_, *where):
            at = f" at {shorten('.'.join(map(str, where)))!r}" if where else ""
            return f"The request is wrong{at}: {error['msg']}.", SEE
    return f"The request is wrong: {error['msg']}.", SEE


def add_page(app: FastAPI, desk: Desk, door: Door) -> None:
    """The page itself, what it offers, and the token."""
    page = (STATIC / "index.html").read_text(encoding="utf-8")

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def index(request: Request) -> HTMLResponse:
        return HTMLResponse(page.replace("NONCE", request.state.nonce), headers={"Cache-Control": "no-store"})

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> FileResponse:
        return FileResponse(STATIC / "icon.svg")

    @app.get("/api/page")
    async def describe() -> Answer:
        """What the page offers."""
        return {
            "version": headwater.__version__,
            "commands": desk.forms.describe(),
            "devices": list(desk.forms.devices),
            "bytes": dict(MOST_BYTES),
            "pixels": MOST_PIXELS,
            "examples": examples.list_examples(),
        }

    @app.post("/api/login")
    async def login(form: Login) -> Response:
        """Let the page in that knows the token."""
        if not door.knows(form.token):
            await asyncio.sleep(0.5)
            raise_refusal("This is not the token.", "Give the one that 'headwater serve' was started with.")
        response = JSONResponse({})
        response.set_cookie(COOKIE, door.session, httponly=True, samesite="strict")
        return response


def raise_refusal(what: str, cure: str) -> None:
    """Refuse."""
    raise Misuse(what, cure)


def add_files(app: FastAPI, desk: Desk) -> None:
    """Files in."""

    @app.post("/api/files", status_code=201)
    async def receive(
        request: Request, kind: Kind, name: Annotated[str, Query(max_length=300)] = "file"
    ) -> Answer:
        """Take in a file: the body of the request."""
        with desk.uploads.arriving(declared_size(request, MOST_BYTES[kind])) as part:
            await write_body(request, part, MOST_BYTES[kind])
            return describe_upload(await asyncio.to_thread(desk.uploads.finish, part, kind, name))

    @app.post("/api/examples/{name}", status_code=201)
    async def example(name: Name) -> Answer:
        """Take in a file that ships with Headwater."""
        source, kind = examples.find_example(name)
        with desk.uploads.arriving(source.stat().st_size) as part:
            part.write_bytes(source.read_bytes())
            return describe_upload(desk.uploads.finish(part, kind, name))

    @app.get("/api/files/{id}")
    async def read(id: Id) -> FileResponse:
        """A file that was sent; a TIFF as PNG and an AIFF as WAV, which browsers show."""
        path = await render(desk.uploads.known[id][0].path)
        return FileResponse(path, headers={"Content-Security-Policy": HARMLESS})


def declared_size(request: Request, most: int) -> int:
    """The bytes that a body declares; `most` where it declares none, or more."""
    declared = request.headers.get("content-length", "")
    return min(int(declared[:18]), most) if declared.isdecimal() else most


async def write_body(request: Request, path: Path, most: int) -> None:
    """Write a body to a file, up to a limit of bytes.

    Raises
    ------
    Refused
        It is larger.
    """
    declared = request.headers.get("content-length", "0")
    taken = 0
    with path.open("wb") as file:
        async for chunk in request.stream():
            taken += len(chunk)
            if taken > most or (declared.isdecimal() and int(declared[:18]) > most):
                raise Refused(
                    413, f"The file is larger than {most >> 20} MB.", "Use the command line for it."
                )
            file.write(chunk)


def describe_upload(upload: Upload) -> Answer:
    """What the page is told of a file that it sent."""
    return {"id": upload.id, "kind": upload.kind, "name": upload.name, "bytes": upload.path.stat().st_size}


def add_jobs(app: FastAPI, desk: Desk) -> None:
    """Jobs, and their queue."""

    @app.get("/api/jobs")
    async def every() -> Answer:
        """All jobs, and whether the queue is paused."""
        return desk.snapshot()

    @app.post("/api/jobs", status_code=201)
    async def submit(form: JobForm) -> Answer:
        """Queue a job."""
        return desk.submit(form.command, form.values, form.files).describe()

    @app.post("/api/words")
    async def words(form: JobForm) -> Answer:
        """The words of the command line that a form stands for, or why there are none; nothing is queued.

        Files are named, not sent. A form that is being filled in is often wrong, which is no error.
        """
        names = {key: clean_name(name) for key, name in form.files.items()}
        try:
            return {"words": desk.forms.to_words(form.command, form.values, names)}
        except Misuse as error:
            return {"words": None, **describe_refusal(error)}

    @app.get("/api/jobs/{id}")
    async def one(id: Id) -> Answer:
        """One job."""
        return desk.find(id).describe()

    @app.post("/api/jobs/{id}/cancel")
    async def cancel(id: Id) -> Answer:
        """End a job; what it has is kept."""
        job = desk.find(id)
        desk.cancel(job)
        return job.describe()

    @app.delete("/api/jobs/{id}", status_code=204)
    async def remove(id: Id) -> None:
        """Forget a job that is over, and its files."""
        desk.remove(desk.find(id))

    @app.put("/api/queue")
    async def queue(form: Queue) -> Answer:
        """Pause the queue, or let it go on."""
        desk.pause(form.paused)
        return {"paused": desk.paused}


def clean_name(name: str) -> str:
    """A file's name as ours would be."""
    return f"{clean_stem(name)}{Path(name[:300]).suffix[:8]}"


def add_results(app: FastAPI, desk: Desk) -> None:
    """Files out."""

    def send(path: Path, name: str, download: bool) -> FileResponse:
        if not path.is_file():
            raise LookupError(name)
        headers = {"Content-Security-Policy": HARMLESS, "Cache-Control": "no-store"}
        kept = download or path.suffix in (".html", ".svg")
        disposition: Literal["attachment", "inline"] = "attachment" if kept else "inline"
        return FileResponse(path, headers=headers, filename=name, content_disposition_type=disposition)

    @app.get("/api/jobs/{id}/files/{name}")
    async def file(id: Id, name: Name, download: bool = False) -> FileResponse:
        """A file of a job; to be shown a TIFF is a PNG and an AIFF a WAV, as a download each is what it is."""
        path = desk.file(desk.find(id), name)
        if not download and path.is_file() and not is_shown(path):
            path = await render(path)
            desk.sizes.pop(id, None)
            return send(path, path.name, download)
        return send(path, name, download)

    def send_whole(path: Path, kind: str) -> Response:
        """A small file that its job may replace or go on writing while it is sent: the bytes of one moment."""
        try:
            data = path.read_bytes()
        except OSError:
            raise LookupError(path.name) from None
        headers = {"Content-Security-Policy": HARMLESS, "Cache-Control": "no-store"}
        return Response(data, media_type=kind, headers=headers)

    @app.get("/api/jobs/{id}/preview")
    async def preview(id: Id) -> Response:
        """The last picture, recording or molecule that a job showed while it ran."""
        feed = desk.place(desk.find(id)) / FEED
        path = next((p for form in FORMS if (p := feed / f"{PREVIEW}{form}").is_file()), feed / PREVIEW)
        return send_whole(path, guess_type(path.name)[0] or "text/plain; charset=utf-8")

    @app.get("/api/jobs/{id}/log")
    async def log(id: Id) -> Response:
        """What the command printed."""
        return send_whole(desk.place(desk.find(id)) / FEED / LOG, "text/plain; charset=utf-8")

    @app.post("/api/jobs/{id}/files/{name}/take", status_code=201)
    async def take(id: Id, name: Name, kind: Kind) -> Answer:
        """Make a file of a job ready for another job."""
        return describe_upload(desk.take(desk.find(id), name, kind))


def add_events(app: FastAPI, desk: Desk) -> None:
    """What happens."""

    @app.get("/api/events", include_in_schema=False)
    async def events(last_event_id: Annotated[str | None, Header()] = None) -> StreamingResponse:
        """Server-sent events: "state", "job", "progress", "queue", "removed"."""
        if len(desk.broadcast.listeners) >= MOST_PAGES:
            raise Refused(503, f"{MOST_PAGES} pages are open.", "Close some.")
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = desk.broadcast.listen(last_event_id)
        return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
