"""What goes along with a result, and what must not: an older picture of it."""

import io
import zlib

import numpy as np
import pytest
import tifffile
import torch
from PIL import ExifTags, Image
from PIL.PngImagePlugin import PngInfo

from headwater.image.io import png16
from headwater.image.io.files import read_image, write_image
from headwater.image.io.picture import Picture
from headwater.image.io.png_chunks import add_chunks, iterate_chunks

OUTPUTS = (".jpg", ".png", ".webp", ".tif")


def jpeg(side=64, value=200):
    stream = io.BytesIO()
    Image.new("RGB", (side, side), (value, 30, 30)).save(stream, "JPEG")
    return stream.getvalue()


def grey(picture, path):
    """The result: a grey square, in which nothing looks like a JPEG file."""
    return write_image(torch.zeros(1, 3, *picture.size), path, picture)


def exif_with_preview(preview):
    """EXIF as a camera writes it: the preview in the second directory, and one in the maker's note."""
    exif = Image.Exif()
    exif[271], exif[274] = "Maker", 1
    exif.get_ifd(34665).update({37500: b"NOTE" + preview[1:], 33434: 0.01, 40962: 64, 40963: 64})
    block = bytearray(exif.tobytes())
    first = 8  # after b"Exif\0\0" stands the TIFF header, whose first directory is at 8
    at = (
        6
        + first
        + 2
        + 12 * int.from_bytes(block[6 + first : 6 + first + 2], "little" if block[6] == 73 else "big")
    )
    order = "little" if block[6] == 73 else "big"
    block[at : at + 4] = (len(block) - 6).to_bytes(4, order)
    entries = [(513, 4, 1, len(block) - 6 + 2 + 24 + 4), (514, 4, 1, len(preview))]
    block += (2).to_bytes(2, order)
    for tag, kind, count, value in entries:
        block += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order)
        block += value.to_bytes(4, order)
    return bytes(block + (0).to_bytes(4, order) + preview)


@pytest.mark.parametrize("suffix", OUTPUTS)
def test_no_preview_of_a_photo_goes_along(tmp_path, suffix):
    preview = jpeg()
    exif = exif_with_preview(preview)
    photoshop = b"Photoshop 3.0\x008BIM\x04\x0c\0\0" + len(preview).to_bytes(4, "big") + preview
    data = jpeg()
    segments = [(0xE1, exif), (0xED, photoshop), (0xE2, b"MPF\0" + preview)]
    head = b"".join(
        bytes([0xFF, kind]) + (len(body) + 2).to_bytes(2, "big") + body for kind, body in segments
    )
    (tmp_path / "in.jpg").write_bytes(data[:2] + head + data[2:])
    loaded = Image.Exif()
    loaded.load(exif)
    assert loaded.get_ifd(ExifTags.IFD.IFD1)[514] == len(preview)  # the input is what we think it is
    _, picture = read_image(tmp_path / "in.jpg")
    data = grey(picture, tmp_path / f"out{suffix}").read_bytes()
    assert preview not in data and preview[1:400] not in data and data.find(b"\xff\xd8\xff", 4) < 0
    if suffix != ".tif":  # Pillow writes the groups of EXIF into all others
        tags = Image.open(tmp_path / f"out{suffix}").getexif()
        assert tags[271] == "Maker" and float(tags.get_ifd(34665)[33434]) == 0.01
        assert 40962 not in tags.get_ifd(34665) and 37500 not in tags.get_ifd(34665)


