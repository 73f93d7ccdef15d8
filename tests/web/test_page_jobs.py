"""Jobs: their states, their files, their queue, what is left after a restart."""

import errno
import io
import os
import sqlite3
import time

import numpy as np
import pytest
from PIL import Image
from stand_in_worker import BREAK, DIE, MISSED, REFUSED, WAIT

from headwater.cli import worker
from headwater.cli.shared import feed
from headwater.web import desk as desks
from headwater.web import lane
from headwater.web.jobs import JobStore


def test_a_job_runs_and_its_files_come_back(page, submit, follow, picture):
    job = follow(submit(), "done")
    assert job["words"] == ["image", "denoise", "photo.png", "--noise=25/255", "--seed=0"]
    assert job["results"] == ["photo-denoise.png"] and job["curve"] == [[1, 2.0]]
    got = page.get(f"/api/jobs/{job['id']}/files/photo-denoise.png?download=true")
    assert got.content == picture and got.headers["content-disposition"].startswith("attachment")
    assert page.get(f"/api/jobs/{job['id']}/preview").content == picture
    assert "sandbox" in got.headers["content-security-policy"]


def test_the_page_and_the_worker_mean_the_same():
    """Neither imports the other, so each has the names of its own."""
    assert (lane.LOG, lane.BROKEN) == (worker.LOG, worker.BROKEN)
    assert (lane.EVENTS, lane.PREVIEW) == (feed.EVENTS, feed.PREVIEW)


def test_how_it_ended_is_said(submit, follow):
    ended = {seed: submit(seed) for seed in (MISSED, REFUSED, DIE, BREAK, 0)}
    assert follow(ended[0], "done")  # each was answered, and the queue went on
    missed, refused, killed, broken = (
        follow(ended[k], "missed", "refused", "failed") for k in (MISSED, REFUSED, DIE, BREAK)
    )
    assert (missed["state"], missed["sentence"]) == ("missed", "The sample missed its goal.")
    assert (refused["state"], refused["sentence"]) == ("refused", "It is too large. Give less.")
    assert refused["notes"] == ["Seed 2: It looks odd."]
    assert killed["state"] == "failed" and "SIGKILL" in killed["sentence"]
    assert broken["state"] == "failed" and broken["sentence"].startswith("The command broke.")


def test_one_computes_and_the_others_wait(page, submit, follow):
    first = follow(submit(WAIT), "running")
    second, third = submit(), submit()
    time.sleep(0.3)
    states = {j["id"]: j["state"] for j in page.get("/api/jobs").json()["jobs"]}
    assert [states[j["id"]] for j in (first, second, third)] == ["running", "waiting", "waiting"]
    assert page.post(f"/api/jobs/{second['id']}/cancel").json()["state"] == "cancelled"
    page.post(f"/api/jobs/{first['id']}/cancel")
    cancelled = follow(first, "cancelled")
    assert cancelled["sentence"] == "It was cancelled."
    assert page.get(f"/api/jobs/{first['id']}/preview").status_code == 200  # the last preview is kept
    follow(third, "done")


def test_a_paused_queue_begins_nothing(page, submit, follow):
    page.put("/api/queue", json={"paused": True})
    job = submit()
    time.sleep(0.3)
    assert page.get(f"/api/jobs/{job['id']}").json()["state"] == "waiting"
    page.put("/api/queue", json={"paused": False})
    follow(job, "done")


def test_a_killed_spare_worker_is_replaced(page, submit, follow):
    follow(submit(), "done")
    spare = page.desk.lanes["cpu"]
    end = time.monotonic() + 10
    while spare.spare is None and time.monotonic() < end:
        time.sleep(0.02)
    os.kill(spare.spare.process.pid, 9)
    time.sleep(0.2)
    follow(submit(), "done")


