"""One picture of many molecules: a grid of structures, each over the table of what was asked and found."""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.atomic import check_output, write_atomically
from headwater.errors import Misuse
from headwater.extras import need
from headwater.molecule import chemistry
from headwater.molecule.formula import hill
from headwater.molecule.molecule import Molecule

MOST = 64
"""The cards one sheet shows; the others are counted at its foot."""

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")

Array = NDArray[np.float64]
Font = Any  # Pillow's and RDKit's classes are met at run time only: both are optional
Mol = Any

WIDTH, HEIGHT = 440, 300  # of one structure; all lengths in pixels
BOND, SHORTEST = 76.0, 52.0  # the length of a bond in all structures, and the least it is shrunk to
FLAT = 1.5  # the length of a bond in 2-D coordinates, angstrom
MARGIN, GAP, PAD, ROW = 44, 24, 20, 32
LABEL, COLUMN = 190, 128  # the widest that a label and a column of numbers may be
INK, QUIET, LINE, RED = "#1f2933", "#66727f", "#d9dee3", "#b42318"
COLOURS = {"H": "#9aa5b1", "C": "#4a5560", "N": "#2457c5", "O": "#c8321f", "F": "#1d8a4c"}
RADII = {"H": 0.31, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57}  # covalent, angstrom


@dataclass(frozen=True)
class Line:
    """One property of a molecule: where each value comes from, and the value (None: not computed).

    >>> Line("gap", "eV", (("asked", 5.0), ("guide", 5.03), ("xTB", None))).shown()
    {'asked': '5.00', 'guide': '5.03', 'xTB': '–'}
    """

    label: str
    unit: str
    values: tuple[tuple[str, float | None], ...]

    def shown(self) -> dict[str, str]:
        """The values as text, all with one number of decimals, by which the largest has three digits or four."""
        numbers = [v for _, v in self.values if v is not None and math.isfinite(v)]
        places = _decimals(max(map(abs, numbers), default=0.0))
        return {name: _number(value, places) for name, value in self.values}


@dataclass(frozen=True)
class Card:
    """A molecule as sheet and page show it: its name, its properties, and remarks such as 'unstable'."""

    molecule: Molecule
    name: str = ""
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()


def sheet(
    path: str | Path, cards: Sequence[Card], *, title: str, columns: int = 4, overwrite: bool = False
) -> Path:
    """Write a PNG with the structures of molecules and, below each, its properties.

    Structures are drawn without hydrogens and with bonds of one length throughout; wedges show the
    stereochemistry of the 3-D model. A molecule with no valid bonds is shown by its atoms, projected on
    the plane in which they spread most. Of more than `MOST` cards the first are shown.

    Parameters
    ----------
    path : str or Path
        The PNG file.
    cards : sequence of Card
        The molecules, at least one.
    title : str
        One line above all.
    columns : int
        Cards side by side.
    overwrite : bool
        Whether an existing file is replaced.

    Raises
    ------
    Misuse
        There is no card, the output cannot be written, or RDKit or Pillow is not installed.

    Examples
    --------
    >>> import tempfile
    >>> water = Molecule(("O", "H", "H"), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0))
    >>> lines = (Line("gap", "eV", (("asked", 9.0), ("guide", 8.8))),)
    >>> sheet(Path(tempfile.mkdtemp()) / "hits.png", [Card(water, "water", lines)], title="Hits").name
    'hits.png'
    """
    if not cards:
        raise Misuse("A sheet of molecules needs at least one.", "Give a molecule.")
    if columns < 1:
        raise Misuse(f"A sheet cannot have {columns} columns.", "Give 1 or more.")
    check_output(path, overwrite=overwrite)  # before the work is done
    picture = _picture(list(cards), title, columns)
    with write_atomically(path, overwrite=overwrite) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
    return Path(path)


