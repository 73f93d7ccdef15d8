"""Molecular formulae: read, checked against what a closed-shell molecule of QM9's elements can be, written."""

from __future__ import annotations

import re
from collections.abc import Mapping

from headwater.errors import Misuse
from headwater.molecule.structure.elements import ELEMENTS, MAX_ATOMS
from headwater.text import counted

MIN_ATOMS = 3
"""The smallest molecule of QM9, water, has three atoms."""
HEAVY_ATOMS = 9
"""The most atoms other than hydrogen of a molecule of QM9."""
LEAST_HEAVY_ATOMS = 4
"""QM9 has 17 molecules with fewer, of 130,831."""
_PLAIN = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")


def parse_formula(text: str) -> dict[str, int]:
    """The atoms of each element of a formula such as 'C7H10O2'; elements may repeat, as in 'CH3CH2OH'.

    >>> parse_formula("C7H10O2"), parse_formula("CH3CH2OH")
    ({'C': 7, 'H': 10, 'O': 2}, {'C': 2, 'H': 6, 'O': 1})
    >>> parse_formula("C2H5")
    Traceback (most recent call last):
    headwater.errors.Misuse: The formula C2H5 has an odd number of electrons, a radical. Add or remove a hydrogen.

    Raises
    ------
    Misuse
        The text is not a plain formula, or `check_formula` refuses it.
    """
    plain = "".join(text.translate(_PLAIN).split())
    if any(c in plain for c in "()[]{}.·*"):
        raise Misuse(
            f"The formula {text} has brackets or parts.", "Write the sum of its atoms, as in C7H10O2."
        )
    if any(c in plain for c in "+-−"):
        raise Misuse(f"The formula {text} has a charge.", "Give a neutral molecule, as in C7H10O2.")
    if not re.fullmatch(r"(?:[A-Z][a-z]?\d*)+", plain):
        raise Misuse(f"{text!r} is not a formula.", "Write symbols and numbers, as in C7H10O2.")
    counts: dict[str, int] = {}
    for symbol, digits in re.findall(r"([A-Z][a-z]?)(\d*)", plain):
        if digits.startswith("0"):
            raise Misuse(
                f"The formula {text} has {symbol}{digits}.", f"Leave {symbol} out, or give its number."
            )
        counts[symbol] = counts.get(symbol, 0) + int(digits or 1)
    check_formula(counts)
    return counts


def check_formula(counts: Mapping[str, int]) -> None:
    """Refuse what the models cannot hold, and what no neutral closed-shell molecule can be.

    With c, n, h, f atoms of C, N, H, F the rings and double bonds are (2 c + 2 + n - h - f) / 2: whole if all
    electrons are paired, and not negative if the atoms hang together.
    """
    name = f"The formula {hill_formula(counts)}"
    strange = sorted(set(counts) - set(ELEMENTS))
    if strange:
        raise Misuse(f"{name} has the element {strange[0]}.", f"The models know {', '.join(ELEMENTS)} only.")
    total = sum(counts.values())
    if not MIN_ATOMS <= total <= MAX_ATOMS:
        what = f"{name} has {counted(total, 'atom')}."
        raise Misuse(what, f"Give {MIN_ATOMS} to {MAX_ATOMS} atoms, hydrogens included.")
    twice = twice_unsaturation(counts)
    if twice % 2:
        cure = "Add or remove a hydrogen." if counts.get("H") else "Add a hydrogen."
        raise Misuse(f"{name} has an odd number of electrons, a radical.", cure)
    if twice < 0:
        most = counts.get("H", 0) + twice
        cure = f"Give at most {counted(most, 'hydrogen')}." if most >= 0 else "Give more carbon."
        raise Misuse(f"{name} has more hydrogen and fluorine than its other atoms can bind.", cure)


def twice_unsaturation(counts: Mapping[str, int]) -> int:
    """Twice the number of rings and double bonds, 2 c + 2 + n - h - f.

    >>> twice_unsaturation({"C": 6, "H": 6})
    8
    """
    c, n, h, f = (counts.get(e, 0) for e in "CNHF")
    return 2 * c + 2 + n - h - f


def size_warning(counts: Mapping[str, int]) -> str | None:
    """A sentence if a formula is unlike all of QM9, else None.

    >>> size_warning({"C": 12, "H": 10})
    'C12H10 has 12 atoms other than hydrogen, and QM9, which the models learnt from, at most 9.'
    """
    heavy = sum(k for e, k in counts.items() if e != "H")
    if heavy <= HEAVY_ATOMS:
        return None
    return (
        f"{hill_formula(counts)} has {heavy} atoms other than hydrogen, and QM9, which the models learnt from, "
        f"at most {HEAVY_ATOMS}."
    )


def hill_formula(counts: Mapping[str, int]) -> str:
    """The formula in the order of Hill: C, H, then the alphabet; without C all by the alphabet.

    >>> hill_formula({"O": 2, "H": 10, "C": 7}), hill_formula({"O": 1, "H": 2}), hill_formula({"F": 2, "O": 1})
    ('C7H10O2', 'H2O', 'F2O')
    """
    first = ("C", "H") if counts.get("C") else ()
    order = [*first, *sorted(e for e in counts if e not in first)]
    return "".join(f"{e}{counts[e] if counts[e] > 1 else ''}" for e in order if counts.get(e))
