"""How much energy does a relaxation by GFN2-xTB set free, of QM9's molecules and of those that are found?

    python benchmarks/decisions/molecule_strain.py --qm9 build/qm9 --count 400 --found 32

Molecules of QM9's test part are at B3LYP's own minimum, so what xTB sets free there is the difference of the two
methods. The others are found for a gap of 6 eV, as they are written. `PhysicsLimits.strain` is chosen from this.
"""

from __future__ import annotations

import numpy as np

import _path  # noqa: F401
from common import write
from headwater.molecule.checks import xtb
from headwater.molecule.checks.physics import KCAL_MOL, PhysicsLimits
from headwater.molecule.structure.molecule import Molecule, to_molecules
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.design import design
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.target import Target
from molecules import load, options, sample


def line(name: str, molecules: list[Molecule]) -> dict[str, object]:
    """Percentiles of the strain in kcal/mol."""
    relaxed = [r for r in map(xtb.relax, molecules) if r.converged]
    strain = np.array([r.energy_drop_ev for r in relaxed]) * KCAL_MOL
    shares = {f"{q} %": round(float(np.percentile(strain, q)), 1) for q in (50, 75, 90, 99)}
    return {
        "molecules": name,
        "relaxed": len(relaxed),
        **shares,
        "largest": round(float(strain.max()), 1),
        "above the limit": int((strain > PhysicsLimits().strain).sum()),
        "bonds change": sum(r.bond_change for r in relaxed),
    }


def main() -> None:
    o = options(__doc__.splitlines()[0], count=400, found=32)
    b = load(o.qm9).pad(sample("test", o.count, seed=1), 29)
    real = to_molecules(MoleculeBatch(b["positions"], b["types"], b["charges"], b["mask"]))
    found = design(Request(o.found, targets=(Target("gap", 6.0),)), recipe=SearchThenControl())
    table = [line("QM9 test", real), line("found for a gap of 6 eV", to_molecules(found.molecules))]
    drawn = o.found - int(found.by_gradient.sum())
    note = (
        f"Strain in kcal/mol. {int(found.reached.sum())} of {o.found} hit by the guide; {drawn} of {o.found} "
        "were found by a draw, the others by gradients."
    )
    command = (
        f"python benchmarks/decisions/molecule_strain.py --qm9 build/qm9 --count {o.count} --found {o.found}"
    )
    write(o.results / "molecule_strain", table, command, note)


if __name__ == "__main__":
    main()
