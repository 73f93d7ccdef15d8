"""GFN2-xTB: a check of molecules that uses none of our networks, in milliseconds a molecule.

GFN2-xTB: Bannwarth, Ehlert, Grimme, JCTC 15, 1652 (2019). Program: tblite (Ehlert et al.), `headwater[xtb]`.

Its gaps and orbital energies are on another scale than QM9's B3LYP/6-31G(2df,p), so they are never to be compared
with a target as they are: `on_b3lyp_scale` puts them there, and `CALIBRATION` says how well that works.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.extras import import_optional
from headwater.molecule.chemistry.align import rotations
from headwater.molecule.chemistry.stability import bond_orders
from headwater.molecule.structure.elements import ELEMENTS, NUMBERS
from headwater.molecule.structure.molecule import Molecule, check_molecule, to_batch
from headwater.molecule.structure.units import BOHR, DEBYE, HARTREE

METHOD = "GFN2-xTB"


@dataclass(frozen=True)
class Electrons:
    """Frontier orbitals and dipole of one geometry: eV and Debye."""

    homo_ev: float
    lumo_ev: float
    gap_ev: float
    dipole_debye: float


UNKNOWN = Electrons(nan, nan, nan, nan)


@dataclass(frozen=True)
class CalibrationLine:
    """B3LYP value = `slope` x xTB value + `intercept`; `mae` on molecules that were not in the fit; `r2` there.

    `mae` and `intercept` are in eV, for mu in Debye.
    """

    slope: float
    intercept: float
    mae: float
    r2: float


CALIBRATION = {
    "gap": CalibrationLine(0.5403, 4.1513, 0.452, 0.792),
    "homo": CalibrationLine(1.0073, 4.1454, 0.225, 0.757),
    "lumo": CalibrationLine(0.5293, 3.2763, 0.396, 0.833),
    "mu": CalibrationLine(0.9281, -0.1293, 0.211, 0.979),
}
"""At a given geometry; from benchmarks/decisions/results/xtb_calibration.json; a test holds them equal.

The residuals are those of single molecules: a gap known to 0.45 eV cannot confirm a hit to within 0.2 eV. It can
show that a series follows its targets, and find molecules that fool the networks; the last word is `dft`.
"""

RELAXED_CALIBRATION = {
    "gap": CalibrationLine(0.5198, 4.2051, 0.454, 0.785),
    "homo": CalibrationLine(0.977, 3.7662, 0.228, 0.76),
    "lumo": CalibrationLine(0.5127, 3.1045, 0.399, 0.827),
    "mu": CalibrationLine(0.9143, -0.0407, 0.272, 0.958),
}
"""After a relaxation by xTB, against B3LYP at B3LYP's own geometry."""


@dataclass(frozen=True)
class FieldPoint:
    """One self-consistent field: energy, its gradient `[n, 3]` (Hartree/Bohr), and what the electrons say.

    `sentence` is empty if it converged; else it says why not, and the numbers are NaN.
    """

    energy_hartree: float
    gradient: NDArray[np.float64]
    electrons: Electrons
    sentence: str = ""

    @property
    def converged(self) -> bool:
        """Whether there are numbers."""
        return not self.sentence


@dataclass(frozen=True)
class Relaxation:
    """A molecule at the nearest minimum of GFN2-xTB.

    `rmsd` in angstrom over all atoms after the best rotation; `bond_change`: whether another pair of atoms is
    bonded than before (`stability.bond_orders`). Without convergence the molecule is the last geometry that had
    an energy, and `sentence` says what happened; if there was no energy at all the numbers are NaN.
    """

    molecule: Molecule
    converged: bool
    steps: int
    energy_drop_ev: float
    rmsd: float
    bond_change: bool
    before: Electrons
    after: Electrons
    sentence: str = ""


def describe_failure(m: Molecule, sentence: str) -> Relaxation:
    """What is known of a molecule whose check failed: the sentence."""
    return Relaxation(m, False, 0, nan, nan, False, UNKNOWN, UNKNOWN, sentence)


