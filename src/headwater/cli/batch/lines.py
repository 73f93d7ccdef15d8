"""The lines of a table of jobs: CSV or JSON Lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.atomic import read_bytes
from headwater.errors import Misuse
from headwater.text import shorten

TABLES = {".csv": ",;", ".tsv": "\t"}
"""Endings of tables, and what may stand between their cells."""
JSON_LINES = (".jsonl", ".ndjson")


@dataclass(frozen=True)
class Line:
    """One line of a table: what it asks for, or why it cannot be read.

    Attributes
    ----------
    number
        Where it begins in the file, counted from 1.
    cells
        What is not empty, by column.
    refusal
        What is wrong with it.
    """

    number: int
    cells: dict[str, Any] = field(default_factory=dict)
    refusal: str = ""


def read_lines(path: Path) -> list[Line]:
    """The lines of a table; one that is wrong has a refusal, and does not keep the others from being read.

    Raises
    ------
    Misuse
        The file is missing, empty or no text, has no known ending, no jobs, or a header that cannot be meant.
    """
    suffix = path.suffix.lower()
    if suffix not in (*TABLES, *JSON_LINES):
        known = ", ".join((*TABLES, *JSON_LINES))
        raise Misuse(f"{path} is no table of jobs.", f"Give a file that ends in one of {known}, or a folder.")
    text = read_text(path)
    lines = list(read_json(text) if suffix in JSON_LINES else read_table(path, text, TABLES[suffix]))
    if not lines:
        raise Misuse(f"{path} has no jobs.", "Write one a line.")
    return lines


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without a byte order mark.

    Raises
    ------
    Misuse
        It is not UTF-8, or holds bytes that no text has.
    """
    data = read_bytes(path)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        what = f"{path} is not UTF-8: line {line} has the byte 0x{data[error.start]:02x}."
        raise Misuse(what, "Save it as CSV UTF-8.") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Misuse(f"{path} is no text: line {line} holds a zero byte.", "Save it as CSV UTF-8.")
    return text


def read_table(path: Path, text: str, separators: str) -> Iterator[Line]:
    """The lines of a CSV file whose first one names the columns."""
    head = text.lstrip().partition("\n")[0]
    separator = max(separators, key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    columns: list[str] | None = None
    begins = 1
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if columns is None and any(cells):
                columns = check_columns(path, cells)
            elif any(cells):
                yield read_row(begins, columns or [], cells)
            begins = rows.line_num + 1
    except csv.Error as error:
        # An open quote takes the rest of the file with it, so what follows cannot be told apart.
        what = f"{path} cannot be read from line {begins} on: {error}."
        raise Misuse(what, "Close its quotes, or give a whole copy of the file.") from None


def check_columns(path: Path, columns: Sequence[str]) -> list[str]:
    """The names of the columns, each there once."""
    names = [name.removeprefix("--").replace("_", "-") for name in columns]
    doubled = next((name for name in names if names.count(name) > 1 and name), None)
    if doubled is not None:
        raise Misuse(f"{path} has two columns named {doubled!r}.", "Rename or remove one of them.")
    if "command" not in names:
        what = f"The first line of {path} names no column 'command'."
        raise Misuse(what, "Begin with a line such as command,input,noise.")
    return names


def read_row(number: int, columns: Sequence[str], cells: Sequence[str]) -> Line:
    """A line of a CSV file; one with more or fewer cells than columns was cut off, or lacks quotes."""
    if len(cells) != len(columns):
        what = f"It has {len(cells)} cells, and the first line has {len(columns)}."
        return Line(number, refusal=f"{what} Write all cells, also empty ones, and quotes around commas.")
    if any(cell and not name for name, cell in zip(columns, cells, strict=True)):
        return Line(
            number, refusal="It has a cell in a column without a name. Name the column in the first line."
        )
    return Line(number, {name: cell for name, cell in zip(columns, cells, strict=True) if cell})


def read_json(text: str) -> Iterator[Line]:
    """The lines of a JSON Lines file."""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield Line(number, refusal=f"It is not JSON: {shorten(str(error))}. Write one object a line.")
            continue
        if not isinstance(found, dict):
            yield Line(number, refusal='It is no JSON object. Write it as {"command": "image denoise", ...}.')
            continue
        cells = {name.removeprefix("--").replace("_", "-"): value for name, value in found.items()}
        yield Line(number, {name: value for name, value in cells.items() if value not in (None, "")})
