"""B3LYP/6-31G(2df,p) through pyscf: QM9's own numbers, its basis, and failures as values."""

import math
from functools import cache

import numpy as np
import pytest

from headwater.errors import Misuse
from headwater.molecule.checks import dft
from headwater.molecule.structure.molecule import Molecule

pytest.importorskip("pyscf")

WATER = Molecule(  # the second molecule of QM9 and its values
    ("O", "H", "H"),
    np.array(
        [
            [-0.0343604951, 0.9775395708, 0.0076015923],
            [0.0647664923, 0.0205721989, 0.0015346341],
            [0.8717903737, 1.3007924048, 0.0006931336],
        ]
    ),
    (0, 0, 0),
)
HYDROGEN = Molecule(("H", "H"), np.array([[0.0, 0, 0], [0, 0, 0.743]]), (0, 0))


@cache
def water():
    cycles = []
    return dft.single_point(WATER, callback=lambda *at: cycles.append(at)), cycles


def test_water_is_qm9s_to_the_digits_that_qm9_has():
    result, _ = water()
    assert result.converged and not result.sentence and result.seconds > 0
    assert result.homo_ev == pytest.approx(-0.2928 * dft.HARTREE, abs=0.002)
    assert result.lumo_ev == pytest.approx(0.0687 * dft.HARTREE, abs=0.002)
    assert result.gap_ev == pytest.approx(0.3615 * dft.HARTREE, abs=0.002)
    assert result.dipole_debye == pytest.approx(1.8511, abs=0.001)
    assert result.energy_hartree == pytest.approx(-76.404702 - 0.021375, abs=1e-4)


def test_the_callback_sees_every_iteration():
    result, cycles = water()
    assert [n for n, _ in cycles] == list(range(1, len(cycles) + 1))
    assert cycles[-1][1] == pytest.approx(result.energy_hartree, abs=1e-6)


def test_the_orbitals_span_six_d_and_seven_f():
    field = dft._field(HYDROGEN)
    span = dft._span(dft._field(WATER).mol)
    assert span.shape == (dft.functions(WATER), 28 + 5 + 5)
    field.kernel()
    assert field.mo_coeff.shape == (10, 10)
    field = dft._field(WATER)
    orbitals = field.check_linear_dependency(field.get_ovlp())
    np.testing.assert_allclose(orbitals.T @ field.get_ovlp() @ orbitals, np.eye(38), atol=1e-9)


def test_place_and_orientation_do_not_matter():
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))
    there = Molecule(HYDROGEN.symbols, HYDROGEN.positions @ q + 3, HYDROGEN.charges)
    a, b = dft.single_point(HYDROGEN), dft.single_point(there)
    assert a.gap_ev == pytest.approx(b.gap_ev, abs=1e-4)
    assert b.dipole_debye == pytest.approx(0, abs=1e-5)


def test_odd_electrons_are_refused_with_a_sentence():
    result = dft.single_point(Molecule(("O", "H"), np.array([[0.0, 0, 0], [0, 0, 0.97]]), (0, 0)))
    assert not result.converged and "9 electrons" in result.sentence and math.isnan(result.gap_ev)


def test_atoms_on_top_of_each_other_are_a_value():
    result = dft.single_point(Molecule(("H", "H"), np.zeros((2, 3)), (0, 0)))
    assert not result.converged and result.sentence.startswith("B3LYP") and math.isnan(result.homo_ev)


def test_a_field_that_does_not_converge_is_a_value(monkeypatch):
    field = dft._field(HYDROGEN)
    field.max_cycle = 1
    monkeypatch.setattr(dft, "_field", lambda m: field)
    result = dft.single_point(HYDROGEN)
    assert not result.converged and "1 iterations" in result.sentence and math.isnan(result.gap_ev)


def test_an_unknown_element_is_misuse():
    with pytest.raises(Misuse, match="element Cl"):
        dft.single_point(Molecule(("H", "Cl"), np.array([[0.0, 0, 0], [0, 0, 1.27]]), (0, 0)))


def test_the_forecast_grows_as_its_power_law(monkeypatch):
    monkeypatch.setattr(dft, "_reference_seconds", lambda: 2.0)
    assert dft.forecast(dft.FORMALDEHYDE) == pytest.approx(2.0)
    ratio = dft.functions(WATER) / dft.functions(dft.FORMALDEHYDE)
    assert dft.forecast(WATER) == pytest.approx(2.0 * ratio**2.2)


def test_a_series_reports_its_progress_and_learns_from_it(monkeypatch):
    def pretend(m, *, callback=None):
        return dft.DftResult(-7.0, 1.0, 8.0, 0.0, -1.0, 10.0, True)

    monkeypatch.setattr(dft, "_reference_seconds", lambda: 2.0)
    monkeypatch.setattr(dft, "single_point", pretend)
    events = []
    results = list(dft.compute_all([dft.FORMALDEHYDE] * 3, callback=events.append))
    assert len(results) == 3
    assert [(e.done, e.total) for e in events] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert [e.seconds_left for e in events] == pytest.approx([6.0, 20.0, 10.0, 0.0])


def test_a_series_goes_on_after_a_failure():
    apart = Molecule(("H",), np.zeros((1, 3)), (0,))
    bad, good = dft.compute_all([apart, HYDROGEN])
    assert not bad.converged and good.converged


def test_the_basis_is_gaussians_and_not_the_one_of_that_name_elsewhere():
    exponents = [shell[1][0] for shell in dft.basis("C") if shell[0] == 2]
    assert exponents == [1.6, 0.4]
    assert [shell for shell in dft.basis("H") if shell[0] == 1] == [[1, [1.1, 1.0]]]
