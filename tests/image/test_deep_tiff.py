"""TIFF files of more than 8 bits, of every layout: the right colours, or two sentences."""

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from headwater.errors import Misuse
from headwater.image.io.files import read_image, write_image
from headwater.image.io.tiff import XYZ_TO_RGB, lab_to_rgb


def save(path, pixels, **how):
    tifffile.imwrite(path, pixels, metadata=None, **how)
    return path


def flat(*values, dtype=np.uint16, size=(16, 16)):
    return np.broadcast_to(np.array(values, dtype), (*size, len(values))).copy()


def colour_at(path, span=None):
    x, picture = read_image(path, span=span)
    return (((x[0, :, 4, 4]) + 1) / 2).tolist(), picture


ramp = np.linspace(0, 65535, 40 * 50).reshape(40, 50).astype(np.uint16)


@pytest.mark.parametrize(
    "how",
    [
        dict(compression="lzw"),
        dict(compression="lzw", predictor=True),
        dict(compression="zlib", tile=(16, 16)),
        dict(compression="zstd"),
        dict(compression="packbits"),
        dict(compression="lzma"),
        dict(rowsperstrip=7),
        dict(byteorder=">"),
        dict(bigtiff=True),
    ],
    ids=str,
)
def test_compressions_and_layouts(tmp_path, how):
    path = save(tmp_path / "x.tif", ramp, photometric="minisblack", **how)
    x, picture = read_image(path)
    assert picture.dtype == "uint16" and picture.grey and picture.notes == ()
    assert np.array_equal(np.rint((x[0, 0].double().numpy() + 1) * 32767.5).astype(np.uint16), ramp)
    assert np.array_equal(tifffile.imread(write_image(x, tmp_path / "out.tif", picture)), ramp)


