"""QM9's own level of theory, B3LYP/6-31G(2df,p), through pyscf: the last word on a molecule, in minutes.

What makes it exactly QM9's (Gaussian 09; Ramakrishnan et al., Scientific Data 1, 140022, 2014):

- B3LYP with VWN3 (`b3lypg`), as Gaussian has it;
- `basis`: 6-31G with d exponents 1.6 and 0.4 on all heavy atoms. What pyscf calls 6-31G(2df,p) has other ones
  (O 2.584, 0.646), which puts LUMO 0.05 eV and the dipole 0.14 D off for water;
- six Cartesian d and seven pure f functions (6D 7F, Gaussian's rule for the 6-31G family). pyscf is either all
  pure or all Cartesian: here the integrals are Cartesian and the orbitals are confined to the span of 6D 7F.

Against QM9's printed values at QM9's geometries (11 molecules: CH4, NH3, H2O, HCN, CH2O, CH3OH and others up to
eight heavy atoms), the largest |difference| is 1.45 meV in HOMO, 1.1 meV in LUMO, 1.0 meV in the gap, 0.0002 D in
the dipole and 1.3 meV in the energy (U0 - ZPE); QM9 rounds orbital energies to steps of 2.7 meV, so hardly
anything is left to explain. Density fitting has its share in that: against exact integrals (CF4, CH2O, HCN,
isobutane) it moves orbital energies by at most 0.18 meV, the dipole by 0.0001 D and the energy by 0.8 meV; it
halves the time of the larger ones.

Polarisability is left out: it needs `pyscf.prop`, which pyscf does not contain. Program: pyscf (Sun et al.,
J. Chem. Phys. 153, 024109, 2020), `headwater[dft]`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import nan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headwater.extras import import_optional
from headwater.molecule.checks.xtb import closed_shell_refusal
from headwater.molecule.structure.molecule import Molecule, check_molecule
from headwater.molecule.structure.units import HARTREE

D_EXPONENTS = (1.6, 0.4)
F_EXPONENTS = {"C": 0.8, "N": 1.0, "O": 1.4, "F": 1.85}
P_EXPONENT = 1.1
"""Polarisation functions of Gaussian's 6-31G(2df,p): d and f on heavy atoms, p on hydrogen."""
FUNCTIONS = {"H": 5, "C": 31, "N": 31, "O": 31, "F": 31}
"""Cartesian basis functions per atom; 28 of the 31 span 6D 7F."""
AUXILIARY = "def2-universal-jkfit"


@dataclass(frozen=True)
class DftResult:
    """B3LYP/6-31G(2df,p) at one geometry: eV, Debye, Hartree; NaN with a `sentence` where there is no result."""

    homo_ev: float
    lumo_ev: float
    gap_ev: float
    dipole_debye: float
    energy_hartree: float
    seconds: float
    converged: bool
    sentence: str = ""


@dataclass(frozen=True)
class Progress:
    """Where a series stands: molecules done and in total, and how long the rest will likely take."""

    done: int
    total: int
    seconds_left: float


def single_point(m: Molecule, *, callback: Callable[[int, float], None] | None = None) -> DftResult:
    """Frontier orbitals and dipole at QM9's level of theory, at the geometry as it is; restricted closed shell.

    Parameters
    ----------
    m
        The molecule, with its hydrogens.
    callback
        Called after each iteration of the self-consistent field with its number and the energy in Hartree.

    Raises
    ------
    Misuse
        An element other than H, C, N, O, F, a position that is not finite, or pyscf is not installed.
    """
    check_molecule(m, max(len(m), 1))
    import_optional("pyscf.dft", "dft")
    start = time.perf_counter()
    if sentence := closed_shell_refusal(m):
        return _fail(sentence, start)
    try:
        field = _field(m)
        if callback is not None:
            field.callback = lambda local: callback(local["cycle"] + 1, float(local["e_tot"]))
        field.kernel()
    except (RuntimeError, MemoryError, np.linalg.LinAlgError) as error:  # atoms on top of each other
        return _fail(f"B3LYP failed: {error}.", start)
    if not field.converged:
        return _fail(f"B3LYP did not converge in {field.max_cycle} iterations.", start)
    return _result(field, start)


def forecast(m: Molecule, power: float = 2.2) -> float:
    """Seconds that `single_point` will likely take on this machine.

    c N^power for N basis functions. The power was fitted to the processor time of nine QM9 molecules from CH4
    (51) to C4H4N4 (268 functions), which it gives to within a factor 1.6, those from 130 on
    to within 1.3; c comes from one run of formaldehyde (72) on this machine, at the first call (a few seconds).
    """
    return float(_reference_seconds() * (functions(m) / functions(FORMALDEHYDE)) ** power)


