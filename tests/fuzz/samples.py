"""Small valid files of every kind, and who reads them: what the fuzz test damages.

A kind is read by one function of the path, which returns or raises `Misuse`, and prints nothing.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Read = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes
    ----------
    read
        The reader under test.
    files
        Valid files: the ending, and the bytes.
    """

    read: Read
    files: Callable[[], Iterator[tuple[str, bytes]]]


def picture(channels: int = 3, dtype: type = np.uint8, size: tuple[int, int] = (24, 20)) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    waves = np.stack([np.sin(0.3 * rows + 0.2 * c * columns + c) for c in range(1, channels + 1)], -1)
    return np.rint((waves * 0.4 + 0.5) * np.iinfo(dtype).max).astype(dtype)


def saved(format: str, mode: str = "RGB", **how: object) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture()).convert(mode).save(stream, format, **how)
    return stream.getvalue()


def png() -> Iterator[tuple[str, bytes]]:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("Title", "x")
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    info.add_text("Comment", "packed " * 20, zip=True)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    yield ".png", saved("PNG", pnginfo=info, exif=exif, dpi=(300, 300))
    for mode in ("L", "LA", "RGBA", "P", "1"):
        yield ".png", saved("PNG", mode)


def png16() -> Iterator[tuple[str, bytes]]:
    from headwater.image.io import png16 as codec

    for channels in (1, 3, 4):
        yield ".png", codec.encode(picture(channels, np.uint16), exif=b"MM\0*\0\0\0\x08" + bytes(6))


def jpeg() -> Iterator[tuple[str, bytes]]:
    from PIL import Image

    exif = Image.Exif()
    exif[274], exif[271] = 6, "Maker"
    yield ".jpg", saved("JPEG", exif=exif, dpi=(72, 72))
    yield ".jpg", saved("JPEG", progressive=True, subsampling=1, qtables=[[16] * 64] * 2)
    yield ".jpg", saved("JPEG", "L")


def jpeg_and_cmyk() -> Iterator[tuple[str, bytes]]:
    yield from jpeg()
    yield ".jpg", saved("JPEG", "CMYK")


def tiff() -> Iterator[tuple[str, bytes]]:
    for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        yield ".tif", saved("TIFF", compression=compression)
    for mode in ("1", "P", "CMYK", "LAB"):
        yield ".tif", saved("TIFF", mode) if mode != "LAB" else lab8()


def lab8() -> bytes:
    return deep(picture(3), photometric="cielab", planarconfig="contig")


def deep(pixels: np.ndarray, **how: object) -> bytes:
    import tifffile

    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, metadata=None, **how)
    return stream.getvalue()


