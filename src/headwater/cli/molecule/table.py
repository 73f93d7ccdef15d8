"""Tables of molecules on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from headwater.cli.molecule.designed import DesignedMolecule, Values
from headwater.molecule.structure import units

if TYPE_CHECKING:
    from rich.table import Table


def show_designed(molecules: Sequence[DesignedMolecule], asked: Mapping[str, float]) -> None:
    """Asked, guide, evaluator and checks of every target; without targets what the evaluator says of all six."""
    if not asked:
        show_scores((str(d.number), d.chemistry, d.evaluator, d.notes) for d in molecules)
        return
    checks = [
        n
        for n, some in (("xTB", any(d.xtb for d in molecules)), ("DFT", any(d.dft for d in molecules)))
        if some
    ]
    table = _make_table("")
    for name in asked:
        for source in ("asked", "guide", "evaluator", *checks):
            table.add_column(f"{source}\n{name}, {units.UNITS[name]}", justify="right", no_wrap=True)
    table.add_column("sound")
    table.add_column("SMILES", overflow="fold")
    table.add_column("note", overflow="fold")
    for d in molecules:
        sources: dict[str, Values] = {"xTB": d.xtb_values, "DFT": d.dft_values}
        cells = []
        for name in asked:
            values = [d.asked, d.guide, d.evaluator, *(sources[c] for c in checks)]
            cells += [units.format_number(name, v.get(name)) for v in values]
        table.add_row(str(d.number), *cells, _yes_or_no(d.sound), d.smiles or "-", ", ".join(d.notes))
    _print(table)


def show_scores(rows: Iterable[tuple[str, object, Values, Sequence[str]]]) -> None:
    """Formula, validity, soundness, the evaluator's six properties and SMILES, one row per molecule."""
    table = _make_table("")
    for column in ("formula", "valid", "sound"):
        table.add_column(column, no_wrap=True)
    for name, unit in units.UNITS.items():
        table.add_column(f"{name}\n{unit}", justify="right", no_wrap=True)
    table.add_column("SMILES", overflow="fold")
    table.add_column("note", overflow="fold")
    for name, chemistry, values, notes in rows:
        formula, smiles = getattr(chemistry, "formula", "-"), getattr(chemistry, "structure", None) or "-"
        sound = [_yes_or_no(bool(getattr(chemistry, what, False))) for what in ("valid", "sound")]
        numbers = [units.format_number(k, values.get(k)) for k in units.UNITS]
        table.add_row(name, formula, *sound, *numbers, smiles, ", ".join(notes))
    _print(table)


def _make_table(first: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    return table


def _print(table: Table) -> None:
    from rich.console import Console

    # a file or a pipe gets wide lines, so that no SMILES is broken
    Console(width=None if sys.stdout.isatty() else 240, markup=False, highlight=False, emoji=False).print(
        table
    )


def _yes_or_no(whether: bool) -> str:
    return "yes" if whether else "no"
