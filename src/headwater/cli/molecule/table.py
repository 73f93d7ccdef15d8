"""Tables of molecules on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from headwater.cli.molecule.designed import DesignedMolecule, Values
from headwater.cli.shared.terminal import say_table
from headwater.molecule.checks.physics import Physics
from headwater.molecule.chemistry.soundness import Chemistry
from headwater.molecule.io.card import clean_text
from headwater.molecule.structure import units
from headwater.molecule.structure.interval import Asked, Interval

if TYPE_CHECKING:
    from rich.table import Table


def show_designed(molecules: Sequence[DesignedMolecule], asked: Mapping[str, Asked]) -> None:
    """Asked, guide, evaluator and checks of every target; without targets what the evaluator says of all six."""
    if not asked:
        costs = [d.cost for d in molecules] if any(d.has_cost for d in molecules) else None
        checked = [d.physics for d in molecules] if any(d.checks for d in molecules) else None
        rows = [(str(d.number), d.chemistry, d.evaluator, d.notes) for d in molecules]
        show_scores(rows, checked=checked, costs=costs, similarities=list_similarities(molecules))
        return
    checks = list(dict.fromkeys(name for d in molecules for name in d.checks))
    table = _make_table("")
    for name in asked:
        for source in ("asked", *(("RDKit",) if name in units.SCORES else ("guide", "evaluator", *checks))):
            unit = f", {units.UNITS[name]}" if name in units.UNITS else ""
            table.add_column(f"{source}\n{name}{unit}", justify="right", no_wrap=True)
    if "xTB" in checks:
        table.add_column("strain\nkcal/mol", justify="right", no_wrap=True)
    with_cost = any(d.has_cost for d in molecules)
    if with_cost:
        table.add_column("cost", justify="right", no_wrap=True)
    edited = any(d.scaffold_kept is not None for d in molecules)
    for column in (*(["Tanimoto", "scaffold"] if edited else []), "hit", "found by", "sound"):
        table.add_column(column, no_wrap=True)
    table.add_column("SMILES", overflow="fold")
    table.add_column("note", overflow="fold")
    for d in molecules:
        cells = [text for name in asked for text in _list_values(d, name, checks)]
        if "xTB" in checks:
            cells.append("-" if d.strain is None else f"{d.strain:.1f}")
        if with_cost:
            cells.append(format_cost(d.cost))
        if edited:
            cells += [
                "-" if d.similarity is None else f"{d.similarity:.2f}",
                _yes_or_no(bool(d.scaffold_kept)),
            ]
        cells += [_yes_or_no(bool(d.hit)), d.found_by, _yes_or_no(d.sound)]
        table.add_row(str(d.number), *cells, d.smiles or "-", ", ".join(d.notes))
    say_table(table)


def _list_values(d: DesignedMolecule, name: str, checks: Sequence[str]) -> list[str]:
    """What was asked of a property and what each source says of it."""
    asked = d.asked[name]
    first = str(asked) if isinstance(asked, Interval) else units.format_number(name, asked)
    sources = (
        [d.scores] if name in units.SCORES else [d.guide, d.evaluator, *(d.checks.get(c, {}) for c in checks)]
    )
    return [first, *(units.format_number(name, values.get(name)) for values in sources)]


def show_scores(
    rows: Sequence[tuple[str, Chemistry | None, Values, Sequence[str]]],
    *,
    checked: Sequence[Physics] | None = None,
    costs: Sequence[float | None] | None = None,
    similarities: Sequence[float | None] | None = None,
) -> None:
    """Formula, soundness by each rule, the evaluator's six properties and SMILES, one row per molecule.

    With checks xTB's gap, on the scale of B3LYP, and the strain stand beside them; with costs their values; of edits
    Tanimoto's similarity to the original.
    """
    table = _make_table("")
    for column in ("formula", "sound", "by table", "by RDKit"):
        table.add_column(column, no_wrap=True)
    for name, unit in units.UNITS.items():
        table.add_column(f"{name}\n{unit}", justify="right", no_wrap=True)
    more = [
        *([] if checked is None else ["xTB\ngap, eV", "strain\nkcal/mol"]),
        *([] if costs is None else ["cost"]),
        *([] if similarities is None else ["Tanimoto"]),
    ]
    for column in more:
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("SMILES", overflow="fold")
    table.add_column("note", overflow="fold")
    for i, (name, c, values, notes) in enumerate(rows):
        verdicts = () if c is None else (c.sound, c.sound_by_table, c.sound_by_rdkit)
        sound = [_yes_or_no(verdict) for verdict in verdicts] or ["-"] * 3
        numbers = [units.format_number(k, values.get(k)) for k in units.UNITS]
        if checked is not None:
            numbers.append(units.format_number("gap", checked[i].xtb_values.get("gap")))
            numbers.append("-" if (strain := checked[i].strain) is None else f"{strain:.1f}")
        if costs is not None:
            numbers.append(format_cost(costs[i]))
        if similarities is not None:
            numbers.append(format_cost(similarities[i]))
        formula, smiles = ("-", "-") if c is None else (c.formula, c.structure or "-")
        table.add_row(clean_text(name), formula, *sound, *numbers, smiles, ", ".join(notes))
    say_table(table)


def list_similarities(molecules: Sequence[DesignedMolecule]) -> list[float | None] | None:
    """Tanimoto's similarity of each edit to its original; None if there is no edit."""
    edited = any(d.scaffold_kept is not None for d in molecules)
    return [d.similarity for d in molecules] if edited else None


def format_cost(cost: float | None) -> str:
    """The value of a user's cost, which has no unit.

    >>> format_cost(0.123456), format_cost(None)
    ('0.1235', '-')
    """
    return "-" if cost is None else f"{cost:.4g}"


def _make_table(first: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    return table


def _yes_or_no(whether: bool) -> str:
    return "yes" if whether else "no"