def compute_all(
    molecules: Sequence[Molecule], *, callback: Callable[[Progress], None] | None = None
) -> Iterator[DftResult]:
    """`single_point` of each molecule, one after the other, each handed out as soon as it is there.

    `callback` gets a `Progress` before the first molecule and after each; the forecast learns from what the
    molecules before have taken.
    """
    left = [forecast(m) for m in molecules] if callback else []
    predicted = taken = 0.0
    for i, m in enumerate(molecules):
        if callback:
            callback(Progress(i, len(molecules), sum(left[i:]) * _pace(taken, predicted)))
        result = single_point(m)
        if callback and result.converged:
            predicted, taken = predicted + left[i], taken + result.seconds
        yield result
    if callback:
        callback(Progress(len(molecules), len(molecules), 0.0))


def functions(m: Molecule) -> int:
    """The number of Cartesian basis functions.

    >>> functions(FORMALDEHYDE)
    72
    """
    return sum(FUNCTIONS[s] for s in m.symbols)


def basis(symbol: str) -> list[Any]:
    """Gaussian's 6-31G(2df,p) of an element, as pyscf takes it."""
    core = list(import_optional("pyscf.gto", "dft").basis.load("6-31g", symbol))
    if symbol == "H":
        return [*core, [1, [P_EXPONENT, 1.0]]]
    return [*core, *([2, [d, 1.0]] for d in D_EXPONENTS), [3, [F_EXPONENTS[symbol], 1.0]]]


def _pace(taken: float, predicted: float) -> float:
    return taken / predicted if predicted > 0 else 1.0


def _fail(sentence: str, start: float) -> DftResult:
    return DftResult(nan, nan, nan, nan, nan, time.perf_counter() - start, False, sentence)


def _result(field: Any, start: float) -> DftResult:
    pairs = field.mol.nelectron // 2
    homo, lumo = (float(e) * HARTREE for e in field.mo_energy[pairs - 1 : pairs + 1])
    dipole = float(np.linalg.norm(field.dip_moment(unit="Debye", verbose=0)))
    return DftResult(homo, lumo, lumo - homo, dipole, float(field.e_tot), time.perf_counter() - start, True)


def _field(m: Molecule) -> Any:
    """The self-consistent field before it runs: density fitting, orbitals in the span of 6D 7F."""
    gto = import_optional("pyscf.gto", "dft")
    positions = np.asarray(m.positions) - np.mean(m.positions, axis=0)
    mol = gto.M(
        atom=list(zip(m.symbols, positions.tolist(), strict=True)),
        basis={s: basis(s) for s in set(m.symbols)},
        charge=m.charge,
        cart=True,
        verbose=0,
    )
    field = import_optional("pyscf.dft", "dft").RKS(mol, xc="b3lypg").density_fit(auxbasis=AUXILIARY)
    field.chkfile = None
    span = _span(mol)

    def orthonormal(overlap: NDArray[np.float64], *_: Any, **__: Any) -> NDArray[np.float64]:
        """An orthonormal basis of the span of 6D 7F, in which pyscf then looks for the orbitals."""
        values, vectors = np.linalg.eigh(span.T @ overlap @ span)
        return np.asarray(span @ (vectors / np.sqrt(values)))

    field.check_linear_dependency = orthonormal
    return field


def _span(mol: Any) -> NDArray[np.float64]:
    """Columns: the functions of 6D 7F in the Cartesian ones; f shells lose their three p combinations."""
    pure = import_optional("pyscf.gto", "dft").cart2sph(3)
    blocks: list[Tensor] = []
    for shell in range(mol.nbas):
        angular = mol.bas_angular(shell)
        block = pure if angular == 3 else np.eye((angular + 1) * (angular + 2) // 2)
        blocks += [torch.from_numpy(block)] * mol.bas_nctr(shell)
    return np.asarray(torch.block_diag(*blocks))  # type: ignore[no-untyped-call]


FORMALDEHYDE = Molecule(
    ("C", "O", "H", "H"),
    np.array([[0.0, 0, -0.527], [0, 0, 0.674], [0, 0.939, -1.114], [0, -0.939, -1.114]]),
    (0, 0, 0, 0),
)


@lru_cache(maxsize=1)
def _reference_seconds() -> float:
    return single_point(FORMALDEHYDE).seconds