def test_history_survives_a_restart(open_page, tmp_path, picture):
    page = open_page(tmp_path)
    upload = page.post("/api/files", params={"kind": "picture", "name": "a.png"}, content=picture).json()[
        "id"
    ]
    form = {"command": "image denoise", "values": {"noise": "0.1"}, "files": {"input": upload}}
    page.put("/api/queue", json={"paused": True})
    waiting, running = (page.post("/api/jobs", json=form).json() for _ in range(2))
    record = page.desk.find(running["id"])
    record.state = "running"
    page.desk.store.save(record)  # as a server that was killed leaves it
    page.__exit__(None, None, None)
    page.portal = None
    stray = tmp_path / "jobs" / "0123456789abcdef"
    stray.mkdir()
    again = open_page(tmp_path)
    known = {j["id"]: j for j in again.get("/api/jobs").json()["jobs"]}
    assert known[running["id"]]["state"] == "failed" and "Run it again" in known[running["id"]]["sentence"]
    end = time.monotonic() + 20
    while again.get(f"/api/jobs/{waiting['id']}").json()["state"] != "done" and time.monotonic() < end:
        time.sleep(0.05)
    assert again.get(f"/api/jobs/{waiting['id']}").json()["state"] == "done"
    assert not stray.exists() and list((tmp_path / "uploads").iterdir()) == []


def test_jobs_that_wait_survive_the_end_of_the_server(page, submit, follow, monkeypatch):
    first = follow(submit(WAIT), "running")
    waiting = [submit()["id"] for _ in range(3)]
    page.__exit__(None, None, None)
    page.portal = None
    store = JobStore(page.desk.folder / "history.sqlite")
    states = {id: job.state for id, job in store.jobs.items()}
    store.close()
    assert [states[id] for id in waiting] == ["waiting"] * 3 and states[first["id"]] == "cancelled"


def test_a_result_begins_another_job(page, submit, follow):
    job = follow(submit(), "done")
    taken = page.post(f"/api/jobs/{job['id']}/files/photo-denoise.png/take?kind=picture").json()
    form = {"command": "image upscale", "files": {"input": taken["id"]}}
    assert page.post("/api/jobs", json=form).json()["words"][2] == "photo-denoise.png"


def test_a_removed_job_leaves_nothing(page, submit, follow):
    job = follow(submit(), "done")
    place = page.desk.folder / "jobs" / job["id"]
    assert place.exists()
    assert page.delete(f"/api/jobs/{job['id']}").status_code == 204
    assert not place.exists() and page.get(f"/api/jobs/{job['id']}").status_code == 404


