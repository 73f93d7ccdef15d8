"""What xTB and DFT say beside the evaluator: in eV and kcal/mol, and what counts as a contradiction."""

import math

import pytest
from by_hand import METHANE

from headwater.molecule.checks.dft import DftResult
from headwater.molecule.checks.physics import KCAL_MOL, Physics, PhysicsLimits
from headwater.molecule.checks.xtb import RELAXED_CALIBRATION, Electrons, Relaxation
from headwater.molecule.structure.interval import Interval

LINE = RELAXED_CALIBRATION["gap"]


def relaxed(gap=6.13, strain=1.0, bond_change=False):
    """A relaxation whose gap on the scale of B3LYP is `gap`, eV, and which frees `strain` kcal/mol."""
    raw = (gap - LINE.intercept) / LINE.slope
    e = Electrons(-7.0, -7.0 + raw, raw, 1.5)
    return Relaxation(METHANE, True, 5, strain / KCAL_MOL, 0.1, bond_change, e, e)


def computed(gap=6.35):
    return DftResult(-7.0, -7.0 + gap, gap, 1.5, -40.0, 60.0, True)


def test_a_hit_that_physics_contradicts():
    """Gap 7.70 by the evaluator, 6.13 by xTB and 6.35 by B3LYP, with 57 kcal/mol of strain."""
    p = Physics({"gap": 7.70}, relaxed(6.13, strain=57.0))
    assert p.disagreement["gap"] == pytest.approx(-1.57) and p.strain == pytest.approx(57.0)
    assert p.notes({"gap": 7.7}) == ["xTB: gap 1.57 eV below the evaluator's", "strain 57 kcal/mol"]
    assert p.doubt({"gap": 7.7}) == pytest.approx(1.57 / LINE.mae + 57 / PhysicsLimits().strain)
    both = Physics({"gap": 7.70}, relaxed(6.13), computed(6.35))
    assert both.disagreement["gap"] == pytest.approx(-1.35)  # DFT has the last word
    assert both.notes({"gap": 7.7}) == ["DFT: gap 1.35 eV below the evaluator's"]


def test_what_agrees_is_no_contradiction():
    for off in (-0.5, 0.5):  # about a mean error of xTB
        assert Physics({"gap": 6.0}, relaxed(6.0 + off)).notes({"gap": 6.0}) == []
    assert Physics({"gap": 6.0}, relaxed(7.5)).notes({}) == []  # nothing was asked
    assert Physics({"gap": 6.0}).notes({"gap": 6.0}) == [] and Physics({"gap": 6.0}).doubt({"gap": 6.0}) == 0
    assert Physics({"gap": 6.0}).strain is None and Physics({"gap": 6.0}).disagreement == {}


def test_a_check_inside_the_range_contradicts_nothing():
    p = Physics({"gap": 8.4}, relaxed(10.0))
    assert p.notes({"gap": Interval(low=8.0)}) == [] and p.notes({"gap": 8.4}) != []
    assert p.notes({"gap": Interval(8.0, 9.0)}) == ["xTB: gap 1.60 eV above the evaluator's"]


def test_what_is_not_known_is_left_out():
    lost = Relaxation(METHANE, False, 0, math.nan, math.nan, False, *[Electrons(*[math.nan] * 4)] * 2, "No.")
    p = Physics({"gap": 5.0}, lost, DftResult(*[math.nan] * 5, 1.0, False, "No."))
    assert p.xtb_values == p.dft_values == p.disagreement == {} and p.strain is None
    assert p.notes({"gap": 5.0}) == [] and p.doubt({"gap": 5.0}) == 3.0
    changed = Physics({"gap": None}, relaxed(5.0, bond_change=True))
    assert changed.notes({"gap": 5.0}) == ["bonds change in xTB"] and "gap" not in changed.disagreement


def test_a_check_that_failed_ranks_behind_one_that_agrees():
    lost = Electrons(math.nan, math.nan, math.nan, math.nan)
    failed = Relaxation(METHANE, False, 5, math.nan, math.nan, False, lost, lost)
    agrees = Physics({"gap": 6.0}, relaxed(6.2)).doubt({"gap": 6.0})
    assert Physics({"gap": 6.0}).doubt({"gap": 6.0}) == 0 < agrees
    assert Physics({"gap": 6.0}, failed).doubt({"gap": 6.0}) > max(agrees, PhysicsLimits().errors)
    assert Physics({"gap": 6.0}, failed, computed(6.0)).doubt({"gap": 6.0}) == 0
