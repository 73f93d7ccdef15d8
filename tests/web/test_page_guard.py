"""Who may ask what, what is taken in, what is told to whom."""

import asyncio
import io
import math
import struct
import zlib

import numpy as np
import pytest

from headwater.errors import Misuse
from headwater.web import guard, uploads
from headwater.web.events import BEHIND, KEPT, Broadcast, Listener
from headwater.web.serve import check_options

TOKEN = "0123456789abcdef"


def png_head(width, height):
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body)) + data


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil@127.0.0.1", "[::"])
def test_other_names_are_not_answered(page, host):
    assert page.get("/api/page", headers={"Host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_change_nothing(page, headers):
    assert page.put("/api/queue", json={"paused": True}, headers=headers).status_code == 403
    assert not page.desk.paused
    own = {"Origin": "http://127.0.0.1:8642", "Sec-Fetch-Site": "same-origin"}
    assert page.put("/api/queue", json={"paused": True}, headers=own).status_code == 200


def test_with_a_token_nothing_is_served_without_it(open_page):
    page = open_page(token=TOKEN)
    assert page.get("/").status_code == 200
    assert page.get("/api/jobs").status_code == 401
    assert page.get("/api/jobs", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert page.get("/api/jobs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert page.post("/api/login", json={"token": "wrong"}).status_code == 422
    answer = page.post("/api/login", json={"token": TOKEN})
    assert TOKEN not in answer.headers["set-cookie"] and "HttpOnly" in answer.headers["set-cookie"]
    assert page.get("/api/jobs").status_code == 200


def test_other_addresses_ask_for_a_token():
    check_options("127.0.0.1", None)
    check_options("0.0.0.0", TOKEN)
    for host, token in (("0.0.0.0", None), ("::", None), ("192.168.1.2", None), ("0.0.0.0", "short")):
        with pytest.raises(Misuse):
            check_options(host, token)


def test_the_page_forbids_what_it_does_not_need(page):
    answer = page.get("/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'nonce="{nonce}"' in answer.text and "NONCE" not in answer.text
    assert nonce not in page.get("/").text
    assert page.get("/static/js/main.js").headers["x-content-type-options"] == "nosniff"
    assert "http://" not in answer.text and "https://" not in answer.text


def silence(format):
    """A second of it in stereo, at 48 kHz."""
    file = io.BytesIO()
    soundfile = pytest.importorskip("soundfile", reason="Recordings need the extra 'audio'")
    soundfile.write(file, np.zeros((48_000, 2), dtype="int16"), 48_000, format=format)
    return file.getvalue()


def post(page, data, kind="picture", name="x.png"):
    return page.post("/api/files", params={"kind": kind, "name": name}, content=data)


def test_a_file_is_what_its_bytes_say(page, picture):
    answer = post(page, picture, name="../../../etc/pass wd.exe").json()
    assert answer["name"] == "pass-wd.png"
    for kind, data in (
        ("picture", b"GIF89a" + b"0" * 50),
        ("picture", b""),
        ("picture", b"<svg onload=alert(1)>"),
        ("picture", picture[:20]),
        ("recording", picture),
        ("recording", b"RIFF\0\0\0\0WAVEfmt "),
        ("molecule", picture),
        ("labels", b"\0\0"),
    ):
        refused = post(page, data, kind)
        assert refused.status_code == 422 and set(refused.json()) == {"what", "cure"}, (kind, data[:8])
    assert len(list((page.desk.folder / "uploads").iterdir())) == 1  # what was refused is gone
    assert post(page, b"2\n\nH 0 0 0\nH 0 0 0.7\n", "molecule", "h2").json()["name"] == "h2.xyz"
    assert post(page, silence("WAV"), "recording", "a.mp3").json()["name"] == "a.wav"


def test_a_picture_of_too_many_pixels_is_refused_by_its_head(page):
    for side in (8_000, 60_000):
        answer = post(page, png_head(side, side))
        assert answer.status_code == 422 and "more than 50,000,000" in answer.json()["what"]


def test_a_recording_of_too_many_samples_is_refused_by_its_head(page, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_SAMPLES", 2 * 48_000)
    assert post(page, silence("FLAC"), "recording").status_code == 201
    monkeypatch.setattr(uploads, "MOST_SAMPLES", 2 * 48_000 - 1)
    unknown = bytearray(silence("FLAC"))
    unknown[21] &= 0xF0  # the 36 bits of STREAMINFO that count the frames
    unknown[22:26] = bytes(4)
    for data in (silence("FLAC"), bytes(unknown)):
        answer = post(page, data, "recording")
        assert answer.status_code == 422 and "more than 95,999 samples" in answer.json()["what"]


def test_the_oldest_files_make_room_for_new_ones(page, picture, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_WAITING_BYTES", 2 * len(picture))
    ids = [post(page, picture).json()["id"] for _ in range(3)]
    assert list(page.desk.uploads.known) == ids[1:]
    assert {path.name for path in (page.desk.folder / "uploads").iterdir()} == set(ids[1:])
    page.desk.uploads.coming[page.desk.folder] = len(picture) + 1  # another one comes
    assert post(page, picture).status_code == 507
    page.desk.uploads.coming.clear()
    monkeypatch.setattr(uploads, "SPARE_BYTES", 1 << 60)
    refused = post(page, picture)
    assert refused.status_code == 507 and "almost full" in refused.json()["what"]
    assert page.desk.uploads.coming == {}


def test_too_many_bytes_are_refused(page, picture, monkeypatch):
    monkeypatch.setattr("headwater.web.app.MOST_BYTES", {**uploads.MOST_BYTES, "picture": 1000})
    assert post(page, b"x" * 5000).status_code == 413
    assert post(page, (b"x" * 600 for _ in range(9))).status_code == 413  # no length declared
    form = {"command": "image denoise", "values": {"label": "x" * 100_000}}
    assert page.post("/api/jobs", json=form).status_code == 413
    assert list((page.desk.folder / "uploads").iterdir()) == []


def test_uploads_that_no_job_took_are_removed(page, picture, monkeypatch):
    post(page, picture)
    monkeypatch.setattr(uploads, "KEPT", -1.0)
    post(page, picture)
    assert len(list((page.desk.folder / "uploads").iterdir())) == 1


def test_a_body_that_stops_is_dropped(monkeypatch):
    monkeypatch.setattr(guard, "PATIENCE", 0.05)
    sent = []

    async def app(scope, receive, send):
        while (await receive())["type"] != "http.disconnect":
            pass

    async def stalled():
        await asyncio.sleep(10)

    async def note(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/api/files", "headers": [(b"host", b"localhost")]}
    asyncio.run(guard.Guard(app, guard.Door())(scope, stalled, note))
    assert sent[0]["status"] == 408


@pytest.mark.parametrize(
    "values",
    ['{"input": NaN}', '{"input": 1}', '{"unique": NaN}', '{"unique": 1e999}', '{"unique": 1}'],
)
def test_no_form_poisons_the_page(page, values):
    """A value that is ignored is kept in the history, and told to every page."""
    page.put("/api/queue", json={"paused": True})
    json_type = {"Content-Type": "application/json"}
    body = f'{{"command": "molecule generate", "values": {values}}}'
    refused = page.post("/api/jobs", content=body, headers=json_type)
    assert refused.status_code == 422 and set(refused.json()) == {"what", "cure"}
    assert page.desk.store.jobs == {}


def test_no_event_holds_what_no_page_reads():
    with pytest.raises(ValueError, match="JSON"):
        Broadcast(dict).tell("job", {"values": {"seed": math.nan}})


def heard(broadcast, last, count):
    async def run():
        stream, found = broadcast.listen(last), b""
        for _ in range(count):
            found += await anext(stream)
        await stream.aclose()
        return found.decode()

    return asyncio.run(run())


def test_a_page_that_was_away_gets_what_it_missed():
    broadcast = Broadcast(lambda: {"jobs": []})
    for number in range(5):
        broadcast.tell("job", {"id": number})
    missed = heard(broadcast, f"{broadcast.boot}-3", 1)
    assert missed.count("event: job") == 2 and "event: state" not in missed
    for unknown in (
        None,
        "other-3",
        f"{broadcast.boot}-99",
        f"{broadcast.boot}-x",
        "-",
        f"{broadcast.boot}-{'9' * 50}",
    ):
        assert "event: state" in heard(broadcast, unknown, 1)
    for number in range(KEPT + 10):
        broadcast.tell("job", {"id": number})
    assert "event: state" in heard(broadcast, f"{broadcast.boot}-3", 1)  # too long ago


def test_a_page_that_does_not_read_is_dropped():
    broadcast, slow = Broadcast(dict), Listener()
    broadcast.listeners.add(slow)
    for number in range(BEHIND + 1):
        broadcast.tell("progress", number)
    assert slow not in broadcast.listeners and slow.queue.get_nowait() is None
