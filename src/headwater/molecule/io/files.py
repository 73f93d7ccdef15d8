"""Molecules in files: SDF and MOL (V2000), XYZ, and tables as CSV.

Files are read as they are: no hydrogens are added, no chemistry is judged. XYZ has no bonds and no charges. Whether
the models can hold a molecule is `molecule.check`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headwater.atomic import write_atomically
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import EXTRA, perceive_for_file
from headwater.molecule.structure.elements import ELEMENTS, NUMBERS
from headwater.molecule.structure.molecule import Molecule

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Value = str | float | int


def read_molecules(path: str | Path) -> list[Molecule]:
    """The molecules of an SDF, MOL or XYZ file, in order.

    SDF: names, formal charges and tags are kept; tags that print back unchanged as numbers become numbers.
    XYZ: one frame or several, the comment is the name, elements are symbols or atomic numbers of the five
    elements, columns after the fourth are ignored, formal charges are 0.

    Raises
    ------
    Misuse
        The file is missing, of an unknown kind, empty, cut off or damaged, or a molecule has no positions in
        space. The sentence names the record or the line.

    Examples
    --------
    >>> read_molecules("hits.pdb")
    Traceback (most recent call last):
    headwater.errors.Misuse: The file hits.pdb is of an unknown kind. Give one of: .mol, .sdf, .xyz.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise Misuse(f"The file {path} is of an unknown kind.", f"Give one of: {known}.")
    text = _text(path)
    if not text.strip():
        raise Misuse(f"The file {path} is empty.", "Give a file with at least one molecule.")
    molecules = list(reader(text.rstrip("\n").split("\n"), path))
    for number, m in enumerate(molecules, 1):
        _check_positions(m.positions, f"The molecule {number} of {path}")
    return molecules


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig", errors="replace")  # names may be in any encoding
    except FileNotFoundError as error:
        raise Misuse(f"The file {path} does not exist.", "Check its name and folder.") from error
    except OSError as error:
        raise Misuse(f"The file {path} cannot be read: {error.strerror}.", "Give a readable file.") from error


def _check_positions(positions: NDArray[np.float64], what: str) -> None:
    """Planar molecules are fine; a molecule in one point, or nowhere, is not."""
    if not np.isfinite(positions).all():
        raise Misuse(f"{what} has coordinates that are not finite.", "Give coordinates in angstrom.")
    if len(positions) > 1 and not positions.any():
        raise Misuse(f"{what} has no coordinates: all are zero.", "Give a structure in three dimensions.")


def _sdf(lines: Sequence[str], path: Path) -> Iterator[Molecule]:
    start, number = 0, 1
    for end, line in enumerate([*lines, "$$$$"]):
        if not line.startswith("$$$$"):
            continue
        record = lines[start:end]
        if end < len(lines) or any(part.strip() for part in record):  # not the space after the last record
            yield _record(
                record, f"The record {number} of {path} (line {start + 1})", closed=end < len(lines)
            )
        start, number = end + 1, number + 1


def _record(lines: Sequence[str], what: str, *, closed: bool) -> Molecule:
    """One record of an SDF file; `closed` says whether its end is marked by $$$$."""
    ends = (
        i for i, line in enumerate(lines) if i > 3 and re.match(r"M\s+END\s*$", line)
    )  # not in the header
    end = next(ends, None)
    if end is None:
        raise Misuse(f"{what} has no 'M  END': it is cut off or no molfile.", "Write the file anew.")
    chem = import_optional("rdkit.Chem", EXTRA)
    with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
        mol = chem.MolFromMolBlock("\n".join(lines[: end + 1]) + "\n", sanitize=False, removeHs=False)
    if mol is None:
        raise Misuse(f"{what} is not a readable molfile.", "Repair it or write the file anew.")
    if not mol.GetNumAtoms():
        raise Misuse(f"{what} has no atoms.", "Remove it from the file.")
    positions = np.array(mol.GetConformer().GetPositions(), dtype=np.float64)
    if lines[1][20:22].upper() == "2D" and not positions[:, 2].any():
        raise Misuse(
            f"{what} is a flat drawing (its header says 2D).", "Give a structure in three dimensions."
        )
    tags = lines[end + 1 :]
    if not closed and any(line.strip() for line in tags):
        raise Misuse(f"{what} is cut off: no $$$$ follows its data.", "Write the file anew.")
    return Molecule(
        tuple(atom.GetSymbol() for atom in mol.GetAtoms()),
        positions,
        tuple(atom.GetFormalCharge() for atom in mol.GetAtoms()),
        lines[0].strip(),
        _data(tags),
        _bonds(mol),
    )


def _bonds(mol: Mol) -> tuple[tuple[int, int, int], ...] | None:
    """The bonds of a record, aromatic ones as single and double; None if there are none, or of another kind."""
    chem = import_optional("rdkit.Chem", EXTRA)
    try:
        with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
            chem.Kekulize(mol, clearAromaticFlags=True)
    except ValueError:  # aromatic bonds that no single and double ones can be
        return None
    found = tuple((b.GetBeginAtomIdx(), b.GetEndAtomIdx(), b.GetBondTypeAsDouble()) for b in mol.GetBonds())
    if not found or any(order not in (1, 2, 3) for *_, order in found):
        return None
    return tuple((i, j, int(order)) for i, j, order in found)


