"""Properties with their units: read from words such as '5.0eV', converted, shown.

Inside Headwater a property always has the unit of `UNITS`; what a user writes says its unit, and one that is missing
or of the wrong kind is refused. Constants: CODATA 2018.
"""

from __future__ import annotations

import math
import re
import unicodedata

from headwater.errors import Misuse, suggest
from headwater.text import shorten, with_article

HARTREE = 27.211386245988
"""eV per Hartree."""
BOHR = 0.529177210903
"""Angstrom per Bohr."""
KJ_MOL = 96.48533212331
"""kJ/mol per eV: e times the Avogadro constant, both exact."""
CALORIE = 4.184
"""J per thermochemical calorie, exact."""
DEBYE = 1 / 0.20819434
"""Debye per e angstrom: 1 D = 1e-21 / c C m."""

UNITS = {"alpha": "Bohr^3", "gap": "eV", "homo": "eV", "lumo": "eV", "mu": "D", "cv": "cal/mol/K"}
"""The unit of each property everywhere inside Headwater."""

MEANING = {
    "alpha": "isotropic polarisability",
    "gap": "LUMO energy minus HOMO energy",
    "homo": "energy of the highest occupied orbital",
    "lumo": "energy of the lowest unoccupied orbital",
    "mu": "length of the dipole moment",
    "cv": "heat capacity at 298.15 K and constant volume, the full Cv that QM9 lists (not Cv minus 2.981 per atom)",
}
"""What each property is, at QM9's level of theory, B3LYP/6-31G(2df,p)."""

SCORES = {
    "qed": "drug-likeness from 0 to 1 (QED; Bickerton et al., Nature Chemistry 4, 90, 2012), by RDKit",
    "logp": "octanol-water partition coefficient, log10 (Wildman and Crippen, J. Chem. Inf. Comput. Sci. 39, 868, "
    "1999), by RDKit",
    "sa": "synthetic accessibility from 1, easy, to 10 (Ertl and Schuffenhauer, J. Cheminf. 1, 8, 2009), by RDKit's "
    "Contrib",
}
"""What each score is; all are functions of the SMILES alone."""

KINDS = {
    "alpha": "polarisability", "gap": "energy", "homo": "energy", "lumo": "energy", "mu": "dipole moment",
    "cv": "heat capacity",
}  # fmt: skip

FACTORS: dict[str, dict[str, float]] = {
    "energy": {
        "eV": 1.0, "meV": 1e-3, "Ha": HARTREE, "Eh": HARTREE, "hartree": HARTREE, "au": HARTREE,
        "kcal/mol": CALORIE / KJ_MOL, "kJ/mol": 1 / KJ_MOL,
    },
    "dipole moment": {
        "D": 1.0, "Debye": 1.0, "e*A": DEBYE, "eA": DEBYE, "e*a0": DEBYE * BOHR, "ea0": DEBYE * BOHR,
        "au": DEBYE * BOHR,
    },
    "polarisability": {
        "Bohr^3": 1.0, "Bohr3": 1.0, "a0^3": 1.0, "a03": 1.0, "au": 1.0,
        "A^3": BOHR**-3, "A3": BOHR**-3, "angstrom^3": BOHR**-3, "angstrom3": BOHR**-3,
    },
    "heat capacity": {
        "cal/mol/K": 1.0, "cal/(mol*K)": 1.0, "cal/(molK)": 1.0, "cal/molK": 1.0,
        "J/mol/K": 1 / CALORIE, "J/(mol*K)": 1 / CALORIE, "J/(molK)": 1 / CALORIE, "J/molK": 1 / CALORIE,
    },
}  # fmt: skip
"""Kind: unit: how many canonical units one of it is. Spaces and, but for 'MeV', capitals do not matter."""

EXAMPLES = {
    "energy": ("{}eV", "{}meV", "{}kJ/mol"),
    "dipole moment": ("{}D", "{}e*a0"),
    "polarisability": ("{}Bohr^3", "{}angstrom^3"),
    "heat capacity": ("{}cal/mol/K", "{}J/mol/K"),
}
PLACES = {"alpha": 2, "gap": 3, "homo": 3, "lumo": 3, "mu": 3, "cv": 2}
"""Decimals that are shown; 2 of anything else."""
SIGNED = ("homo", "lumo")
LARGEST = 1e6
"""The largest value that may be asked for, in canonical units; QM9 stays below 200."""
_NUMBER = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?(?:nan|inf(?:inity)?)(?![a-z]))(.*)", re.IGNORECASE
)
_PLAIN = str.maketrans({"−": "-", "·": "*", "⋅": "*", "Å": "A"})


