"""The server itself: clients that say nothing, one folder for one server; a real worker; property tests."""

import errno
import json
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from hypothesis import HealthCheck, given, settings

from headwater.cli.app import main
from headwater.cli.shared.feed import VARIABLE, Feed
from headwater.errors import Misuse
from headwater.web import serve
from headwater.web.desk import Desk


def test_who_says_nothing_is_dropped(monkeypatch):
    monkeypatch.setattr(serve, "HEAD_PATIENCE", 0.3)

    async def hello(scope, receive, send):
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hi"})

    with running(hello) as (port, _):
        for begun in (b"", b"GET / HTTP/1.1\r\nHo", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(begun)
                got = b""
                start = time.monotonic()
                while part := client.recv(1000):
                    got += part
                assert time.monotonic() - start < 3 and got.endswith(b"hi") == begun.endswith(b"\r\n\r\n")


@contextmanager
def running(app):
    """The port of a server in a thread, and its connections."""
    server = serve.make_server(app)
    server.config.lifespan, server.config.timeout_keep_alive = "off", 1
    with serve.open_socket("127.0.0.1", 0) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            end = time.monotonic() + 10
            while not server.started and time.monotonic() < end:
                time.sleep(0.01)
            yield listening.getsockname()[1], server.server_state.connections
        finally:
            server.should_exit = True
            thread.join(10)


def ask(port):
    """A connection with little room for what comes, and a request."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    client.settimeout(10)
    return client


def test_who_does_not_read_is_dropped(monkeypatch):
    """Both where more is to come and where the whole answer waits; who reads slowly gets it all."""
    monkeypatch.setattr(serve, "READ_PATIENCE", 1.0)
    parts, size = 60, 50_000

    async def much(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for k in range(parts):
            await send({"type": "http.response.body", "body": bytes(size), "more_body": k < parts - 1})

    with running(much) as (port, connections):
        with ask(port) as stalled, ask(port) as slow:
            got, start = 0, time.monotonic()
            while part := slow.recv(400_000):
                got += len(part)
                time.sleep(0.002)
            assert got > size * parts
            while connections and time.monotonic() - start < 10:
                time.sleep(0.02)
            assert not connections
        parts, size = 1, 300_000
        with ask(port) as stalled:
            end = time.monotonic() + 5
            while not connections and time.monotonic() < end:
                time.sleep(0.01)
            while connections and time.monotonic() < end:
                time.sleep(0.02)
            assert not connections and stalled.fileno() > 0


def test_who_reads_a_little_is_dropped_after_a_while(monkeypatch):
    """Whoever takes some each time, but less than the least rate."""
    monkeypatch.setattr(serve, "READ_PATIENCE", 0.8)
    monkeypatch.setattr(serve, "GRACE", 1.2)
    monkeypatch.setattr(serve, "LEAST_RATE", 1e6)

    async def much(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": bytes(3_000_000)})

    with running(much) as (port, connections), ask(port) as trickle:
        start, got = time.monotonic(), len(trickle.recv(1000))
        while connections and time.monotonic() - start < 10:
            got += len(trickle.recv(20_000))
            time.sleep(0.05)
        assert not connections and got < 3_000_000 and time.monotonic() - start > 1.2


def test_one_folder_serves_one_page(tmp_path):
    with serve.hold_folder(tmp_path / "new"):
        assert (tmp_path / "new").stat().st_mode & 0o077 == 0
        with pytest.raises(Misuse, match="Another page"), serve.hold_folder(tmp_path / "new"):
            pass


def test_other_files_are_not_touched(tmp_path, forms):
    """A folder of something else is refused; in the page's own only what has a name that the page gave goes."""
    mine = [tmp_path / "jobs" / "mine" / "data.txt", tmp_path / "uploads" / "photo.raw"]
    for file in mine:
        file.parent.mkdir(parents=True)
        file.write_text("mine")
    with pytest.raises(Misuse, match="other files"), serve.hold_folder(tmp_path):
        pass
    assert not (tmp_path / "lock").exists()
    (tmp_path / "history.sqlite").touch()
    with serve.hold_folder(tmp_path):
        Desk(tmp_path, forms).store.close()
    assert all(file.read_text() == "mine" for file in mine)
    for _ in range(2):  # a start that ended before the history was made leaves the lock alone
        with serve.hold_folder(tmp_path / "new"):
            pass


def test_a_damaged_history_is_said_and_nothing_is_removed(tmp_path, capsys):
    result = tmp_path / "jobs" / "0123456789abcdef" / "files" / "a.png"
    result.parent.mkdir(parents=True)
    result.write_text("a result")
    (tmp_path / "history.sqlite").write_bytes(b"no database" * 100)
    for _ in range(2):
        assert main(["serve", "--port", "0", "--folder", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert "history.sqlite" in said and "Traceback" not in said
        assert result.exists()
        (tmp_path / "history.sqlite").unlink(missing_ok=True)  # the second time, as if we had deleted it


def test_errors_are_two_sentences(page, monkeypatch):
    """Whatever part of the server refuses."""
    asked = [
        (page.get("/api/nothing"), 404),
        (page.get("/static/nothing.js"), 404),
        (page.put("/api/jobs", json={}), 405),
        (page.post("/api/jobs", json={"command": "image denoise", "values": {"noise": {}}}), 422),
        (page.post("/api/jobs", content=b"{"), 422),
    ]
    for number, status in ((errno.EACCES, 503), (errno.ENOSPC, 507), (errno.EROFS, 503)):

        def refuse(size, number=number):
            raise OSError(number, "of the system")

        monkeypatch.setattr(page.desk.uploads, "begin", refuse)
        answer = page.post("/api/files", params={"kind": "picture"}, content=b"x")
        assert ("Free some space" in answer.json()["cure"]) == (status == 507)
        asked.append((answer, status))
    for answer, status in asked:
        assert answer.status_code == status and set(answer.json()) == {"what", "cure"}, answer.text
        assert all(text.endswith((".", "?")) for text in answer.json().values()), answer.text
    assert asked[2][0].headers["allow"]


def test_a_port_that_is_taken_is_said(tmp_path, capsys):
    with serve.open_socket("127.0.0.1", 0) as taken:
        taken.listen()
        code = main(["serve", "--port", str(taken.getsockname()[1]), "--folder", str(tmp_path)])
    assert code == 2 and "cannot be used" in capsys.readouterr().err


def test_the_network_asks_for_a_token(tmp_path, capsys):
    assert main(["serve", "--host", "0.0.0.0", "--folder", str(tmp_path)]) == 2
    assert "--token" in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_the_server_needs_no_torch(tmp_path):
    code = (
        "import sys, pathlib; from headwater.cli.app import app; from headwater.web.forms import Forms; "
        "from headwater.web import serve, desk; Forms(app); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_feed_never_fails_and_does_not_flood(tmp_path):
    feed = Feed(tmp_path, pause=100.0)
    for misfit in (3.0, float("nan"), 1.0):
        feed.put(misfit=misfit)
    feed.put(always=True, misfit=float("inf"))
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["misfit"] for line in lines] == [3.0, None]
    feed.show(lambda path: path.write_bytes(b"one"))
    feed.show(lambda path: path.write_bytes(b"two"))  # too soon
    assert (tmp_path / "preview.png").read_bytes() == b"one" and feed.drawn == 1
    Feed(tmp_path / "missing").put(misfit=1.0)


def test_a_cancellation_that_comes_before_the_command_is_not_lost(tmp_path, picture):
    """The worker hears it as soon as there is something to end."""
    (tmp_path / "photo.png").write_bytes(picture)
    job = json.dumps(
        {"words": ["image", "denoise", "photo.png"], "folder": str(tmp_path), "feed": str(tmp_path)}
    )
    code = """
import os, signal, sys
from headwater.cli import worker
sys.modules["headwater.cli.image.commands"] = sys.modules["headwater.exports"] = worker
worker.list_devices = lambda: os.kill(os.getpid(), signal.SIGINT)
raise SystemExit(worker.main())
"""
    # Its input stays open until it has ended: a worker whose parent has gone ends by another signal.
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as worker:
        worker.stdin.write(job + "\n")
        worker.stdin.flush()
        assert worker.wait(60) in (-2, 130), worker.stderr.read()
    assert not list(tmp_path.glob("*-denoise*"))


def test_a_real_worker_does_a_command_and_tells_of_it(tmp_path, picture):
    (tmp_path / "photo.png").write_bytes(picture)
    feed = tmp_path / "feed"
    feed.mkdir()
    words = ["image", "denoise", "photo.png", "--noise=25/255", "--method=one-evaluation"]
    job = json.dumps({"words": words, "folder": str(tmp_path), "feed": str(feed)})
    worker = subprocess.Popen(
        [sys.executable, "-m", "headwater.cli.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert "cpu" in json.loads(worker.stdout.readline())["devices"]
    worker.stdin.write(job + "\n")
    worker.stdin.flush()
    assert worker.wait(120) in (0, 1), (feed / "log.txt").read_text()
    worker.stdin.close()
    worker.stdout.close()
    events = [json.loads(line) for line in (feed / "events.jsonl").read_text().splitlines()]
    assert events[0]["line"].startswith("denoise") and (tmp_path / "photo-denoise.png").exists()
    assert "evaluation" in (feed / "log.txt").read_text() and VARIABLE == "HEADWATER_PROGRESS"


@pytest.fixture
def subnormal():
    """Numbers below 2^-1022, which Hypothesis draws and the other tests do without."""
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(True)


@pytest.fixture
def plain_imports(monkeypatch):
    """Imports that pytest does not rewrite: of schemathesis, a plugin of pytest, Python 3.11.7 fails to do so."""
    finders = [finder for finder in sys.meta_path if type(finder).__name__ != "AssertionRewritingHook"]
    assert len(finders) == len(sys.meta_path) - 1
    monkeypatch.setattr(sys, "meta_path", finders)


def test_no_request_is_answered_with_500(page, picture, subnormal, plain_imports):
    """Requests of all shapes that the interface's own description allows, and some that it does not."""
    schemathesis = pytest.importorskip("schemathesis", reason="Property tests need schemathesis")
    page.put("/api/queue", json={"paused": True})
    page.post("/api/files", params={"kind": "picture"}, content=picture)
    schema = schemathesis.openapi.from_dict(page.get("/api/openapi.json").json())
    statuses = Counter()

    def send(case):
        known = case.as_transport_kwargs(base_url="http://127.0.0.1:8642")
        answer = page.request(**{name: value for name, value in known.items() if value})
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (case.method, case.path, answer.text)

    few = settings(
        max_examples=6,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    for operation in (result.ok() for result in schema.get_all_operations()):
        few(given(case=operation.as_strategy())(send))()
    assert sum(statuses.values()) > 60 and {200, 404, 422} <= set(statuses)
