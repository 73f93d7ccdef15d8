"""Quality of molecules drawn from the shipped generator, by number of evaluations.

    python benchmarks/molecule_samples.py --qm9 build/qm9 --count 10000

Atom and molecule stability by EDM's bond tables, RDKit validity, uniqueness among the valid, novelty against
half_b, share of single fragments, PoseBusters on the first `--busters` molecules. The data's own values, with the
same code, come first. `drawn until sound` is what `headwater molecule generate` does: a molecule is drawn again,
up to eight times, until it is sound, which is partly what stability and validity ask, so that row says what a user
gets and not what the network knows; PoseBusters is no part of it. Its evaluations are means. With `--keep FILE`
finished rows are kept there and not run again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import torch

from common import kept, write
from headwater.molecule.checks.posebusters import run_posebusters
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.model.data import Molecules
from headwater.molecule.structure.molecule import to_molecules
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.design import FREE, generate
from molecules import load, options, quality, sample, split


def rounded_rows(molecules: Molecules, rows: torch.Tensor) -> MoleculeBatch:
    """Molecules of the data as a batch."""
    b = molecules.pad(rows, 29)
    return MoleculeBatch(b["positions"], b["types"], b["charges"], b["mask"])


def line(name: str, batch: MoleculeBatch, known: set[str] | None, busters: int) -> dict[str, object]:
    """A row of the table."""
    passed = [all(r.values()) for r in run_posebusters(to_molecules(batch)[:busters])]
    return {"what": name} | quality(batch, known) | {"posebusters": round(100 * sum(passed) / len(passed), 1)}


def drawn(name: str, count: int, known: set[str], busters: int, **how: int) -> dict[str, object]:
    """A row of molecules drawn by `generate`, with the evaluations and the time that one cost."""
    start = time.perf_counter()
    d = generate(count, recipe=replace(FREE, **how))
    seconds = time.perf_counter() - start
    return line(name, d.molecules, known, busters) | {
        "NFE": round(float(d.evaluations.float().mean())),
        "ms a molecule": round(1000 * seconds / count, 1),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], count=10_000, busters=1000, keep="")
    molecules = load(o.qm9)
    half, test = split("half_b"), sample("test", o.count)
    known = {c.smiles for c in examine(rounded_rows(molecules, half), charges=False) if c.smiles}
    work = {"QM9 test": partial(line, "QM9 test", rounded_rows(molecules, test), known, o.busters)}
    for nfe in (20, 50, 100):
        name = f"{nfe} evaluations"
        work[name] = partial(drawn, name, o.count, known, o.busters, steps=nfe // 2, candidates=1)
    work["drawn until sound"] = partial(drawn, "drawn until sound", o.count, known, o.busters)
    rows = [kept(o.keep, f"{name}, {o.count}, {o.busters}", do) for name, do in work.items()]
    for name, atoms, whole, valid in (
        ("EDM, 1000 evaluations (published)", 98.7, 82.0, 91.9),
        ("EquiFM, 200 evaluations (published)", 98.9, 88.3, 94.7),
    ):
        rows.append({"what": name, "atom_stable": atoms, "molecule_stable": whole, "valid": valid})
    command = f"python benchmarks/molecule_samples.py --qm9 build/qm9 --count {o.count} --busters {o.busters}"
    write(
        o.results / "molecule_samples",
        rows,
        command,
        f"Percent; {o.count} molecules a row; PoseBusters on {o.busters}.",
    )


if __name__ == "__main__":
    main()
