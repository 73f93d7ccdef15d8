"""Which files a command writes: named, checked before the work, never one of its inputs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.atomic import check_output, write_atomically
from headwater.errors import Misuse
from headwater.image.io.files import FORMATS, check_image_output
from headwater.image.io.picture import Picture

LOSSY = (".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Outputs:
    """The images of the samples, the report and the picture sheet beside them."""

    images: tuple[Path, ...]
    report: Path
    sheet: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return (*self.images, self.report, self.sheet)


def plan(
    output: Path | None,
    source: Path,
    command: str,
    count: int,
    *,
    picture: Picture | None = None,
    inputs: Iterable[Path] = (),
    overwrite: bool = False,
) -> Outputs:
    """The files of a command, all of them writable.

    `output` names the image, by default `STEM-command` beside the `source`; of `count` > 1 images each gets
    its number. The report is NAME.json, the sheet NAME-sheet.png.

    Raises
    ------
    Misuse
        As `check_image_output`, or an output is one of the `inputs`.
    """
    main = output or default_output(source, command)
    check_suffix = check_image_output(main, picture, overwrite=True)
    many = [check_suffix.with_name(f"{main.stem}-{i}{main.suffix}") for i in range(count)]
    images = tuple(many) if count > 1 else (main,)
    outputs = Outputs(images, main.with_suffix(".json"), main.with_name(f"{main.stem}-sheet.png"))
    check_distinct(outputs.all, inputs)
    for image in images:
        check_image_output(image, picture, overwrite=True)
    check_free((*images, outputs.report, outputs.sheet), overwrite=overwrite)
    return outputs


def default_output(source: Path, command: str) -> Path:
    """`STEM-command` beside the source, in its own format unless that would lose something.

    >>> str(default_output(Path("a/photo.jpg"), "inpaint"))
    'a/photo-inpaint.png'
    """
    suffix = source.suffix.lower()
    keep = suffix in FORMATS and suffix not in LOSSY
    return source.with_name(f"{source.stem}-{command}{suffix if keep else '.png'}")


def check_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs that cannot be written, or exist and may not be replaced."""
    for path in paths:
        check_output(path, overwrite=True)
        if path.exists() and not overwrite:
            raise Misuse(f"The output {path} exists already.", "Name another with -o or give --overwrite.")


def check_distinct(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what was read."""
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise Misuse(f"The output {path} is also an input.", "Name another output with -o.")


def write_json(path: Path, content: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Write a report, readable and in one step."""
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    return path
