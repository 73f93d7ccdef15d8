"""How GFN2-xTB's gap, HOMO, LUMO and dipole stand to QM9's B3LYP: a line per property, fitted and tested apart.

    python benchmarks/decisions/xtb_calibration.py --qm9 build/qm9

xTB at QM9's geometry, and after the relaxation by xTB that a check does; B3LYP at QM9's geometry, which is its own
minimum. Molecules of the part 'validation' spread evenly over its list. The lines are fitted by least squares on
every molecule but each third; all scores are those of the third that was left out.
"""

from __future__ import annotations

import time

import numpy as np
import torch

import _path  # noqa: F401
from common import write
from headwater.molecule.checks.xtb import relax
from headwater.molecule.model.data import Molecules, load, split
from headwater.molecule.structure.elements import ELEMENTS
from headwater.molecule.structure.molecule import Molecule
from molecules import options

UNITS = {"gap": "eV", "homo": "eV", "lumo": "eV", "mu": "D"}


def molecule(qm9: Molecules, i: int) -> Molecule:
    atoms = slice(int(qm9.offsets[i]), int(qm9.offsets[i + 1]))
    symbols = tuple(ELEMENTS[t] for t in qm9.types[atoms].tolist())
    return Molecule(symbols, qm9.positions[atoms].double().numpy(), tuple(qm9.charges[atoms].tolist()))


def row(geometry: str, name: str, x: np.ndarray, y: np.ndarray) -> dict[str, object]:
    held = np.arange(len(x)) % 3 == 2
    slope, intercept = np.polyfit(x[~held], y[~held], 1)
    slope, intercept = round(float(slope), 4), round(float(intercept), 4)
    error = slope * x[held] + intercept - y[held]
    return {
        "geometry": geometry,
        "property": name,
        "unit": UNITS[name],
        "slope": slope,
        "intercept": intercept,
        "mae": round(float(np.abs(error).mean()), 3),
        "mae_raw": round(float(np.abs(x[held] - y[held]).mean()), 3),
        "mae_of_the_mean": round(float(np.abs(y[held] - y[~held].mean()).mean()), 3),
        "r2": round(float(np.corrcoef(x[held], y[held])[0, 1] ** 2), 3),
        "fitted": int((~held).sum()),
        "tested": int(held.sum()),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], count=1500)
    torch.set_num_threads(1)
    qm9, rows = load(o.qm9), split("validation")
    index = rows[torch.linspace(0, len(rows) - 1, o.count).long()].tolist()
    start = time.perf_counter()
    found = [relax(molecule(qm9, i)) for i in index]
    seconds = time.perf_counter() - start
    table = []
    for geometry, electrons, good in (
        ("QM9", [f.before for f in found], np.array([np.isfinite(f.before.gap_ev) for f in found])),
        ("relaxed", [f.after for f in found], np.array([f.converged for f in found])),
    ):
        values = {
            "gap": [e.gap_ev for e in electrons],
            "homo": [e.homo_ev for e in electrons],
            "lumo": [e.lumo_ev for e in electrons],
            "mu": [e.dipole_debye for e in electrons],
        }
        for name, x in values.items():
            y = qm9.properties[name][index].numpy()
            table.append(row(geometry, name, np.array(x)[good], y[good]))
    write(
        o.results / "xtb_calibration",
        table,
        f"python benchmarks/decisions/xtb_calibration.py --qm9 build/qm9 --count {o.count}",
        f"B3LYP value = slope x xTB value + intercept; mae, mae_raw (no line) and mae_of_the_mean (a constant) "
        f"on the molecules left out of the fit. {sum(f.converged for f in found)} of {o.count} relaxations "
        f"converged, {1000 * seconds / o.count:.0f} ms each on one thread.",
    )


if __name__ == "__main__":
    main()