def read_quantity(property: str, text: str) -> float:
    """The value of a property in its canonical unit, from a number with a unit.

    >>> read_quantity("gap", "5.0eV"), read_quantity("homo", "-6500 meV")
    (5.0, -6.5)
    >>> round(read_quantity("alpha", "10 angstrom^3"), 3)
    67.483
    >>> read_quantity("gap", "5.0")
    Traceback (most recent call last):
    headwater.errors.Misuse: --gap 5.0 has no unit. Write 5.0eV, 5.0meV or 5.0kJ/mol, whichever is meant.

    Raises
    ------
    Misuse
        There is no number, no unit or one of another kind; or no molecule can have the value (not finite, or
        negative where only `SIGNED` properties are).
    """
    words = f"--{property} {shorten(text.strip())}"
    match = parse_number(text)
    if match is None:
        raise Misuse(f"{words} does not begin with a number.", f"Write it like {_examples(property, '5')}.")
    if re.match(r",\d", match[2]):
        raise Misuse(f"{words} has a comma.", f"Write a decimal point, as in 5.0{UNITS[property]}.")
    if not math.isfinite(float(match[1])):
        raise Misuse(f"{words} is not finite.", f"Write it like {_examples(property, '5')}.")
    value = float(match[1]) * unit_factor(property, match[2], words, match[1])
    if value < 0 and property not in SIGNED:
        kind = with_article(KINDS[property])
        raise Misuse(f"{words} is negative.", f"Give 0 or more: this is {kind} that has no sign.")
    if abs(value) > LARGEST:
        what = f"{words} is more than any molecule has."
        raise Misuse(what, f"Give at most {LARGEST:,.0f} {UNITS[property]}.")
    return value


def unit_factor(property: str, unit: str, words: str, number: str = "5") -> float:
    """How many canonical units of a property one `unit` is; `words` and `format_number` are for the refusal."""
    kind = KINDS[property]
    known = FACTORS[kind]
    if not unit:
        raise Misuse(
            f"{words} has no unit.", f"Write {_examples(property, shorten(number))}, whichever is meant."
        )
    found = _lookup(unit, known)
    if found is not None:
        return found
    other = next((k for k, units in FACTORS.items() if _lookup(unit, units) is not None), None)
    if other is not None:
        raise Misuse(
            f"{words} has a unit of {with_article(other)}, but {property} is {with_article(kind)}.",
            f"Write {_examples(property, number)}, whichever is meant.",
        )
    raise Misuse(f"{words} has the unknown unit {unit!r}.", suggest(unit, [u for u in known if u != "au"]))


def format_quantity(property: str, value: float | None) -> str:
    """A value with its unit; a dash if there is none.

    >>> format_quantity("gap", 5), format_quantity("cv", 30.128), format_quantity("mu", None)
    ('5.000 eV', '30.13 cal/mol/K', '-')
    """
    text = format_number(property, value)
    return text if text == "-" else f"{text} {UNITS.get(property, '')}".rstrip()


def format_number(property: str, value: float | None) -> str:
    """A value in its canonical unit, without the unit.

    >>> format_number("homo", -6.54321)
    '-6.543'
    """
    return "-" if value is None or not math.isfinite(value) else f"{value:.{PLACES.get(property, 2)}f}"


def parse_number(text: str) -> re.Match[str] | None:
    """A number and what follows it, None for anything else; spaces do not matter, ³ is 3, ₀ is 0."""
    return _NUMBER.fullmatch("".join(unicodedata.normalize("NFKC", text).translate(_PLAIN).split()))


def _lookup(unit: str, known: dict[str, float]) -> float | None:
    """The factor of a unit, with or without its capitals: but MeV is a million eV, and not meV."""
    if unit in known:
        return known[unit]
    if unit.startswith("M"):
        return None
    plain = unit.casefold().replace(".", "")
    return next((f for name, f in known.items() if name.casefold() == plain), None)


def _examples(property: str, number: str) -> str:
    *first, last = (form.format(number) for form in EXAMPLES[KINDS[property]])
    return f"{', '.join(first)} or {last}"
