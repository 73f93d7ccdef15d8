"""Files: what cannot be read or written is two sentences, and never half a file."""

import os
import re
import resource
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from headwater.atomic import check_input, check_output, read_bytes, real_path, write_atomically
from headwater.errors import Misuse

RATE = 8000


@contextmanager
def refused(words):
    with pytest.raises(Misuse, match=words) as caught:
        yield
    assert len(re.findall(r"[.?](?=\s|$)", str(caught.value).replace("...", ""))) >= 2


@contextmanager
def as_nobody():
    """Without the rights of root, who may look into every folder."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def limited(bytes_):
    """Files may not grow beyond this, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_links_that_lead_in_a_circle(tmp_path):
    (tmp_path / "a.png").symlink_to("b.png")
    (tmp_path / "b.png").symlink_to("a.png")
    for call in (read_bytes, check_output, real_path):
        with refused("symbolic links"):
            call(tmp_path / "a.png")


def test_a_link_to_nothing_is_called_one_and_may_be_written_through(tmp_path):
    (tmp_path / "photo.png").symlink_to(tmp_path / "gone.png")
    with refused("is a link to .*gone.png, which does not exist"):
        read_bytes(tmp_path / "photo.png")
    with write_atomically(tmp_path / "photo.png") as temporary:
        temporary.write_bytes(b"new")
    assert (tmp_path / "gone.png").read_bytes() == b"new"
    (tmp_path / "far.png").symlink_to(tmp_path / "no" / "folder" / "x.png")
    with refused("no/folder does not exist"):
        check_output(tmp_path / "far.png")


def test_a_missing_file_is_never_suggested_in_its_own_place(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"x")
    with refused("Did you mean .*photo.png"):
        read_bytes(tmp_path / "phto.png")
    (tmp_path / "photos.png").symlink_to(tmp_path / "gone")
    with pytest.raises(Misuse) as caught:
        read_bytes(tmp_path / "photos.png")
    assert "Did you mean" not in str(caught.value)


def test_a_folder_without_the_right_to_search_it(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "photo.png").write_bytes(b"x")
    for parent in tmp_path.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/") and parent != Path("/tmp"):
            parent.chmod(parent.stat().st_mode | 0o011)
    tmp_path.chmod(0o711)
    folder.chmod(0)
    try:
        with as_nobody():
            for call in (read_bytes, check_output):
                with refused("Permission denied"):
                    call(folder / "photo.png")
    finally:
        folder.chmod(0o700)


def test_a_working_folder_that_was_deleted(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with refused("working folder was deleted"):
        check_output("out.png")


def test_pipes_and_devices_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero"), Path("/dev/null")):
        with refused("is a pipe or a device"):
            read_bytes(path)
    with refused("is a folder"):
        check_input(tmp_path)
    (tmp_path / "empty").touch()
    with refused("is empty"):
        check_input(tmp_path / "empty")


def write_json_report(path):
    from headwater.cli.shared.outputs import write_json

    write_json(path, {"rows": list(range(1000))}, overwrite=True)


def write_picture(path):
    import torch

    from headwater.image.io.files import write_image

    write_image(torch.rand(1, 3, 64, 64) * 2 - 1, path, overwrite=True)


def write_image_sheet(path):
    import torch

    from headwater.image.sheet import write_sheet

    write_sheet(path, torch.rand(3, 16, 16), torch.rand(3, 16, 16), overwrite=True)


def write_sound(path):
    from headwater.audio.io.write import write_new

    write_new(path, np.random.default_rng(0).uniform(-1, 1, (RATE, 1)), RATE, overwrite=True)


def write_sound_sheet(path):
    from headwater.audio.sheet import write_gallery

    write_gallery(path, [np.sin(np.arange(RATE))], RATE, ["a"], overwrite=True)


def write_source_point(path):
    with write_atomically(path) as temporary:
        np.save(temporary, np.zeros((3, 64, 64), np.float32))


def write_molecules(path):
    from headwater.molecule.io import files, table
    from headwater.molecule.structure.molecule import Molecule

    water = Molecule(("O", "H", "H"), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0))
    if path.suffix == ".csv":
        table.write_csv(path, [{"name": "water"}] * 1000, overwrite=True)
    else:
        {".sdf": files.write_sdf, ".xyz": files.write_xyz}[path.suffix](path, [water] * 100, overwrite=True)


WRITERS = {
    "report.json": write_json_report,
    "photo.png": write_picture,
    "photo.jpg": write_picture,
    "photo.tif": write_picture,
    "photo.npy": write_picture,
    "photo-sheet.png": write_image_sheet,
    "x0.npy": write_source_point,
    "take.wav": write_sound,
    "take.flac": write_sound,
    "take-sheet.png": write_sound_sheet,
    "hits.sdf": write_molecules,
    "hits.xyz": write_molecules,
    "hits.csv": write_molecules,
}


@pytest.mark.parametrize("room", [0, 500])
@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_two_sentences_and_keeps_the_old_file(name, room, tmp_path):
    path = tmp_path / name
    path.write_bytes(b"old")
    with limited(room), refused("[Ff]ree (some )?space"):
        WRITERS[name](path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [name]
    WRITERS[name](path)
    assert len(path.read_bytes()) > 500
