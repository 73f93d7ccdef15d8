"""Numbers, names and formulae as sheet and page show them."""

import numpy as np
import pytest

from headwater.molecule.io.card import Line, clean_text, formula_text
from headwater.molecule.structure.molecule import Molecule


def atoms(symbols, charge=0):
    return Molecule(tuple(symbols), np.zeros((len(symbols), 3)), (charge,) + (0,) * (len(symbols) - 1))


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ((5.0, 5.03, 4.7), ["5.00", "5.03", "4.70"]),
        ((-6.5, -10.2, None), ["−6.50", "−10.20", "–"]),
        ((75.04, float("nan"), 0.0), ["75.0", "–", "0.0"]),
        ((5012.0, 4990.4, float("inf")), ["5012", "4990", "inf"]),
        ((None, None, None), ["–", "–", "–"]),
        ((0.0012, 0.0, -1e9), ["0", "0", "−1e+09"]),
    ],
)
def test_numbers(values, shown):
    assert list(Line("p", "", tuple(zip("abc", values, strict=True))).format_values().values()) == shown


def test_names_and_formulae():
    assert clean_text(" a\r\n\tb\u2028\x1b[0m ") == "a b [0m"
    assert formula_text(atoms("NHHHH", 1)) == "H₄N+" and formula_text(atoms("OCCOHHH", -1)) == "C₂H₃O₂−"
