"""Several properties at once: what draws, control and both reach at the same cost.

    python benchmarks/decisions/molecule_several.py --qm9 build/qm9 --count 48

The values of one, two, three and six properties of molecules of half_b are asked for, with their numbers of atoms.
The rows are those of `molecule_targets.py`: search then control, search at its largest cost, control.
`miss`: the largest deviation of a molecule from what is asked, in tolerances, by the guide that is controlled and by
the evaluator that is not; medians over all molecules.
"""

from __future__ import annotations

import time

import torch

import _path  # noqa: F401
from common import kept, write
from headwater.molecule.model.data import Molecules
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.target import TOLERANCE, Target
from molecule_targets import SIDE
from molecules import design_with, from_data, load, options, spent

ASKED = (
    ("alpha",),
    ("gap", "alpha"),
    ("gap", "alpha", "mu"),
    ("alpha", "gap", "homo", "lumo", "mu", "cv"),
)


def run(
    molecules: Molecules, names: tuple[str, ...], rows: torch.Tensor, how: dict[str, object]
) -> dict[str, object]:
    """One line: some properties of the given rows."""
    targets = tuple(Target(name, molecules.properties[name][rows].float()) for name in names)
    start = time.perf_counter()
    d = design_with(Request(len(rows), targets=targets, atoms=molecules.counts[rows]), how)
    seconds = time.perf_counter() - start
    off = [(d.evaluator[t.property] - t.value).abs() / TOLERANCE[t.property] for t in targets]
    return {
        "miss by the guide": round(float(d.deviation.median()), 2),
        "miss by the evaluator": round(float(torch.stack(off).amax(0).median()), 2),
        **spent(d, {t.property: t.value for t in targets}, seconds),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], count=48, keep="")
    molecules = load(o.qm9)
    rows, table = from_data(molecules, o.count, seed=11), []
    for names in ASKED:
        for how, settings in ({"search then control": {}} | SIDE).items():
            line = kept(
                o.keep,
                f"{names}, {how}, {o.count}",
                lambda names=names, settings=settings: run(molecules, names, rows, settings),
            )
            table.append({"asked": " + ".join(names), "how": how} | line)
    command = f"python benchmarks/decisions/molecule_several.py --qm9 build/qm9 --count {o.count}"
    write(o.results / "molecule_several", table, command, f"{o.count} molecules a row.")


if __name__ == "__main__":
    main()
