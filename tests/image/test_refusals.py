"""Bad files and outputs are refused in two sentences; nothing is ever half written."""

import os

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from headwater.atomic import check_output, write_atomically
from headwater.errors import Misuse
from headwater.image.io import photos, png16
from headwater.image.io.files import check_image_output, read_image, write_image
from headwater.image.io.picture import Picture

torch.set_num_threads(1)


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def bad_files(folder):
    photo = photos.path("cat").read_bytes()
    (folder / "empty.png").write_bytes(b"")
    (folder / "cut.png").write_bytes(photo[: len(photo) // 2])
    deep = png16.encode(noise(9, 9, 3, dtype=np.uint16))
    (folder / "cut16.png").write_bytes(deep[: len(deep) // 2])
    (folder / "text.png").write_text("no image")
    (folder / "object.npy").write_bytes(b"\x93NUMPY")
    tifffile.imwrite(folder / "cut.tif", noise(40, 40, dtype=np.uint16))
    (folder / "cut.tif").write_bytes((folder / "cut.tif").read_bytes()[:900])
    Image.open(photos.path("cat")).save(folder / "cut.jpg")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:700])
    np.save(folder / "nan.npy", np.array([[0.0, np.nan]]))
    np.save(folder / "int.npy", np.zeros((4, 4), np.int64))
    np.save(folder / "shape.npy", np.zeros((2, 4, 4, 3)))
    tifffile.imwrite(folder / "inf.tif", np.array([[-1.0, np.inf]], np.float32))
    frames = [Image.fromarray(noise(4, 4, seed=k)) for k in range(2)]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])


BAD = {
    "missing.png": "no file",
    "empty.png": "empty",
    "cut.png": "cannot be read as an image",
    "cut16.png": "cannot be read as an image",
    "cut.jpg": "cannot be read as an image",
    "text.png": "cannot be read as an image",
    "object.npy": "cannot be read as an image",
    "cut.tif": "cannot be read as an image",
    "nan.npy": "NaN or Inf",
    "inf.tif": "NaN or Inf",
    "int.npy": "int64 pixels",
    "shape.npy": "shape",
    "film.gif": "2 frames",
    ".": "folder",
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused(tmp_path, name):
    bad_files(tmp_path)
    with pytest.raises(Misuse, match=BAD[name]) as caught:
        read_image(tmp_path / name)
    assert caught.value.what.endswith(".") and caught.value.cure.endswith((".", "?"))


def test_too_small_and_near_names(tmp_path):
    with pytest.raises(Misuse, match="64 x 64 pixels"):
        read_image(photos.path("cat"), smallest=65)
    with pytest.raises(Misuse, match=r"Did you mean .*cat\.png"):
        read_image(photos.path("cat").with_name("cats.png"))


def test_bad_outputs_are_refused(tmp_path, monkeypatch):
    x = torch.zeros(1, 3, 4, 4)
    (tmp_path / "old.png").write_text("old")
    clear = Picture(size=(4, 4), alpha=np.zeros((4, 4), np.uint8))
    for name, why in [
        ("no/out.png", "does not exist"),
        ("old.png", "exists already"),
        ("out.xyz", "No image"),
    ]:
        with pytest.raises(Misuse, match=why):
            check_image_output(tmp_path / name)
        with pytest.raises(Misuse, match=why):
            write_image(x, tmp_path / name)
    with pytest.raises(Misuse, match="transparent"):
        check_image_output(tmp_path / "out.jpg", clear)
    with pytest.raises(Misuse, match="is a folder"):
        check_output(tmp_path)
    for bad in (torch.zeros(2, 3, 4, 4), torch.full((1, 3, 4, 4), torch.nan)):
        with pytest.raises(Misuse):
            write_image(bad, tmp_path / "out.png")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(Misuse, match="not writable"):
        check_output(tmp_path / "out.png")
    assert os.listdir(tmp_path) == ["old.png"] and (tmp_path / "old.png").read_text() == "old"


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, failure):
    (tmp_path / "out.png").write_text("old")
    with pytest.raises(failure), write_atomically(tmp_path / "out.png") as temporary:
        assert temporary.parent == tmp_path and temporary.suffix == ".png"
        temporary.write_text("half")
        raise failure
    assert os.listdir(tmp_path) == ["out.png"] and (tmp_path / "out.png").read_text() == "old"


def test_atomic_write_keeps_permissions_and_links(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "real.txt").chmod(0o640)
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    with write_atomically(tmp_path / "link.txt") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "real.txt").read_text() == "new"
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_told_in_two_sentences(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("headwater.image.io.files.encode", full)
    with pytest.raises(Misuse, match="No space left"):
        write_image(torch.zeros(1, 3, 4, 4), tmp_path / "out.png")
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("code", ["ENOSPC", "EDQUOT", "EFBIG"])
def test_a_disk_that_fills_up_during_the_work_is_two_sentences(tmp_path, code):
    import errno
    import os

    from headwater.atomic import write_atomically

    (tmp_path / "x.txt").write_text("old")
    number = getattr(errno, code)
    with (
        pytest.raises(Misuse, match=r"cannot be written: .*Free some space"),
        write_atomically(tmp_path / "x.txt"),
    ):
        raise OSError(number, os.strerror(number))
    assert (tmp_path / "x.txt").read_text() == "old" and len(list(tmp_path.iterdir())) == 1
