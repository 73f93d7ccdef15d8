"""GFN2-xTB through tblite: known values, invariance, relaxation, and failures as values."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import Misuse
from headwater.molecule.checks import xtb
from headwater.molecule.structure import units
from headwater.molecule.structure.molecule import Molecule

pytest.importorskip("tblite.interface")
pytest.importorskip("scipy.optimize")

RESULTS = Path(__file__).parents[2] / "benchmarks" / "decisions" / "results" / "xtb_calibration.json"
WATER = Molecule(
    ("O", "H", "H"), np.array([[0.0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]]), (0, 0, 0)
)
FORMALDEHYDE = Molecule(
    ("C", "O", "H", "H"),
    np.array([[0.0, 0, -0.527], [0, 0, 0.674], [0, 0.939, -1.114], [0, -0.939, -1.114]]),
    (0, 0, 0, 0),
)
METHANE = Molecule(
    ("C", "H", "H", "H", "H"),
    0.63 * np.array([[0.0, 0, 0], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
    (0,) * 5,
)


def moved(m, positions):
    return Molecule(m.symbols, positions, m.charges)


def rotation(seed):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_water_has_the_published_energy_and_a_dipole_near_qm9s():
    point = xtb.single_point(WATER)
    assert point.energy_hartree == pytest.approx(-5.0703, abs=2e-3)
    assert xtb.on_b3lyp_scale(point.electrons).dipole_debye == pytest.approx(1.8511, abs=0.3)


def test_formaldehyde_on_the_scale_of_b3lyp_is_near_qm9s_own_numbers():
    electrons = xtb.on_b3lyp_scale(xtb.single_point(FORMALDEHYDE).electrons)
    assert electrons.gap_ev == pytest.approx(6.158, abs=3.5 * xtb.CALIBRATION["gap"].mae)
    assert electrons.dipole_debye == pytest.approx(2.1089, abs=3.5 * xtb.CALIBRATION["mu"].mae)


@pytest.mark.parametrize("seed", range(3))
def test_electrons_do_not_depend_on_place_and_orientation(seed):
    there = moved(FORMALDEHYDE, FORMALDEHYDE.positions @ rotation(seed) + seed)
    a, b = xtb.single_point(FORMALDEHYDE), xtb.single_point(there)
    assert a.energy_hartree == pytest.approx(b.energy_hartree, abs=1e-8)
    assert a.electrons.gap_ev == pytest.approx(b.electrons.gap_ev, abs=1e-5)
    assert a.electrons.dipole_debye == pytest.approx(b.electrons.dipole_debye, abs=1e-4)


def test_the_gradient_is_the_slope_of_the_energy():
    step, bend = 1e-3, np.random.default_rng(0).standard_normal((4, 3))
    ahead, behind = (
        xtb.single_point(moved(FORMALDEHYDE, FORMALDEHYDE.positions + s * step * units.BOHR * bend))
        for s in (1, -1)
    )
    slope = (ahead.energy_hartree - behind.energy_hartree) / (2 * step)
    assert slope == pytest.approx((xtb.single_point(FORMALDEHYDE).gradient * bend).sum(), abs=1e-5)


def test_a_distorted_methane_comes_back():
    whole = xtb.relax(METHANE)
    bent = METHANE.positions + 0.12 * np.random.default_rng(1).standard_normal((5, 3))
    back = xtb.relax(moved(METHANE, bent))
    assert back.converged and not back.sentence and back.steps > 0
    assert back.energy_drop_ev > 0.1 and back.rmsd > 0.02
    assert xtb.rmsd(whole.molecule.positions, back.molecule.positions) < 0.01
    lengths = np.linalg.norm(back.molecule.positions[1:] - back.molecule.positions[0], axis=1)
    np.testing.assert_allclose(lengths, 1.08, atol=0.015)


def test_relaxation_lowers_the_energy_and_stops_where_it_says():
    relaxed = xtb.relax(FORMALDEHYDE)
    after = xtb.single_point(relaxed.molecule)
    before = xtb.single_point(FORMALDEHYDE)
    drop_ev = (before.energy_hartree - after.energy_hartree) * xtb.HARTREE
    assert relaxed.energy_drop_ev >= 0
    assert relaxed.energy_drop_ev == pytest.approx(drop_ev, abs=1e-5)
    assert np.abs(after.gradient).max() <= 3.1e-4
    assert relaxed.before.gap_ev == pytest.approx(before.electrons.gap_ev, abs=1e-6)
    assert relaxed.after.gap_ev == pytest.approx(after.electrons.gap_ev, abs=1e-3)


def test_a_bond_that_forms_is_seen():
    apart = moved(METHANE, METHANE.positions * np.array([[1], [1.35], [1], [1], [1]]))
    assert xtb.relax(apart).bond_change
    assert not xtb.relax(METHANE).bond_change


def test_a_field_that_does_not_converge_is_a_value():
    relaxed = xtb.relax(FORMALDEHYDE, cycles=1)
    assert not relaxed.converged and "not converged" in relaxed.sentence
    assert math.isnan(relaxed.before.gap_ev) and math.isnan(relaxed.after.gap_ev)
    assert math.isnan(relaxed.energy_drop_ev) and math.isnan(relaxed.rmsd)
    np.testing.assert_array_equal(relaxed.molecule.positions, FORMALDEHYDE.positions)


def test_atoms_on_top_of_each_other_are_a_value():
    relaxed = xtb.relax(moved(WATER, np.zeros((3, 3))))
    assert not relaxed.converged and relaxed.sentence.startswith("GFN2-xTB failed")


def test_a_relaxation_that_is_cut_short_says_so_and_keeps_the_best():
    bent = METHANE.positions + 0.12 * np.random.default_rng(1).standard_normal((5, 3))
    relaxed = xtb.relax(moved(METHANE, bent), limit=1)
    assert not relaxed.converged and "after 1 steps" in relaxed.sentence
    assert relaxed.energy_drop_ev > 0 and math.isfinite(relaxed.after.gap_ev)


def test_odd_electrons_are_refused_with_a_sentence():
    radical = Molecule(("O", "H"), np.array([[0.0, 0, 0], [0, 0, 0.97]]), (0, 0))
    assert "9 electrons" in xtb.relax(radical).sentence
    assert xtb.single_point(Molecule(radical.symbols, radical.positions, (-1, 0))).converged
    assert xtb.relax(Molecule(("H",), np.zeros((1, 3)), (1,))).sentence == "The molecule has no electrons."


def test_an_unknown_element_is_misuse():
    with pytest.raises(Misuse, match="element Cl"):
        xtb.single_point(Molecule(("H", "Cl"), np.array([[0.0, 0, 0], [0, 0, 1.27]]), (0, 0)))


def test_nothing_is_printed(capfd):
    xtb.relax(WATER)
    out, err = capfd.readouterr()
    assert not out and not err


def test_the_model_hessian_is_positive_and_turns_with_the_molecule():
    bohr, turn = FORMALDEHYDE.positions / units.BOHR, rotation(0)
    h = xtb.ModelHessian()(bohr)
    assert np.linalg.eigvalsh(h).min() >= xtb.ModelHessian.floor - 1e-9
    both = np.kron(np.eye(4), turn.T)
    np.testing.assert_allclose(xtb.ModelHessian()(bohr @ turn), both @ h @ both.T, atol=1e-12)


@pytest.mark.parametrize(
    ("geometry", "lines"),
    [("QM9", xtb.CALIBRATION), ("relaxed", xtb.RELAXED_CALIBRATION)],
    ids=("QM9", "relaxed"),
)
def test_the_calibration_is_that_of_the_committed_benchmark(geometry, lines):
    rows = {r["property"]: r for r in json.loads(RESULTS.read_text())["rows"] if r["geometry"] == geometry}
    assert rows.keys() == lines.keys()
    for name, line in lines.items():
        assert (line.slope, line.intercept, line.mae, line.r2) == tuple(
            rows[name][k] for k in ("slope", "intercept", "mae", "r2")
        )
