"""What xTB and DFT say of a molecule that the networks judged: how far they disagree, and how strained it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

from torch import Tensor

from headwater.errors import Misuse, summarise
from headwater.extras import import_optional
from headwater.molecule.checks import dft as b3lyp
from headwater.molecule.checks import xtb as gfn2
from headwater.molecule.checks.dft import DftResult
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION, Electrons, Relaxation, on_b3lyp_scale
from headwater.molecule.structure.interval import Asked, find_error
from headwater.molecule.structure.molecule import Molecule, to_molecules
from headwater.molecule.structure.state import MoleculeBatch
from headwater.molecule.structure.units import CALORIE, KJ_MOL

KCAL_MOL = KJ_MOL / CALORIE
"""kcal/mol per eV."""


@dataclass(frozen=True)
class PhysicsLimits:
    """From where on a check contradicts a molecule.

    Parameters
    ----------
    errors
        Distance of a check's value both from the evaluator's and from what was asked, in mean errors of xTB
        (`RELAXED_CALIBRATION`).
    strain
        kcal/mol; of 400 molecules of QM9, at B3LYP's geometry, 99 % have at most 3.4 and all at most 8.4
        (molecule_strain).
    """

    errors: float = 2.0
    strain: float = 20.0


@dataclass(frozen=True)
class Physics:
    """The checks of one molecule beside the evaluator's predictions; `check_physics` makes them.

    Parameters
    ----------
    evaluator
        Property: the evaluator's prediction, canonical units; None where it has none.
    xtb
        GFN2-xTB, relaxed from the molecule as given; None where it was not computed.
    dft
        B3LYP/6-31G(2df,p) of the molecule as given; None where it was not computed.
    limits
        From where on a check contradicts a molecule.

    Examples
    --------
    >>> import headwater as hw
    >>> unchecked = hw.molecule.Physics({"gap": 5.02})
    >>> unchecked.strain, unchecked.xtb_values, unchecked.notes({"gap": 5.0})
    (None, {}, [])
    """

    evaluator: Mapping[str, float | None]
    xtb: Relaxation | None = None
    dft: DftResult | None = None
    limits: PhysicsLimits = PhysicsLimits()

    @property
    def xtb_values(self) -> dict[str, float]:
        """Gap, HOMO, LUMO and dipole after the relaxation, on the scale of B3LYP; what is not finite is left out."""
        if self.xtb is None:
            return {}
        return _finite(on_b3lyp_scale(self.xtb.after, RELAXED_CALIBRATION))

    @property
    def dft_values(self) -> dict[str, float]:
        """Gap, HOMO, LUMO and dipole by B3LYP at the geometry as written; what is not finite is left out."""
        d = self.dft
        return {} if d is None else _finite(Electrons(d.homo_ev, d.lumo_ev, d.gap_ev, d.dipole_debye))

    @property
    def disagreement(self) -> dict[str, float]:
        """The value by DFT, or by xTB where there is none, minus the evaluator's; of each property."""
        values = self.xtb_values | self.dft_values
        return {k: v - e for k, v in values.items() if (e := self.evaluator.get(k)) is not None}

    @property
    def strain(self) -> float | None:
        """The energy that the relaxation by xTB sets free, kcal/mol; None without a relaxation."""
        drop = None if self.xtb is None else self.xtb.energy_drop_ev
        return None if drop is None or not isfinite(drop) else drop * KCAL_MOL

    def doubt(self, asked: Mapping[str, Asked]) -> float:
        """What ranks molecules: the disagreements on what was asked in mean errors of xTB, plus the strain.

        The strain counts in units of its limit. 0 without a check, and without doubt; a check that failed counts as
        one at the limits, as it says nothing for the molecule.
        """
        checked = self.xtb is not None or self.dft is not None
        if checked and not (self.xtb_values or self.dft_values):
            return self.limits.errors + 1.0
        return sum(self._in_errors(asked).values()) + (self.strain or 0.0) / self.limits.strain

    def notes(self, asked: Mapping[str, Asked]) -> list[str]:
        """What contradicts the molecule, in a few words each; empty if nothing does."""
        said = []
        for name, errors in self._in_errors(asked).items():
            if errors > self.limits.errors:
                by, unit = ("DFT" if name in self.dft_values else "xTB"), "D" if name == "mu" else "eV"
                off = self.disagreement[name]
                said.append(
                    f"{by}: {name} {abs(off):.2f} {unit} {'above' if off > 0 else 'below'} the evaluator's"
                )
        if self.strain is not None and self.strain > self.limits.strain:
            said.append(f"strain {self.strain:.0f} kcal/mol")
        if self.xtb is not None and self.xtb.bond_change:
            said.append("bonds change in xTB")
        return said

    def _in_errors(self, asked: Mapping[str, Asked]) -> dict[str, float]:
        """How far the checks are from the evaluator, in mean errors of xTB; no farther than from what was asked.

        A check that says what was asked contradicts nothing, whatever the evaluator says.
        """
        values, off = self.xtb_values | self.dft_values, self.disagreement
        return {
            k: min(abs(off[k]), find_error(y, values[k])) / RELAXED_CALIBRATION[k].mae
            for k, y in asked.items()
            if k in off
        }


