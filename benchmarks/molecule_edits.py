"""Edits of molecules: another gap, and as much of the molecule kept as can be.

    python benchmarks/molecule_edits.py --threads 1

Ten molecules of the size of QM9's, which the generator did not make: geometries by RDKit's MMFF94. Each is asked for
a gap 0.7 eV lower and 0.7 eV higher than the evaluator says of it, three times.

what comes back   16 draws of each molecule, nothing asked: noise of a strength, solved on, with the noise aligned
                  to the molecule or as it is drawn, and source points near its inverted one. `like %` is the share
                  that is sound, another structure, and has a Tanimoto similarity of at least 0.3 to the original.
gap               by the guide among 24 draws. `like %` as above, by the least similarity of the line; `nearer %` is
                  like the original and nearer to what was asked than the original, by the evaluator, which guides
                  nothing; `hit %` within 0.13 eV; `miss` the median distance in eV of those that are like;
                  `scaffold %` of those the share with the original's Murcko scaffold, `Tanimoto` their mean
                  similarity.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from rdkit import Chem
from rdkit.Chem import AllChem
from torch import Tensor

import headwater as hw
from common import kept, options, write
from headwater.molecule.chemistry.align import align_noise
from headwater.molecule.model.prediction import predict_batch
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.targets.design import DesignTask
from headwater.problem.cost import WeightedSum
from headwater.recipes.editing import RewardEdit
from headwater.solvers import MIDPOINT, uniform_grid

ORIGINALS = (
    "Cc1ccccc1O",
    "CC1CCCCC1=O",
    "CCCC(=O)OCC",
    "OC1CC=CC1C",
    "COc1ccncc1",
    "CC(N)C1CC1",
    "N#CCC1CCCO1",
    "CC(C)C(=O)NC",
    "Cc1ccc(C=O)o1",
    "CC1COC(C)O1",
)
SHIFTS, REPEATS, DRAWS = (-0.7, 0.7), 3, 24
NETWORKS = hw.molecule.Networks.load()


def make_molecule(smiles: str) -> hw.molecule.Molecule:
    """A structure in three dimensions."""
    m = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(m, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(m, maxIters=2000)
    symbols = tuple(a.GetSymbol() for a in m.GetAtoms())
    return hw.molecule.Molecule(symbols, m.GetConformer().GetPositions(), (0,) * len(symbols), smiles)


def main() -> None:
    """Work out every line, or read it from --keep, and write the table."""
    o = options(__doc__, keep="")
    molecules = [make_molecule(s) for s in ORIGINALS]
    rows: list[dict[str, object]] = []
    for name, strength in [(n, s) for n in STARTS for s in STARTS[n]]:
        key = {"task": "what comes back", "method": f"{name}, strength {strength:g}"}
        rows.append(key | kept(o.keep, str(key), partial(come_back, molecules, name, strength)))
    lines: dict[str, Callable[[], dict[str, object]]] = {"doing nothing": partial(untouched, molecules)}
    for least in (0.3, 0.4):
        edit = partial(ask, molecules, hw.molecule.EditSearch(candidates=DRAWS), least)
        lines[f"edits, similarity {least:g}"] = edit
    lines["drawn anew, similarity 0.3"] = partial(ask, molecules, hw.molecule.Search(candidates=DRAWS), 0.3)
    lines["control of the inverted source, similarity 0.3"] = partial(ask_control, molecules, 0.3)
    for name, line in lines.items():
        key = {"task": "gap", "method": name}
        rows.append(key | kept(o.keep, str(key), line))
    write(
        o.results / "molecule_edits",
        rows,
        "python benchmarks/molecule_edits.py --threads 1",
        f"{len(ORIGINALS)} molecules; {len(SHIFTS) * REPEATS * len(ORIGINALS)} edits a line of `gap` (20 of control, "
        "which draws nothing). `seconds` of CPU an edit, beside other work.",
    )


STARTS: dict[str, tuple[float, ...]] = {
    "noise, aligned": (0.4, 0.5, 0.6, 0.7, 0.8),
    "noise, as drawn": (0.4, 0.6, 0.8),
    "near the source, aligned": (0.1, 0.2, 0.4),
}


@torch.no_grad()
def come_back(molecules: list[Any], name: str, strength: float) -> dict[str, object]:
    """One line of what comes back."""
    alike, sound, same = [], [], []
    for m in molecules:
        task = DesignTask(hw.molecule.Request(16, original=m, similarity=0.3))
        problem = task.pose(NETWORKS)
        likeness = problem.misfit.deviation.likeness
        flow, x1, mask = problem.flow, likeness.state, problem.misfit.mask
        z, t = flow.noise(range(16)), torch.tensor(1 - strength)
        if name.startswith("noise"):
            z = align_noise(z, x1, mask.sum(1)) if name.endswith("aligned") else z
            grid = uniform_grid(6, 1 - strength, 1.0)
            x = hw.solve(flow, flow.path.interpolate(z, x1, t), steps=grid)
        else:
            y0 = hw.invert(flow, x1, steps=12)
            z = align_noise(z, y0, mask.sum(1))
            x = hw.solve(flow, (1 - strength**2) ** 0.5 * y0 + strength * z, steps=12)
        found = task.finish(x)
        similarity = likeness.similarity(found)
        good = problem.misfit.deviation.judge(x).grade.numpy() <= 2  # a hit, missed, or unlike: sound
        sound += good.tolist()
        alike += likeness.accepts(found).logical_and(torch.from_numpy(good)).tolist()
        same += ((similarity > 0.999) & torch.from_numpy(good)).tolist()
    return {"sound %": percent(sound), "unchanged %": percent(same), "like %": percent(alike)}


def percent(found: list[bool]) -> int:
    """The share of those that are true, in percent."""
    return round(100 * sum(found) / len(found))


def gap_of(m: Any) -> float:
    """The gap of a molecule by the evaluator, eV."""
    return float(hw.molecule.score(hw.molecule.to_batch([m]), NETWORKS)[1]["gap"][0])


def untouched(molecules: list[Any]) -> dict[str, object]:
    """The line of doing nothing."""
    miss = sum(abs(s) for s in SHIFTS) / len(SHIFTS)
    return {"like %": 0, "nearer %": 0, "hit %": 0, "miss": miss, "scaffold %": 100, "Tanimoto": 1.0}


def ask(molecules: list[Any], recipe: Any, least: float) -> dict[str, object]:
    """One line of the gap, by a search."""
    began, parts = time.process_time(), []
    for m in molecules:
        before = gap_of(m)
        asked = before + torch.tensor(SHIFTS).repeat(REPEATS)
        target = hw.molecule.Target("gap", asked)
        request = hw.molecule.Request(len(asked), original=m, similarity=least, targets=(target,))
        found = hw.molecule.design(request, NETWORKS, recipe=recipe)
        parts.append(judge(request, found.molecules, asked, before))
    return summarise(parts) | {"seconds": round((time.process_time() - began) / sum(map(len, parts)), 1)}


def ask_control(molecules: list[Any], least: float) -> dict[str, object]:
    """One line of the gap, by control of the source point to which the molecule is inverted."""
    began, parts = time.process_time(), []
    for m in molecules:
        before = gap_of(m)
        asked = before + torch.tensor(SHIFTS)
        target = hw.molecule.Target("gap", asked)
        request = hw.molecule.Request(len(asked), original=m, similarity=least, targets=(target,))
        task = DesignTask(request)
        problem = task.pose(NETWORKS)
        edit = RewardEdit(weight=1.0, gradients=8, method=MIDPOINT, steps=6)
        x1, goal = problem.misfit.deviation.likeness.state, WeightedSum(((-1.0, problem.misfit.cost),))
        found = edit(problem.flow, x1, range(len(asked)), reward=goal)
        parts.append(judge(request, task.finish(found.x1), asked, before))
    return summarise(parts) | {"seconds": round((time.process_time() - began) / sum(map(len, parts)), 1)}


def judge(request: Any, m: MoleculeBatch, asked: Tensor, before: float) -> list[dict[str, Any]]:
    """What each edit is, by the evaluator."""
    likeness = DesignTask(request).pose(NETWORKS).misfit.deviation.likeness
    gap = predict_batch(NETWORKS.evaluator, m)["gap"].double()
    alike = likeness.accepts(m) & hw.molecule.is_sound(m)
    miss, similarity, scaffold = (gap - asked).abs(), likeness.similarity(m), likeness.keeps_scaffold(m)
    return [
        {
            "like": bool(alike[i]),
            "miss": float(miss[i]),
            "nearer": bool(alike[i]) and float(miss[i]) < abs(float(asked[i]) - before),
            "Tanimoto": float(similarity[i]),
            "scaffold": bool(scaffold[i]),
        }
        for i in range(len(asked))
    ]


def summarise(parts: list[list[dict[str, Any]]]) -> dict[str, object]:
    """The columns of a line."""
    every = [row for part in parts for row in part]
    good = [row for row in every if row["like"]]
    line: dict[str, object] = {
        "like %": percent([row["like"] for row in every]),
        "nearer %": percent([row["nearer"] for row in every]),
        "hit %": percent([row["like"] and row["miss"] <= 0.13 for row in every]),
    }
    if good:
        line |= {
            "miss": round(float(torch.tensor([row["miss"] for row in good]).median()), 2),
            "scaffold %": percent([row["scaffold"] for row in good]),
            "Tanimoto": round(sum(row["Tanimoto"] for row in good) / len(good), 2),
        }
    return line


if __name__ == "__main__":
    main()
