"""A page whose worker computes nothing, and a picture to send."""

import io
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="The page needs the extra 'web'")

import numpy as np
from PIL import Image
from starlette.testclient import TestClient

from headwater.cli.app import app
from headwater.web import lane
from headwater.web.app import make_app
from headwater.web.desk import Desk
from headwater.web.forms import Forms
from headwater.web.guard import Door

HOME = "http://127.0.0.1:8642"
STAND_IN = (sys.executable, str(Path(__file__).parent / "stand_in_worker.py"))


@pytest.fixture(scope="session")
def forms():
    return Forms(app)


@pytest.fixture
def open_page(forms, tmp_path, monkeypatch):
    """A function that opens the page on a folder; the client, with its desk."""
    monkeypatch.setattr(lane, "WORKER", STAND_IN)
    clients = []

    def start(folder=tmp_path, token=None):
        desk = Desk(folder, forms)
        client = TestClient(make_app(desk, Door(token)), base_url=HOME)
        client.__enter__()
        client.desk = desk
        clients.append(client)
        return client

    yield start
    for client in clients:
        if client.portal is not None:
            client.__exit__(None, None, None)


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture(scope="session")
def picture():
    """A PNG of 8 x 12 pixels."""
    file = io.BytesIO()
    Image.fromarray(np.arange(8 * 12 * 3, dtype=np.uint8).reshape(8, 12, 3)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def send(page, picture):
    """A function that sends a file; its id."""

    def post(data=picture, kind="picture", name="photo.png"):
        answer = page.post("/api/files", params={"kind": kind, "name": name}, content=data)
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    return post


@pytest.fixture
def submit(page, send):
    """A function that queues a denoising; the job."""

    def post(seed=0, **values):
        form = {"command": "image denoise", "values": {"noise": "25/255", "seed": seed, **values}}
        answer = page.post("/api/jobs", json={**form, "files": {"input": send()}})
        assert answer.status_code == 201, answer.text
        return answer.json()

    return post


@pytest.fixture
def follow(page):
    """A function that waits until a job is in one of the states; the job."""

    def wait(job, *states, seconds=30.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = page.get(f"/api/jobs/{job['id']}").json()
            if now["state"] in states:
                return now
            time.sleep(0.02)
        raise AssertionError(f"it is {now['state']}: {now['sentence']}")

    return wait
