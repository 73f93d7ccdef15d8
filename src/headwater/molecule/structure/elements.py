"""The five elements of QM9, in the order the state of a molecule has them."""

from __future__ import annotations

ELEMENTS = ("H", "C", "N", "O", "F")
NUMBERS = (1, 6, 7, 8, 9)
"""Atomic numbers of `ELEMENTS`."""
MAX_ATOMS = 29
"""The largest molecule of QM9."""