def clean(text: str) -> str:
    r"""Text for one line: every run of white space or of what cannot be printed is one space.

    >>> clean("a\tname\n\x00 of two lines")
    'a name of two lines'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def formula(m: Molecule) -> str:
    """The sum formula in Hill's order, with the charge.

    >>> formula(Molecule(("O", "H", "C", "H", "H"), np.zeros((5, 3)), (-1, 0, 0, 0, 0)))
    'CH₃O−'
    """
    size = str(abs(m.charge)) if abs(m.charge) > 1 else ""
    charge = "" if m.charge == 0 else size + ("+" if m.charge > 0 else "−")
    return hill(Counter(m.symbols)).translate(SUBSCRIPTS) + charge


def sources(cards: Iterable[Card]) -> list[str]:
    """The names of the values of all cards (asked, guide, ...), in the order of their appearance."""
    return list(dict.fromkeys(name for card in cards for line in card.lines for name, _ in line.values))


def _decimals(largest: float) -> int:
    return min(max(2 - math.floor(math.log10(largest / 2)), 0), 4) if largest > 0 else 2


def _number(value: float | None, places: int) -> str:
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{places}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")  # the minus sign is as wide as a digit, the hyphen is not


# ---- the page ----------------------------------------------------------------------------------------------


class _Type:
    """The fonts of a sheet: RDKit's own, so that words and structures look alike."""

    def __init__(self) -> None:
        self.fonts = {name: _font(size) for name, size in (("title", 38), ("body", 23), ("small", 20))}

    def width(self, text: str, font: str = "body") -> float:
        return float(self.fonts[font].getlength(text))

    def fit(self, text: str, room: float, font: str = "body") -> str:
        """The text, cut to what has room."""
        if self.width(text, font) <= room:
            return text
        while text and self.width(text + "…", font) > room:
            text = text[:-1]
        return text.rstrip() + "…"

    def wrap(self, text: str, room: float, most: int, font: str = "body") -> list[str]:
        """At most `most` lines."""
        lines: list[str] = []
        for word in text.split():
            joined = f"{lines[-1]} {word}" if lines else word
            if lines and self.width(joined, font) <= room:
                lines[-1] = joined
            elif len(lines) < most:
                lines.append(word)
            else:
                lines[-1] = joined  # too long, which `fit` marks
        return [self.fit(line, room, font) for line in lines]


def _font(size: int) -> Font:
    fonts = need("PIL.ImageFont", "molecules")
    file = Path(str(need("rdkit.Chem.Draw", "molecules").__file__)).with_name("FreeSans.ttf")
    return fonts.truetype(str(file), size) if file.is_file() else fonts.load_default(size)


@dataclass(frozen=True)
class _Table:
    """Where the columns of all tables of a sheet are: right edges of numbers, from the left of a card."""

    label: float
    unit: float
    names: tuple[str, ...]
    rights: tuple[float, ...]

    @property
    def width(self) -> float:
        return max(self.rights, default=0.0)


def _table(cards: list[Card], type_: _Type) -> _Table:
    lines = [line for card in cards for line in card.lines]
    names = tuple(sources(cards))
    label = min(max((type_.width(clean(line.label)) for line in lines), default=0), LABEL)
    unit = min(max((type_.width(clean(line.unit), "small") for line in lines), default=0), LABEL)
    numbers: dict[str, float] = {name: type_.width(clean(name), "small") for name in names}
    for line in lines:
        for name, text in line.shown().items():
            numbers[name] = max(numbers[name], type_.width(text))
    widths = [min(numbers[name], COLUMN) for name in names]
    spare = WIDTH - 2 * PAD - label - unit - 10 - sum(widths)
    space = min(max(spare / max(len(widths), 1), 20), 44)
    rights, right = [], label + unit + 10
    for width in widths:
        right += space + width
        rights.append(right)
    return _Table(label, unit, names, tuple(rights))


def _picture(cards: list[Card], title: str, columns: int) -> Any:
    image_, draw_ = need("PIL.Image", "molecules"), need("PIL.ImageDraw", "molecules")
    shown, type_ = cards[:MOST], _Type()
    table = _table(shown, type_)
    width = round(max(WIDTH, table.width + 2 * PAD))
    columns = min(columns, len(shown))
    rows = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    heights = [max(_height(card, width, type_) for card in row) for row in rows]
    head = 92 if clean(title) else MARGIN
    foot = 62 if len(cards) > MOST else MARGIN - GAP
    size = (2 * MARGIN + columns * (width + GAP) - GAP, head + sum(heights) + GAP * len(rows) + foot)
    picture = image_.new("RGB", size, "white")
    draw = draw_.Draw(picture)
    heading = type_.fit(clean(title), size[0] - 2 * MARGIN, "title")
    draw.text((MARGIN, 62), heading, INK, type_.fonts["title"], anchor="ls", stroke_width=0.4)
    structures = _structures([card.molecule for card in shown], width)
    top = head
    for i, card in enumerate(shown):
        row, column = divmod(i, columns)
        left = MARGIN + column * (width + GAP)
        draw.rounded_rectangle((left, top, left + width, top + heights[row]), 10, outline=LINE, width=2)
        picture.paste(structures[i], (left + 3, top + 2 + ROW + PAD))
        _card(draw, type_, table, card, i + 1, (left, top, width))
        top += heights[row] + GAP if column == columns - 1 else 0
    if len(cards) > MOST:
        text = f"{len(cards) - MOST} more of {len(cards)} molecules are left out."
        draw.text((MARGIN, size[1] - 34), text, QUIET, type_.fonts["body"], anchor="ls")
    return picture


def _notes(card: Card, width: float, type_: _Type) -> list[str]:
    return type_.wrap(" · ".join(map(clean, card.notes)), width - 2 * PAD, 2, "small")