def check_physics(
    molecules: MoleculeBatch | Sequence[Molecule],
    evaluator: Mapping[str, Tensor] | None = None,
    *,
    dft: bool = False,
) -> list[Physics]:
    """Check molecules by GFN2-xTB, which uses none of our networks: milliseconds to a second each.

    Each molecule is relaxed from where it is. Gap, HOMO, LUMO and dipole moment of the relaxed molecule are brought
    to the scale of B3LYP, since xTB's own are on another one. A molecule that xTB cannot compute ends nothing:
    `xtb.converged` is False, and `xtb.sentence` says why.

    Parameters
    ----------
    molecules
        Those of a batch, positions `[b, n, 3]`, angstrom, or a sequence.
    evaluator
        Property: what the evaluator predicts for them, `[b]`, as in `Design.evaluator` and `score`. The check is
        compared with it; without one nothing is compared, and only strain and bonds can contradict a molecule.
    dft
        Whether B3LYP/6-31G(2df,p) computes each molecule, too: minutes each.

    Returns
    -------
    checks
        One `Physics` for each molecule.

    Raises
    ------
    Misuse
        The package is not installed (`headwater[xtb]`, for DFT `headwater[dft]`), or there is another number of
        predictions than of molecules.

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0))
    >>> (check,) = hw.molecule.check_physics([water])
    >>> check.xtb.converged, check.strain < 1, check.notes({})  # kcal/mol; nothing contradicts it
    (True, True, [])
    """
    import_optional("tblite.interface", extra="xtb")
    given = to_molecules(molecules) if isinstance(molecules, MoleculeBatch) else list(molecules)
    for name, values in (evaluator or {}).items():
        if values.shape != (len(given),):
            raise Misuse(
                f"The evaluator's {name} is {list(values.shape)} for {len(given)} molecules.",
                "Give one value for each molecule, as score does.",
            )
    predicted = [{k: float(v[i]) for k, v in (evaluator or {}).items()} for i in range(len(given))]
    computed = list(b3lyp.compute_all(given)) if dft else [None] * len(given)
    return [Physics(p, relax_or_explain(m), d) for p, m, d in zip(predicted, given, computed, strict=True)]


def relax_or_explain(m: Molecule) -> Relaxation:
    """GFN2-xTB of a molecule; a failure of any kind is a sentence, so that it takes no other molecule with it."""
    try:
        return gfn2.relax(m)
    except Exception as error:
        return gfn2.describe_failure(m, f"The check failed: {summarise(error)}.")


def _finite(e: Electrons) -> dict[str, float]:
    values = {"gap": e.gap_ev, "homo": e.homo_ev, "lumo": e.lumo_ev, "mu": e.dipole_debye}
    return {k: v for k, v in values.items() if isfinite(v)}
