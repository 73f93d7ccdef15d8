"""What the tests of `headwater molecule` share: known molecules, designs without networks, files before and after."""

import numpy as np
import torch

from headwater.molecule.structure import units
from headwater.molecule.structure.molecule import Molecule, to_batch
from headwater.molecule.targets import design as designing
from headwater.molecule.targets.design import Design
from headwater.optimizers.status import Status

T, G, S = "molecule target", "molecule grow", "molecule score"
PLACES = {
    "water": ("OHH", [[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    "methane": (
        "CHHHH",
        [[0, 0, 0], [0.63, 0.63, 0.63], [-0.63, -0.63, 0.63], [-0.63, 0.63, -0.63], [0.63, -0.63, -0.63]],
    ),
    "radical": ("CHHH", [[0, 0, 0], [1.08, 0, 0], [-0.54, 0.94, 0], [-0.54, -0.94, 0]]),
}  # fmt: skip
RANGES = {"gap": (3.5, 11.9), "homo": (-9.6, -4.9), "lumo": (-3.0, 2.9), "mu": (0.01, 8.2)} | {
    "alpha": (35.0, 105.0), "cv": (14.0, 45.0)
}  # fmt: skip


def known(name):
    symbols, places = PLACES[name]
    return Molecule(tuple(symbols), np.array(places, dtype=float), (0,) * len(symbols), name)


def xyz(path, *names, line=None):
    text = ""
    for name in names:
        m = known(name)
        atoms = [f"{s} {x} {y} {z}" for s, (x, y, z) in zip(m.symbols, m.positions, strict=True)]
        text += "\n".join([str(len(m)), name, *atoms, ""])
    path.write_text(text if line is None else text.replace(*line))


def a_design(names, value=5.0, status=Status.REACHED, off=0.1):
    n = len(names)
    molecules = to_batch([known(name) for name in names])
    steps = torch.arange(n)
    predicted = {k: value + off * steps.double() for k in units.UNITS}
    near = {k: v + 0.05 for k, v in predicted.items()}
    x = torch.zeros(n, 29, 9)
    return Design(
        molecules=molecules,
        guide=near,
        evaluator=predicted,
        relaxed=near,
        status=(status,) * n,
        deviation=torch.zeros(n),
        by_gradient=steps % 2 == 1,
        gradients=steps + 3,
        evaluations=24 * (steps + 3),
        x0=x,
        x1=x,
    )


def everything(folder):
    files = {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}
    return {path: content for path, content in files.items() if "__pycache__" not in str(path)}


def stub_scores(monkeypatch):
    def score(batch, networks=None):
        values = {k: torch.full((len(batch),), 4.0) + batch.mask.sum(1) for k in units.UNITS}
        return {k: v + 1 for k, v in values.items()}, values

    monkeypatch.setattr(designing, "score", score)
