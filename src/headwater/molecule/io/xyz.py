"""XYZ files: plain, extended by columns with names, and as QM9 was published."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.atomic import write_atomically
from headwater.errors import Misuse
from headwater.molecule.structure.elements import ELEMENTS, NUMBERS
from headwater.molecule.structure.molecule import Molecule, check_positions, one_line
from headwater.text import shorten

SYMBOLS = {str(number): symbol for number, symbol in zip(NUMBERS, ELEMENTS, strict=True)}
LONGEST_COUNT = 9
"""Digits of a number of atoms; no file has more."""


@dataclass(frozen=True)
class Columns:
    """Where the element and the three coordinates of an atom stand on its line, counted from 0."""

    element: int = 0
    position: int = 1

    def read(self, line: str) -> tuple[str, list[float]] | None:
        """The element and the position of an atom, angstrom; None if the line has none."""
        words = line.split()
        if len(words) < max(self.element + 1, self.position + 3):
            return None
        symbol = SYMBOLS.get(words[self.element], words[self.element].capitalize())
        try:  # QM9 has Mathematica's exponents
            position = [float(w.replace("*^", "e")) for w in words[self.position : self.position + 3]]
        except ValueError:
            return None
        return (symbol, position) if re.fullmatch("[A-Z][a-z]?", symbol) else None


def read_xyz(lines: Sequence[str], path: Path) -> Iterator[Molecule]:
    """The molecules of an XYZ file, by its lines; refusals name the file.

    One frame or several; the comment is the name; elements are symbols or atomic numbers of the five elements; formal
    charges are 0. Extended XYZ (ASE) names its columns in the comment, `Properties=species:S:1:pos:R:3`; else they
    are element, x, y, z, and what follows is ignored. The frequencies, SMILES and InChI that follow a frame of QM9
    (Ramakrishnan et al., Scientific Data 1, 140022, 2014, table 2) are skipped.

    Raises
    ------
    Misuse
        A frame is cut off, has no comment line, or a line of it does not describe an atom.
    """
    at = 0
    while at < len(lines):
        if not lines[at].strip():  # empty lines between frames and at the end
            at += 1
            continue
        end = _find_end(lines, at, path)
        comment = lines[at + 1].strip()
        columns = _find_columns(comment, f"Line {at + 2} of {path}")
        atoms = [_read_atom(lines[i], columns, f"Line {i + 1} of {path}") for i in range(at + 2, end)]
        symbols, positions = zip(*atoms, strict=True)
        yield Molecule(symbols, np.array(positions), (0,) * len(symbols), _find_name(comment))
        at = end + 3 if end + 2 < len(lines) and lines[end + 2].startswith("InChI=") else end


def _find_end(lines: Sequence[str], at: int, path: Path) -> int:
    """The line after the frame that begins at line `at`."""
    count = lines[at].strip()
    if not (count.isdecimal() and count.strip("0")):
        raise Misuse(
            f"Line {at + 1} of {path} is {shorten(count, 40)!r}.", "A frame starts with its number of atoms."
        )
    atoms = int(count) if len(count) <= LONGEST_COUNT else None
    if atoms is not None and _lacks_comment(lines, at, atoms):
        raise Misuse(
            f"The frame at line {at + 1} of {path} has no comment line.",
            "Put a line, empty or with a name, after the number of atoms.",
        )
    if atoms is None or at + 2 + atoms > len(lines):
        have = max(len(lines) - at - 2, 0)
        raise Misuse(
            f"The frame at line {at + 1} of {path} is cut off: {have} of {shorten(count, 40)} atoms.",
            "Write the file anew.",
        )
    return at + 2 + atoms


def _lacks_comment(lines: Sequence[str], at: int, atoms: int) -> bool:
    """Whether all atoms follow the number of atoms at once, and no atom stands where the last one belongs."""
    columns, last = Columns(), at + 1 + atoms
    if at + 1 >= len(lines) or columns.read(lines[at + 1]) is None or last > len(lines):
        return False
    if last < len(lines) and columns.read(lines[last]) is not None:
        return False
    return all(columns.read(line) is not None for line in lines[at + 1 : last])


def _read_atom(line: str, columns: Columns, what: str) -> tuple[str, list[float]]:
    atom = columns.read(line)
    if atom is None:
        raise Misuse(
            f"{what} does not describe an atom: {line.strip()!r:.60}.",
            "Write an element and three coordinates.",
        )
    return atom


def _find_columns(comment: str, what: str) -> Columns:
    """Where elements and positions stand, by the comment of an extended XYZ file; else the first four columns."""
    found = _find_value(comment, "properties")
    if found is None:
        return Columns()
    parts, starts, at = found.split(":"), dict[str, int](), 0
    widths = [int(w) if w.isdecimal() and len(w) <= LONGEST_COUNT else 0 for w in parts[2::3]]
    for name, width in zip(parts[::3], widths, strict=False):
        starts[name.lower()] = at
        at += width
    element = _first(starts, ("species", "element", "symbol", "z"))
    position = _first(starts, ("pos", "positions"))
    if element is None or position is None or len(parts) % 3 or not all(widths):
        raise Misuse(
            f"{what} names the columns {shorten(found)}, which give no place of species and pos.",
            "Write Properties=species:S:1:pos:R:3, with further columns where they are.",
        )
    return Columns(element, position)


def _first(starts: Mapping[str, int], names: Sequence[str]) -> int | None:
    return next((starts[name] for name in names if name in starts), None)


def _find_name(comment: str) -> str:
    """The name of a molecule: the comment, of QM9 its first two words, of extended XYZ its key `name`.

    >>> _find_name("benzene, relaxed"), _find_name("gdb 1 157.7 157.7"), _find_name("Properties=pos:R:3 name=water")
    ('benzene, relaxed', 'gdb 1', 'water')
    """
    if re.match(r"gdb\s+\d+\s", comment):
        return " ".join(comment.split(None, 2)[:2])
    if _find_value(comment, "properties") is None:
        return comment
    return _find_value(comment, "name") or ""


def _find_value(comment: str, key: str) -> str | None:
    """The value of a key of a comment such as 'key=value other="two words"'; None if it has no such key."""
    found = re.search(rf"(?:^|\s){key}=(?:\"([^\"]*)\"|(\S+))", comment, re.IGNORECASE)
    return None if found is None else found[1] if found[1] is not None else found[2]


def write_xyz(path: str | Path, molecules: Sequence[Molecule], *, overwrite: bool = False) -> Path:
    """Write molecules as frames of one XYZ file, 6 decimals, the name as comment; charges and data are lost.

    Parameters
    ----------
    path : str or Path
        The XYZ file.
    molecules
        Positions `[n, 3]`, angstrom.
    overwrite
        Whether an existing file is replaced.

    Returns
    -------
    path
        The file.

    Raises
    ------
    Misuse
        The output exists or cannot be written, or positions are not finite or all zero.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> path = Path(tempfile.mkdtemp()) / "atom.xyz"
    >>> hw.molecule.write_xyz(path, [hw.molecule.Molecule(("H",), np.zeros((1, 3)), (0,), "atom")]).name
    'atom.xyz'
    >>> hw.molecule.read_molecules(path)[0].name
    'atom'
    """
    lines = []
    for number, m in enumerate(molecules, 1):
        check_positions(m.positions, f"The molecule {number}")
        lines += [str(len(m)), one_line(m.name)]
        lines += [
            f"{s:<2} {x:12.6f} {y:12.6f} {z:12.6f}"
            for s, (x, y, z) in zip(m.symbols, m.positions, strict=True)
        ]
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return Path(path)