def _height(card: Card, width: int, type_: _Type) -> int:
    rows = (len(card.lines) + 1 if card.lines else 0) + len(_notes(card, width, type_))
    return PAD + ROW + HEIGHT + ROW * rows + PAD + 2


def _card(
    draw: Any, type_: _Type, table: _Table, card: Card, number: int, place: tuple[int, int, int]
) -> None:
    """The words of a card: number, name and formula above the structure, table and notes below."""
    left, top, width = place
    fonts, x, y = type_.fonts, left + PAD, top + PAD + 22
    room = width - 2 * PAD
    sum_ = type_.fit(formula(card.molecule), room / 2, "small")
    draw.text((left + width - PAD, y), sum_, QUIET, fonts["small"], anchor="rs")
    draw.text((x, y), str(number), QUIET, fonts["body"], anchor="ls")
    shift = type_.width(str(number)) + 14
    name = type_.fit(clean(card.name), room - shift - type_.width(sum_, "small") - 16)
    draw.text((x + shift, y), name, INK, fonts["body"], anchor="ls", stroke_width=0.35)
    y = top + PAD + ROW + HEIGHT + 24
    if card.lines:
        for name, right in zip(table.names, table.rights, strict=True):
            draw.text((x + right, y), type_.fit(clean(name), COLUMN, "small"), QUIET, fonts["small"], "rs")
        y += ROW
    for line in card.lines:
        _line(draw, type_, table, line, (x, y))
        y += ROW
    for text in _notes(card, width, type_):
        draw.text((x, y), text, RED, fonts["small"], anchor="ls")
        y += ROW


def _line(draw: Any, type_: _Type, table: _Table, line: Line, place: tuple[float, float]) -> None:
    (x, y), fonts, shown = place, type_.fonts, line.shown()
    draw.text((x, y), type_.fit(clean(line.label), LABEL), INK, fonts["body"], anchor="ls")
    unit = type_.fit(clean(line.unit), LABEL, "small")
    draw.text((x + table.label + 10, y), unit, QUIET, fonts["small"], anchor="ls")
    for name, right in zip(table.names, table.rights, strict=True):
        text = type_.fit(shown.get(name, "–"), COLUMN)
        draw.text((x + right, y), text, QUIET if text == "–" else INK, fonts["body"], anchor="rs")


# ---- the structures ----------------------------------------------------------------------------------------


def _structures(molecules: list[Molecule], width: int) -> list[Any]:
    """A picture of each, all with bonds of one length, except those too large for the shortest."""
    size = (width - 6, HEIGHT)
    with need("rdkit.rdBase", "molecules").BlockLogs():
        found = [_found(m) for m in molecules]
        longest = [_longest_bond(mol, size) for mol, _ in found if mol is not None]
        bond = min([BOND, *(x for x in longest if x >= SHORTEST)])
        return [
            _balls(m, size, bond, note) if mol is None else _depiction(mol, size, bond)
            for m, (mol, note) in zip(molecules, found, strict=True)
        ]


def _found(m: Molecule) -> tuple[Mol | None, str]:
    """The structure to draw; or None and why a drawing of it would mislead."""
    if not np.isfinite(m.positions).all():
        return None, "positions not finite"
    try:
        mol = chemistry.perceived(m)
    except Misuse:  # an element that the table of bonds does not have
        mol = None
    # hydrogens are explicit in a `Molecule`: an implicit one is RDKit's own addition
    if mol is None or any(atom.GetNumImplicitHs() for atom in mol.GetAtoms()):
        return None, "no valid bonds"
    if sum(atom.GetNumRadicalElectrons() for atom in mol.GetAtoms()) > 2:
        return None, "open valences"
    return _flat(mol), ""


def _flat(mol: Mol) -> Mol:
    """The molecule without hydrogens, with clean 2-D coordinates and the wedges of its 3-D model."""
    chem, depictor = need("rdkit.Chem", "molecules"), need("rdkit.Chem.rdDepictor", "molecules")
    draw = need("rdkit.Chem.Draw.rdMolDraw2D", "molecules")
    mol = chem.Mol(mol)
    chem.AssignStereochemistryFrom3D(mol)
    which = chem.RemoveHsParameters()
    which.removeDefiningBondStereo = True
    mol = chem.RemoveHs(mol, which, sanitize=False)
    depictor.Compute2DCoords(mol, bondLength=FLAT, useRingTemplates=True)
    depictor.StraightenDepiction(mol)
    mol = draw.PrepareMolForDrawing(mol, kekulize=True, addChiralHs=False, wedgeBonds=True, forceCoords=False)
    if _is_cage(mol):
        for bond in mol.GetBonds():  # wedges within a cage hide its shape and tell little
            if bond.IsInRing():
                bond.SetBondDir(chem.BondDir.NONE)
    return mol


