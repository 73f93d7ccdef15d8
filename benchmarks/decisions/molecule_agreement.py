"""Is the target hit, or only the regressor? Evaluator, GFN2-xTB and DFT on the same hits.

    python benchmarks/decisions/molecule_agreement.py --qm9 build/qm9 --count 50 --dft 8

Gaps are asked for over QM9's range; each hit is judged by the evaluator, by GFN2-xTB (on the scale of B3LYP, see
`xtb_calibration.py`) as generated and after relaxation, and the first `--dft` by B3LYP/6-31G(2df,p). The same is done
for as many molecules of QM9's test part, where the truth is known.
"""

from __future__ import annotations

import numpy as np
import torch

import _path  # noqa: F401
from common import write
from headwater.molecule.checks import dft, xtb
from headwater.molecule.model.models import Networks
from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.structure.molecule import Molecule, to_molecules
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.design import design
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.target import Target
from molecules import from_data, load, options, sample

HEAD = ("pair", "molecules", "correlation", "MAE eV", "mean difference eV")


def compare(name: str, a: np.ndarray, b: np.ndarray) -> dict[str, object]:
    """Correlation, mean absolute and mean difference of two estimates of the gap."""
    good = np.isfinite(a) & np.isfinite(b)
    a, b = a[good], b[good]
    r = float(np.corrcoef(a, b)[0, 1]) if len(a) > 2 else float("nan")
    values = (
        name,
        len(a),
        round(r, 3),
        round(float(np.abs(a - b).mean()), 3),
        round(float((a - b).mean()), 3),
    )
    return dict(zip(HEAD, values, strict=True))


def physics(molecules: list[Molecule], dfts: int) -> dict[str, np.ndarray]:
    """Gaps in eV by xTB as given and relaxed (B3LYP scale), the path moved in angstrom, and DFT of the first."""
    relaxed = [xtb.relax(m) for m in molecules]
    gap = {
        "xtb": [xtb.on_b3lyp_scale(r.before).gap_ev for r in relaxed],
        "xtb relaxed": [xtb.on_b3lyp_scale(r.after, xtb.RELAXED_CALIBRATION).gap_ev for r in relaxed],
        "moved": [r.rmsd for r in relaxed],
        "bonds kept": [float(not r.bond_change) if np.isfinite(r.rmsd) else np.nan for r in relaxed],
        "dft": [dft.single_point(m).gap_ev for m in molecules[:dfts]],
    }
    return {k: np.array(v) for k, v in gap.items()}


def main() -> None:
    o = options(__doc__.splitlines()[0], count=50, dft=8)
    molecules, networks = load(o.qm9), Networks.load()
    rows = from_data(molecules, o.count, seed=5)
    asked = molecules.properties["gap"][rows]
    request = Request(o.count, targets=(Target("gap", asked.float()),), atoms=molecules.counts[rows])
    d = design(request, recipe=SearchThenControl())
    hit = d.reached  # by the guide: the evaluator has no say in what is judged here
    found = to_molecules(d.molecules.select(torch.nonzero(hit).flatten()))
    hits = physics(found, o.dft)
    evaluator, target = d.evaluator["gap"][hit].numpy(), asked[hit].numpy()
    test = sample("test", len(found), seed=1)
    b = molecules.pad(test, 29)
    real = MoleculeBatch(b["positions"], b["types"], b["charges"], b["mask"])
    truth = molecules.properties["gap"][test].numpy()
    known = physics(to_molecules(real), 0)
    table = [
        compare("hits: evaluator, asked", evaluator, target),
        compare("hits: xTB, asked", hits["xtb"], target),
        compare("hits: xTB, evaluator", hits["xtb"], evaluator),
        compare("hits: xTB relaxed, asked", hits["xtb relaxed"], target),
        compare("hits: DFT, asked", hits["dft"], target[: o.dft]),
        compare("hits: DFT, evaluator", hits["dft"], evaluator[: o.dft]),
        compare("QM9 test: evaluator, truth", predict_batch(networks.evaluator, real)["gap"].numpy(), truth),
        compare("QM9 test: xTB, truth", known["xtb"], truth),
    ]
    moved = torch.from_numpy(hits["moved"])
    note = (
        f"{len(found)} of {o.count} requests hit by the guide. Gaps in eV; DFT on the first {o.dft}. "
        f"Relaxation by xTB moved the hits by {float(moved.nanmedian()):.2f} angstrom (median rmsd; QM9 "
        f"test: {float(np.nanmedian(known['moved'])):.2f}) and kept the bonds of "
        f"{np.nanmean(hits['bonds kept']):.0%} of the {int(np.isfinite(hits['moved']).sum())} that it could compute."
    )
    command = (
        f"python benchmarks/decisions/molecule_agreement.py --qm9 build/qm9 --count {o.count} --dft {o.dft}"
    )
    write(o.results / "molecule_agreement", table, command, note)


if __name__ == "__main__":
    main()
