"""Which files a command writes: named, checked before the work, never one of its inputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.atomic import check_output, real_path, write_atomically
from headwater.errors import Misuse
from headwater.text import printable

USUAL = (".png", ".wav")
"""Endings that a report's name leaves out; no domain writes both."""


@dataclass(frozen=True)
class Outputs:
    """The main files, and the report and the picture sheet beside them; of molecules a `table` and a `page` too."""

    main: tuple[Path, ...]
    report: Path
    sheet: Path
    table: Path | None = None
    page: Path | None = None

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        beside = (self.table, self.report, self.sheet, self.page)
        return (*self.main, *(path for path in beside if path is not None))


def name_outputs(main: Path, count: int = 1) -> Outputs:
    """The files of a command whose main file is `main`; of `count` > 1 main files each gets its number.

    Results that differ in their ending alone have reports of their own: only the usual endings are left out of
    the report's name.

    >>> str(name_outputs(Path("a.png"), 2).main[1]), str(name_outputs(Path("a.png")).sheet)
    ('a-1.png', 'a-sheet.png')
    >>> str(name_outputs(Path("a.jpg")).report), str(name_outputs(Path("a.jpg")).sheet)
    ('a.jpg.json', 'a.jpg-sheet.png')
    """
    numbered = tuple(main.with_name(f"{main.stem}-{i}{main.suffix}") for i in range(count))
    files = numbered if count > 1 else (main,)
    name = main.stem if main.suffix in USUAL else main.name
    return Outputs(files, main.with_name(f"{name}.json"), main.with_name(f"{name}-sheet.png"))


def check_outputs(outputs: Iterable[Path], inputs: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs that are inputs, cannot be written, or exist and may not be replaced.

    Raises
    ------
    Misuse
        As `check_distinct` and `check_free`.
    """
    outputs = tuple(outputs)
    check_distinct(outputs, inputs)
    check_free(outputs, overwrite=overwrite)


def check_free(paths: Iterable[Path], *, overwrite: bool) -> None:
    """Refuse outputs that cannot be written, or exist and may not be replaced."""
    for path in paths:
        check_output(path, overwrite=True)
        if path.exists() and not overwrite:
            raise Misuse(f"The output {path} exists already.", "Name another with -o or give --overwrite.")


def check_distinct(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Refuse to write over what was read."""
    read = {real_path(path) for path in inputs}
    for path in outputs:
        if real_path(path) in read:
            raise Misuse(f"The output {path} is also an input.", "Name another output with -o.")


def write_json(path: Path, content: Mapping[str, Any], *, overwrite: bool) -> Path:
    """Write a report, readable and in one step."""
    with write_atomically(path, overwrite=overwrite) as temporary:
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        temporary.write_text(_as_unicode(text), encoding="utf-8")
    return path


def _as_unicode(text: str) -> str:
    """JSON in which bytes of file names that are not UTF-8 are shown as in `printable`: they have no code point."""
    return re.sub("[\ud800-\udfff]", lambda found: json.dumps(printable(found[0]))[1:-1], text)
