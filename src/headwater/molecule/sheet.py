"""One picture of many molecules: a grid of structures, each over the table of what was asked and found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.atomic import check_output, write_atomically
from headwater.errors import Misuse
from headwater.extras import import_optional
from headwater.molecule.io.card import Card, Line, clean_text, formula_text, value_sources
from headwater.molecule.io.depiction import RED, draw_structures, load_font


@dataclass(frozen=True)
class SheetLayout:
    """Lengths in pixels and colours of a sheet.

    Parameters
    ----------
    most
        The cards that one sheet shows; the others are counted at its foot.
    width, height
        Of one structure.
    margin, gap, pad, row
        Around the sheet, between cards, inside cards, and from line to line.
    label, column
        The widest that a label and a column of numbers may be.
    ink, quiet, rule
        Colours of words, of quiet words and of lines.
    """

    most: int = 64
    width: int = 440
    height: int = 300
    margin: int = 44
    gap: int = 24
    pad: int = 20
    row: int = 32
    label: int = 190
    column: int = 128
    ink: str = "#1f2933"
    quiet: str = "#66727f"
    rule: str = "#d9dee3"


def write_sheet(
    path: str | Path, cards: Sequence[Card], *, title: str, columns: int = 4, overwrite: bool = False
) -> Path:
    """Write a PNG with the structures of molecules and, below each, its properties.

    Structures are drawn without hydrogens and with bonds of one length throughout; wedges show the
    stereochemistry of the 3-D model. A molecule with no valid bonds is shown by its atoms, projected on
    the plane in which they spread most. Of more than `SheetLayout.most` cards the first are shown.

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
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0))
    >>> gap = hw.molecule.Line("gap", "eV", (("asked", 9.0), ("guide", 8.8)))
    >>> path = Path(tempfile.mkdtemp()) / "hits.png"
    >>> hw.molecule.write_sheet(path, [hw.molecule.Card(water, "water", (gap,))], title="Hits").name
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


class _Style:
    """The fonts of a sheet: RDKit's own, so that words and structures look alike."""

    def __init__(self, layout: SheetLayout) -> None:
        self.layout = layout
        self.fonts = {name: load_font(size) for name, size in (("title", 38), ("body", 23), ("small", 20))}

    def text_width(self, text: str, font: str = "body") -> float:
        return float(self.fonts[font].getlength(text))

    def fit(self, text: str, room: float, font: str = "body") -> str:
        """The text, cut to what has room."""
        if self.text_width(text, font) <= room:
            return text
        while text and self.text_width(text + "…", font) > room:
            text = text[:-1]
        return text.rstrip() + "…"

    def wrap(self, text: str, room: float, most: int, font: str = "body") -> list[str]:
        """At most `most` lines."""
        lines: list[str] = []
        for word in text.split():
            joined = f"{lines[-1]} {word}" if lines else word
            if lines and self.text_width(joined, font) <= room:
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


def _table(cards: list[Card], style: _Style) -> _Table:
    layout = style.layout
    lines = [line for card in cards for line in card.lines]
    names = tuple(value_sources(cards))
    label = min(max((style.text_width(clean_text(line.label)) for line in lines), default=0), layout.label)
    unit = min(
        max((style.text_width(clean_text(line.unit), "small") for line in lines), default=0),
        layout.label,
    )
    numbers: dict[str, float] = {name: style.text_width(clean_text(name), "small") for name in names}
    for line in lines:
        for name, text in line.format_values().items():
            numbers[name] = max(numbers[name], style.text_width(text))
    widths = [min(numbers[name], layout.column) for name in names]
    spare = layout.width - 2 * layout.pad - label - unit - 10 - sum(widths)
    space = min(max(spare / max(len(widths), 1), 20), 44)
    rights, right = [], label + unit + 10
    for width in widths:
        right += space + width
        rights.append(right)
    return _Table(label, unit, names, tuple(rights))


