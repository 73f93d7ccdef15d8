"""What sheet and page show of a molecule: its properties by source, its formula, remarks; and their text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from headwater.molecule.structure.formula import hill_formula
from headwater.molecule.structure.molecule import Molecule

SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class Line:
    """One property of a molecule, as sheet and page show it.

    Parameters
    ----------
    label
        Its name, such as "gap".
    unit
        Of the numbers, such as "eV"; empty for a number without unit.
    values
        Pairs (source, value): where a value comes from ("asked", "guide" ...), and the value. None is not computed,
        and words stay as they are.

    Examples
    --------
    >>> import headwater as hw
    >>> hw.molecule.Line("gap", "eV", (("asked", 5.0), ("guide", 5.03), ("xTB", None))).format_values()
    {'asked': '5.00', 'guide': '5.03', 'xTB': '–'}
    """

    label: str
    unit: str
    values: tuple[tuple[str, float | str | None], ...]

    def format_values(self) -> dict[str, str]:
        """The values as text by source, all with one number of decimals: the largest has three digits or four."""
        numbers = [v for _, v in self.values if isinstance(v, float | int) and math.isfinite(v)]
        places = _decimals(max(map(abs, numbers), default=0.0))
        return {name: v if isinstance(v, str) else _number(v, places) for name, v in self.values}


@dataclass(frozen=True)
class Card:
    """A molecule as `write_sheet` and `write_page` show it.

    Parameters
    ----------
    molecule
        Positions `[n, 3]`, angstrom.
    name
        The heading.
    lines
        Its properties, from top to bottom.
    notes
        Remarks such as "unstable".

    Examples
    --------
    >>> import numpy as np
    >>> import headwater as hw
    >>> places = np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    >>> water = hw.molecule.Molecule(("O", "H", "H"), places, (0, 0, 0))
    >>> card = hw.molecule.Card(water, "water", (hw.molecule.Line("gap", "eV", (("asked", 9.0),)),))
    >>> card.lines[0].format_values()
    {'asked': '9.00'}
    """

    molecule: Molecule
    name: str = ""
    lines: tuple[Line, ...] = ()
    notes: tuple[str, ...] = ()


def clean_text(text: str) -> str:
    r"""Text for one line: every run of white space or of what cannot be printed is one space.

    >>> clean_text("a\tname\n\x00 of two lines")
    'a name of two lines'
    """
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def formula_text(m: Molecule) -> str:
    """The sum formula in Hill's order, with the charge.

    >>> import numpy as np
    >>> formula_text(Molecule(("O", "H", "C", "H", "H"), np.zeros((5, 3)), (-1, 0, 0, 0, 0)))
    'CH₃O−'
    """
    size = str(abs(m.charge)) if abs(m.charge) > 1 else ""
    charge = "" if m.charge == 0 else size + ("+" if m.charge > 0 else "−")
    return hill_formula(Counter(m.symbols)).translate(SUBSCRIPTS) + charge


def value_sources(cards: Iterable[Card]) -> list[str]:
    """The names of the values of all cards (asked, guide, ...), in the order of their appearance."""
    return list(dict.fromkeys(name for card in cards for line in card.lines for name, _ in line.values))


def _decimals(largest: float) -> int:
    return min(max(2 - math.floor(math.log10(largest / 2)), 0), 4) if largest > 0 else 2


def _number(value: float | None, places: int) -> str:
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.{places}f}" if abs(value) < 1e6 else f"{value:.3g}"
    return text.replace("-", "−")  # the minus sign is as wide as a digit, the hyphen is not