def test_planes_apart_and_white_at_zero(tmp_path):
    rgb = np.stack([ramp, ramp[::-1], ramp // 2])
    x, _ = read_image(save(tmp_path / "x.tif", rgb, photometric="rgb", planarconfig="separate"))
    assert np.array_equal(np.rint((x[0].double().numpy() + 1) * 32767.5).astype(np.uint16), rgb)
    x, _ = read_image(save(tmp_path / "w.tif", ramp, photometric="miniswhite"))
    assert np.array_equal(np.rint((x[0, 0].double().numpy() + 1) * 32767.5).astype(np.uint16), 65535 - ramp)


def test_cmyk_becomes_rgb(tmp_path):
    inks = flat(65535, 0, 0, 0)
    inks[8:] = (0, 32768, 0, 16384)
    how = dict(photometric="separated", planarconfig="contig", iccprofile=b"of inks" * 40)
    path = save(tmp_path / "x.tif", inks, **how)
    colour, picture = colour_at(path)
    assert colour == pytest.approx([0, 1, 1]) and picture.alpha is None and not picture.grey
    assert picture.icc is None  # it would be applied to RGB
    x, _ = read_image(path)
    assert ((x[0, :, 12, 4] + 1) / 2).tolist() == pytest.approx([0.75, 0.375, 0.75], abs=1e-4)
    twin = Image.fromarray((inks >> 8).astype(np.uint8), "CMYK").convert("RGB")
    assert np.abs(np.asarray(twin) / 255 - ((x[0] + 1) / 2).permute(1, 2, 0).numpy()).max() < 0.01


def test_lab_becomes_srgb(tmp_path):
    path = save(tmp_path / "x.tif", flat(32768, 0, 0), photometric="cielab", planarconfig="contig")
    assert colour_at(path)[0] == pytest.approx([0.467] * 3, abs=0.001)
    # The red primary of sRGB has L*a*b* 54.29, 80.81, 69.89 under D50 (ICC profile of sRGB).
    stored = np.array([[[round(54.29 / 100 * 65535), round(80.81 * 256), round(69.89 * 256)]]], np.uint16)
    assert lab_to_rgb(stored)[0, 0].tolist() == pytest.approx([1, 0, 0], abs=0.02)
    negative = np.array([[[32768, 65536 - 5120, 5120]]], np.uint16)  # a = -20: greener than grey
    assert lab_to_rgb(negative)[0, 0].argmax() == 1
    assert (np.array(XYZ_TO_RGB) @ (0.96422, 1.0, 0.82521)).tolist() == pytest.approx([1, 1, 1], abs=1e-3)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_associated_alpha_is_divided_out(tmp_path, dtype):
    half, white = (32768, 65535) if dtype == np.uint16 else (0.5, 1.0)
    pixels = flat(half, 0, 0, half, dtype=dtype)
    pixels[0, 0] = 0  # fully transparent: no division by zero
    path = save(tmp_path / "x.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    colour, picture = colour_at(path, span=(0, 1))
    assert colour == [1, 0, 0] and picture.alpha[4, 4] == half
    x, picture = read_image(path, span=(0, 1))
    back = tifffile.TiffFile(write_image(x, tmp_path / "out.tif", picture)).pages[0]
    assert back.asarray()[4, 4].tolist() == [white, 0, 0, half] and back.extrasamples == (2,)  # unassociated


@pytest.mark.parametrize("bits", [10, 12, 14])
def test_packed_bits_are_stretched(tmp_path, bits):
    values = np.arange(2**bits, dtype=np.uint16)[:: 2 ** (bits - 10)].reshape(32, 32).copy()
    values[-1, -1] = 2**bits - 1
    path = tmp_path / "x.tif"
    save(path, values, photometric="minisblack", bitspersample=bits, compression=None)
    assert tifffile.TiffFile(path).pages[0].bitspersample == bits
    x, picture = read_image(path)
    assert float(x[0, 0, -1, -1]) == 1 and float(x[0, 0, 0, 0]) == -1 and picture.notes == ()
    assert np.allclose((x[0, 0].numpy() + 1) / 2, values / (2**bits - 1), atol=1e-5)


def test_12_bits_in_16_are_said_and_can_be_stated(tmp_path):
    path = save(tmp_path / "x.tif", (ramp // 16), photometric="minisblack")
    x, picture = read_image(path)
    (note,) = picture.notes
    assert "no value above 4095" in note and "--range 0,4095" in note and float(x.max()) < -0.87
    x, picture = read_image(path, span=(0, 4095))
    assert float(x.min()) == -1 and float(x.max()) == 1 and picture.notes == ()
    for name in ("out.tif", "out.png"):
        out = write_image(x, tmp_path / name, picture)
        back, _ = read_image(out, span=(0, 4095))
        assert np.array_equal(np.rint((back[0, 0].double().numpy() + 1) * 2047.5), ramp // 16)
    assert int(np.asarray(Image.open(write_image(x, tmp_path / "out.bmp", picture))).max()) == 255
    assert read_image(path, span=(0, 1))[1].span == (0, 65535)  # said of float files beside it


@pytest.mark.parametrize(
    "pixels, how, words",
    [
        (flat(1, 2, 3, 4, 5), dict(photometric="rgb", extrasamples=["unspecified"] * 2), "5 bands"),
        (flat(1, 2, 3, 4, 5), dict(photometric="separated", extrasamples=["unassalpha"]), "5 bands"),
        (flat(1, 2, 3), dict(photometric="cielab", planarconfig="contig"), None),
        (flat(0.5, 0.5, 0.5, 0.5, dtype=np.float32), dict(photometric="separated"), "in float32"),
        (flat(7, dtype=np.uint32)[..., 0], dict(photometric="minisblack"), "uint32 pixels"),
        (flat(7, dtype=np.int16)[..., 0], dict(photometric="minisblack"), "int16 pixels"),
        (flat(7, dtype=np.complex64)[..., 0], dict(photometric="minisblack"), "complex64 pixels"),
        (np.stack([ramp, ramp]), dict(photometric="minisblack"), "2 frames"),
    ],
)
def test_other_layouts_are_two_sentences(tmp_path, pixels, how, words):
    path = save(tmp_path / "x.tif", pixels, **how)
    if words is None:
        assert read_image(path)[0].shape == (1, 3, 16, 16)
        return
    with pytest.raises(Misuse, match=words) as caught:
        read_image(path)
    assert caught.value.what.endswith(".") and caught.value.cure.endswith((".", "?"))


@pytest.mark.parametrize(
    "data",
    [
        b"II*\0" + bytes(8),
        b"MM\0*" + b"\xff" * 8,
        b"II+\0\x08\0\0\0",
        b"II*\0\x08\0\0\0\xff\xff" + b"\1" * 200,
    ],
)
def test_headers_without_a_picture(tmp_path, data):
    (tmp_path / "x.tif").write_bytes(data)
    with pytest.raises(Misuse, match="cannot be read as an image"):
        read_image(tmp_path / "x.tif")


def test_a_smaller_version_of_the_picture_is_no_second_frame(tmp_path):
    with tifffile.TiffWriter(tmp_path / "x.tif") as file:
        file.write(ramp, photometric="minisblack", metadata=None)
        file.write(ramp[::4, ::4], photometric="minisblack", subfiletype=1, metadata=None)
    assert read_image(tmp_path / "x.tif")[0].shape == (1, 3, 40, 50)


@pytest.mark.parametrize("size", [(30_000, 5_000), (2**31 - 1, 2**31 - 1), (0, 5)])
def test_sizes_that_the_file_cannot_fill_are_refused_at_once(tmp_path, size):
    path = save(tmp_path / "x.tif", ramp, photometric="minisblack", compression="zlib")
    data = bytearray(path.read_bytes())
    for tag, value in zip((257, 256), size, strict=True):
        at = tifffile.TiffFile(io.BytesIO(bytes(data))).pages[0].tags[tag].offset
        data[at : at + 12] = np.array([tag, 4], "<u2").tobytes() + np.array([1, value], "<u4").tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(Misuse, match=r"cannot be read as an image|pixels"):
        read_image(path)