def _is_cage(mol: Mol) -> bool:
    rings = mol.GetRingInfo()
    bridges = need("rdkit.Chem.rdMolDescriptors", "molecules").CalcNumBridgeheadAtoms(mol)
    return bool(bridges or any(rings.NumAtomRings(i) > 2 for i in range(mol.GetNumAtoms())))


def _longest_bond(mol: Mol, size: tuple[int, int]) -> float:
    """The bond length, in pixels, at which a structure and the letters at its rim just fit."""
    spread = np.ptp(mol.GetConformer().GetPositions(), axis=0)
    rooms = zip((size[0] - 60, size[1] - 50), spread[:2], strict=True)
    return min((FLAT * room / s for room, s in rooms if s > 0), default=BOND)


def _depiction(mol: Mol, size: tuple[int, int], bond: float) -> Any:
    canvas = need("rdkit.Chem.Draw.rdMolDraw2D", "molecules").MolDraw2DCairo(*size)
    options = canvas.drawOptions()
    options.prepareMolsBeforeDrawing = False  # `_flat` did
    options.fixedBondLength = bond / FLAT  # RDKit means pixels per unit of length
    options.fixedFontSize = 27
    options.bondLineWidth = 3
    options.scaleBondWidth = False
    options.multipleBondOffset = 0.16
    options.padding = 0.02
    options.updateAtomPalette({9: (0.11, 0.54, 0.30), 7: (0.14, 0.34, 0.77), 8: (0.78, 0.2, 0.12)})
    canvas.DrawMolecule(mol)
    canvas.FinishDrawing()
    return need("PIL.Image", "molecules").open(io.BytesIO(canvas.GetDrawingText())).convert("RGB")


def _balls(m: Molecule, size: tuple[int, int], bond: float, note: str) -> Any:
    """The atoms as balls seen along the direction in which they spread least, the near before the far."""
    image = need("PIL.Image", "molecules")
    fine = 3  # drawn larger and reduced, which smooths the edges
    picture = image.new("RGB", (size[0] * fine, size[1] * fine), "white")
    draw = need("PIL.ImageDraw", "molecules").Draw(picture)
    if len(m) and np.isfinite(m.positions).all():
        seen = _principal(np.asarray(m.positions, dtype=np.float64))
        room = np.array([size[0] - 60, size[1] - 110]) / np.maximum(np.ptp(seen[:, :2], axis=0), 0.1)
        scale = min(bond / FLAT, *room)
        middle = (seen[:, :2].max(0) + seen[:, :2].min(0)) / 2
        at = ((seen[:, :2] - middle) * scale + [size[0] / 2, size[1] / 2 - 16]) * fine
        _sticks(draw, m, at, scale * fine)
        for i in np.argsort(seen[:, 2], kind="stable"):
            _ball(draw, m.symbols[i], (float(at[i, 0]), float(at[i, 1])), scale * fine)
    draw.text((size[0] * fine / 2, (size[1] - 16) * fine), note, RED, _font(22 * fine), anchor="ms")
    return picture.resize(size, image.Resampling.LANCZOS)


def _principal(positions: Array) -> Array:
    """Positions along their principal axes, the widest first."""
    centred = positions - positions.mean(0)
    axes = np.linalg.svd(centred, full_matrices=True)[2]
    return np.asarray(centred @ axes.T, dtype=np.float64)


def _sticks(draw: Any, m: Molecule, at: Array, scale: float) -> None:
    """Grey lines between atoms that are near, to guide the eye; they claim no bond."""
    for i in range(len(m)):
        for j in range(i):
            apart = float(np.linalg.norm(m.positions[i] - m.positions[j]))
            if apart < 1.25 * (RADII.get(m.symbols[i], 0.8) + RADII.get(m.symbols[j], 0.8)):
                draw.line([tuple(at[i]), tuple(at[j])], "#c5ccd3", round(max(0.12 * scale, 3)))


def _ball(draw: Any, symbol: str, place: tuple[float, float], scale: float) -> None:
    x, y = place
    radius = max((0.28 if symbol == "H" else 0.42) * scale, 12)
    colour = np.array([int(COLOURS.get(symbol, "#8a4fbf")[k : k + 2], 16) for k in (1, 3, 5)])
    steps = 10
    for k in range(steps):  # discs that shrink towards the light, at the upper left
        light, r = k / steps, radius * (1 - k / steps)
        fill = tuple(int(c) for c in colour + (255 - colour) * 0.55 * light**1.5)
        cx, cy = x - 0.3 * (radius - r), y - 0.3 * (radius - r)
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=fill)
    if symbol != "H":
        draw.text((x, y), symbol, "white", _font(round(1.05 * radius)), anchor="mm", stroke_width=1)
