"""The files of `headwater molecule ...`: named, checked before the work, written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from headwater.cli.molecule.columns import add_tags, to_row
from headwater.cli.molecule.designed import DesignedMolecule
from headwater.cli.shared.outputs import Outputs, check_outputs
from headwater.errors import Misuse, suggest
from headwater.molecule.io.card import Card
from headwater.molecule.io.files import WRITERS
from headwater.molecule.io.table import write_csv
from headwater.molecule.io.viewer import write_page
from headwater.molecule.sheet import write_sheet
from headwater.molecule.targets.cards import make_cost_line, make_line, make_strain_line


def name_files(main: Path, inputs: Iterable[Path], *, overwrite: bool) -> Outputs:
    """The files of a run, all of them writable: the molecules as `main`, and as XYZ beside an SDF.

    Raises
    ------
    Misuse
        As `check_outputs`; or the main file is neither SDF nor XYZ.
    """
    suffix = main.suffix.lower()
    if main.is_dir():
        raise Misuse(f"The output {main} is a folder.", f"Name a file, such as {main / 'hits.sdf'}.")
    if suffix not in WRITERS:
        raise Misuse(f"No molecules are written as {suffix!r} here.", suggest(suffix, WRITERS))
    outputs = Outputs(
        main=(main,) if suffix == ".xyz" else (main, main.with_suffix(".xyz")),
        report=main.with_suffix(".json"),
        sheet=main.with_name(f"{main.stem}-sheet.png"),
        table=main.with_suffix(".csv"),
        page=main.with_suffix(".html"),
    )
    check_outputs(outputs.all, inputs, overwrite=overwrite)
    return outputs


def write_molecules(
    molecules: Sequence[DesignedMolecule], outputs: Outputs, *, broken: bool, overwrite: bool
) -> None:
    """Write the table of all molecules, and those that have coordinates; unsound ones only if `broken`."""
    name = outputs.main[0].stem
    kept = [add_tags(d, name) for d in molecules if d.molecule is not None and (d.sound or broken)]
    for path in outputs.main:
        WRITERS[path.suffix.lower()](path, kept, overwrite=overwrite)
    if outputs.table is not None:
        write_csv(outputs.table, [to_row(d) for d in molecules], overwrite=overwrite)


def write_pictures(
    molecules: Sequence[DesignedMolecule], outputs: Outputs, title: str, *, overwrite: bool
) -> None:
    """Write the sheet of structures and the page, if there is a molecule to show; broken ones are marked there."""
    cards = [make_card(d, outputs.main[0].stem) for d in molecules if d.molecule is not None]
    if not cards:
        return
    write_sheet(outputs.sheet, cards, title=title, overwrite=overwrite)
    if outputs.page is not None:
        write_page(outputs.page, cards, title=title, overwrite=overwrite)


def make_card(d: DesignedMolecule, name: str) -> Card:
    """A molecule as sheet and page show it: the targets, or all properties if there is none."""
    lines = [
        make_line(name, d.asked.get(name), d.guide, d.evaluator, d.scores, d.checks)
        for name in d.asked or d.evaluator
    ]
    if d.has_cost:
        lines.append(make_cost_line(d.cost))
    if d.xtb is not None:
        lines.append(make_strain_line(d.strain))
    notes = (*(["no hit"] if d.hit is False else []), *d.notes)
    how = f"by {d.found_by}" if d.similarity is None else f"Tanimoto {d.similarity:.2f}"
    return Card(add_tags(d, name), f"seed {d.seed}, {how}", tuple(lines), notes)