def test_no_preview_of_a_png_or_tiff_goes_along(tmp_path):
    preview = jpeg()
    info = PngInfo()
    info.add_text("Title", "kept")
    info.add_itxt("XML:com.adobe.xmp", "<xmp:Thumbnails>" + preview.hex() + "</xmp:Thumbnails>")
    info.add_text("Raw profile type 8bim", "\n8bim\n9\n" + preview.hex(), zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png", pnginfo=info, exif=exif_with_preview(preview))
    _, picture = read_image(tmp_path / "in.png")
    back = Image.open(grey(picture, tmp_path / "out.png"))
    assert back.text == {"Title": "kept"} and preview not in (tmp_path / "out.png").read_bytes()
    for deep in (np.uint8, np.uint16):
        tags = [(34377, 7, len(preview), preview, True), (700, 1, len(preview), preview, True)]
        tifffile.imwrite(tmp_path / "in.tif", np.zeros((8, 8, 3), deep), photometric="rgb", extratags=tags)
        _, picture = read_image(tmp_path / "in.tif")
        write_image(torch.zeros(1, 3, 8, 8), tmp_path / "out.tif", picture, overwrite=True)
        assert preview not in (tmp_path / "out.tif").read_bytes()


@pytest.mark.parametrize("deep", [False, True])
def test_png_text_and_colour_meaning_come_back(tmp_path, deep):
    info = PngInfo()
    info.add_text("Title", "x")
    info.add_text("Comment", "packed " * 50, zip=True)
    info.add_itxt("Author", "Zoë", lang="fr", tkey="Auteur")
    info.add_itxt("XML:com.adobe.xmp", "<x>no picture</x>")
    Image.new("RGB", (8, 8)).save(tmp_path / "in.png", pnginfo=info, dpi=(300, 200))
    data = add_chunks((tmp_path / "in.png").read_bytes(), [(b"gAMA", (100_000).to_bytes(4, "big"))])
    if deep:
        more = [chunk for chunk in iterate_chunks(data) if chunk[0] not in (b"IHDR", b"IDAT", b"IEND")]
        data = png16.encode(np.zeros((8, 8, 3), np.uint16), more=more)
    (tmp_path / "in.png").write_bytes(data)
    _, picture = read_image(tmp_path / "in.png")
    back = Image.open(grey(picture, tmp_path / "out.png"))
    back.load()
    before = Image.open(tmp_path / "in.png")
    before.load()
    assert back.text == before.text and back.text["Author"] == "Zoë" and back.text["Author"].lang == "fr"
    assert back.info["dpi"] == before.info["dpi"] == pytest.approx((300, 200), rel=1e-4)
    assert back.info["gamma"] == 1.0
    chunks = [kind for kind, _ in iterate_chunks((tmp_path / "out.png").read_bytes())]
    assert len(chunks) == len(set(chunks)) + 1  # two iTXt, and nothing else twice


@pytest.mark.parametrize("source", ["a.png", "a.jpg", "a.tif", "a16.png", "a16.tif", "a.bmp"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".bmp"])
def test_resolution_goes_along(tmp_path, source, suffix):
    path, deep = tmp_path / source, np.zeros((8, 8, 3), np.uint16)
    if source == "a16.png":
        chunk = (b"pHYs", (11811).to_bytes(4, "big") + (5906).to_bytes(4, "big") + b"\1")
        path.write_bytes(png16.encode(deep, more=[chunk]))
    elif source == "a16.tif":
        tifffile.imwrite(path, deep, photometric="rgb", resolution=(300, 150), resolutionunit="INCH")
    else:
        Image.new("RGB", (8, 8)).save(path, dpi=(300, 150))
    _, picture = read_image(path)
    assert picture.dpi == pytest.approx((300, 150), rel=1e-3)
    out = grey(picture, tmp_path / f"out{suffix}")
    assert read_image(out)[1].dpi == pytest.approx((300, 150), rel=1e-3)


def test_centimetres_are_inches_and_no_unit_is_none(tmp_path):
    for unit, dpi in [("CENTIMETER", 254), ("NONE", None)]:
        for dtype in (np.uint8, np.uint16):
            tifffile.imwrite(
                tmp_path / "x.tif", np.zeros((8, 8), dtype), resolution=(100, 100), resolutionunit=unit
            )
            found = read_image(tmp_path / "x.tif")[1].dpi
            assert found is None if dpi is None else found == pytest.approx((dpi, dpi))


def test_broken_metadata_do_not_make_a_photo_unreadable(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(9))
    assert read_image(tmp_path / "x.jpg")[1].exif is None
    text = [(b"zTXt", b"k\0\0" + zlib.compress(b"long" * 10)[:-4]), (b"pHYs", bytes(9))]
    (tmp_path / "x.png").write_bytes(png16.encode(np.zeros((8, 8, 3), np.uint16), more=text))
    assert read_image(tmp_path / "x.png")[1].dpi is None


def test_a_picture_says_what_it_is_without_its_metadata():
    """In a notebook exif, profile, chunks and alpha would fill the screen."""
    seen = repr(
        Picture(
            size=(8, 9),
            alpha=np.full((8, 9), 77, np.uint8),
            exif=b"Exif" * 99,
            icc=b"icc" * 99,
            chunks=((b"tEXt", b"words" * 99),),
            notes=("A note.",),
        )
    )
    assert "size=(8, 9)" in seen and "A note." in seen and len(seen) < 300
    assert not any(word in seen for word in ("77", "Exif", "icc", "words"))
