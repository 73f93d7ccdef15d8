"""The files of `headwater molecule ...`: named, checked before the work, written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater.cli.molecule.designed import DesignedMolecule, add_tags, to_row
from headwater.cli.shared.outputs import check_outputs
from headwater.errors import Misuse, suggest
from headwater.molecule.io.card import Card, Line
from headwater.molecule.io.files import write_csv, write_sdf, write_xyz
from headwater.molecule.io.viewer import write_page
from headwater.molecule.sheet import write_sheet
from headwater.molecule.structure import units

FORMATS = (".sdf", ".xyz")


@dataclass(frozen=True)
class Outputs:
    """The molecules as `main` (and `xyz` beside an SDF), their `table`, `report`, `sheet` and `page`."""

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


def name_outputs(main: Path, inputs: Iterable[Path], *, overwrite: bool) -> Outputs:
    """The files of a run, all of them writable.

    Raises
    ------
    Misuse
        As `check_outputs`; or the main file is neither SDF nor XYZ.
    """
    suffix = main.suffix.lower()
    if main.is_dir():
        raise Misuse(f"The output {main} is a folder.", f"Name a file, such as {main / 'hits.sdf'}.")
    if suffix not in FORMATS:
        raise Misuse(f"No molecules are written as {suffix!r} here.", suggest(suffix, FORMATS))
    outputs = Outputs(
        main=main,
        xyz=main if suffix == ".xyz" else main.with_suffix(".xyz"),
        table=main.with_suffix(".csv"),
        report=main.with_suffix(".json"),
        sheet=main.with_name(f"{main.stem}-sheet.png"),
        page=main.with_suffix(".html"),
    )
    check_outputs(outputs.all, inputs, overwrite=overwrite)
    return outputs


def write_molecules(molecules: Sequence[DesignedMolecule], outputs: Outputs, *, overwrite: bool) -> None:
    """Write the molecules that have coordinates, and the table of all."""
    there = [add_tags(d, outputs.main.stem) for d in molecules if d.molecule is not None]
    if outputs.main != outputs.xyz:
        write_sdf(outputs.main, there, overwrite=overwrite)
    write_xyz(outputs.xyz, there, overwrite=overwrite)
    write_csv(outputs.table, [to_row(d) for d in molecules], overwrite=overwrite)


def write_pictures(
    molecules: Sequence[DesignedMolecule], outputs: Outputs, title: str, *, overwrite: bool
) -> None:
    """Write the sheet of structures and the page, if there is a molecule to show."""
    cards = [make_card(d, outputs.main.stem) for d in molecules if d.molecule is not None]
    if cards:
        write_sheet(outputs.sheet, cards, title=title, overwrite=overwrite)
        write_page(outputs.page, cards, title=title, overwrite=overwrite)


def make_card(d: DesignedMolecule, name: str) -> Card:
    """A molecule as sheet and page show it: the targets, or all properties if there is none."""
    lines = tuple(_make_line(d, property) for property in d.asked or d.evaluator)
    return Card(add_tags(d, name), f"seed {d.seed}", lines, d.notes)


def _make_line(d: DesignedMolecule, property: str) -> Line:
    values = []
    if property in d.asked:
        values += [("asked", d.asked[property]), ("guide", d.guide.get(property))]
    values.append(("evaluator", d.evaluator.get(property)))
    if d.xtb is not None:
        values.append(("xTB", d.xtb_values.get(property)))
    if d.dft is not None:
        values.append(("DFT", d.dft_values.get(property)))
    return Line(property, units.UNITS[property], tuple(values))
