"""The files of an image command: named, and checked before the work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from headwater.cli.shared.outputs import Outputs, check_distinct, check_free, name_outputs
from headwater.image.io.files import FORMATS, check_image_output
from headwater.image.io.picture import Picture

LOSSY = (".jpg", ".jpeg", ".webp")


def plan_outputs(
    output: Path | None,
    source: Path,
    command: str,
    count: int,
    *,
    beside: Sequence[str] = (),
    picture: Picture | None = None,
    inputs: Iterable[Path] = (),
    overwrite: bool = False,
) -> Outputs:
    """The files of a command, all of them writable.

    `output` names the image, by default `STEM-command` beside the `source`; of `count` > 1 images each gets
    its number, and `beside` names more images, as in NAME-q05.png. The report is NAME.json, the sheet NAME-sheet.png;
    of other endings than .png NAME.tif.json and so on.

    Raises
    ------
    Misuse
        As `check_image_output`, or an output is one of the `inputs`.
    """
    main = output or default_output(source, command)
    check_image_output(main, picture, overwrite=True)
    outputs = name_outputs(main, count)
    more = tuple(name_beside(main, outputs.report.stem, name) for name in beside)
    outputs = replace(outputs, main=(*outputs.main, *more))
    check_distinct(outputs.all, inputs)
    for image in outputs.main:
        check_image_output(image, picture, overwrite=True)
    check_free(outputs.all, overwrite=overwrite)
    return outputs


def name_beside(main: Path, stem: str, name: str) -> Path:
    """The file of another image beside the main one, in its format; a map, which is no photo, is a PNG file.

    >>> str(name_beside(Path("a.jpg"), "a.jpg", "q05")), str(name_beside(Path("a.jpg"), "a.jpg", "std"))
    ('a-q05.jpg', 'a.jpg-std.png')
    """
    return main.with_name(f"{stem}-{name}.png" if name == "std" else f"{main.stem}-{name}{main.suffix}")


def default_output(source: Path, command: str) -> Path:
    """`STEM-command` beside the source, in its own format unless that would lose something.

    >>> str(default_output(Path("a/photo.jpg"), "inpaint"))
    'a/photo-inpaint.png'
    """
    return source.with_name(f"{source.stem}-{command}{Path(name_result(source)).suffix}")


def name_result(source: Path) -> str:
    """The name of a result in a folder of its own: that of the source, in a format without loss.

    >>> name_result(Path("a/photo.jpg")), name_result(Path("photo.TIF"))
    ('photo.png', 'photo.tif')
    """
    suffix = source.suffix.lower()
    keep = suffix in FORMATS and suffix not in LOSSY
    return f"{source.stem}{suffix if keep else '.png'}"
