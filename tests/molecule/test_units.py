"""Targets as a chemist writes them: values with units, in and out."""

import math
import re

import pytest

from headwater.errors import Misuse
from headwater.molecule.structure import units


def two_sentences(text):
    return len(re.findall(r"[.?!](?= |$)", text.replace("e.g.", ""))) == 2


GOOD = [
    ("gap", "5.0eV", 5.0),
    ("gap", "5 eV", 5.0),
    ("gap", " 5.EV ", 5.0),
    ("gap", "5000 meV", 5.0),
    ("gap", ".5ev", 0.5),
    ("gap", "5e3meV", 5.0),
    ("homo", "-6.5eV", -6.5),
    ("homo", "−6.5 eV", -6.5),
    ("homo", "-0.25Ha", -0.25 * 27.211386245988),
    ("homo", "-0.25 Eh", -0.25 * 27.211386245988),
    ("homo", "-0.25 hartree", -0.25 * 27.211386245988),
    ("lumo", "+0.1 a.u.", 2.7211386245988),
    ("gap", "23.060548 kcal/mol", 1.0),
    ("gap", "96.48533212 kJ/mol", 1.0),
    ("mu", "2D", 2.0),
    ("mu", "2 debye", 2.0),
    ("mu", "1 e*A", 4.803205),
    ("mu", "1 e·Å", 4.803205),
    ("mu", "1 eA", 4.803205),
    ("mu", "1 au", 2.541746),
    ("mu", "1 e*a0", 2.541746),
    ("alpha", "73.5 Bohr^3", 73.5),
    ("alpha", "73.5bohr3", 73.5),
    ("alpha", "73.5 a₀³", 73.5),
    ("alpha", "10 A^3", 67.4833),
    ("alpha", "10 Å³", 67.4833),
    ("alpha", "10 angstrom^3", 67.4833),
    ("cv", "30cal/mol/K", 30.0),
    ("cv", "30 cal/(mol K)", 30.0),
    ("cv", "30 cal/(mol*K)", 30.0),
    ("cv", "125.52 J/mol/K", 30.0),
    ("gap", "0eV", 0.0),
]


@pytest.mark.parametrize("name, text, value", GOOD, ids=[text for _, text, _ in GOOD])
def test_units_are_converted(name, text, value):
    assert units.read_quantity(name, text) == pytest.approx(value, rel=1e-6)


@pytest.mark.parametrize(
    "name, text, words",
    [
        ("gap", "5.0", "--gap 5.0 has no unit. Write 5.0eV, 5.0meV or 5.0kJ/mol"),
        ("homo", "-6.5", "Write -6.5eV"),
        ("mu", "2", "Write 2D or 2e*a0"),
        ("alpha", "70", "Write 70Bohr^3"),
        ("cv", "30", "Write 30cal/mol/K"),
        ("gap", "5D", "has a unit of a dipole moment, but gap is an energy."),
        ("mu", "2eV", "has a unit of an energy, but mu is a dipole moment."),
        ("alpha", "70 cal/mol/K", "has a unit of a heat capacity"),
        ("cv", "30eV", "but cv is a heat capacity."),
        ("gap", "5MeV", "unknown unit 'MeV'"),
        ("gap", "5volts", "unknown unit 'volts'"),
        ("gap", "5ev V", "unknown unit"),
        ("gap", "5,0eV", "Write a decimal point"),
        ("gap", "eV", "does not begin with a number."),
        ("gap", "", "does not begin with a number."),
        ("gap", "five eV", "does not begin with a number."),
        ("gap", "nan", "is not finite."),
        ("gap", "naneV", "does not begin with a number."),
        ("gap", "nan eV", "does not begin with a number."),
        ("gap", "1e999eV", "is not finite."),
        ("homo", "-infeV", "does not begin with a number."),
        ("gap", "-5eV", "is negative."),
        ("mu", "-1D", "is negative."),
        ("alpha", "-70Bohr^3", "is negative."),
        ("cv", "-3J/mol/K", "is negative."),
    ],
)
def test_wrong_values_are_refused_with_what_to_write(name, text, words):
    with pytest.raises(Misuse) as caught:
        units.read_quantity(name, text)
    assert words in str(caught.value) and two_sentences(str(caught.value)), str(caught.value)


def test_the_examples_of_the_refusals_are_accepted():
    for name, kind in units.KINDS.items():
        for form in units.EXAMPLES[kind]:
            assert math.isfinite(units.read_quantity(name, form.format("5")))


def test_what_is_shown_can_be_read():
    for name, unit in units.UNITS.items():
        assert units.format_quantity(name, 12.25).endswith(f" {unit}")
        assert units.read_quantity(name, units.format_quantity(name, 12.25)) == 12.25
        assert units.format_quantity(name, math.nan) == units.format_quantity(name, None) == "-"


def test_constants_agree_with_each_other():
    assert pytest.approx(units.KJ_MOL / units.CALORIE, rel=1e-6) == 23.060548
    assert pytest.approx(27.211386245988 * units.KJ_MOL, rel=1e-7) == 2625.49964
    from headwater.molecule.model import regressor

    assert tuple(units.UNITS) == regressor.PROPERTIES
