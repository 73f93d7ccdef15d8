"""One picture of many molecules: a grid of structures, each over the table of what was asked and found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.atomic import check_output, write_atomically
from headwater.errors import Misuse
from headwater.extras import need
from headwater.molecule.io.card import Card, Line, clean_text, formula_text, value_sources
from headwater.molecule.io.depiction import RED, draw_structures, load_font

MOST = 64
"""The cards one sheet shows; the others are counted at its foot."""

WIDTH, HEIGHT = 440, 300  # of one structure; all lengths in pixels
MARGIN, GAP, PAD, ROW = 44, 24, 20, 32
LABEL, COLUMN = 190, 128  # the widest that a label and a column of numbers may be
INK, QUIET, LINE = "#1f2933", "#66727f", "#d9dee3"


def write_sheet(
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
    >>> import numpy as np
    >>> from headwater.molecule.structure.molecule import Molecule
    >>> water = Molecule(("O", "H", "H"), np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]), (0, 0, 0))
    >>> lines = (Line("gap", "eV", (("asked", 9.0), ("guide", 8.8))),)
    >>> write_sheet(Path(tempfile.mkdtemp()) / "hits.png", [Card(water, "water", lines)], title="Hits").name
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


class _Type:
    """The fonts of a sheet: RDKit's own, so that words and structures look alike."""

    def __init__(self) -> None:
        self.fonts = {name: load_font(size) for name, size in (("title", 38), ("body", 23), ("small", 20))}

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
    names = tuple(value_sources(cards))
    label = min(max((type_.width(clean_text(line.label)) for line in lines), default=0), LABEL)
    unit = min(max((type_.width(clean_text(line.unit), "small") for line in lines), default=0), LABEL)
    numbers: dict[str, float] = {name: type_.width(clean_text(name), "small") for name in names}
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
    head = 92 if clean_text(title) else MARGIN
    foot = 62 if len(cards) > MOST else MARGIN - GAP
    size = (2 * MARGIN + columns * (width + GAP) - GAP, head + sum(heights) + GAP * len(rows) + foot)
    picture = image_.new("RGB", size, "white")
    draw = draw_.Draw(picture)
    heading = type_.fit(clean_text(title), size[0] - 2 * MARGIN, "title")
    draw.text((MARGIN, 62), heading, INK, type_.fonts["title"], anchor="ls", stroke_width=0.4)
    drawn = draw_structures([card.molecule for card in shown], (width - 6, HEIGHT))
    top = head
    for i, card in enumerate(shown):
        row, column = divmod(i, columns)
        left = MARGIN + column * (width + GAP)
        draw.rounded_rectangle((left, top, left + width, top + heights[row]), 10, outline=LINE, width=2)
        picture.paste(drawn[i], (left + 3, top + 2 + ROW + PAD))
        _card(draw, type_, table, card, i + 1, (left, top, width))
        top += heights[row] + GAP if column == columns - 1 else 0
    if len(cards) > MOST:
        text = f"{len(cards) - MOST} more of {len(cards)} molecules are left out."
        draw.text((MARGIN, size[1] - 34), text, QUIET, type_.fonts["body"], anchor="ls")
    return picture


def _notes(card: Card, width: float, type_: _Type) -> list[str]:
    return type_.wrap(" · ".join(map(clean_text, card.notes)), width - 2 * PAD, 2, "small")


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
    sum_ = type_.fit(formula_text(card.molecule), room / 2, "small")
    draw.text((left + width - PAD, y), sum_, QUIET, fonts["small"], anchor="rs")
    draw.text((x, y), str(number), QUIET, fonts["body"], anchor="ls")
    shift = type_.width(str(number)) + 14
    name = type_.fit(clean_text(card.name), room - shift - type_.width(sum_, "small") - 16)
    draw.text((x + shift, y), name, INK, fonts["body"], anchor="ls", stroke_width=0.35)
    y = top + PAD + ROW + HEIGHT + 24
    if card.lines:
        for name, right in zip(table.names, table.rights, strict=True):
            draw.text(
                (x + right, y), type_.fit(clean_text(name), COLUMN, "small"), QUIET, fonts["small"], "rs"
            )
        y += ROW
    for line in card.lines:
        _line(draw, type_, table, line, (x, y))
        y += ROW
    for text in _notes(card, width, type_):
        draw.text((x, y), text, RED, fonts["small"], anchor="ls")
        y += ROW


def _line(draw: Any, type_: _Type, table: _Table, line: Line, place: tuple[float, float]) -> None:
    (x, y), fonts, shown = place, type_.fonts, line.shown()
    draw.text((x, y), type_.fit(clean_text(line.label), LABEL), INK, fonts["body"], anchor="ls")
    unit = type_.fit(clean_text(line.unit), LABEL, "small")
    draw.text((x + table.label + 10, y), unit, QUIET, fonts["small"], anchor="ls")
    for name, right in zip(table.names, table.rights, strict=True):
        text = type_.fit(shown.get(name, "–"), COLUMN)
        draw.text((x + right, y), text, QUIET if text == "–" else INK, fonts["body"], anchor="rs")
