"""The files of `headwater molecule ...`: named, checked before the work, written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.cli.molecule.hits import Hit, row, tagged
from headwater.cli.shared.outputs import check_distinct, check_free
from headwater.errors import Misuse, suggest
from headwater.molecule.io.card import Card, Line
from headwater.molecule.io.files import write_csv, write_sdf, write_xyz
from headwater.molecule.io.viewer import write_page
from headwater.molecule.sheet import write_sheet
from headwater.molecule.structure import units

FORMATS = (".sdf", ".xyz")


@dataclass(frozen=True)
class Outputs:
    """The molecules as `main` (and `xyz` beside an SDF), their `table`, `report`, `write_sheet` and `write_page`."""

    main: Path
    xyz: Path
    table: Path
    report: Path
    sheet: Path
    page: Path

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file."""
        return tuple(dict.fromkeys(vars(self).values()))


def plan(main: Path, inputs: Iterable[Path], *, overwrite: bool) -> Outputs:
    """The files of a run, all of them writable.

    Raises
    ------
    Misuse
        As `check_free` and `check_distinct`; or the main file is neither SDF nor XYZ.
    """
    suffix = main.suffix.lower()
    if main.is_dir():
        raise Misuse(f"The output {main} is a folder.", f"Name a file, such as {main / 'hits.sdf'}.")
    if suffix not in FORMATS:
        raise Misuse(f"No molecules are written as {suffix!r} here.", suggest(suffix, FORMATS))
    outputs = Outputs(
        main,
        main if suffix == ".xyz" else main.with_suffix(".xyz"),
        main.with_suffix(".csv"),
        main.with_suffix(".json"),
        main.with_name(f"{main.stem}-sheet.png"),
        main.with_suffix(".html"),
    )
    check_distinct(outputs.all, inputs)
    check_free(outputs.all, overwrite=overwrite)
    return outputs


def write_molecules(hits: Sequence[Hit], outputs: Outputs, *, overwrite: bool) -> None:
    """Write the molecules that have coordinates, and the table of all."""
    there = [tagged(h, outputs.main.stem) for h in hits if h.molecule is not None]
    if outputs.main != outputs.xyz:
        write_sdf(outputs.main, there, overwrite=overwrite)
    write_xyz(outputs.xyz, there, overwrite=overwrite)
    write_csv(outputs.table, [row(h) for h in hits], overwrite=overwrite)


def write_pictures(hits: Sequence[Hit], outputs: Outputs, title: str, *, overwrite: bool) -> tuple[Path, ...]:
    """Write the sheet of structures and the page, if there is a molecule to show; what was written."""
    cards = [card(h, outputs.main.stem) for h in hits if h.molecule is not None]
    if not cards:
        return ()
    write_sheet(outputs.sheet, cards, title=title, overwrite=overwrite)
    write_page(outputs.page, cards, title=title, overwrite=overwrite)
    return outputs.sheet, outputs.page


def card(hit: Hit, name: str) -> Card:
    """A hit as sheet and page show it: the targets, or all properties if there is none."""
    lines = tuple(_line(hit, property) for property in hit.asked or hit.evaluator)
    return Card(tagged(hit, name), f"seed {hit.seed}", lines, hit.notes)


def _line(hit: Hit, property: str) -> Line:
    values = []
    if property in hit.asked:
        values += [("asked", hit.asked[property]), ("guide", hit.guide.get(property))]
    values.append(("evaluator", hit.evaluator.get(property)))
    if hit.xtb is not None:
        values.append(("xTB", hit.xtb_values.get(property)))
    if hit.dft is not None:
        values.append(("DFT", hit.dft_values.get(property)))
    return Line(property, units.UNITS[property], tuple(values))