def _picture(cards: list[Card], title: str, columns: int) -> Any:
    image_, draw_ = import_optional("PIL.Image", "molecules"), import_optional("PIL.ImageDraw", "molecules")
    style = _Style(SheetLayout())
    layout = style.layout
    shown = cards[: layout.most]
    table = _table(shown, style)
    width = round(max(layout.width, table.width + 2 * layout.pad))
    columns = min(columns, len(shown))
    rows = [shown[i : i + columns] for i in range(0, len(shown), columns)]
    heights = [max(_height(card, width, style) for card in row) for row in rows]
    head = 92 if clean_text(title) else layout.margin
    foot = 62 if len(cards) > layout.most else layout.margin - layout.gap
    size = (
        2 * layout.margin + columns * (width + layout.gap) - layout.gap,
        head + sum(heights) + layout.gap * len(rows) + foot,
    )
    picture = image_.new("RGB", size, "white")
    draw = draw_.Draw(picture)
    heading = style.fit(clean_text(title), size[0] - 2 * layout.margin, "title")
    draw.text(
        (layout.margin, 62),
        heading,
        layout.ink,
        style.fonts["title"],
        anchor="ls",
        stroke_width=0.4,
    )
    drawn = draw_structures([card.molecule for card in shown], (width - 6, layout.height))
    top = head
    for i, card in enumerate(shown):
        row, column = divmod(i, columns)
        left = layout.margin + column * (width + layout.gap)
        draw.rounded_rectangle(
            (left, top, left + width, top + heights[row]), 10, outline=layout.rule, width=2
        )
        picture.paste(drawn[i], (left + 3, top + 2 + layout.row + layout.pad))
        _card(draw, style, table, card, i + 1, (left, top, width))
        top += heights[row] + layout.gap if column == columns - 1 else 0
    if len(cards) > layout.most:
        text = f"{len(cards) - layout.most} more of {len(cards)} molecules are left out."
        draw.text((layout.margin, size[1] - 34), text, layout.quiet, style.fonts["body"], anchor="ls")
    return picture


def _notes(card: Card, width: float, style: _Style) -> list[str]:
    layout = style.layout
    return style.wrap(" · ".join(map(clean_text, card.notes)), width - 2 * layout.pad, 2, "small")


def _height(card: Card, width: int, style: _Style) -> int:
    layout = style.layout
    rows = (len(card.lines) + 1 if card.lines else 0) + len(_notes(card, width, style))
    return layout.pad + layout.row + layout.height + layout.row * rows + layout.pad + 2


def _card(
    draw: Any, style: _Style, table: _Table, card: Card, number: int, place: tuple[int, int, int]
) -> None:
    """The words of a card: number, name and formula above the structure, table and notes below."""
    layout = style.layout
    left, top, width = place
    fonts, x, y = style.fonts, left + layout.pad, top + layout.pad + 22
    room = width - 2 * layout.pad
    sum_ = style.fit(formula_text(card.molecule), room / 2, "small")
    draw.text((left + width - layout.pad, y), sum_, layout.quiet, fonts["small"], anchor="rs")
    draw.text((x, y), str(number), layout.quiet, fonts["body"], anchor="ls")
    shift = style.text_width(str(number)) + 14
    name = style.fit(clean_text(card.name), room - shift - style.text_width(sum_, "small") - 16)
    draw.text((x + shift, y), name, layout.ink, fonts["body"], anchor="ls", stroke_width=0.35)
    y = top + layout.pad + layout.row + layout.height + 24
    if card.lines:
        for name, right in zip(table.names, table.rights, strict=True):
            draw.text(
                (x + right, y),
                style.fit(clean_text(name), layout.column, "small"),
                layout.quiet,
                fonts["small"],
                "rs",
            )
        y += layout.row
    for line in card.lines:
        _line(draw, style, table, line, (x, y))
        y += layout.row
    for text in _notes(card, width, style):
        draw.text((x, y), text, RED, fonts["small"], anchor="ls")
        y += layout.row


def _line(draw: Any, style: _Style, table: _Table, line: Line, place: tuple[float, float]) -> None:
    layout = style.layout
    (x, y), fonts, shown = place, style.fonts, line.format_values()
    draw.text(
        (x, y),
        style.fit(clean_text(line.label), layout.label),
        layout.ink,
        fonts["body"],
        anchor="ls",
    )
    unit = style.fit(clean_text(line.unit), layout.label, "small")
    draw.text((x + table.label + 10, y), unit, layout.quiet, fonts["small"], anchor="ls")
    for name, right in zip(table.names, table.rights, strict=True):
        text = style.fit(shown.get(name, "–"), layout.column)
        draw.text(
            (x + right, y),
            text,
            layout.quiet if text == "–" else layout.ink,
            fonts["body"],
            anchor="rs",
        )
