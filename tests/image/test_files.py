"""Pictures come back as they came: depths, channels, profiles, rotations, ranges."""

import struct
import warnings
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image, ImageCms, ImageOps

from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.image.io import photos, png16
from headwater.image.io.files import check_range, read_image, write_image
from headwater.image.io.picture import Picture
from headwater.image.io.png_chunks import add_chunks, join_chunks

torch.set_num_threads(1)
SIZES = [(5, 7), (1, 9), (8, 1), (1, 1), (33, 20)]


def noise(*shape, dtype=np.uint8, seed=0):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def round_trip(path, tmp_path, suffix=None):
    x, picture = read_image(path)
    assert x.dtype == torch.float32 and x.shape[:2] == (1, 3) and x.abs().max() <= 1
    return write_image(x, tmp_path / f"out{suffix or path.suffix}", picture), x, picture


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_8_bit_files_come_back_bit_by_bit(tmp_path, mode, size, suffix):
    array = noise(*size, len(mode)).squeeze(2) if mode == "L" else noise(*size, len(mode))
    Image.fromarray(array, mode=None).save(tmp_path / f"in{suffix}")
    out, x, picture = round_trip(tmp_path / f"in{suffix}", tmp_path)
    back = Image.open(out)
    assert back.mode == mode and x.shape[2:] == size and (picture.alpha is not None) == ("A" in mode)
    assert np.array_equal(np.asarray(back), array)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_comes_back_bit_by_bit(tmp_path, channels, size):
    pixels = noise(*size, channels, dtype=np.uint16)
    (tmp_path / "in.png").write_bytes(png16.encode(pixels))
    out, _, picture = round_trip(tmp_path / "in.png", tmp_path)
    assert picture.dtype == "uint16" and picture.grey == (channels < 3)
    assert np.array_equal(png16.decode(out.read_bytes()), pixels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_agrees_with_pillow_to_8_bits(tmp_path, channels):
    pixels = noise(6, 9, channels, dtype=np.uint16)
    (tmp_path / "in.png").write_bytes(png16.encode(pixels))
    image = Image.open(tmp_path / "in.png")
    seen = np.asarray(image).reshape(6, 9, channels)
    assert np.array_equal(seen, pixels if channels == 1 else pixels >> 8)


def test_16_bit_grey_png_of_pillow(tmp_path):
    array = noise(12, 17, dtype=np.uint16)
    Image.fromarray(array).save(tmp_path / "in.png")
    out, _, _ = round_trip(tmp_path / "in.png", tmp_path)
    assert np.array_equal(np.asarray(Image.open(out)).astype(np.uint16), array)


def filtered(pixels, kinds):
    """Rows of a PNG, filtered the slow and obvious way."""
    height, width, channels = pixels.shape
    unit = 2 * channels
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, -1).astype(int)
    out = bytearray()
    for y in range(height):
        out.append(kinds[y])
        for i in range(width * unit):
            left = rows[y, i - unit] if i >= unit else 0
            up = rows[y - 1, i] if y else 0
            corner = rows[y - 1, i - unit] if y and i >= unit else 0
            p = left + up - corner
            paeth = min((left, up, corner), key=lambda v: abs(p - v))
            out.append((rows[y, i] - [0, left, up, (left + up) // 2, paeth][kinds[y]]) % 256)
    return bytes(out)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("interlaced", [False, True])
def test_16_bit_png_with_every_filter_and_interlacing(channels, interlaced):
    pixels = noise(11, 13, channels, dtype=np.uint16)
    parts = [pixels[t::d, s::r] for t, s, d, r in png16.ADAM7] if interlaced else [pixels]
    stream = b"".join(filtered(p, [y % 5 for y in range(len(p))]) for p in parts if p.size)
    colour = {1: 0, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", 13, 11, 16, colour, 0, 0, int(interlaced))
    data = join_chunks([(b"IHDR", header), (b"IDAT", zlib.compress(stream)), (b"IEND", b"")])
    assert np.array_equal(png16.decode(data), pixels)


def test_16_bit_png_transparent_colour():
    pixels = np.array([[[1], [2]]], np.uint16)
    data = add_chunks(png16.encode(pixels), [(b"tRNS", b"\0\2")])
    assert png16.decode(data).tolist() == [[[1, 65535], [2, 0]]]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_tiff_comes_back_bit_by_bit(tmp_path, channels, size, dtype):
    pixels = noise(*size, channels, dtype=np.uint16)
    if dtype == np.float32:
        pixels = (pixels / 32767.5 - 1).astype(np.float32)
        pixels[0, 0] = -0.7  # not taken for [0, 1]
        pixels[..., 3:] = abs(pixels[..., 3:])
    pixels = pixels[..., 0] if channels == 1 else pixels
    kind = (
        {"photometric": "minisblack"} if channels == 1 else {"photometric": "rgb", "planarconfig": "contig"}
    )
    if channels == 4:
        kind["extrasamples"] = ["unassalpha"]
    tifffile.imwrite(tmp_path / "in.tif", pixels, **kind)
    out, _, picture = round_trip(tmp_path / "in.tif", tmp_path, ".tiff")
    back = tifffile.imread(out)
    assert back.dtype == dtype and picture.grey == (channels == 1)
    assert np.array_equal(back.reshape(pixels.shape), pixels)


@pytest.mark.parametrize("shape", [(6, 8), (6, 8, 3), (3, 6, 8), (6, 8, 4)])
def test_npy_comes_back(tmp_path, shape):
    array = (noise(*shape) / 127.5 - 1).astype(np.float32)
    np.save(tmp_path / "in.npy", array)
    out, x, _ = round_trip(tmp_path / "in.npy", tmp_path)
    assert x.shape == (1, 3, 6, 8) and np.array_equal(np.load(out), array)


def test_npy_of_another_range_needs_it_said(tmp_path):
    array = noise(6, 8, 3)
    np.save(tmp_path / "in.npy", array)
    np.save(tmp_path / "unit.npy", (array / 255).astype(np.float32))
    for name, white in [("in.npy", 255), ("unit.npy", 1)]:
        with pytest.raises(Misuse, match=rf"looks like \[0, {white}\].*Convert them"):
            read_image(tmp_path / name)
        x, picture = read_image(tmp_path / name, span=(0, white))
        assert torch.allclose(x[0].permute(1, 2, 0), torch.tensor(array / 127.5 - 1).float(), atol=1e-6)
        back = np.load(write_image(x, tmp_path / "out.npy", picture, overwrite=True))
        assert np.allclose(back * (255 / white), array, atol=1e-3)


def test_palette_and_bilevel(tmp_path):
    rgb = Image.open(photos.path("cat")).quantize(16)
    rgb.save(tmp_path / "in.png")
    rgb.save(tmp_path / "in.gif")
    for name in ("in.png", "in.gif"):
        out, _, picture = round_trip(tmp_path / name, tmp_path, f"{name[-3:]}.png")
        assert picture.mode == "palette"
        assert np.array_equal(np.asarray(Image.open(out)), np.asarray(rgb.convert("RGB")))
    Image.fromarray(noise(5, 6) > 99).save(tmp_path / "one.png")
    assert read_image(tmp_path / "one.png")[1].grey


def test_transparent_palette_keeps_alpha(tmp_path):
    image = Image.open(photos.path("cat")).quantize(16)
    image.save(tmp_path / "in.png", transparency=3)
    out, _, _ = round_trip(tmp_path / "in.png", tmp_path)
    assert np.array_equal(np.asarray(Image.open(out))[..., 3] == 0, np.asarray(image) == 3)


def stored_pixels(path, deep):
    if path.suffix == ".tif":
        return tifffile.TiffFile(path).asarray()
    return png16.decode(path.read_bytes()) if deep else np.asarray(Image.open(path))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["in.png", "in16.png", "in.tif", "in16.tif", "in.webp", "in.jpg"])
def test_exif_rotation_is_undone_and_redone(tmp_path, orientation, name):
    array, path = noise(8, 16, 3), tmp_path / name
    exif = Image.Exif()
    exif[274], exif[271] = orientation, "Maker"
    if name == "in16.png":
        path.write_bytes(png16.encode(array.astype(np.uint16) * 257, exif=exif.tobytes()))
    elif name == "in16.tif":
        tags = [(274, "H", 1, orientation, True), (271, "s", 0, "Maker", True)]
        tifffile.imwrite(path, array.astype(np.uint16) * 257, photometric="rgb", extratags=tags)
    else:
        Image.fromarray(array).save(path, exif=exif, **({"lossless": True} if "webp" in name else {}))
    out, x, picture = round_trip(path, tmp_path)
    seen = ((x[0].permute(1, 2, 0).numpy() + 1) * 127.5).round().astype(np.uint8)
    if "16.tif" not in name:  # Pillow cannot read those
        assert np.array_equal(seen, np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB")))
        tags = Image.open(out).getexif()
        assert tags.get(274, 1) == orientation and tags[271] == "Maker"
    else:
        tags = tifffile.TiffFile(out).pages[0].tags
        assert tags[274].value == orientation and tags[271].value == "Maker"
    assert picture.size == ((16, 8) if orientation > 4 else (8, 16))
    if "jpg" not in name:
        assert np.array_equal(stored_pixels(out, "16" in name), stored_pixels(path, "16" in name))


def test_metadata_cross_formats_and_sizes(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[274], exif[272] = 6, "Model"
    Image.fromarray(noise(8, 12, 3)).save(tmp_path / "in.jpg", exif=exif, icc_profile=profile)
    x, picture = read_image(tmp_path / "in.jpg")
    large = torch.nn.functional.interpolate(x, scale_factor=2)
    for suffix in (".png", ".jpg", ".tif", ".webp"):
        back = Image.open(write_image(large, tmp_path / f"out{suffix}", picture))
        assert back.size == ((16, 24) if suffix == ".tif" else (24, 16))  # Pillow turns TIFF by itself
        assert back.info["icc_profile"] == profile
        assert back.getexif()[274] == 6 and back.getexif()[272] == "Model"
    upright = Image.open(write_image(large, tmp_path / "out.bmp", picture))  # no tag, so turned for good
    assert upright.size == (16, 24)


def test_deep_files_keep_their_profile(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    (tmp_path / "in.png").write_bytes(png16.encode(noise(4, 4, 3, dtype=np.uint16), icc=profile))
    for suffix in (".png", ".tif"):
        out, _, _ = round_trip(tmp_path / "in.png", tmp_path, suffix)
        assert read_image(out)[1].icc == profile and read_image(out)[1].dtype == "uint16"


def test_alpha_follows_a_new_size_and_depth(tmp_path):
    alpha = np.zeros((4, 4), np.uint16)
    alpha[:, 2:] = 65535
    picture = Picture(size=(4, 4), dtype="uint16", alpha=alpha)
    back = np.asarray(Image.open(write_image(torch.zeros(1, 3, 8, 8), tmp_path / "out.webp", picture)))
    assert back.shape == (8, 8, 4) and back[0, 0, 3] == 0 and back[0, 7, 3] == 255
    assert Picture(size=(4, 4), alpha=alpha).make_opaque(torch.tensor(alpha == 0)).alpha is None


def test_grey_input_may_gain_colour(tmp_path):
    Image.fromarray(noise(4, 5)).save(tmp_path / "in.png")
    x, picture = read_image(tmp_path / "in.png")
    x = x * torch.tensor([1.0, 0.5, 0.2]).reshape(1, 3, 1, 1)
    assert Image.open(write_image(x, tmp_path / "grey.png", picture)).mode == "L"
    assert Image.open(write_image(x, tmp_path / "rgb.png", picture.with_colour())).mode == "RGB"


def test_bright_and_constant_photos_are_read(tmp_path):
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(tmp_path / "snow.png")
    assert read_image(tmp_path / "snow.png")[0].min() > 0  # an integer file states its range


def test_wrong_ranges_are_refused_with_the_cure():
    unit = torch.rand(1, 3, 8, 8)
    assert check_range(unit * 2 - 1) is not None and check_range(unit, 0, 1) is not None
    assert check_range(unit * 2 - 1 + 0.5 * torch.randn(1, 3, 8, 8)) is not None  # noisy is not wrong
    for bad, cure in [(unit, r"x \* 2 - 1"), (unit * 255, r"x \* \(2 / 255\) - 1"), (unit * 65535, "65535")]:
        with pytest.raises(Misuse, match=cure):
            check_range(bad)
    with pytest.raises(Misuse, match="NaN or Inf"):
        check_range(unit / 0 * 0)


def test_photos_and_missing_packages():
    assert all(photos.path(name).stat().st_size < 150_000 for name in photos.names())
    licences = (photos.FOLDER / "LICENSES.md").read_text()
    assert all(f"{name}.png" in licences for name in photos.names())
    with pytest.raises(Misuse, match=r"pip install headwater\[images\]"):
        import_optional("no_such_package")


def test_reading_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in photos.names():
            round_trip(photos.path(name), tmp_path, f"{name}.tif")