def _data(lines: Sequence[str]) -> dict[str, Value]:
    """The tags of a record: a header `> <tag>`, then its lines up to an empty one."""
    found: dict[str, list[str]] = {}
    tag = None
    for line in lines:
        header = re.match(r">.*?<(.+)>", line) if tag is None else None
        if header:
            tag = header[1]
            found[tag] = []
        elif not line.strip():
            tag = None
        elif tag is not None:
            found[tag].append(line)
    return {tag: _value("\n".join(values)) for tag, values in found.items()}


def _value(text: str) -> Value:
    """A number if it prints back to the same text, so that nothing is lost: not for `007` or `1e5`."""
    kinds: tuple[Callable[[str], Value], ...] = (int, float)
    for kind in kinds:
        try:
            value = kind(text)
        except ValueError:
            continue
        if str(value) == text and text.strip("-") not in ("nan", "inf"):
            return value
    return text


def _xyz(lines: Sequence[str], path: Path) -> Iterator[Molecule]:
    at = 0
    while at < len(lines):
        if not lines[at].strip():  # empty lines between frames and at the end
            at += 1
            continue
        count = lines[at].strip()
        if not (count.isdecimal() and int(count)):
            raise Misuse(
                f"Line {at + 1} of {path} is {count!r:.40}.", "A frame starts with its number of atoms."
            )
        end = at + 2 + int(count)
        if end > len(lines):
            have = max(len(lines) - at - 2, 0)
            raise Misuse(
                f"The frame at line {at + 1} of {path} is cut off: {have} of {int(count)} atoms.",
                "Write the file anew.",
            )
        atoms = [_atom(lines[i], f"Line {i + 1} of {path}") for i in range(at + 2, end)]
        symbols, positions = zip(*atoms, strict=True)
        yield Molecule(symbols, np.array(positions), (0,) * len(symbols), lines[at + 1].strip())
        at = end


def _atom(line: str, what: str) -> tuple[str, list[float]]:
    element, *rest = line.split() or [""]
    try:
        position = [float(word.replace("*^", "e")) for word in rest[:3]]  # QM9 has Mathematica's exponents
    except ValueError:
        position = []
    symbol = SYMBOLS.get(element, element.capitalize())
    if len(position) < 3 or not re.fullmatch("[A-Z][a-z]?", symbol):
        raise Misuse(
            f"{what} does not describe an atom: {line.strip()!r:.60}.",
            "Write an element and three coordinates.",
        )
    return symbol, position


SYMBOLS = {str(number): symbol for number, symbol in zip(NUMBERS, ELEMENTS, strict=True)}
READERS: dict[str, Callable[[Sequence[str], Path], Iterator[Molecule]]] = {
    ".sdf": _sdf,
    ".mol": _sdf,
    ".xyz": _xyz,
}


def write_sdf(path: str | Path, molecules: Sequence[Molecule], *, overwrite: bool = False) -> None:
    """Write molecules of H, C, N, O, F with the bonds of `perception.drawn`; tags are `Molecule.data`.

    Positions have 4 decimals, formal charges are kept, names become one line.

    Raises
    ------
    Misuse
        As `atomic.check_output`; or a molecule cannot be written: its element, its positions or a tag.
    """
    chem = import_optional("rdkit.Chem", EXTRA)
    parts = []
    for number, m in enumerate(molecules, 1):
        _check_positions(m.positions, f"The molecule {number}")
        mol = perceive_for_file(m)
        mol.SetProp("_Name", _line(m.name).replace("$$$$", "$$$"))  # $$$$ ends a record
        parts += [chem.MolToMolBlock(mol, includeStereo=False, kekulize=False)]
        parts += [_tag(tag, str(value)) for tag, value in m.data.items()]
        parts += ["$$$$\n"]
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text("".join(parts), encoding="utf-8")


def _line(text: str) -> str:
    return " ".join(text.split())


def _tag(tag: str, value: str) -> str:
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    lines = value.split("\n")
    if not tag or set(tag) & set("<>\r\n"):
        raise Misuse(f"The tag {tag!r} cannot be written to SDF.", "Use a name without < and > on one line.")
    if value and any(not line.strip() or line.startswith("$$$$") for line in lines):
        raise Misuse(
            f"The value of the tag {tag!r} has an empty line or $$$$.", "SDF would end there: shorten it."
        )
    return f">  <{tag}>\n{value}\n\n" if value else f">  <{tag}>\n\n"


def write_xyz(path: str | Path, molecules: Sequence[Molecule], *, overwrite: bool = False) -> None:
    """Write molecules as frames of one XYZ file, 6 decimals, the name as comment; charges and data are lost.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "atom.xyz"
    >>> write_xyz(path, [Molecule(("H",), np.zeros((1, 3)), (0,), "atom")])
    >>> read_molecules(path)[0].name
    'atom'
    """
    lines = []
    for number, m in enumerate(molecules, 1):
        _check_positions(m.positions, f"The molecule {number}")
        lines += [str(len(m)), _line(m.name)]
        lines += [
            f"{s:<2} {x:12.6f} {y:12.6f} {z:12.6f}"
            for s, (x, y, z) in zip(m.symbols, m.positions, strict=True)
        ]
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_csv(
    path: str | Path, rows: Sequence[Mapping[str, str | float | int | None]], *, overwrite: bool = False
) -> None:
    """Write a table: the columns of all rows in order of appearance, None and absent values empty.

    Floats are written so that they read back exactly.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with write_atomically(path, overwrite=overwrite) as temporary:  # noqa: SIM117 - the file closes first
        with temporary.open("w", newline="", encoding="utf-8") as handle:
            table = csv.DictWriter(handle, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
