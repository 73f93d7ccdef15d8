"""`headwater molecule score`: what the evaluator and the bond tables say of molecules in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from headwater.cli.molecule.hits import SLUGS, Values, known
from headwater.cli.molecule.report import PREDICTED, all_versions, chemistry, networks
from headwater.cli.molecule.table import show_scores
from headwater.cli.shared.machine import Meter, use_idle_cores
from headwater.cli.shared.options import Files
from headwater.cli.shared.outputs import check_distinct, check_free, write_json
from headwater.errors import Misuse, suggest
from headwater.extras import need
from headwater.molecule.chemistry.soundness import Chemistry, examine, find_duplicates, summarise
from headwater.molecule.design import design as designing
from headwater.molecule.design.design import BATCH
from headwater.molecule.io.files import read_molecules, write_csv
from headwater.molecule.structure import units
from headwater.molecule.structure.molecule import Molecule, check_molecule, to_batch

FORMATS = (".csv", ".json")


def score(path: Path, o: Files) -> int:
    """Print a table of the molecules; with an output write it as CSV, and the report as JSON."""
    table, report = _outputs(path, o)
    need("rdkit.Chem", "molecules")
    molecules = read_checked(path)
    use_idle_cores()
    meter = Meter(torch.device("cpu"))
    guide, evaluator = predicted(molecules)
    found = examine(molecules)
    firsts = [
        None if k is None else k + 1
        for k in find_duplicates([c.structure if c.whole or c.sound else None for c in found])
    ]
    if not o.quiet:
        notes = [said(c, k) for c, k in zip(found, firsts, strict=True)]
        names = [m.name or str(i) for i, m in enumerate(molecules, 1)]
        show_scores(zip(names, found, evaluator, notes, strict=True))
    if table is None or report is None:
        return 0
    entries = [
        {
            "number": i + 1,
            "name": molecules[i].name,
            **chemistry(found[i]),
            "duplicate_of": firsts[i],
            "notes": "; ".join(said(found[i], firsts[i])),
            "guide": guide[i],
            "evaluator": evaluator[i],
        }
        for i in range(len(molecules))
    ]
    write_csv(table, [_flat(e) for e in entries], overwrite=o.overwrite)
    content = {
        "command": "molecule score",
        "inputs": [str(path)],
        "units": units.UNITS,
        "meaning": units.MEANING,
        "models": networks(),
        "versions": all_versions(),
        "molecules": entries,
        "summary": {k: known(v) for k, v in summarise(found).items()},
        "device": "cpu",
        **meter.read(),
        "definitions": PREDICTED,
    }
    write_json(report, content, overwrite=o.overwrite)
    if not o.quiet:
        print(f"{table}, {report}: {len(molecules)} molecules")
    return 0


def read_checked(path: Path) -> list[Molecule]:
    """The molecules of a file, if the models can hold all of them; a refusal names the one that they cannot."""
    molecules = read_molecules(path)
    for i, m in enumerate(molecules, 1):
        check_molecule(
            replace(m, name=f"{m.name or 'number'} ({i} of {path})" if len(molecules) > 1 else str(path))
        )
    return molecules


def predicted(molecules: Sequence[Molecule]) -> tuple[list[Values], list[Values]]:
    """The six properties of each molecule by guide and evaluator, canonical units."""
    both: tuple[list[Values], list[Values]] = ([], [])
    for start in range(0, len(molecules), BATCH):
        part = molecules[start : start + BATCH]
        for rows, values in zip(both, designing.score(to_batch(part)), strict=True):
            rows += [{k: known(values[k][i]) for k in units.UNITS} for i in range(len(part))]
    return both


def _outputs(path: Path, o: Files) -> tuple[Path | None, Path | None]:
    if o.output is None:
        return None, None
    if o.output.suffix.lower() not in FORMATS:
        suffix = o.output.suffix.lower()
        raise Misuse(f"No scores are written as {suffix!r} here.", suggest(suffix, FORMATS))
    both = o.output.with_suffix(".csv"), o.output.with_suffix(".json")
    check_distinct(both, (path,))
    check_free(both, overwrite=o.overwrite)
    return both


def said(c: Chemistry, duplicate_of: int | None) -> list[str]:
    """The notes of a molecule; of one with charges, that its predictions mean nothing."""
    found = ["charged: the networks know no charges" if note == "charged" else note for note in c.notes]
    return found + ([] if duplicate_of is None else [f"duplicate of {duplicate_of}"])


def _flat(entry: dict[str, Any]) -> dict[str, Any]:
    flat = {k: v for k, v in entry.items() if k not in ("guide", "evaluator")}
    for name, unit in units.UNITS.items():
        flat |= {f"{name}_{source}_{SLUGS[unit]}": entry[source][name] for source in ("evaluator", "guide")}
    return flat