def test_the_oldest_jobs_make_room_for_new_results(page, open_page, submit, follow, picture, monkeypatch):
    """The last one stays, however large; those that wait or run are not touched."""
    ended = [follow(submit(), "done") for _ in range(3)]
    one = page.desk.sizes[ended[0]["id"]]
    assert one >= 2 * len(picture)  # the photo and the result
    monkeypatch.setattr(desks, "MOST_DONE_BYTES", 3 * one + one // 2)
    fourth = follow(submit(), "done")
    ids = [job["id"] for job in page.get("/api/jobs").json()["jobs"]]
    assert ids == [ended[1]["id"], ended[2]["id"], fourth["id"]]
    assert {path.name for path in (page.desk.folder / "jobs").iterdir()} == set(ids)
    page.__exit__(None, None, None)
    page.portal = None
    monkeypatch.setattr(desks, "MOST_DONE_BYTES", 1)
    again = open_page()
    assert [job["id"] for job in again.get("/api/jobs").json()["jobs"]] == [fourth["id"]]


def test_a_tiff_and_a_recording_in_aiff_are_shown_as_png_and_wav(page, send, follow):
    """What browsers do not show; the job and the download have the file as it is."""
    tifffile = pytest.importorskip("tifffile", reason="TIFF needs the extra 'images'")
    soundfile = pytest.importorskip("soundfile", reason="Recordings need the extra 'audio'")
    deep = io.BytesIO()
    tifffile.imwrite(deep, np.full((8, 12, 3), 40_000, "uint16"), photometric="rgb")
    upload = send(deep.getvalue(), name="deep.bin")
    shown = page.get(f"/api/files/{upload}")
    with Image.open(io.BytesIO(shown.content)) as image:
        assert image.format == "PNG" and image.size == (12, 8) and image.getpixel((0, 0)) == (156, 156, 156)
    form = {"command": "image denoise", "values": {"noise": "0.1"}, "files": {"input": upload}}
    job = follow(page.post("/api/jobs", json=form).json(), "done")
    assert job["words"][2] == "deep.tif"
    at = f"/api/jobs/{job['id']}/files/deep.tif"
    assert page.get(at).content == shown.content and page.get(at).headers["content-type"] == "image/png"
    assert page.get(f"{at}?download=true").content == deep.getvalue()
    sound = io.BytesIO()
    soundfile.write(sound, np.linspace(-0.5, 0.5, 100), 8000, format="AIFF")
    heard = page.get(f"/api/files/{send(sound.getvalue(), 'recording', 'take.mp3')}")
    found, rate = soundfile.read(io.BytesIO(heard.content))
    assert rate == 8000 and abs(found - np.linspace(-0.5, 0.5, 100)).max() < 1e-3
    broken = deep.getvalue()[:60] + bytes(40) + deep.getvalue()[100:]
    answer = page.post("/api/files", params={"kind": "picture", "name": "a.tif"}, content=broken)
    if answer.status_code == 201:  # its head is whole
        answer = page.get(f"/api/files/{answer.json()['id']}")
    assert answer.status_code in (200, 422)


def test_a_preview_or_log_that_is_replaced_while_it_is_sent_is_whole(page, submit, follow, monkeypatch):
    """A job writes both while it runs: the length that is told is that of the bytes that are sent."""
    import anyio

    job = submit(seed=7)
    follow(job, "running")
    feed, plain = page.desk.place(page.desk.find(job["id"])) / "feed", anyio.open_file
    end = time.monotonic() + 30
    while not (feed / "preview.png").exists() and time.monotonic() < end:
        time.sleep(0.02)

    async def replaced(path, *arguments, **options):
        feed.joinpath(str(path)).write_bytes(b"less")
        return await plain(path, *arguments, **options)

    monkeypatch.setattr(anyio, "open_file", replaced)
    (feed / "log.txt").write_text("a line of the log")
    for what in ("preview", "log"):
        answer = page.get(f"/api/jobs/{job['id']}/{what}")
        assert answer.status_code == 200 and int(answer.headers["content-length"]) == len(answer.content) > 4


def test_the_last_recording_or_molecule_is_a_preview_too(page, submit, follow):
    job = follow(submit(WAIT), "running")
    feed_of = page.desk.place(page.desk.find(job["id"])) / lane.FEED
    end = time.monotonic() + 10
    while not (feed_of / "preview.png").exists() and time.monotonic() < end:
        time.sleep(0.01)
    (feed_of / "preview.png").unlink()
    for form, kind in ((".wav", "audio"), (".xyz", "chemical")):
        (feed_of / f"preview{form}").write_bytes(b"the last")
        answer = page.get(f"/api/jobs/{job['id']}/preview")
        assert answer.content == b"the last" and kind in answer.headers["content-type"]
        (feed_of / f"preview{form}").unlink()
    assert page.get(f"/api/jobs/{job['id']}/preview").status_code == 404


def test_files_that_no_job_named_are_not_served(page, submit, follow):
    job = follow(submit(), "done")
    for name in ("log.txt", "%2e%2e%2ffeed%2flog.txt", "../feed/log.txt", "other.png"):
        assert page.get(f"/api/jobs/{job['id']}/files/{name}").status_code in (404, 405), name


def test_a_full_disk_is_answered(page, send, submit, follow, monkeypatch):
    """Where the files of a job cannot be laid out, where the history cannot be written, and while a job runs."""
    upload = send()
    form = {"command": "image denoise", "values": {"noise": "0.1"}, "files": {"input": upload}}

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(desks, "link_or_copy", full)
        answer = page.post("/api/jobs", json=form)
    assert answer.status_code == 507 and "No space left" in answer.json()["what"]
    assert page.get("/api/jobs").json()["jobs"] == [] and list((page.desk.folder / "jobs").iterdir()) == []

    def no_room(job):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(page.desk.store, "save", no_room)
        assert page.post("/api/jobs", json=form).status_code == 507
    job = submit(WAIT)
    follow(job, "running")
    with monkeypatch.context() as patch:
        patch.setattr(page.desk.store, "save", no_room)
        page.post(f"/api/jobs/{job['id']}/cancel")
        follow(job, "cancelled")
        assert "disk is full" in page.get("/api/jobs").json()["trouble"]
    follow(submit(), "done")
    assert page.get("/api/jobs").json()["trouble"] == ""
