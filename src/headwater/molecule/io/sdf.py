"""SDF and MOL files (V2000, V3000): read by RDKit, and written with the bonds that a chemist would draw."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headwater.atomic import write_atomically
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import EXTRA, perceive_for_file
from headwater.molecule.structure.molecule import Molecule, check_positions, one_line

if TYPE_CHECKING:
    from rdkit.Chem import Mol

Value = str | float | int


def read_sdf(lines: Sequence[str], path: Path) -> Iterator[Molecule]:
    """The molecules of an SDF or MOL file, by its lines; refusals name the file.

    Names, formal charges, bonds and tags are kept; tags that print back unchanged as numbers become numbers.

    Raises
    ------
    Misuse
        A record is cut off or damaged, has no atoms, or is a flat drawing.
    """
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
    mol = _parse_block("\n".join(lines[: end + 1]) + "\n")
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


def _parse_block(block: str) -> Mol | None:
    """What RDKit makes of a molfile, not sanitised; None if it cannot read it, however it says so."""
    chem = import_optional("rdkit.Chem", EXTRA)
    try:
        with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
            mol: Mol | None = chem.MolFromMolBlock(block, sanitize=False, removeHs=False)
    except (ValueError, RuntimeError, IndexError, OverflowError):  # what Boost makes of exceptions of C++
        return None
    return mol


def _bonds(mol: Mol) -> tuple[tuple[int, int, int], ...] | None:
    """The bonds of a record, aromatic ones as single and double; None if there are none, or of another kind."""
    chem = import_optional("rdkit.Chem", EXTRA)
    try:
        with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
            chem.Kekulize(mol, clearAromaticFlags=True)
    except (
        ValueError,
        RuntimeError,
    ):  # aromatic bonds that no single and double ones can be, or none of RDKit
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
        header = _find_tag(line) if tag is None else None
        if header:
            tag = header
            found[tag] = []
        elif not line.strip():
            tag = None
        elif tag is not None:
            found[tag].append(line)
    return {tag: _value("\n".join(values)) for tag, values in found.items()}


def _find_tag(line: str) -> str | None:
    """What is between the first < and the last > of a line that begins with >; None if there is nothing."""
    first, last = line.find("<"), line.rfind(">")
    return line[first + 1 : last] or None if line.startswith(">") and 0 < first < last else None


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


def write_sdf(path: str | Path, molecules: Sequence[Molecule], *, overwrite: bool = False) -> Path:
    """Write molecules of H, C, N, O, F with the bonds that a chemist would draw; tags are `Molecule.data`.

    Formal charges are kept, names become one line, positions have 4 decimals.

    Parameters
    ----------
    path : str or Path
        The SDF file.
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
        The output exists or cannot be written; a molecule cannot be written: its element, its positions or a tag; or
        RDKit is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0), "water", {"gap": 7.5})
    >>> path = Path(tempfile.mkdtemp()) / "water.sdf"
    >>> (again,) = hw.molecule.read_molecules(hw.molecule.write_sdf(path, [water]))
    >>> again.name, again.data, again.bonds
    ('water', {'gap': 7.5}, ((0, 1, 1), (0, 2, 1)))
    """
    chem = import_optional("rdkit.Chem", EXTRA)
    parts = []
    for number, m in enumerate(molecules, 1):
        check_positions(m.positions, f"The molecule {number}")
        mol = perceive_for_file(m)
        mol.SetProp("_Name", one_line(m.name).replace("$$$$", "$$$"))  # $$$$ ends a record
        parts += [chem.MolToMolBlock(mol, includeStereo=False, kekulize=False)]
        parts += [_tag(tag, str(value)) for tag, value in m.data.items()]
        parts += ["$$$$\n"]
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text("".join(parts), encoding="utf-8")
    return Path(path)


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
