"""Tables of molecules on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from headwater.cli.molecule.hits import Hit
from headwater.molecule.structure import units

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 240
"""Columns where nobody looks: in a file or a pipe no SMILES is broken."""
Values = Mapping[str, float | None]


def show_hits(hits: Sequence[Hit], asked: Mapping[str, float]) -> None:
    """Asked, guide, evaluator and checks of every target; without targets what the evaluator says of all six."""
    if not asked:
        show_scores((str(h.number), h.chemistry, h.evaluator, h.notes) for h in hits)
        return
    checks = [n for n, some in (("xTB", any(h.xtb for h in hits)), ("DFT", any(h.dft for h in hits))) if some]
    table = _table("")
    for name in asked:
        for source in ("asked", "guide", "evaluator", *checks):
            table.add_column(f"{source}\n{name}, {units.UNITS[name]}", justify="right", no_wrap=True)
    table.add_column("sound")
    table.add_column("SMILES", overflow="fold")
    table.add_column("note", overflow="fold")
    for h in hits:
        sources: dict[str, Values] = {"xTB": h.xtb_values, "DFT": h.dft_values}
        cells = []
        for name in asked:
            values = [h.asked, h.guide, h.evaluator, *(sources[c] for c in checks)]
            cells += [units.format_number(name, v.get(name)) for v in values]
        table.add_row(str(h.number), *cells, _yes(h.sound), h.smiles or "-", _notes(h.notes))
    _print(table)


def show_scores(rows: Iterable[tuple[str, object, Values, Sequence[str]]]) -> None:
    """Formula, validity, soundness, the evaluator's six properties and SMILES, one row per molecule."""
    table = _table("")
    for column in ("formula", "valid", "sound"):
        table.add_column(column, no_wrap=True)
    for name, unit in units.UNITS.items():
        table.add_column(f"{name}\n{unit}", justify="right", no_wrap=True)
    table.add_column("SMILES", overflow="fold")
    table.add_column("note", overflow="fold")
    for name, chemistry, values, notes in rows:
        formula, smiles = getattr(chemistry, "formula", "-"), getattr(chemistry, "structure", None) or "-"
        sound = [_yes(bool(getattr(chemistry, what, False))) for what in ("valid", "sound")]
        numbers = [units.format_number(k, values.get(k)) for k in units.UNITS]
        table.add_row(name, formula, *sound, *numbers, smiles, _notes(notes))
    _print(table)


def _table(first: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    seen = sys.stdout.isatty()
    Console(width=None if seen else WIDE, markup=False, highlight=False, emoji=False).print(table)


def _yes(whether: bool) -> str:
    return "yes" if whether else "no"


def _notes(notes: Sequence[str]) -> str:
    return ", ".join(notes)
