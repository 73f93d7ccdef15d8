"""Molecules made by hand, and by RDKit from SMILES; a quick design."""

from dataclasses import fields, replace

import numpy as np

from headwater.molecule.structure.molecule import Molecule, to_batch
from headwater.molecule.structure.state import encode_state
from headwater.molecule.targets.design import design
from headwater.molecule.targets.request import Request
from headwater.molecule.targets.search import SearchThenControl
from headwater.molecule.targets.target import Target

QUICK = Request(2, 3, targets=(Target("gap", 6.0),), sound=False)
FEW = SearchThenControl(steps=2, gradients=2, candidates=2, attempts=1, least=1)
"""One draw at a time, so that evaluations can be counted."""


def design_quickly(networks=None, *, callback=None, rounding_weight=1.0, **changes):
    """The quick request by the recipe of few steps, with some fields of either changed."""
    asked = {f.name: changes.pop(f.name) for f in fields(Request) if f.name in changes}
    request, recipe = replace(QUICK, **asked), replace(FEW, **changes)
    return design(request, networks, recipe=recipe, rounding_weight=rounding_weight, callback=callback)


def molecule(text, charges=None):
    words = text.split()
    rows = [words[i : i + 4] for i in range(0, len(words), 4)]
    symbols = tuple(row[0] for row in rows)
    positions = np.array([[float(x) for x in row[1:]] for row in rows])
    return Molecule(symbols, positions, charges or (0,) * len(symbols))


TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 3**0.5


def hydride(element, length, count=4, charge=0):
    positions = np.vstack([np.zeros(3), TETRAHEDRON[:count] * length])
    return Molecule((element,) + ("H",) * count, positions, (charge,) + (0,) * count)


def beside(a, b, distance=8.0):
    return Molecule(
        a.symbols + b.symbols, np.vstack([a.positions, b.positions + distance]), a.charges + b.charges
    )


WATER = molecule("O 0 0 0 H 0.96 0 0 H -0.24 0.93 0")
METHANE = hydride("C", 1.09)
METHYL = hydride("C", 1.09, 3)
AMMONIUM = hydride("N", 1.02, charge=1)
NITROGEN_4 = hydride("N", 1.02)
ETHYLENE = molecule(
    "C 0 0 0.665 C 0 0 -0.665 H 0 0.923 1.238 H 0 -0.923 1.238 H 0 0.923 -1.238 H 0 -0.923 -1.238"
)
HCN = molecule("H 0 0 -1.068 C 0 0 0 N 0 0 1.149")
CO2 = molecule("C 0 0 0 O 0 0 1.162 O 0 0 -1.162")
CH5 = molecule("C 0 0 0 H 1.09 0 0 H -1.09 0 0 H 0 1.09 0 H 0 -1.09 0 H 0 0 1.09")
GLYCINE = molecule(  # the zwitterion; the neutral oxygen comes first
    """N -1.110 -0.086 -0.262 C 0.095 0.016 0.649 C 1.376 0.100 -0.214 O 1.070 0.061 -1.384 O 2.505 0.192 0.405
    H -1.720 0.729 -0.230 H -1.593 -0.982 -0.207 H -0.626 -0.062 -1.200 H -0.038 0.917 1.252 H 0.096 -0.879 1.276""",
    (1, 0, 0, 0, -1, 0, 0, 0, 0, 0),
)
ANGLES = np.arange(6) * np.pi / 3
BENZENE = Molecule(
    ("C",) * 6 + ("H",) * 6,
    np.array([[r * np.cos(a), r * np.sin(a), 0] for r in (1.397, 2.484) for a in ANGLES]),
    (0,) * 12,
)


def embedded(text):
    from rdkit import Chem
    from rdkit.Chem import AllChem

    mol = Chem.AddHs(Chem.MolFromSmiles(text))
    AllChem.EmbedMolecule(mol, randomSeed=1)
    AllChem.MMFFOptimizeMolecule(mol)
    charges = tuple(a.GetFormalCharge() for a in mol.GetAtoms())
    return Molecule(tuple(a.GetSymbol() for a in mol.GetAtoms()), mol.GetConformer().GetPositions(), charges)


def scattered(symbols, seed=0):
    positions = np.random.default_rng(seed).normal(size=(len(symbols), 3)) * 2
    return Molecule(tuple(symbols), positions, (0,) * len(symbols))


def state_of(*molecules):
    b = to_batch(molecules)
    return encode_state(b.positions, b.types, b.charges, b.mask), b.mask
