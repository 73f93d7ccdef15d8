"""Formulae: read, refused where no closed-shell molecule has them, written."""

import re
from collections import Counter

import pytest

from headwater.errors import Misuse
from headwater.molecule.structure.formula import (
    check_formula,
    hill_formula,
    parse_formula,
    size_warning,
    twice_unsaturation,
)


@pytest.mark.parametrize(
    "text, counts",
    [
        ("C7H10O2", {"C": 7, "H": 10, "O": 2}),
        ("C4H6N2", {"C": 4, "H": 6, "N": 2}),
        ("CH4", {"C": 1, "H": 4}),
        ("H2O", {"H": 2, "O": 1}),
        ("NH3", {"N": 1, "H": 3}),
        ("HCN", {"H": 1, "C": 1, "N": 1}),
        ("CH3CH2OH", {"C": 2, "H": 6, "O": 1}),
        ("C₇H₁₀O₂", {"C": 7, "H": 10, "O": 2}),
        (" C6 H6 ", {"C": 6, "H": 6}),
        ("CF4", {"C": 1, "F": 4}),
        ("C9H20", {"C": 9, "H": 20}),
    ],
)
def test_formulae_are_read(text, counts):
    assert parse_formula(text) == counts
    assert parse_formula(hill_formula(counts)) == counts


@pytest.mark.parametrize(
    "text, words",
    [
        ("", "is not a formula."),
        ("c7h10o2", "is not a formula."),
        ("7C", "is not a formula."),
        ("water", "is not a formula."),
        ("C7H10O2!", "is not a formula."),
        ("(CH3)2CO", "has brackets or parts."),
        ("C6H6.H2O", "has brackets or parts."),
        ("[13C]H4", "has brackets or parts."),
        ("NH4+", "has a charge."),
        ("C2H3O2-", "has a charge."),
        ("C6H5Cl", "has the element Cl."),
        ("CoH2", "has the element Co."),
        ("C2H6S", "The models know H, C, N, O, F only."),
        ("C0H4", "Leave C out"),
        ("C10H22", "has 32 atoms."),
        ("C99999999H4", "atoms. Give 3 to 29"),
        ("H2", "has 2 atoms."),
        ("O", "has 1 atom."),
        ("CH3", "an odd number of electrons"),
        ("C2H5", "an odd number of electrons"),
        ("NO2", "Add a hydrogen."),
        ("CH6", "Give at most 4 hydrogens."),
        ("C2H8", "Give at most 6 hydrogens."),
        ("H3F", "more hydrogen and fluorine"),
        ("CF6", "Give more carbon."),
    ],
)
def test_impossible_formulae_are_refused(text, words):
    with pytest.raises(Misuse) as caught:
        parse_formula(text)
    said = str(caught.value)
    assert words in said and len(re.findall(r"[.?!](?= |$)", said)) == 2, said


def test_the_count_of_rings_and_double_bonds():
    for text, expected in [("C6H6", 4), ("CH4", 0), ("HCN", 2), ("C3H6", 1), ("H2O", 0), ("C2H4F2", 0)]:
        assert twice_unsaturation(parse_formula(text)) == 2 * expected, text


def test_more_heavy_atoms_than_qm9_is_a_warning():
    assert size_warning(parse_formula("C9H12")) is None
    assert "at most 9" in size_warning(parse_formula("C10H12"))


def test_a_dictionary_is_checked_too():
    check_formula({"C": 1, "H": 4, "N": 0})
    with pytest.raises(Misuse, match="has the element S"):
        check_formula({"H": 2, "S": 1})


def test_formula_is_in_hills_order():
    assert hill_formula(Counter("HHCCOFNH")) == "C2H3FNO"
    assert hill_formula(Counter("OFHN")) == "FHNO"
    assert hill_formula({"C": 0, "H": 2, "O": 1}) == "H2O"