def deep_tiff() -> Iterator[tuple[str, bytes]]:
    rgb, grey = picture(3, np.uint16), picture(1, np.uint16)[..., 0]
    for how in (
        {},
        dict(compression="lzw"),
        dict(compression="zlib", predictor=True),
        dict(compression="zstd"),
        dict(compression="lzma"),
        dict(compression="packbits"),
        dict(compression="jpegxl"),
        dict(compression="zlib", tile=(16, 16)),
        dict(byteorder=">", rowsperstrip=5),
        dict(bigtiff=True),
    ):
        yield ".tif", deep(rgb, photometric="rgb", **how)
    yield ".tif", deep(grey // 16, photometric="minisblack", bitspersample=12)
    floats = (grey / 32767.5 - 1).astype(np.float32)
    yield ".tif", deep(floats, photometric="minisblack")
    yield ".tif", deep(floats, compression="zlib", predictor=True)
    yield ".tif", deep(picture(4, np.uint16), photometric="separated", planarconfig="contig")
    yield ".tif", deep(picture(4, np.uint16), photometric="rgb", extrasamples=["assocalpha"])
    yield ".tif", deep(rgb.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")


def other_images() -> Iterator[tuple[str, bytes]]:
    yield ".webp", saved("WEBP")
    yield ".webp", saved("WEBP", "RGBA", lossless=True)
    yield ".bmp", saved("BMP")
    yield ".bmp", saved("BMP", "P")
    yield ".gif", saved("GIF", "P")
    yield ".ppm", saved("PPM")
    yield ".pgm", saved("PPM", "L")
    yield ".jp2", saved("JPEG2000")
    yield ".avif", saved("AVIF")
    yield ".tga", saved("TGA", compression="tga_rle")
    yield ".qoi", b"qoif" + bytes([0, 0, 0, 2, 0, 0, 0, 2, 3, 0, 254, 1, 2, 3, 193]) + bytes(7) + b"\1"


def array(values: np.ndarray, **how: object) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, **how)
    return stream.getvalue()


def arrays() -> Iterator[tuple[str, bytes]]:
    floats = (picture() / 127.5 - 1).astype(np.float32)
    for values in (floats, floats[..., 0], floats.transpose(2, 0, 1), np.asfortranarray(floats), floats > 0):
        yield ".npy", array(values)
    yield ".npy", array(np.array([{}], object), allow_pickle=True)
    stream = io.BytesIO()
    np.savez(stream, x=floats)
    yield ".npy", stream.getvalue()


def masks() -> Iterator[tuple[str, bytes]]:
    marked = picture()[..., 0] > 127
    yield ".npy", array(marked)
    yield ".npy", array(marked[None, None].astype(np.float64))
    yield ".png", saved("PNG", "1")
    yield ".png", saved("PNG", "LA")
    yield ".tif", deep(marked.astype(np.float32), photometric="minisblack")


def kernels() -> Iterator[tuple[str, bytes]]:
    table = np.outer([1, 2, 1], [1, 2, 1])
    yield ".txt", "\n".join(" ".join(map(str, row)) for row in table).encode()
    yield ".csv", "\n".join(",".join(map(str, row)) for row in table / 16).encode()
    yield ".npy", array(table.astype(np.float32))
    yield ".png", saved("PNG", "L")


def sound(format: str, subtype: str, channels: int = 2) -> bytes:
    import soundfile

    t = np.arange(2000)[:, None] / 16000
    stream = io.BytesIO()
    soundfile.write(
        stream, 0.5 * np.sin(2700 * t + np.arange(channels)), 16000, format=format, subtype=subtype
    )
    return stream.getvalue()


def recordings() -> Iterator[tuple[str, bytes]]:
    for format, subtype in (
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAVEX", "PCM_16"),
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("AIFF", "PCM_16"),
        ("AIFF", "PCM_24"),
        ("W64", "PCM_16"),
        ("CAF", "PCM_16"),
    ):
        ending = {"WAVEX": ".wav"}.get(format, f".{format.lower()}")
        yield ending, sound(format, subtype)


def labels() -> Iterator[tuple[str, bytes]]:
    yield ".txt", b"0.500000\t0.600000\tclick\n1.000000\t1.200000\tdrop-out\n"
    yield ".txt", b"0,5\t0,6\tclick\r\n\\\t100\t200\r\n1,0\t1,2\t\r\n"


ETHANOL = """ethanol
  by hand           3D

  3  2  0  0  0  0  0  0  0  0999 V2000
    0.0000    0.0000    0.0000 C   0  0
    1.5000    0.0000    0.0000 C   0  0
    2.0000    1.3000    0.1000 O   0  0
  1  2  1  0
  2  3  1  0
M  CHG  1   3  -1
M  END
> <gap>
7.5

> <note>
two
lines

$$$$
"""
ETHANOL_V3000 = """ethanol
  by hand           3D

  0  0  0     0  0            999 V3000
M  V30 BEGIN CTAB
M  V30 COUNTS 3 2 0 0 0
M  V30 BEGIN ATOM
M  V30 1 C 0 0 0 0
M  V30 2 C 1.5 0 0 0
M  V30 3 O 2 1.3 0.1 0 CHG=-1
M  V30 END ATOM
M  V30 BEGIN BOND
M  V30 1 1 1 2
M  V30 2 1 2 3
M  V30 END BOND
M  V30 END CTAB
M  END
> <gap>
7.5

$$$$
"""
WATER = """3
Properties=species:S:1:pos:R:3 energy=-76.4
O 0.0 0.0 0.1
H 0.0 0.76 -0.5
H 0.0 -0.76 -0.5
"""


def molecules() -> Iterator[tuple[str, bytes]]:
    yield ".sdf", ETHANOL.encode()
    yield ".sdf", (ETHANOL + ETHANOL).encode()
    yield ".sdf", ETHANOL_V3000.encode()
    yield ".mol", ETHANOL.split("> <gap>")[0].encode()
    yield ".xyz", WATER.encode()
    yield ".xyz", (WATER + WATER.replace("Properties", "a comment ")).encode()


def read_image(path: Path) -> object:
    from headwater.image.io.files import read_image as read

    return read(path)


def read_compressed(path: Path) -> object:
    from headwater.cli.image.jpeg_request import read_compression

    found = read_compression(path)
    return found and found.codec()


def read_mask(path: Path) -> object:
    from headwater.image.io.masks import read_mask as read

    return read(path, (24, 20))


def read_kernel(path: Path) -> object:
    from headwater.image.io.masks import read_kernel as read

    return read(path)


def read_array(path: Path) -> object:
    from headwater.image.io.masks import load_npy

    return load_npy(path)


def read_recording(path: Path) -> object:
    from headwater.audio.io.files import check_readable, examine

    return check_readable(examine(path))


def read_labels(path: Path) -> object:
    from headwater.audio.io.marks import read_labels as read

    return read(path)


def read_molecules(path: Path) -> object:
    from headwater.molecule.io.files import read_molecules as read

    return read(path)


COMMANDS = {
    "image inpaint": "image inpaint {path} --box 2,2,4,4 --gradients 1 --steps 1 -o {out}/x.png --quiet",
    "image dejpeg": "image dejpeg {path} --gradients 1 --steps 1 -o {out}/x.png --quiet",
    "audio inpaint": "audio inpaint {path} --gap 0.05-0.06 -o {out}/x.wav --quiet",
    "molecule score": "molecule score {path} -o {out}/x.csv --quiet",
}


def run_command(line: str) -> Read:
    """A reader that runs a whole command, and looks at what it leaves."""

    def read(path: Path) -> object:
        from headwater.cli import main
        from headwater.errors import Misuse

        out = path.parent / "out"
        out.mkdir(exist_ok=True)
        for old in out.iterdir():
            old.unlink()
        code = main(line.format(path=path, out=out).split())
        left = sorted(os.listdir(out))
        assert code in (0, 1, 2), f"exit code {code}"
        assert not any(name.startswith(".headwater") for name in left), left
        assert code != 2 or not left, left
        assert code == 2 or any(name.startswith("x.") for name in left), left
        if code == 2:
            raise Misuse("refused.", "As it should.")
        return left

    return read


KINDS: dict[str, Kind] = {
    "PNG": Kind(read_image, png),
    "16-bit PNG": Kind(read_image, png16),
    "JPEG": Kind(read_image, jpeg_and_cmyk),
    "JPEG header": Kind(read_compressed, jpeg),
    "TIFF": Kind(read_image, tiff),
    "deep TIFF": Kind(read_image, deep_tiff),
    "WebP, BMP, GIF, PPM, JP2, AVIF, TGA, QOI": Kind(read_image, other_images),
    "NPY image": Kind(read_image, arrays),
    "NPY array": Kind(read_array, arrays),
    "mask": Kind(read_mask, masks),
    "kernel": Kind(read_kernel, kernels),
    "WAV, FLAC, OGG, AIFF, W64, CAF": Kind(read_recording, recordings),
    "labels": Kind(read_labels, labels),
    "SDF, MOL, XYZ": Kind(read_molecules, molecules),
}
ENDINGS: dict[str, Kind] = {
    "image inpaint": Kind(run_command(COMMANDS["image inpaint"]), png),
    "image dejpeg": Kind(run_command(COMMANDS["image dejpeg"]), jpeg),
    "audio inpaint": Kind(run_command(COMMANDS["audio inpaint"]), recordings),
    "molecule score": Kind(run_command(COMMANDS["molecule score"]), molecules),
}
"""Whole commands: they cost seconds where the file survives, so fewer are run."""


def hang(path: Path) -> object:
    import time

    return time.sleep(600)


def crash(path: Path) -> object:
    os.abort()


def waste(path: Path) -> object:
    return np.ones(150_000_000)[0]


def chatter(path: Path) -> object:
    return os.write(2, b"a decoder's own words")


def ignore_damage(path: Path) -> object:
    return int(path.read_bytes()[:0])


HARMFUL = {
    "hung": Kind(hang, labels),
    "died": Kind(crash, labels),
    "memory": Kind(waste, labels),
    "printed": Kind(chatter, labels),
    "raised": Kind(ignore_damage, labels),
}
"""Readers that fail, each named after its failure: they must be found out, before any other is believed."""
