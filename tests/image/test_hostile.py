"""Files that ask for more than they hold: refused at once, before anything is allocated."""

import io
import os
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from headwater.atomic import read_bytes
from headwater.errors import Misuse
from headwater.image.io import masks
from headwater.image.io.decode import mute_libtiff
from headwater.image.io.files import read_image
from headwater.image.io.limits import check_size
from headwater.image.io.npy import decode_npy
from headwater.image.io.png_chunks import join_chunks


def refused(path, read=read_image):
    start = time.perf_counter()
    with pytest.raises(Misuse) as caught:
        read(path)
    assert time.perf_counter() - start < 5
    assert caught.value.what.endswith(".") and caught.value.cure.endswith((".", "?")), caught.value
    return str(caught.value)


def header(size, depth=8, interlaced=0):
    return struct.pack(">IIBBBBB", *size, depth, 2, 0, 0, interlaced)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_pixel_data_that_inflate_to_far_more_than_the_size(tmp_path, depth, interlaced):
    packer = zlib.compressobj(1)
    bomb = b"".join(packer.compress(bytes(2**24)) for _ in range(20)) + packer.flush()  # 320 MB from 1.4 MB
    chunks = [(b"IHDR", header((4, 4), depth, interlaced)), (b"IDAT", bomb), (b"IEND", b"")]
    (tmp_path / "x.png").write_bytes(join_chunks(chunks))
    assert "longer than its size says" in refused(tmp_path / "x.png")


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("size", [(5_000, 5_000), (13_000, 13_000), (2**31 - 1, 2**31 - 1), (0, 4)])
def test_png_sizes_that_the_file_cannot_fill(tmp_path, depth, size):
    chunks = [(b"IHDR", header(size, depth)), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    (tmp_path / "x.png").write_bytes(join_chunks(chunks))
    refused(tmp_path / "x.png")


@pytest.mark.parametrize("side", [9_000, 13_000, 65_535])
def test_jpeg_sizes_that_the_file_cannot_fill(tmp_path, side):
    stream = io.BytesIO()
    Image.new("RGB", (64, 64)).save(stream, "JPEG")
    data = bytearray(stream.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", side, side)
    (tmp_path / "x.jpg").write_bytes(bytes(data))
    words = refused(tmp_path / "x.jpg")
    assert "declares" in words or "too many" in words


def test_sizes_of_real_photos_pass():
    for size, stored in [
        ((11_648, 8_736), 20_000_000),
        ((4_000, 3_000), 1_500),
        ((5_000, 5_000), 10),
        ((6_000, 5_000), 3_700),
    ]:
        check_size("x", size, stored)


@pytest.mark.parametrize("name", ["x.png", "x.npy", "x.tif", "x.txt"])
def test_pipes_devices_and_folders(tmp_path, name):
    os.mkfifo(tmp_path / name)
    readers = [read_image, lambda path: masks.read_mask(path, (4, 4)), masks.read_kernel]
    for read in readers:
        assert "is a pipe or a device" in refused(tmp_path / name, read)
    (tmp_path / f"zero-{name}").symlink_to("/dev/zero")
    (tmp_path / f"folder-{name}").mkdir()
    for read in readers:
        assert "is a pipe or a device" in refused(tmp_path / f"zero-{name}", read)
        assert "is a folder" in refused(tmp_path / f"folder-{name}", read)


def test_a_file_of_terabytes(tmp_path):
    with open(tmp_path / "x.png", "wb") as file:
        file.truncate(2**42)  # holes: it takes no space
    assert "larger than 4 GiB" in refused(tmp_path / "x.png", read_bytes)


def npy(text, version=(1, 0)):
    head = text.encode() + b"\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H" if version == (1, 0) else "<I", len(head)) + head


HEADERS = {
    "unclosed": "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3",
    "huge": "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }",
    "overflowing": "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }",
    "negative": "{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4), }",
    "nested": "(" * 5000,
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (1, 1), }",
    "empty type": "{'descr': '|V0', 'fortran_order': False, 'shape': (1000000000, 1000000000), }",
    "code": "__import__('os').system('false')",
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("version", [(1, 0), (2, 0), (9, 9)])
def test_npy_headers(tmp_path, name, version):
    (tmp_path / "x.npy").write_bytes(npy(HEADERS[name], version) + bytes(64))
    for read in (read_image, masks.load_npy, lambda path: masks.read_mask(path, (3, 3)), masks.read_kernel):
        assert "cannot be read as" in refused(tmp_path / "x.npy", read)


def test_archives_under_the_name_of_an_array(tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        np.savez(file, x=np.zeros((4, 4)))
    for read in (read_image, masks.load_npy):
        assert ".npz archive" in refused(tmp_path / "x.npy", read)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["<f4", ">f8", "|u1", "<c16", "|b1", "<f2"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (1, 2, 3)])
def test_arrays_are_those_of_numpy(order, dtype, shape):
    values = np.asarray(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype), order=order)
    stream = io.BytesIO()
    np.save(stream, values)
    back = decode_npy(stream.getvalue())
    assert back.dtype == values.dtype and back.shape == shape and np.array_equal(back, values)


def test_kernels_of_extreme_numbers(tmp_path):
    for text in ("1e308 1e308 1e308", "nan 1", "inf 1", "-1 1", "1" * 400, "0x10 1"):
        (tmp_path / "k.txt").write_text(text)
        refused(tmp_path / "k.txt", masks.read_kernel)
    (tmp_path / "k.txt").write_bytes(b"\xef\xbb\xbf1 2 1")
    assert masks.read_kernel(tmp_path / "k.txt").tolist() == [[0.25, 0.5, 0.25]]
    (tmp_path / "k.txt").write_bytes(b" " * (2**24 + 1))
    assert "too many for a kernel" in refused(tmp_path / "k.txt", masks.read_kernel)


def test_libtiff_is_silent_and_the_terminal_comes_back(capfd):
    with mute_libtiff():
        os.write(2, b"inside")
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_floats_that_are_no_levels(tmp_path):
    np.save(tmp_path / "x.npy", np.array([[-0.5, 1e300], [0.0, 0.5]]))
    assert "values above 1e+09" in refused(tmp_path / "x.npy")