def on_b3lyp_scale(electrons: Electrons, lines: Mapping[str, CalibrationLine] = CALIBRATION) -> Electrons:
    """xTB's values as B3LYP/6-31G(2df,p) would likely give them; `lines`: `RELAXED_CALIBRATION` after a relaxation.

    Each property has its own line, so gap is not exactly LUMO - HOMO.

    Examples
    --------
    >>> on_b3lyp_scale(Electrons(-10.0, -7.0, 3.0, 2.0)).gap_ev == CALIBRATION["gap"].slope * 3 + (
    ...     CALIBRATION["gap"].intercept)
    True
    """
    line = {k: (v.slope, v.intercept) for k, v in lines.items()}
    values = {
        "homo": electrons.homo_ev, "lumo": electrons.lumo_ev, "gap": electrons.gap_ev, "mu": electrons.dipole_debye,
    }  # fmt: skip
    b3lyp = {k: line[k][0] * v + line[k][1] for k, v in values.items()}
    return Electrons(b3lyp["homo"], b3lyp["lumo"], b3lyp["gap"], max(b3lyp["mu"], 0.0))


def closed_shell_refusal(m: Molecule) -> str:
    """Why a closed-shell method cannot take this molecule, or an empty string.

    Examples
    --------
    >>> closed_shell_refusal(Molecule(("O", "H"), np.eye(3)[:2], (0, 0)))
    'The molecule has 9 electrons; closed shells need an even number.'
    """
    electrons = sum(NUMBERS[ELEMENTS.index(s)] for s in m.symbols) - m.charge
    if electrons <= 0:
        return "The molecule has no electrons."
    odd = f"The molecule has {electrons} electrons; closed shells need an even number."
    return odd if electrons % 2 else ""


def single_point(m: Molecule, *, cycles: int = 250) -> FieldPoint:
    """Energy, gradient and electrons of GFN2-xTB at the geometry as it is.

    A field that does not converge within `cycles` is a value with a sentence, not an exception.

    Raises
    ------
    Misuse
        An element other than H, C, N, O, F, a position that is not finite, or tblite is not installed.
    """
    return _Field(m, cycles)(m.positions / BOHR)


def relax(m: Molecule, *, tolerance: float = 3e-4, limit: int = 200, cycles: int = 250) -> Relaxation:
    """The minimum of GFN2-xTB that lies downhill of a molecule.

    BFGS in Cartesian coordinates from a `ModelHessian`.

    Parameters
    ----------
    m
        The molecule, with its hydrogens.
    tolerance
        Stop when no component of the gradient is larger; Hartree/Bohr.
    limit
        The most steps of the optimiser.
    cycles
        The most iterations of each self-consistent field.
    """
    field = _Field(m, cycles)
    before = field(m.positions / BOHR)
    if not before.converged:
        return Relaxation(m, False, 0, nan, nan, False, UNKNOWN, UNKNOWN, before.sentence)
    steps, sentence = _descend(field, m.positions / BOHR, tolerance, limit)
    after = replace(m, positions=field.place * BOHR)
    drop_ev = (before.energy_hartree - field.best.energy_hartree) * HARTREE
    moved = rmsd(m.positions, after.positions)
    change = not torch.equal(_bonds(m), _bonds(after))
    last = field.best.electrons
    return Relaxation(after, not sentence, steps, drop_ev, moved, change, before.electrons, last, sentence)


