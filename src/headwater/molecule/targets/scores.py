"""Scores of a structure as a reward of states: RDKit's, rings, patterns, and xTB's; no gradient leads to them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater.errors import Misuse, suggest
from headwater.extras import import_optional
from headwater.molecule.checks.xtb import Relaxation, on_b3lyp_scale, relax, single_point
from headwater.molecule.chemistry.perception import EXTRA
from headwater.molecule.chemistry.scores import compute_scores
from headwater.molecule.chemistry.soundness import examine
from headwater.molecule.structure.molecule import Molecule, to_molecules
from headwater.molecule.structure.state import MoleculeBatch, round_state
from headwater.molecule.structure.units import SCORES

RINGS, PATTERN = "rings", "smarts:"
XTB: Mapping[str, Callable[[Molecule], float]] = {
    "xtb: gap": lambda m: on_b3lyp_scale(single_point(m).electrons).gap_ev,
    "xtb: dipole": lambda m: on_b3lyp_scale(single_point(m).electrons).dipole_debye,
    "xtb: strain": lambda m: strain_of(relax(m)),
}
"""What GFN2-xTB says of a geometry: gap (eV) and dipole moment (Debye) on the scale of B3LYP, and the energy (eV)
that a relaxation sets free. NaN where its field or the relaxation does not converge."""


def strain_of(relaxed: Relaxation) -> float:
    """The energy in eV that a relaxation set free; NaN of one that stopped early, whose energy is too small."""
    return relaxed.energy_drop_ev if relaxed.converged else math.nan


def compute_score(name: str, smiles: str) -> float:
    """One score of a structure.

    Parameters
    ----------
    name
        "qed", "logp" or "sa"; "rings", the number of rings; or "smarts: PATTERN", the number of matches.
    smiles
        The structure.

    Raises
    ------
    Misuse
        There is no such score, RDKit cannot read the pattern, or it is not installed.

    Examples
    --------
    >>> compute_score("rings", "OCc1ccccc1"), compute_score("smarts: [OX2H]", "OCc1ccccc1")
    (1.0, 1.0)
    """
    if name in SCORES:
        return compute_scores(smiles, (name,))[name]
    chem = import_optional("rdkit.Chem", EXTRA)
    with import_optional("rdkit.rdBase", EXTRA).BlockLogs():
        mol = chem.MolFromSmiles(smiles)
        if name == RINGS:
            return float(mol.GetRingInfo().NumRings())
        if not name.startswith(PATTERN):
            names = (*SCORES, RINGS, f"{PATTERN} PATTERN", *XTB)
            raise Misuse(f"There is no score of molecules named {name!r}.", suggest(name, names))
        pattern = chem.MolFromSmarts(name.removeprefix(PATTERN).strip())
        if pattern is None or not pattern.GetNumAtoms():
            raise Misuse(
                f"RDKit cannot read the pattern of {name!r}.", "Give a SMARTS, such as 'smarts: [OX2H]'."
            )
        return float(len(mol.GetSubstructMatches(pattern)))


def check_score(name: str) -> None:
    """Refuse now what is no score, not when the first sound molecule is drawn.

    Raises
    ------
    Misuse
        There is no such score, RDKit cannot read the pattern, or the package of the score is not installed.
    """
    if name in XTB:
        import_optional("tblite.interface", "xtb")
        import_optional("scipy.optimize", "xtb")
    else:
        compute_score(name, "C")


@dataclass(frozen=True)
class StructureScore:
    """A score of the rounded molecule, as a reward of its state; NaN of a molecule that is not sound.

    Parameters
    ----------
    name
        As in `compute_score`, or, of the geometry by GFN2-xTB, "xtb: gap" (eV), "xtb: dipole" (Debye), both on the
        scale of B3LYP, or "xtb: strain" (eV), the energy that a relaxation sets free.
    mask
        Which atoms exist, `[b, 29]`.

    Raises
    ------
    Misuse
        There is no such score, or RDKit cannot read the pattern.

    Examples
    --------
    >>> import torch
    >>> import headwater as hw
    >>> from headwater.molecule.targets.design import DesignTask
    >>> problem = DesignTask(hw.molecule.Request(1, atoms=5)).pose(hw.molecule.Networks.load())
    >>> score = hw.molecule.StructureScore("qed", problem.misfit.mask)
    >>> score(torch.zeros(1, 29, 9)).tolist()  # five hydrogens in one place
    [nan]
    """

    name: str
    mask: Tensor

    def __post_init__(self) -> None:
        check_score(self.name)

    def select(self, index: Tensor) -> StructureScore:
        """The score of the molecules in `index`, int64 `[k]`."""
        return replace(self, mask=self.mask[index])

    def __call__(self, x1: Tensor) -> Tensor:
        """The score of states x1 `[b, 29, 9]`, float64 `[b]`."""
        return score_structures(self.name, round_state(x1.float(), self.mask))


def score_structures(name: str, m: MoleculeBatch) -> Tensor:
    """A score of definite molecules, float64 `[b]`; NaN of those that are not sound."""
    molecules = to_molecules(m)
    found = [
        (XTB[name](one) if name in XTB else compute_score(name, c.structure))
        if c.sound and c.structure
        else float("nan")
        for one, c in zip(molecules, examine(molecules), strict=True)
    ]
    return torch.tensor(found, dtype=torch.float64)


@dataclass(frozen=True)
class ScoreCost:
    """Minus a weighted sum of scores, as the cost of a `Request` that is searched by draws; NaN if not sound.

    It sees positions and types, as costs do, and no charges: all atoms count as neutral.

    Parameters
    ----------
    terms
        Pairs of a weight and the name of a score, as in `StructureScore`; each counts in its own unit.

    Raises
    ------
    Misuse
        There is no such score, or RDKit cannot read a pattern.
    """

    terms: tuple[tuple[float, str], ...]

    def __post_init__(self) -> None:
        for _, name in self.terms:
            check_score(name)

    def __call__(self, positions: Tensor, types: Tensor, mask: Tensor) -> Tensor:
        """The cost of positions `[b, n, 3]`, types `[b, n, 5]` and the mask `[b, n]`, `[b]`."""
        atoms = types.argmax(-1).to(torch.int64)
        m = MoleculeBatch(
            positions=positions.detach(), types=atoms, charges=torch.zeros_like(atoms), mask=mask
        )
        total = sum(weight * score_structures(name, m) for weight, name in self.terms)
        return -torch.as_tensor(total).to(positions)
