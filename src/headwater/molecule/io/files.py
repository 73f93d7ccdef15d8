"""Molecule files: SDF and MOL (V2000 and V3000), and XYZ, by their suffix.

Files are read as they are: no hydrogens are added, no chemistry is judged. XYZ has no bonds and no charges. Whether
the models can hold a molecule is `structure.molecule.check_molecule`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headwater.atomic import read_bytes
from headwater.errors import Misuse
from headwater.molecule.io.sdf import read_sdf, write_sdf
from headwater.molecule.io.xyz import read_xyz, write_xyz
from headwater.molecule.structure.molecule import Molecule, check_positions

READERS: dict[str, Callable[[Sequence[str], Path], Iterator[Molecule]]] = {
    ".sdf": read_sdf,
    ".mol": read_sdf,
    ".xyz": read_xyz,
}
WRITERS: dict[str, Callable[..., Path]] = {".sdf": write_sdf, ".xyz": write_xyz}


def read_molecules(path: str | Path) -> list[Molecule]:
    r"""The molecules of an SDF, MOL or XYZ file, in order; see `sdf.read_sdf` and `xyz.read_xyz`.

    Parameters
    ----------
    path : str or Path
        The file; its suffix, .sdf, .mol or .xyz, says how it is read.

    Returns
    -------
    molecules
        Positions `[n, 3]`, angstrom. SDF has formal charges, bonds, names and tags, XYZ only names.

    Raises
    ------
    Misuse
        The file is missing, of an unknown kind, empty, cut off or damaged, or a molecule has no positions in
        space. The sentence names the record or the line.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import headwater as hw
    >>> path = Path(tempfile.mkdtemp()) / "hydrogen.xyz"
    >>> _ = path.write_text("2\nhydrogen\nH 0 0 0\nH 0 0 0.74\n")
    >>> (molecule,) = hw.molecule.read_molecules(path)
    >>> molecule.name, molecule.symbols, molecule.positions.shape
    ('hydrogen', ('H', 'H'), (2, 3))
    >>> hw.molecule.read_molecules("hits.pdb")
    Traceback (most recent call last):
    headwater.errors.Misuse: The file hits.pdb is of an unknown kind. Give one of: .mol, .sdf, .xyz.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(READERS))
        raise Misuse(f"The file {path} is of an unknown kind.", f"Give one of: {known}.")
    text = read_bytes(path).decode("utf-8-sig", errors="replace")  # names may be in any encoding
    if not text.strip():
        raise Misuse(f"The file {path} is empty.", "Give a file with at least one molecule.")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    molecules = list(reader(lines, path))
    for number, m in enumerate(molecules, 1):
        check_positions(m.positions, f"The molecule {number} of {path}")
    return molecules