@dataclass(frozen=True)
class ModelHessian:
    """A model of the energy's second derivative: springs that soften with distance.

    The preconditioner of Packwood et al., J. Chem. Phys. 144, 164109 (2016), with springs along the pairs only.

    Parameters
    ----------
    spring
        Of two atoms `bond` apart, Hartree/Bohr^2.
    softening
        The springs fall off exponentially at this rate, 1/Bohr.
    bond
        Bohr.
    floor
        Added to the diagonal, Hartree/Bohr^2.
    """

    spring: float = 0.4
    softening: float = 1.0
    bond: float = 2.0
    floor: float = 0.02

    def __call__(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """The matrix `[3n, 3n]` in Hartree/Bohr^2 for positions `[n, 3]` in Bohr."""
        n = len(positions)
        between = positions[:, None] - positions[None]
        distance = np.linalg.norm(between, axis=-1) + np.eye(n)
        soft = np.exp(-self.softening * (distance - self.bond)).clip(max=2)
        spring = self.spring * soft * (1 - np.eye(n))
        unit = between / distance[..., None]
        pairs = -spring[..., None, None] * unit[..., :, None] * unit[..., None, :]
        pairs[np.arange(n), np.arange(n)] = -pairs.sum(1)
        return np.asarray(pairs.transpose(0, 2, 1, 3).reshape(3 * n, 3 * n) + self.floor * np.eye(3 * n))


def rmsd(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Root mean square distance of the atoms of two geometries after the best rotation (Kabsch 1976).

    Examples
    --------
    >>> square = np.array([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    >>> abs(round(rmsd(square, square[:, [1, 2, 0]] + 5), 6))
    0.0
    """
    x, y = (torch.from_numpy(p - p.mean(0))[None] for p in (a, b))
    return float((x - y @ rotations(x, y).transpose(1, 2)).square().sum(-1).mean().sqrt())


def _bonds(m: Molecule) -> Tensor:
    return bond_orders(to_batch([m], len(m))) > 0


def _frontier(result: Any) -> Electrons:
    """HOMO and LUMO by counting electrons; NaN where the minimal basis has no empty orbital."""
    energies = np.sort(result.get("orbital-energies")) * HARTREE
    pairs = round(float(result.get("orbital-occupations").sum())) // 2
    homo, lumo = float(energies[pairs - 1]), float(energies[pairs]) if pairs < len(energies) else nan
    return Electrons(homo, lumo, lumo - homo, float(np.linalg.norm(result.get("dipole"))) * DEBYE * BOHR)


class _Field:
    """Positions in Bohr -> `FieldPoint`; each call starts from the density of the one before.

    Remembers the geometry of the lowest energy (`place`, Bohr) and its `FieldPoint` (`best`).
    """

    def __init__(self, m: Molecule, cycles: int) -> None:
        check_molecule(m, max(len(m), 1))
        self.place = m.positions / BOHR
        self.best = FieldPoint(inf, np.zeros_like(self.place), UNKNOWN)
        self._refusal = closed_shell_refusal(m)
        self._molecule, self._cycles = m, cycles
        self._calculator: Any = None
        self._result = import_optional("tblite.interface", "xtb").Result()
        self._errors = import_optional("tblite.exceptions", "xtb").TBLiteRuntimeError

    def __call__(self, positions: NDArray[np.float64]) -> FieldPoint:
        if self._refusal:
            return FieldPoint(nan, np.full_like(positions, nan), UNKNOWN, self._refusal)
        try:
            self._solve(positions - positions.mean(0))
        except self._errors as error:
            return FieldPoint(nan, np.full_like(positions, nan), UNKNOWN, f"{METHOD} failed: {error}.")
        energy, gradient = float(self._result.get("energy")), self._result.get("gradient")
        point = FieldPoint(energy, gradient, _frontier(self._result))
        if energy < self.best.energy_hartree:
            self.place, self.best = positions.copy(), point
        return point

    def _solve(self, positions: NDArray[np.float64]) -> None:
        if self._calculator is not None:
            self._calculator.update(positions)
        else:
            numbers = np.array([NUMBERS[ELEMENTS.index(s)] for s in self._molecule.symbols])
            charge = float(self._molecule.charge)
            tblite = import_optional("tblite.interface", "xtb")
            self._calculator = tblite.Calculator(METHOD, numbers, positions, charge=charge, color=False)
            self._calculator.set("verbosity", 0)
            self._calculator.set("max-iter", self._cycles)
        self._calculator.singlepoint(self._result)


class _NoEnergy(Exception):
    """A geometry without energy on the way down."""


def _descend(field: _Field, start: NDArray[np.float64], tolerance: float, limit: int) -> tuple[int, str]:
    """Take `field` downhill; the steps made and, without convergence, why."""
    optimize = import_optional("scipy.optimize", "xtb")

    def energy(x: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        point = field(x.reshape(-1, 3))
        if not point.converged:
            raise _NoEnergy(point.sentence)
        return point.energy_hartree, point.gradient.ravel()

    steps = 0

    def count(_: object) -> None:
        nonlocal steps
        steps += 1

    inverse = np.linalg.inv(ModelHessian()(start))
    options = {"gtol": tolerance, "maxiter": limit, "hess_inv0": (inverse + inverse.T) / 2}
    try:
        optimize.minimize(energy, start.ravel(), jac=True, method="BFGS", options=options, callback=count)
    except _NoEnergy as error:
        return steps, str(error)
    left = float(np.abs(field.best.gradient).max())
    if left <= tolerance:
        return steps, ""
    return steps, f"The relaxation stopped after {steps} steps with a gradient of {left:.1e} Hartree/Bohr."
