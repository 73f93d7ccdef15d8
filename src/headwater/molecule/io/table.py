"""Tables of molecules as CSV, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from headwater.atomic import write_atomically

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula (OWASP, CSV injection)."""


def write_csv(
    path: str | Path, rows: Sequence[Mapping[str, str | float | int | None]], *, overwrite: bool = False
) -> None:
    r"""Write a table: the columns of all rows in order of appearance, None and absent values empty.

    Floats are written so that they read back exactly. A text that a spreadsheet would run as a formula gets an
    apostrophe before it; one that is a number does not.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "t.csv"
    >>> write_csv(path, [{"name": "=1+1", "gap": -0.5}])
    >>> path.read_text()
    "name,gap\n'=1+1,-0.5\n"
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with write_atomically(path, overwrite=overwrite) as temporary:  # noqa: SIM117 - the file closes first
        with temporary.open("w", newline="", encoding="utf-8") as handle:
            table = csv.DictWriter(handle, columns, lineterminator="\n")
            table.writeheader()
            table.writerows({k: defuse(v) for k, v in row.items()} for row in rows)


def defuse(cell: str | float | int | None) -> str | float | int | None:
    """A cell that no spreadsheet runs.

    >>> defuse("=HYPERLINK(1)"), defuse("-5.1"), defuse("C=O")
    ("'=HYPERLINK(1)", '-5.1', 'C=O')
    """
    if not isinstance(cell, str) or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
