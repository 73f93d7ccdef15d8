"""What xTB and DFT say of a molecule that the networks judged: how far they disagree, and how strained it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from headwater.molecule.checks.dft import DftResult
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION, Electrons, Relaxation, on_b3lyp_scale
from headwater.molecule.structure.interval import Asked, find_error
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
    """The checks of one molecule beside the evaluator's predictions.

    Parameters
    ----------
    evaluator
        Property: the evaluator's prediction, canonical units; None where it has none.
    xtb, dft
        The checks; None where there was none.
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
        """Property: the value by DFT, or by xTB where there is none, minus the evaluator's."""
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


def _finite(e: Electrons) -> dict[str, float]:
    values = {"gap": e.gap_ev, "homo": e.homo_ev, "lumo": e.lumo_ev, "mu": e.dipole_debye}
    return {k: v for k, v in values.items() if isfinite(v)}
