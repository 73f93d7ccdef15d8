"""One HTML file that shows molecules in 3-D, beside what was asked and found; it works without a network."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from headwater.atomic import check_output, write_atomically
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.chemistry.perception import perceive, to_rdkit
from headwater.molecule.io.card import Card, clean_text, formula_text, value_sources
from headwater.molecule.structure.molecule import Molecule

SLOT = re.compile(r"<!--slot:(\w+)-->")


def write_page(path: str | Path, cards: Sequence[Card], *, title: str, overwrite: bool = False) -> Path:
    """Write a page with a rotatable 3-D view of molecules, their properties, and their SDF to save.

    The file carries everything, the library 3Dmol.js included, and forbids the browser to fetch anything.

    Parameters
    ----------
    path : str or Path
        The HTML file, some 0.6 MB and 3 kB for each molecule.
    cards : sequence of Card
        The molecules, at least one.
    title : str
        The heading.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    Misuse
        There is no card, the output cannot be written, or RDKit is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0))
    >>> path = Path(tempfile.mkdtemp()) / "hits.html"
    >>> hw.molecule.write_page(path, [hw.molecule.Card(water, "water")], title="Hits").name
    'hits.html'
    """
    if not cards:
        raise Misuse("A page of molecules needs at least one.", "Give a molecule.")
    check_output(path, overwrite=overwrite)  # before the work is done
    text = _fill_template(cards, title)
    with write_atomically(path, overwrite=overwrite) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="xmlcharrefreplace")
    return Path(path)


def _fill_template(cards: Sequence[Card], title: str) -> str:
    """The template with its slots filled, in one pass: what is put in is not searched for slots."""
    assets = files("headwater.molecule.io") / "assets"
    slots = {
        "title": html.escape(clean_text(title)),
        "licence": html.escape((assets / "3Dmol-LICENSE.txt").read_text("utf-8")),
        "library": (assets / "3Dmol-min.js").read_text("utf-8"),
        "data": _script_json(_data(cards)),
    }
    return SLOT.sub(lambda slot: slots[slot[1]], (assets / "viewer.html").read_text("utf-8"))


def _script_json(data: Any) -> str:
    r"""JSON that may stand in a script element: with no '<', '>' or '&' it can close or open nothing.

    >>> _script_json("</script>")
    '"\\u003c/script\\u003e"'
    """
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return re.sub("[<>&]", lambda c: f"\\u{ord(c[0]):04x}", text)


def _data(cards: Sequence[Card]) -> dict[str, Any]:
    return {
        "sources": [clean_text(name) for name in value_sources(cards)],
        "cards": [_entry(card, number) for number, card in enumerate(cards, 1)],
    }


def _entry(card: Card, number: int) -> dict[str, Any]:
    """One card as the page's script reads it."""
    block = _mol_block(card.molecule, card.name)
    m = card.molecule
    return {
        "name": clean_text(card.name) or f"molecule {number}",
        "formula": formula_text(m),
        "notes": [clean_text(note) for note in card.notes] + ([] if block else ["no valid bonds"]),
        "lines": [
            {
                "label": clean_text(line.label),
                "unit": clean_text(line.unit),
                "values": {clean_text(name): text for name, text in line.format_values().items()},
            }
            for line in card.lines
        ],
        "format": "sdf" if block else "xyz",
        "model": block + _tags(card) + "$$$$\n" if block else _xyz(m, card.name),
        "charges": [[i, int(charge)] for i, charge in enumerate(m.charges) if charge],
    }


def _mol_block(m: Molecule, name: str) -> str:
    """The MOL block of a molecule with the best bonds there are, or nothing."""
    chem = import_optional("rdkit.Chem", "molecules")
    if not np.isfinite(m.positions).all():
        return ""
    with import_optional("rdkit.rdBase", "molecules").BlockLogs():
        try:
            mol = chem.Mol(perceive(m) or to_rdkit(m))
        except Misuse:  # an element that the table of bonds does not have
            return ""
        mol.SetProp("_Name", _first_line(name))
        # what is not sanitised has no aromatic bonds, and RDKit may refuse to look for them
        return str(chem.MolToMolBlock(mol, kekulize=not mol.NeedsUpdatePropertyCache()))


def _tags(card: Card) -> str:
    """The properties as data items of an SDF record."""
    items = [
        (f"{line.label} {name} {line.unit}", value if isinstance(value, str) else f"{value:.10g}")
        for line in card.lines
        for name, value in line.values
        if isinstance(value, str) or (value is not None and math.isfinite(value))
    ]
    return "".join(f">  <{re.sub('[<>]', '', clean_text(tag))}>\n{value}\n\n" for tag, value in items)


def _xyz(m: Molecule, name: str) -> str:
    rows = zip(m.symbols, np.nan_to_num(m.positions).tolist(), strict=True)
    atoms = "".join(f"{symbol} {x:.6f} {y:.6f} {z:.6f}\n" for symbol, (x, y, z) in rows)
    return f"{len(m)}\n{_first_line(name)}\n{atoms}"


def _first_line(name: str) -> str:
    """The name as the MOL format has it: 80 characters, and not the '$$$$' that would end the record."""
    return clean_text(name).replace("$$$$", "$")[:80]
